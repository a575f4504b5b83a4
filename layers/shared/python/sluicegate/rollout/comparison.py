"""Whether the new version is worse than the old one, or than a constant, by counts: pure.

Only the same minutes of both versions are compared. Lambda draws lots for each request, so the split of a
minute's hits between equal versions is chance, whatever caused them: an outage, retries, the time of day.
Bad means that the estimate is at least `max_ratio` and that chance is excluded: over all looks of a rollout,
a version that is as good is found bad with probability `alpha` at most.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from typing import Final

from sluicegate.deployment.observations import Interval, Tally, Verdict
from sluicegate.rollout import dispersion
from sluicegate.rollout.binomial import NORMAL, confidence_limits, upper_hypergeometric, upper_tail
from sluicegate.rollout.outlook import Seen, for_rate, for_ratio
from sluicegate.rollout.readings import Series
from sluicegate.rollout.sequence import Increment, joint_tail

MAX_RATIO: Final = 1e6
"""A ratio is capped there: above, it is as good as infinite, which JSON does not know."""

_ALIKE: Final = 1.02
"""Up to this ratio of variances, the versions' shares of the traffic were the same at all looks."""

_MOST_TOLERATED: Final = 0.01
"""A rate that matters, however few requests are enough to judge."""

_DOUBT: Final = 0.01
"""How often a version that is not good enough may end a bake early."""

_GROSS_HITS: Final = 3
_GROSS_RATE: Final = 0.2
_GROSS_RATIO: Final = 5
"""What counts as failing grossly: independent hits, a fraction of the requests, and times the old rate."""


@dataclass(frozen=True)
class Result:
    """What a comparison says. `p` is at most `room` if chance is excluded.

    Rates are fractions of the requests. `needed` more requests of the new version would settle it with 80 %,
    if the rates stay as they are; None if it is settled, or if more requests would not help. What is good
    `beyond_doubt` is so at any of twenty looks: good enough to end a bake early.
    """

    verdict: Verdict
    p: float = 1.0
    room: float = 0.0
    ratio: Interval | None = None
    new: Interval | None = None
    old: Interval | None = None
    needed: int | None = None
    beyond_doubt: bool = False


def tally(series: Series) -> Tally:
    """Count the minutes of a series, and estimate the dispersion."""
    phi, phi_alone = dispersion.estimate(series)
    return replace(count(series), phi=phi, phi_alone=phi_alone)


def count(series: Series) -> Tally:
    """Count the minutes of a series, with the dispersion of requests that fail independently."""
    n = x = m = y = x_alone = 0
    expected = information = 0.0
    for one in series.minutes:
        n, x = n + one.n, x + one.x
        if not one.n:  # hits may be known before the requests are
            x_alone, expected = x_alone + one.x, expected + one.x
            continue
        m, y = m + one.m, y + one.y
        x_alone += 0 if one.m else one.x
        share = one.n / (one.n + one.m)
        expected += (one.x + one.y) * share
        information += (one.x + one.y) * share * (1 - share)
    return Tally(n, x, m, y, expected, information, x_alone=x_alone)


def may_be_bad(counted: Tally, *, max_ratio: float | None, rate: float | None, room: float = 1.0) -> bool:
    """Return False if a look finds nothing bad, whatever the dispersion and the looks before it were.

    For simulations, which need not estimate the dispersion then: with dispersion, the same counts are less
    evidence, so their probability by chance is never below that of independent hits. `room` is what it may be
    at most. Without `max_ratio` or `rate`, the new version is not compared with the old one, or not with a
    constant.
    """
    if counted.x >= max(_GROSS_HITS, _GROSS_RATE * counted.n):
        return True
    if max_ratio is not None:
        split = _Split.of(counted)
        if split.x >= split.least(max_ratio) and 0 < split.expected < split.x:
            share = split.expected / split.hits
            # With several shares of the traffic the comparison is sharper than one share for all says.
            if share >= 1 or split.expected * (1 - share) >= _ALIKE * counted.information:
                return True
            if upper_tail(split.x, split.hits, share) <= room:
                return True
    return (
        rate is not None and counted.x > rate * counted.n and upper_tail(counted.x, counted.n, rate) <= room
    )


