"""What is seen of a version while it bakes, and whether it is good enough: pure decisions.

Percentages are of requests, durations in milliseconds. A rate of few requests says nothing, which is told
apart from a good one.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from sluicegate.deployment.model import Reason
from sluicegate.deployment.plan import Limit, Metric, Watch

LOOKS: Final = 20
"""Looks that one bake takes at most, however long it is: each is a few calls to AWS."""

CLOSEST: Final = 5
"""Seconds between two looks, at least."""

BASELINE: Final = 3_600
"""Seconds before traffic first reached the new version that count for the old one as well."""


class AlarmState(StrEnum):
    """CloudWatch's states of an alarm, and that there is no such alarm."""

    OK = "OK"
    ALARM = "ALARM"
    INSUFFICIENT_DATA = "INSUFFICIENT_DATA"
    MISSING = "MISSING"


@dataclass(frozen=True)
class Measured:
    """What Lambda measured of one version of an alias; `duration_p95` is None where nothing ran."""

    invocations: int = 0
    errors: int = 0
    throttles: int = 0
    duration_p95: float | None = None


@dataclass(frozen=True)
class Observation:
    """One look: every alarm of the plan with its state, and what was measured. `old` is None without one."""

    alarms: tuple[tuple[str, AlarmState], ...] = ()
    new: Measured = Measured()
    old: Measured | None = None


def look_every(watch: Watch | None, bake: int) -> int:
    """Seconds from one look to the next: a bake that nobody watches takes one, at its end."""
    if watch is None:
        return max(bake, 1)
    return max(CLOSEST, -(-bake // LOOKS))


def alarmed(alarms: Iterable[tuple[str, AlarmState]]) -> Reason | None:
    """Why these alarms stop a rollout: one that fires, or one that nobody could hear firing."""
    for name, state in alarms:
        if state is AlarmState.MISSING:
            message = f"there is no alarm {name}, or it cannot be read: nobody would be warned"
            return Reason("alarm_missing", message, {"alarm": name})
        if state is AlarmState.ALARM:
            return Reason("alarm", f"alarm {name} fires", {"alarm": name})
    return None


def breached(watch: Watch, seen: Observation) -> Reason | None:
    """Why the version is not good enough: which alarm, or which number broke which limit."""
    if reason := alarmed(seen.alarms):
        return reason
    for limit in watch.limits:
        if seen.new.invocations + seen.new.throttles >= limit.min_samples and (
            reason := _over(limit, seen.new, seen.old)
        ):
            return reason
    return None


def unmeasured(watch: Watch, seen: Observation) -> Reason | None:
    """Why nothing can be said: the first limit for which there were not enough requests."""
    requests = seen.new.invocations + seen.new.throttles
    for limit in watch.limits:
        if requests < limit.min_samples:
            message = (
                f"{limit.metric.value}: {requests} requests of {limit.min_samples} that it takes to tell"
            )
            data = {"metric": limit.metric.value, "samples": requests, "min_samples": limit.min_samples}
            return Reason("no_data", message, data)
    return None


def summary(seen: Observation) -> str:
    """One line about a bake that went well, for the timeline."""
    new = seen.new
    if not new.invocations:
        return "no requests"
    parts = [f"{new.invocations} requests", f"{_percent(Metric.ERRORS, new):.3g} % errors"]
    if new.duration_p95 is not None:
        parts.append(f"p95 {new.duration_p95:.3g} ms")
    return ", ".join(parts)


def _over(limit: Limit, new: Measured, old: Measured | None) -> Reason | None:
    value = _value(limit.metric, new)
    if value is None:
        return None
    for most, what in _bounds(limit, old):
        if value > most:
            unit = _UNITS[limit.metric]
            samples = new.invocations + new.throttles
            told = f"{value:.3g} {unit} of {samples} requests, above {most:.3g} {unit} ({what})"
            message = f"{limit.metric.value}: {told}"
            data: dict[str, Any] = {
                "metric": limit.metric.value,
                "value": round(value, 3),
                "limit": round(most, 3),
                "because": what,
                "samples": samples,
            }
            return Reason("metric", message, data)
    return None


def _bounds(limit: Limit, old: Measured | None) -> Iterator[tuple[float, str]]:
    """What the value must not be above, each with the gate file's name for it."""
    if limit.most is not None:
        yield limit.most, "max_ms" if limit.metric is Metric.DURATION_P95 else "max_percent"
    if limit.max_ratio is None or old is None:
        return
    before = _value(limit.metric, old)
    if before is None:
        return
    if limit.metric is not Metric.DURATION_P95:
        # What min_samples requests cannot tell from none is not held against the new version.
        before = max(before, 100 / limit.min_samples)
    yield before * limit.max_ratio, f"max_ratio {limit.max_ratio:g} of the old version's {before:.3g}"


_UNITS: Final = {Metric.ERRORS: "%", Metric.THROTTLES: "%", Metric.DURATION_P95: "ms"}


def _value(metric: Metric, measured: Measured) -> float | None:
    """In percent or milliseconds; None where there was nothing to measure."""
    if metric is Metric.DURATION_P95:
        return measured.duration_p95
    return _percent(metric, measured) if measured.invocations + measured.throttles else None


def _percent(metric: Metric, measured: Measured) -> float:
    """Throttled requests are no invocations (Lambda developer guide, "Types of metrics")."""
    if metric is Metric.THROTTLES:
        return 100 * measured.throttles / (measured.invocations + measured.throttles)
    return 100 * measured.errors / measured.invocations if measured.invocations else 0.0
