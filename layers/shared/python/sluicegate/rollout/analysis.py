"""Whether a version is good enough, from one observation of it during a bake: pure decisions.

Percentages are of requests, durations are in milliseconds. A rate over too few requests says nothing: that
is reported as missing data, not as a good rate.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from sluicegate.deployment.model import Reason
from sluicegate.deployment.plan import Limit, Metric, Watch

MAX_OBSERVATIONS: Final = 20
"""Observations per bake, at most, however long the bake is: each costs a few calls to AWS."""

MIN_INTERVAL: Final = 5
"""Seconds between two observations, at least."""

BASELINE_LOOKBACK: Final = 3_600
"""Seconds before traffic first reached the new version that count for the old version as well."""


class AlarmState(StrEnum):
    """CloudWatch's alarm states, and MISSING for an alarm that does not exist."""

    OK = "OK"
    ALARM = "ALARM"
    INSUFFICIENT_DATA = "INSUFFICIENT_DATA"
    MISSING = "MISSING"


@dataclass(frozen=True)
class VersionMetrics:
    """Lambda's metrics of one version behind an alias. `duration_p95` is None if nothing ran."""

    invocations: int = 0
    errors: int = 0
    throttles: int = 0
    duration_p95: float | None = None

    @property
    def requests(self) -> int:
        """Throttled requests are not invocations (Lambda developer guide, "Types of metrics")."""
        return self.invocations + self.throttles


@dataclass(frozen=True)
class Observation:
    """The state of every alarm in the watch, and the metrics of the new version and of its baseline.

    `baseline` is None if there is no old version to compare with.
    """

    alarms: tuple[tuple[str, AlarmState], ...] = ()
    new: VersionMetrics = VersionMetrics()
    baseline: VersionMetrics | None = None


def observation_interval(watch: Watch | None, bake: int) -> int:
    """Return the seconds between two observations. Without a watch, the only one is at the end."""
    if watch is None:
        return max(bake, 1)
    return max(MIN_INTERVAL, -(-bake // MAX_OBSERVATIONS))


def find_alarm(alarms: Iterable[tuple[str, AlarmState]]) -> Reason | None:
    """Return the first alarm that stops a rollout: one that is firing, or one that could not fire."""
    for name, state in alarms:
        if state is AlarmState.MISSING:
            message = f"alarm {name} does not exist or cannot be read: it would warn nobody"
            return Reason("alarm_missing", message, {"alarm": name})
        if state is AlarmState.ALARM:
            return Reason("alarm", f"alarm {name} is firing", {"alarm": name})
    return None


def find_breach(watch: Watch, observation: Observation) -> Reason | None:
    """Return why the version is not good enough: the alarm, or the metric and the limit it breaks."""
    if reason := find_alarm(observation.alarms):
        return reason
    for limit in watch.limits:
        if observation.new.requests >= limit.min_samples and (
            reason := _exceeds(limit, observation.new, observation.baseline)
        ):
            return reason
    return None


def find_missing_data(watch: Watch, observation: Observation) -> Reason | None:
    """Return the first limit for which there were too few requests to judge."""
    requests = observation.new.requests
    for limit in watch.limits:
        if requests < limit.min_samples:
            metric = limit.metric.value
            message = f"{metric}: {requests} requests, fewer than the {limit.min_samples} needed to judge"
            data = {"metric": metric, "samples": requests, "min_samples": limit.min_samples}
            return Reason("no_data", message, data)
    return None


def summary(observation: Observation) -> str:
    """Return one line for the timeline about a bake that passed."""
    new = observation.new
    if not new.invocations:
        return "no requests"
    parts = [f"{new.invocations} requests", f"{_percent(Metric.ERRORS, new):.3g}% errors"]
    if new.duration_p95 is not None:
        parts.append(f"p95 {new.duration_p95:.3g} ms")
    return ", ".join(parts)


def _exceeds(limit: Limit, new: VersionMetrics, baseline: VersionMetrics | None) -> Reason | None:
    value = _value(limit.metric, new)
    if value is None:
        return None
    metric, unit = limit.metric.value, _UNITS[limit.metric]
    for bound, source in _bounds(limit, baseline):
        if value > bound:
            message = (
                f"{metric}: {value:.3g}{unit} of {new.requests} requests, above {bound:.3g}{unit} ({source})"
            )
            data: dict[str, Any] = {
                "metric": metric,
                "value": round(value, 3),
                "limit": round(bound, 3),
                "because": source,
                "samples": new.requests,
            }
            return Reason("metric", message, data)
    return None


def _bounds(limit: Limit, baseline: VersionMetrics | None) -> Iterator[tuple[float, str]]:
    """Yield each value that must not be exceeded, with the gate file's name for it."""
    if limit.most is not None:
        yield limit.most, "max_ms" if limit.metric is Metric.DURATION_P95 else "max_percent"
    if limit.max_ratio is None or baseline is None:
        return
    before = _value(limit.metric, baseline)
    if before is None:
        return
    if limit.metric is not Metric.DURATION_P95:
        # A rate below one in min_samples cannot be distinguished from zero: take that as the lowest baseline.
        before = max(before, 100 / limit.min_samples)
    yield before * limit.max_ratio, f"max_ratio {limit.max_ratio:g} of the old version's {before:.3g}"


_UNITS: Final = {Metric.ERRORS: "%", Metric.THROTTLES: "%", Metric.DURATION_P95: " ms"}


def _value(metric: Metric, metrics: VersionMetrics) -> float | None:
    """Return the metric in percent or milliseconds, or None if there was nothing to measure."""
    if metric is Metric.DURATION_P95:
        return metrics.duration_p95
    return _percent(metric, metrics) if metrics.requests else None


def _percent(metric: Metric, metrics: VersionMetrics) -> float:
    if metric is Metric.THROTTLES:
        return 100 * metrics.throttles / metrics.requests
    return 100 * metrics.errors / metrics.invocations if metrics.invocations else 0.0
