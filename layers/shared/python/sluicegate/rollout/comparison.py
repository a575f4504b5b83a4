"""Whether the new version is worse than the old one, or than a constant, by counts: pure.

Only the same minutes of both versions are compared. Lambda draws lots for each request, so the split of a
minute's hits between equal versions is chance, whatever caused them: an outage, retries, the time of day.
Bad means that the estimate is at least `max_ratio` and that chance is excluded: over all looks of a rollout,
a version that is as good is found bad with probability `alpha` at most.
"""

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from typing import Final

from sluicegate.deployment.observations import Interval, ShareHits, Tally, Verdict
from sluicegate.rollout import dispersion
from sluicegate.rollout.binomial import NORMAL, confidence_limits, upper_hypergeometric, upper_tail
from sluicegate.rollout.outlook import Seen, for_rate, for_ratio
from sluicegate.rollout.readings import Series
from sluicegate.rollout.sequence import Increment, joint_tail
from sluicegate.rollout.split import Split

_ALIKE: Final = 1.02
"""Up to this ratio of variances, the versions' shares of the traffic were the same at all looks."""

_MARGIN: Final = 2
"""A quick approximation of a probability may be wrong by this factor."""

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
    n = x = m = y = x_alone = n_alone = 0
    expected = information = 0.0
    by_share = [ShareHits(0, 0, 0.0)] * (len(series.shares) + 1)
    for one in series.minutes:
        n, x = n + one.n, x + one.x
        if not one.n:  # hits may be known before the requests are
            x_alone, expected = x_alone + one.x, expected + one.x
            continue
        m, y = m + one.m, y + one.y
        share = one.n / (one.n + one.m)
        expected += (one.x + one.y) * share
        information += (one.x + one.y) * share * (1 - share)
        if not one.m:
            x_alone, n_alone = x_alone + one.x, n_alone + one.n
            continue
        number = bisect_right(series.shares, one.at)
        new, old, mean = by_share[number]
        by_share[number] = ShareHits(new + one.x, old + one.y, mean + (one.x + one.y) * share)
    split = tuple(by_share) if series.shares else ()
    return Tally(n, x, m, y, expected, information, x_alone=x_alone, n_alone=n_alone, by_share=split)


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
        split = Split.of(counted)
        if split.reaches(max_ratio) and 0 < split.expected < split.x:
            if split.is_mixed:
                return NORMAL.cdf(-split.deviate(1.0)) <= _MARGIN * room
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
    ratio = Split.of(now).ratio(now.phi)
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
    if not Split.of(path[-1]).reaches(max_ratio):
        return False
    return _compared(path, spend, alpha, max_ratio, min_samples)[2]


def _compared(
    path: Sequence[Tally], spend: Sequence[float], alpha: float, max_ratio: float, min_samples: int
) -> tuple[float, float, bool]:
    """Return p, what it may be at most, and whether the version is worse."""
    now = path[-1]
    splits = [Split.of(one) for one in path]
    newest = splits[-1]
    least = [
        split.least(max_ratio) / now.phi if one.n >= min_samples else math.inf
        for one, split in zip(path, splits, strict=True)
    ]
    looks: list[Increment] = []
    added = _increments_by_share(splits)
    for parts, allowed, at_least in zip(added, _rising(spend), least, strict=True):
        *others, last = [part for part in parts if part[1]] or [parts[0]]
        for number, trials, expected in others:
            looks.append(Increment(trials / now.phi, expected / now.phi, alpha * allowed, math.inf, number))
        number, trials, expected = last
        looks.append(Increment(trials / now.phi, expected / now.phi, alpha * allowed, at_least, number))
    p, room = _chance(looks, newest.x / now.phi, newest.deviate(now.phi) if newest.is_mixed else None)
    return p, room, p <= room > 0 and newest.reaches(max_ratio)


def _increments_by_share(splits: Sequence[Split]) -> list[list[tuple[int, float, float]]]:
    """Return what each look added: the number of each share, its trials, and the expected hits."""
    shares = len(splits[-1].parts)
    nothing = ShareHits(0, 0, 0.0)
    added = []
    for number in range(shares):
        parts = [each.parts[number] if number < len(each.parts) else nothing for each in splits]
        added.append(_increments([(one.x + one.y, one.expected) for one in parts]))
    return [[(number, *added[number][look]) for number in range(shares)] for look in range(len(splits))]


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
    ratio = Split.of(tally).ratio(tally.phi, doubt)
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


def _tolerance(min_samples: int) -> float:
    """Return the rate below which a version is good whatever the old one's is."""
    return min(1 / max(min_samples, 1), _MOST_TOLERATED)


def _needed(now: Tally, alpha: float, max_ratio: float, min_samples: int) -> int | None:
    split = Split.of(now)
    more = for_ratio(
        Seen(now.n, now.x, now.phi),
        now.y,
        split.odds,
        alpha=alpha,
        max_ratio=max_ratio,
        tolerance=_tolerance(min_samples),
    )
    return more if more is None else max(more, min_samples - now.n)


def _chance(looks: Sequence[Increment], hits: float, mixed: float | None = None) -> tuple[float, float]:
    """Return the probability of so many hits by chance, and what it may be at most.

    `mixed` is their normal deviate where the share of the traffic has changed.
    """
    expected = sum(one.expected for one in looks)
    trials = max(sum(one.trials for one in looks), hits)  # the sum of fractions may be a little less
    room = looks[-1].allowed
    if hits <= expected or not trials:
        return 1.0, room
    p = upper_tail(hits, trials, expected / trials)
    # One share for all looks makes p too large, if anything (W. Hoeffding, Ann. Math. Statist. 27, 713).
    excess = expected * (1 - expected / trials) / (sum(one.variance for one in looks) or 1.0)
    if p > room and (p > 0.5 or (excess < _ALIKE and mixed is None)):
        return p, room  # what crossed before takes from both alike: chance is not excluded without it either
    if mixed is None:
        mixed = -NORMAL.inv_cdf(max(p, 1e-300)) * math.sqrt(max(excess, 1.0))
    joint, left = joint_tail(looks, hits, mixed)
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
