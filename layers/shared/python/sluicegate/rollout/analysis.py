"""Whether a version is good enough, from one observation of it during a bake: pure decisions.

Percentages are of requests, durations are in milliseconds. A rate over too few requests says nothing: that
is reported as missing data, not as a good rate.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Final, assert_never

from sluicegate.deployment.model import Reason
from sluicegate.deployment.observations import AlarmState
from sluicegate.deployment.plan import Limit, Metric, Watch

MAX_OBSERVATIONS: Final = 20
"""Observations per bake, at most, however long the bake is: each costs a few calls to AWS."""

MIN_INTERVAL: Final = 5
"""Seconds between two observations, at least."""

BASELINE_LOOKBACK: Final = 3_600
"""Seconds before traffic first reached the new version that count for the old version as well."""


@dataclass(frozen=True)
class VersionMetrics:
    """Lambda's metrics of one version behind an alias.

    `duration_p95` is of so many `durations`, in milliseconds, and None if nothing ran. Without a number of
    their own, there is one duration for each invocation.
    """

    invocations: int = 0
    errors: int = 0
    throttles: int = 0
    duration_p95: float | None = None
    durations: int | None = None

    def samples(self, metric: Metric) -> int:
        """Return of how many requests a metric says something.

        A throttled request is not an invocation, has no duration and cannot fail: only the rate of throttles
        counts it (Lambda developer guide, "Types of metrics", read on 2026-11-26).
        """
        match metric:
            case Metric.ERRORS:
                return self.invocations
            case Metric.THROTTLES:
                return self.invocations + self.throttles
            case Metric.DURATION_P95:
                durations = self.invocations if self.durations is None else self.durations
                return durations if self.duration_p95 is not None else 0
            case _ as never:
                assert_never(never)


@dataclass(frozen=True)
class Observation:
    """The state of every alarm in the watch, and the metrics of the new version and of its baseline.

    `baseline` is None if there is no old version to compare with. `step` are the new version's metrics since
    its present share began, None in the first step.
    """

    alarms: tuple[tuple[str, AlarmState], ...] = ()
    new: VersionMetrics = VersionMetrics()
    baseline: VersionMetrics | None = None
    step: VersionMetrics | None = None


def observation_interval(watch: Watch | None, bake: int, most: int = MAX_OBSERVATIONS) -> int:
    """Return the seconds between two of at most `most` observations. Without a watch, one is at the end."""
    if watch is None:
        return max(bake, 1)
    return max(MIN_INTERVAL, -(-bake // most))


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
        if observation.new.samples(limit.metric) >= limit.min_samples and (
            reason := _exceeds(limit, observation.new, observation.baseline)
        ):
            return reason
        # What fails only under more load must not disappear among the requests of a long, quiet step before.
        if (
            observation.step is not None
            and observation.step.samples(limit.metric) >= limit.min_samples
            and (reason := _exceeds(replace(limit, max_ratio=None), observation.step, None))
        ):
            return reason
    return None


def find_missing_data(watch: Watch, observation: Observation) -> Reason | None:
    """Return the first limit for which there were too few requests to judge.

    For a `max_ratio` also the old version must have had enough. Where there is none, there never will be.
    """
    for limit in watch.limits:
        versions = {"": observation.new}
        if limit.max_ratio is not None and observation.baseline is not None:
            versions["of the old version, "] = observation.baseline
        for whose, metrics in versions.items():
            samples, metric = metrics.samples(limit.metric), limit.metric.value
            if samples < limit.min_samples:
                message = (
                    f"{metric}: {samples} requests, {whose}fewer than the {limit.min_samples} needed to judge"
                )
                data = {"metric": metric, "samples": samples, "min_samples": limit.min_samples}
                return Reason("unclear", message, data)
    return None


def summary(observation: Observation) -> str:
    """Return one line for the timeline about a bake that passed."""
    new = observation.new
    if not new.invocations:
        return f"no invocations, {new.throttles} throttled requests" if new.throttles else "no requests"
    parts = [f"{new.invocations} requests", f"{100 * new.errors / new.invocations:.3g}% errors"]
    if new.duration_p95 is not None:
        parts.append(f"p95 {new.duration_p95:.3g} ms")
    return ", ".join(parts)


def _exceeds(limit: Limit, new: VersionMetrics, baseline: VersionMetrics | None) -> Reason | None:
    value = _value(limit.metric, new)
    if value is None:
        return None
    metric, unit, samples = limit.metric.value, _UNITS[limit.metric], new.samples(limit.metric)
    for bound, source in _bounds(limit, baseline):
        if value > bound:
            message = f"{metric}: {value:.3g}{unit} of {samples} requests, above {bound:.3g}{unit} ({source})"
            data: dict[str, Any] = {
                "metric": metric,
                "value": round(value, 3),
                "limit": round(bound, 3),
                "because": source,
                "samples": samples,
            }
            return Reason("metric", message, data)
    return None


def _bounds(limit: Limit, baseline: VersionMetrics | None) -> Iterator[tuple[float, str]]:
    """Yield each value that must not be exceeded, with the gate file's name for it.

    A rate below one in min_samples cannot be distinguished from zero. So the old version's counts as at least
    that, and as exactly that where there is nothing to compare with: a version that fails every request does
    not pass for want of a comparison.
    """
    if limit.most is not None:
        yield limit.most, "max_ms" if limit.metric is Metric.DURATION_P95 else "max_percent"
    if limit.max_ratio is None:
        return
    before = _value(limit.metric, baseline) if baseline is not None else None
    whose = "the old version's" if before is not None else "the lowest rate that can be measured,"
    if limit.metric is not Metric.DURATION_P95:
        before = max(before or 0.0, 100 / limit.min_samples)
    if before is not None:
        yield before * limit.max_ratio, f"max_ratio {limit.max_ratio:g} of {whose} {before:.3g}"


_UNITS: Final = {Metric.ERRORS: "%", Metric.THROTTLES: "%", Metric.DURATION_P95: " ms"}


def _value(metric: Metric, metrics: VersionMetrics) -> float | None:
    """Return the metric in percent or milliseconds, or None if there was nothing to measure."""
    samples = metrics.samples(metric)
    if not samples:
        return None
    match metric:
        case Metric.ERRORS:
            return 100 * metrics.errors / samples
        case Metric.THROTTLES:
            return 100 * metrics.throttles / samples
        case Metric.DURATION_P95:
            return metrics.duration_p95
        case _ as never:
            assert_never(never)