def compare(
    path: Sequence[Tally], spend: Sequence[float], *, alpha: float, max_ratio: float, min_samples: int
) -> Result:
    """Compare the new version with the old one in the same minutes.

    `path` are the looks so far as they were seen, newest last, and `spend` is the fraction of `alpha` that
    may be spent by each of them. Counts that were higher than in a later look count as in the later one.
    """
    if not path:
        return Result(Verdict.UNCLEAR)
    now = path[-1]
    new, old = _rate(now.x, now.n, now.phi_alone), _rate(now.y, now.m, now.phi_alone)
    ratio = _Split.of(now).ratio(now.phi)
    if now.n < min_samples or not now.m:
        needed = _needed(now, alpha, max_ratio, min_samples) if now.m else None
        return Result(Verdict.UNCLEAR, ratio=ratio, new=new, old=old, needed=needed)
    p, room, worse = _compared(path, spend, alpha, max_ratio, min_samples)
    if worse:
        verdict = Verdict.BAD
    elif (ratio is not None and ratio.high < max_ratio) or (
        new is not None and new.high < _tolerance(min_samples)
    ):
        verdict = Verdict.GOOD
    else:
        verdict = Verdict.UNCLEAR
    if verdict is Verdict.UNCLEAR:
        needed = _needed(now, alpha, max_ratio, min_samples)
        return Result(verdict, p, room, ratio, new, old, needed)
    sure = verdict is Verdict.GOOD and is_beyond_doubt(now, max_ratio=max_ratio, min_samples=min_samples)
    return Result(verdict, p, room, ratio, new, old, beyond_doubt=sure)


def is_worse(
    path: Sequence[Tally], spend: Sequence[float], *, alpha: float, max_ratio: float, min_samples: int
) -> bool:
    """Return whether `compare` says bad. It takes a tenth of the time, for those who simulate rollouts."""
    if not path or path[-1].n < min_samples or not path[-1].m:
        return False
    newest = _Split.of(path[-1])
    if newest.x < newest.least(max_ratio):
        return False
    return _compared(path, spend, alpha, max_ratio, min_samples)[2]


def _compared(
    path: Sequence[Tally], spend: Sequence[float], alpha: float, max_ratio: float, min_samples: int
) -> tuple[float, float, bool]:
    """Return p, what it may be at most, and whether the version is worse."""
    now = path[-1]
    splits = [_Split.of(one) for one in path]
    newest = splits[-1]
    least = newest.least(max_ratio)
    ever = [
        split.least(max_ratio) if one.n >= min_samples else math.inf
        for one, split in zip(path, splits, strict=True)
    ]
    looks = [
        Increment(trials / now.phi, expected / now.phi, alpha * allowed, least / now.phi)
        for (trials, expected), allowed, least in zip(
            _increments([(one.hits, one.expected) for one in splits]), _rising(spend), ever, strict=True
        )
    ]
    p, room = _chance(looks, newest.x / now.phi)
    return p, room, p <= room > 0 and newest.x >= least


def against_constant(
    path: Sequence[Tally], spend: Sequence[float], *, alpha: float, rate: float, min_samples: int
) -> Result:
    """Compare the new version's rate with a constant: `rate` is a fraction of the requests.

    Bad means surely above it, good surely below. `path`, `spend` and `alpha` are as for `compare`.
    """
    if not path:
        return Result(Verdict.UNCLEAR)
    now = path[-1]
    new = _rate(now.x, now.n, now.phi_alone)
    needed = for_rate(Seen(now.n, now.x, now.phi_alone), alpha=alpha, rate=rate)
    if now.n < min_samples or new is None:
        return Result(Verdict.UNCLEAR, new=new, needed=max(needed or 1, min_samples - now.n))
    p, room = _above(path, spend, alpha, rate, min_samples)
    if p <= room > 0:
        return Result(Verdict.BAD, p, room, new=new)
    if new.high < rate:
        sure = is_beyond_doubt(now, rate=rate, min_samples=min_samples)
        return Result(Verdict.GOOD, p, room, new=new, beyond_doubt=sure)
    return Result(Verdict.UNCLEAR, p, room, new=new, needed=needed)


