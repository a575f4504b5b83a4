"""Simulated rollouts, one after another, judged at each look by the deployer's own comparisons.

`judge` of `rollout.analysis` also writes a report of each look. Here only the decisions are wanted, thousands
of times, so its comparisons are called without it; a test holds both to the same verdicts.
"""

from dataclasses import dataclass
from itertools import zip_longest
from operator import add
from random import Random
from typing import Final

from sluicegate.deployment.observations import ShareHits, Tally
from sluicegate.deployment.plan import Limit, Metric, Plan
from sluicegate.rollout import budget
from sluicegate.rollout.comparison import count, find_gross, is_above, is_worse, may_be_bad, tally
from sluicegate.rollout.readings import Series
from sluicegate_cli.planning.schedule import looks
from sluicegate_cli.planning.traffic import Road, Traffic, road, simulate

OFFSETS: Final = (0, 15, 30, 45)
"""Seconds of the clock's minute at which traffic moves: a deployment begins at any."""

_NO_HITS: Final = ShareHits(0, 0, 0.0)


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
        counter, of_step = _Counter(), _Part(0, 0)
        found: int | None = None
        gross = False
        for number, series in enumerate(simulate(traffic, way, chance)):
            step = self.looks[number].step
            if step != of_step.step:
                of_step = _Part(step, (self._begins[step] + way.offset) // (60 * way.minutes))
            if step and self._rate is not None:
                of_step.path.append(of_step.counter.count(series))
            path.append(counter.count(series))
            if found is not None:
                continue
            if may_be_bad(
                path[-1], max_ratio=self._limit.max_ratio, rate=self._rate, room=self._room[number]
            ):
                path[-1] = tally(series)
                gross = self._is_gross(path[-1], series)
                if gross or self._is_bad(path):
                    found = number
            if found is None and of_step.path and self._is_step_bad(of_step, series):
                found = number
            if found is not None and not whole:
                break
        return Ended(found, gross, path[-1])

    def _is_gross(self, now: Tally, series: Series) -> bool:
        before = (sum(n for n, _ in series.hour), sum(x for _, x in series.hour))
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

    def _is_step_bad(self, part: "_Part", series: Series) -> bool:
        """Say whether the requests since the current share began are above the constant limit."""
        path = part.path
        spend = [look.spend for look in self.looks if look.step == part.step][: len(path)]
        room = self._constant_alpha * spend[-1]
        if not may_be_bad(path[-1], max_ratio=None, rate=self._rate, room=room):
            return False
        path[-1] = tally(Series(series.minutes[part.first :]))
        return self._is_above(path, spend)

    def _is_above(self, path: list[Tally], spend: list[float]) -> bool:
        return self._rate is not None and is_above(
            path, spend, alpha=self._constant_alpha, rate=self._rate, min_samples=self._limit.min_samples
        )


class _Counter:
    """Counts a series that grows, from its period `first` on: only what is new is counted at each look."""

    def __init__(self, first: int = 0) -> None:
        self._next = first
        self._whole = Tally()

    def count(self, series: Series) -> Tally:
        """Return the counts so far, as `count` would of the whole series."""
        newest = len(series.minutes) - 1
        if newest > self._next:
            self._whole = _sum(self._whole, _count(series, slice(self._next, newest)))
            self._next = newest
        return _sum(self._whole, _count(series, slice(newest, None)))


def _count(series: Series, part: slice) -> Tally:
    return count(Series(series.minutes[part], shares=series.shares))


def _sum(one: Tally, other: Tally) -> Tally:
    pairs = zip_longest(one.split, other.split, fillvalue=_NO_HITS)
    by_share = tuple(ShareHits(*map(add, *pair)) for pair in pairs)
    return Tally(
        one.n + other.n,
        one.x + other.x,
        one.m + other.m,
        one.y + other.y,
        one.expected + other.expected,
        one.information + other.information,
        x_alone=one.x_alone + other.x_alone,
        n_alone=one.n_alone + other.n_alone,
        by_share=by_share if len(by_share) > 1 else (),
    )


class _Part:
    """The looks at one step alone, whose first period is `first`."""

    def __init__(self, step: int, first: int) -> None:
        self.step, self.first = step, first
        self.counter = _Counter(first)
        self.path: list[Tally] = []
