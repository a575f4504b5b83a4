"""Simulated rollouts, one after another, judged at each look by the deployer's own comparisons.

`judge` of `rollout.analysis` also writes a report of each look. Here only the decisions are wanted, thousands
of times, so its comparisons are called without it; a test holds both to the same verdicts.
"""

from dataclasses import dataclass
from random import Random
from typing import Final

from sluicegate.deployment.observations import Tally
from sluicegate.deployment.plan import Limit, Metric, Plan
from sluicegate.rollout import budget
from sluicegate.rollout.comparison import count, find_gross, is_above, is_worse, may_be_bad, tally
from sluicegate.rollout.readings import Series
from sluicegate_cli.planning.schedule import looks
from sluicegate_cli.planning.traffic import Road, Traffic, road, simulate

OFFSETS: Final = (0, 15, 30, 45)
"""Seconds of the clock's minute at which traffic moves: a deployment begins at any."""


@dataclass(frozen=True)
class Ended:
    """How a simulated rollout ended: at which look it went back, from 0, or None if it never did.

    `gross` is whether the fast path found it, `counts` are those of the last look that was simulated.
    """

    look: int | None
    gross: bool
    counts: Tally


class Trials:
    """A plan whose watch limits errors, ready for many simulated rollouts."""

    def __init__(self, plan: Plan, most: int | None = None) -> None:
        """Take the deployer's looks, or at most so many in each bake."""
        watch = plan.watch
        assert watch is not None  # noqa: S101 (the caller has looked)
        self.looks = looks(plan, most)
        times = [look.at for look in self.looks]
        self._roads: tuple[Road, ...] = tuple(road(plan.steps, times, offset=each) for each in OFFSETS)
        self._begins = [sum(step.bake for step in plan.steps[:number]) for number in range(len(plan.steps))]
        self._limit: Limit = next(limit for limit in watch.limits if limit.metric is Metric.ERRORS)
        self._rate = None if self._limit.most is None else self._limit.most / 100
        self._alpha = budget.alphas(watch).get(Metric.ERRORS, 0.0)
        self._constant_alpha = budget.constant_alpha(watch)
        self._gross_alpha = budget.gross_alpha(watch, plan)
        self._spend = [look.spend for look in self.looks]
        self._room = [max(self._alpha, self._constant_alpha) * spend for spend in self._spend]

    def run(self, traffic: Traffic, chance: Random, *, whole: bool = False) -> Ended:
        """Simulate a rollout until it goes back, or with `whole` in any case to the end."""
        way = chance.choice(self._roads)
        path: list[Tally] = []
        of_step: dict[int, list[Tally]] = {}
        found: int | None = None
        gross = False
        for number, series in enumerate(simulate(traffic, way, chance)):
            step = self.looks[number].step
            part = self._part(series, way, step) if step and self._rate is not None else None
            if part is not None:
                of_step.setdefault(step, []).append(count(part))
            path.append(count(series))
            if found is not None:
                continue
            if may_be_bad(
                path[-1], max_ratio=self._limit.max_ratio, rate=self._rate, room=self._room[number]
            ):
                path[-1] = tally(series)
                gross = self._is_gross(path[-1], series)
                if gross or self._is_bad(path):
                    found = number
            if found is None and part is not None and self._is_step_bad(step, of_step[step], part):
                found = number
            if found is not None and not whole:
                break
        return Ended(found, gross, path[-1])

    def _part(self, series: Series, way: Road, step: int) -> Series:
        """Return the series since the current share began."""
        length = 60 * way.minutes
        start = (self._begins[step] + way.offset) // length * length
        return Series(tuple(minute for minute in series.minutes if minute.at >= start))

    def _is_gross(self, now: Tally, series: Series) -> bool:
        hour = series.before[-(len(series.before) // 3) :] if series.before else ()
        before = (sum(n for n, _ in hour), sum(x for _, x in hour))
        result = find_gross(now, before, alpha=self._gross_alpha)
        if result is None or result.new is None:
            return False
        old = result.old.value if result.old is not None else 0.0
        breaks_ratio = self._limit.max_ratio is not None and result.new.value >= self._limit.max_ratio * old
        return breaks_ratio or (self._rate is not None and result.new.value > self._rate)

    def _is_bad(self, path: list[Tally]) -> bool:
        spend, limit = self._spend[: len(path)], self._limit
        if limit.max_ratio is not None and is_worse(
            path, spend, alpha=self._alpha, max_ratio=limit.max_ratio, min_samples=limit.min_samples
        ):
            return True
        return self._is_above(path, spend)

    def _is_step_bad(self, step: int, path: list[Tally], part: Series) -> bool:
        """Say whether the requests since the current share began are above the constant limit."""
        spend = [look.spend for look in self.looks if look.step == step][: len(path)]
        room = self._constant_alpha * spend[-1]
        if not may_be_bad(path[-1], max_ratio=None, rate=self._rate, room=room):
            return False
        path[-1] = tally(part)
        return self._is_above(path, spend)

    def _is_above(self, path: list[Tally], spend: list[float]) -> bool:
        return self._rate is not None and is_above(
            path, spend, alpha=self._constant_alpha, rate=self._rate, min_samples=self._limit.min_samples
        )