def is_beyond_doubt(
    tally: Tally,
    *,
    max_ratio: float | None = None,
    rate: float | None = None,
    min_samples: int,
    looks: int = 20,
) -> bool:
    """Return whether the new version is good beyond doubt: good enough to end a bake early.

    It is as good as `max_ratio` and `rate` demand, and that is wrong with 1 % at most, of so many looks
    together. Each look has its part of it (Bonferroni), which holds whatever the looks have in common.
    """
    if tally.n < max(min_samples, 1):
        return False
    doubt = _DOUBT / looks
    _, high = confidence_limits(tally.x / tally.phi_alone, tally.n / tally.phi_alone, doubt)
    if rate is not None and high >= rate:
        return False
    if max_ratio is None or high < _tolerance(min_samples):
        return max_ratio is None or tally.m > 0
    ratio = _Split.of(tally).ratio(tally.phi, doubt)
    return tally.m > 0 and ratio is not None and ratio.high < max_ratio


def is_above(
    path: Sequence[Tally], spend: Sequence[float], *, alpha: float, rate: float, min_samples: int
) -> bool:
    """Return whether `against_constant` says bad, as quickly as `is_worse`."""
    if not path or not path[-1].n or path[-1].n < min_samples:
        return False
    p, room = _above(path, spend, alpha, rate, min_samples)
    return p <= room > 0


def _above(
    path: Sequence[Tally], spend: Sequence[float], alpha: float, rate: float, min_samples: int
) -> tuple[float, float]:
    """Return p, and what it may be at most."""
    now = path[-1]
    looks = [
        Increment(
            trials / now.phi_alone,
            trials * rate / now.phi_alone,
            alpha * allowed,
            0.0 if one.n >= min_samples else math.inf,
        )
        for (trials, _), allowed, one in zip(
            _increments([(one.n, 0.0) for one in path]), _rising(spend), path, strict=True
        )
    ]
    return _chance(looks, now.x / now.phi_alone)


def find_gross(tally: Tally, hour: tuple[int, int], *, alpha: float) -> Result | None:
    """Return that the new version fails grossly, or None: the fast path, for which no number is too small.

    `hour` are the old version's requests and hits of the hour before. At least three independent hits, a
    fifth of the requests and five times the old rate are gross if that is chance with `alpha` at most.
    Without old requests in the same minutes the old rate is the hour's; without those either, ten requests
    and half of them hits are gross. Both are outside what `alpha` promises.
    """
    n, x, phi = tally.n, tally.x, tally.phi
    requests, hits = hour
    if not tally.m and not requests:
        new = _rate(x, n, 1.0)  # there is nothing that the dispersion could be estimated from either
        return Result(Verdict.BAD, 1.0, alpha, new=new) if n >= 10 and x >= 0.5 * n else None
    if not n or x / phi < _GROSS_HITS or x < _GROSS_RATE * n:
        return None
    new, old = _rate(x, n, phi), _rate(tally.y, tally.m, phi) or _rate(hits, requests, phi)
    if old is None:
        return None
    if x / n < _GROSS_RATIO * old.value:
        return None
    others, worse = tally.m + requests, tally.y + hits
    p = upper_hypergeometric(x / phi, n / phi, worse / phi, others / phi)
    return Result(Verdict.BAD, p, alpha, new=new, old=old) if p <= alpha else None


