"""Simulated rollouts, one after another, judged at each look by the deployer's own analysis."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Final

from sluicegate.deployment.observations import Tally
from sluicegate.deployment.plan import Limit, Metric, TrafficStep, Watch
from sluicegate.rollout.comparison import count, find_gross, is_above, is_worse, may_be_bad, tally
from sluicegate.rollout.readings import Series
from sluicegate_cli.planning.schedule import looks
from sluicegate_cli.planning.traffic import Road, Traffic, TrafficKind, road, simulate

OFFSETS: Final = (0, 15, 30, 45)
"""Seconds of the clock's minute at which traffic moves: a deployment begins at any."""

_SLOW: Final = 0.05
"""The fraction of the old version's requests that are slower than its 95th percentile."""

_HOUR: Final = 60


class Trials:
    """A strategy and a watch, ready for many simulated rollouts."""

    def __init__(self, steps: Sequence[TrafficStep], watch: Watch) -> None:
        self._looks = looks(steps)
        times = [look.at for look in self._looks]
        self._roads: tuple[Road, ...] = tuple(road(steps, times, offset=offset) for offset in OFFSETS)
        weights = {limit.metric: 3 if limit.metric is Metric.ERRORS else 1 for limit in watch.limits}
        whole = watch.false_rollbacks / 100
        self._limits = [
            _Limit(limit, whole * 0.95 * weights[limit.metric] / sum(weights.values()), whole * 0.025 / 20)
            for limit in watch.limits
            if limit.metric is Metric.ERRORS
            or (limit.metric is Metric.DURATION_P95 and limit.max_ratio is not None)
        ]
        shared = sum(1 for step in steps if step.bake and step.percent < 100)
        self._spend = [
            _until(look.step, shared)
            + (_until(look.step + 1, shared) - _until(look.step, shared))
            * (look.elapsed / steps[look.step].bake) ** 3
            for look in self._looks
        ]

    def run(self, traffic: Traffic, chance: Random) -> int | None:
        """Simulate a rollout; return the second at which it goes back, or None if it never does.

        Errors are as `traffic` says. Durations are those of the old version, independent of them: nothing is
        known of how a worse version would change them.
        """
        way = chance.choice(self._roads)
        paths = [_Path(limit, self._spend) for limit in self._limits]
        feeds = [simulate(limit.traffic(traffic), way, chance) for limit in self._limits]
        for look, series in zip(self._looks, zip(*feeds, strict=True), strict=True):
            if any(path.is_bad(one) for path, one in zip(paths, series, strict=True)):
                return look.at
        return None


def _until(step: int, shared: int) -> float:
    return min(step / shared, 1.0) ** 2


@dataclass(frozen=True)
class _Limit:
    """A limit, and the chance that its comparisons and its fast path may spend."""

    limit: Limit
    alpha: float
    gross: float

    def traffic(self, errors: Traffic) -> Traffic:
        if self.limit.metric is Metric.ERRORS:
            return errors
        return replace(errors, errors=_SLOW, ratio=1.0, kind=TrafficKind.INDEPENDENT)


class _Path:
    """The looks of one rollout at one limit."""

    def __init__(self, limit: _Limit, spend: Sequence[float]) -> None:
        self._limit, self._spend = limit, spend
        self._path: list[Tally] = []

    def is_bad(self, series: Series) -> bool:
        """Take the next look, and return whether it finds the version bad."""
        limit, path, alpha = self._limit.limit, self._path, self._limit.alpha
        rate = limit.most / 100 if limit.most is not None and limit.metric is Metric.ERRORS else None
        counted = count(series)
        if not may_be_bad(counted, max_ratio=limit.max_ratio, rate=rate):
            path.append(counted)
            return False
        path.append(tally(series))
        spend = self._spend[: len(path)]
        hour = series.before[-_HOUR:]
        return (
            find_gross(path[-1], (sum(n for n, _ in hour), sum(x for _, x in hour)), alpha=self._limit.gross)
            is not None
            or (
                limit.max_ratio is not None
                and is_worse(
                    path, spend, alpha=alpha, max_ratio=limit.max_ratio, min_samples=limit.min_samples
                )
            )
            or (
                rate is not None
                and is_above(path, spend, alpha=alpha, rate=rate, min_samples=limit.min_samples)
            )
        )
