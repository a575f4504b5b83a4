"""One line about one limit, for the timeline, the job log and the report."""

from dataclasses import replace
from typing import Final

from sluicegate.deployment.observations import Interval, LimitFinding, Verdict
from sluicegate.deployment.plan import Metric

_UNITS: Final = {Metric.ERRORS: "%", Metric.THROTTLES: "%", Metric.DURATION_P95: " ms"}


def described(finding: LimitFinding) -> LimitFinding:
    """Return the finding with its line: `errors: 1.2% of 1204 (0.7 to 2.0), old 0.4%; ...: unclear`."""
    return replace(finding, message=_line(finding))


def _line(finding: LimitFinding) -> str:
    unit = _UNITS.get(finding.limit, "")  # type: ignore[call-overload]
    tally = finding.tally
    if tally is None or not tally.n:
        return f"{finding.limit}: no requests of the new version: {finding.verdict.value}"
    parts = [f"{_estimate(finding.new, unit)} of {tally.n}"]
    if finding.step:
        parts[0] += " since the current share began"
    if finding.old is not None:
        parts.append(f"old {_number(finding.old.value)}{unit} of {tally.m}")
    elif finding.rule == "max_ratio":
        parts.append("no requests of the old version in the same minutes")
    line = f"{finding.limit}: {', '.join(parts)}"
    if finding.ratio is not None:
        line += f"; {_estimate(finding.ratio, '', before='×')}"
    if finding.bound is not None:
        sign = "×" if finding.rule == "max_ratio" else ""
        line += f", limit {sign}{_number(finding.bound)}{'' if sign else unit}"
    line += f": {'fails grossly' if finding.rule == 'gross' else finding.verdict.value}"
    if finding.verdict is Verdict.UNCLEAR and finding.needed:
        line += f", about {finding.needed} more requests would settle it"
    return line


def _estimate(estimate: Interval | None, unit: str, before: str = "") -> str:
    if estimate is None:
        return "unknown"
    value = f"{before}{_number(estimate.value)}{unit}"
    if estimate.low == estimate.high:
        return value
    return f"{value} ({_number(estimate.low)} to {_number(estimate.high)})"


def _number(value: float) -> str:
    return f"{value:.3g}" if value < 1000 else f"{value:.0f}"