@dataclass(frozen=True)
class _Split:
    """How the hits of minutes with requests of both versions were split: `x` of `hits` were the new one's."""

    x: int
    hits: int
    expected: float

    @classmethod
    def of(cls, tally: Tally) -> "_Split":
        x = tally.x - tally.x_alone
        return cls(x, x + tally.y, max(tally.expected - tally.x_alone, 0.0))

    @property
    def odds(self) -> float:
        """The odds of a hit to be the new version's if the versions are equal."""
        return self.expected / (self.hits - self.expected) if 0 < self.expected < self.hits else 0.0

    def least(self, max_ratio: float) -> float:
        """Return the hits of the new version from which on the ratio is at least `max_ratio`."""
        odds = max_ratio * self.odds
        return (odds * (self.hits + 0.5) - 0.5) / (1 + odds)

    def ratio(self, phi: float, doubt: float = 0.025) -> Interval | None:
        """Return the ratio of the new rate to the old one, stratified by the minute.

        Each limit is wrong with probability `doubt`.
        """
        if not self.odds:
            return None
        low, high = confidence_limits(self.x / phi, self.hits / phi, doubt)
        value = (self.x + 0.5) / (self.hits - self.x + 0.5) / self.odds
        limits = (share / (1 - share) / self.odds if share < 1 else MAX_RATIO for share in (low, high))
        return Interval(min(value, MAX_RATIO), *(min(limit, MAX_RATIO) for limit in limits))


def _tolerance(min_samples: int) -> float:
    """Return the rate below which a version is good whatever the old one's is."""
    return min(1 / max(min_samples, 1), _MOST_TOLERATED)


def _needed(now: Tally, alpha: float, max_ratio: float, min_samples: int) -> int | None:
    split = _Split.of(now)
    more = for_ratio(
        Seen(now.n, now.x, now.phi),
        now.y,
        split.odds,
        alpha=alpha,
        max_ratio=max_ratio,
        tolerance=_tolerance(min_samples),
    )
    return more if more is None else max(more, min_samples - now.n)


def _chance(looks: Sequence[Increment], hits: float) -> tuple[float, float]:
    """Return the probability of so many hits by chance, and what it may be at most."""
    expected = sum(one.expected for one in looks)
    trials = max(sum(one.trials for one in looks), hits)  # the sum of fractions may be a little less
    room = looks[-1].allowed
    if hits <= expected or not trials:
        return 1.0, room
    p = upper_tail(hits, trials, expected / trials)
    # One share for all looks makes p too large, if anything (W. Hoeffding, Ann. Math. Statist. 27, 713).
    excess = expected * (1 - expected / trials) / (sum(one.variance for one in looks) or 1.0)
    if p > room and (excess < _ALIKE or p > 0.5):
        return p, room  # what crossed before takes from both alike: chance is not excluded without it either
    joint, left = joint_tail(looks, hits, -NORMAL.inv_cdf(max(p, 1e-300)) * math.sqrt(max(excess, 1.0)))
    p = min(p, joint + room - left)
    return p, max(left + p - joint, 0.0)


def _increments(totals: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return what each look added, when no total was higher than in a later look."""
    least = (math.inf, math.inf)
    rising = [(0.0, 0.0)]
    for one in reversed(totals):
        least = (min(one[0], least[0]), min(one[1], least[1]))
        rising.append(least)
    rising[1:] = reversed(rising[1:])
    return [(after[0] - before[0], after[1] - before[1]) for before, after in pairwise(rising)]


def _rising(spend: Sequence[float]) -> list[float]:
    """Return what may be spent by each look: never less than by one before, and never more than all."""
    return list(accumulate((min(max(one, 0.0), 1.0) for one in spend), max))


def _rate(hits: int, requests: int, phi: float) -> Interval | None:
    if not requests:
        return None
    hits = min(hits, requests)
    return Interval(hits / requests, *confidence_limits(hits / phi, requests / phi))
