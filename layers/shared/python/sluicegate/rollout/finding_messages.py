"""One line about one limit, for the timeline, the job log and the report."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Final

from sluicegate.deployment.observations import (
    AlarmReading,
    AlarmState,
    Interval,
    LimitFinding,
    Observation,
    Verdict,
)
from sluicegate.text import number, settled_by

_BOUNDS: Final = {"max_ratio": ("×", ""), "max_percent": ("", " %"), "max_ms": ("", " ms")}
"""What is before and after a limit, by rule; one of the user's own metric has neither."""

_WORST_FIRST: Final = (Verdict.BAD, Verdict.UNCLEAR, Verdict.GOOD)

_UNCOUNTED: Final = "not compared, as there were no durations of the old version in the hour before"


def described(finding: LimitFinding) -> LimitFinding:
    """Return the finding with its line.

    Such as `errors: 1.2 % of 1,204 (0.7–2.0 %), old 0.4 %; ×3.1 (1.2–8.0), limit ×2: unclear`.
    """
    return replace(finding, message=_line(finding))


def summary(observation: Observation) -> str:
    """Return one line for the timeline: what each limit says, the worst first, and alarms without data."""
    shown = sorted(
        (finding for finding in observation.findings if not finding.step),
        key=lambda finding: _WORST_FIRST.index(finding.verdict),
    )
    lines = (f"{finding.message} (observed)" if finding.observe else finding.message for finding in shown)
    parts = [*lines] or ["no limits"]
    return "; ".join(filter(None, (*parts, without_data(observation.alarms))))


def without_data(alarms: Iterable[AlarmReading]) -> str:
    """Return which alarms CloudWatch has no data for, or nothing. They stop no rollout, and prove nothing."""
    names = [alarm.name for alarm in alarms if alarm.state is AlarmState.INSUFFICIENT_DATA]
    if not names:
        return ""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"no data for alarm{'s' if len(names) > 1 else ''} {', '.join(names[:3])}{more}"


def _line(finding: LimitFinding) -> str:
    tally = finding.tally
    if tally is None or not tally.n:
        because = "no requests of the new version" if finding.new is None else _UNCOUNTED
        return f"{finding.limit}: {because}: {finding.verdict.value}"
    concluded = "fails grossly" if finding.rule == "gross" else finding.verdict.value
    line = f"{finding.limit}: {', '.join(_parts(finding, tally.n))}: {concluded}"
    if finding.verdict is Verdict.UNCLEAR and finding.needed:
        line += f", {settled_by(finding.needed)}"
    return line


def _parts(finding: LimitFinding, requests: int) -> Iterator[str]:
    unit = f" {finding.unit}" if finding.unit else ""
    since = " since the current share began" if finding.step else ""
    measured = f"{_value(finding.new, unit)} of {requests:,}{since}{_interval(finding.new, unit)}"
    old, ratio, misses = finding.old, finding.ratio, "misses " if finding.misses else ""
    if old is None:
        yield measured
        if finding.rule == "max_ratio":
            yield "no requests of the old version in the same minutes"
    else:
        compared = f"{measured}, old {_value(old, unit)}"
        yield compared if ratio is None else f"{compared}; {misses}×{_value(ratio)}{_interval(ratio)}"
    if finding.bound is not None:
        yield f"limit {_bound(finding)}"


def _bound(finding: LimitFinding) -> str:
    before, after = _BOUNDS.get(finding.rule, ("", ""))
    return f"{before}{finding.bound:,.6g}{after}"


def _value(estimate: Interval | None, unit: str = "") -> str:
    return "unknown" if estimate is None else f"{number(estimate.value)}{unit}"


def _interval(estimate: Interval | None, unit: str = "") -> str:
    if estimate is None or estimate.low == estimate.high:
        return ""
    return f" ({number(estimate.low)}–{number(estimate.high)}{unit})"
