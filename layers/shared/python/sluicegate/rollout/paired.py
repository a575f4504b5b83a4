"""Whether the new version's values are worse than the old one's, minute by minute: the sign test.

A value by the minute, such as a percentile or an average, has no counts to compare. If the versions are
equal, either has the worse value of a minute with a probability of one half, however values are distributed.
What moves both, such as the time of day, cancels (W. J. Dixon and A. M. Mood, JASA 41 (1946), 557). Values
must not depend on how much traffic a version has: a sum does.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from statistics import median
from typing import Final

from sluicegate.deployment.observations import Interval, Tally, Verdict
from sluicegate.rollout.binomial import upper_tail
from sluicegate.rollout.comparison import MAX_RATIO, Result, against_constant

Values = Sequence[tuple[int, float]]
"""(epoch seconds, value) by the minute."""

_MINUTE: Final = 60
_CHANCE: Final = 1.644854
"""The 95 % quantile of the normal distribution."""


def tally_values(new: Values, old: Values, *, lower_is_better: bool = True) -> Tally:
    """Count the minutes in which both versions had a value, and not the same: `x` of `n` were worse."""
    pairs = _pairs(new, old)
    worse = [(at, (mine > theirs) == lower_is_better) for at, mine, theirs in pairs if mine != theirs]
    n, x = len(worse), sum(each for _, each in worse)
    phi = _dispersion(worse)
    return Tally(n, x, n, n - x, n / 2, n / 4, phi, 0, phi)


def compare_values(
    path: Sequence[Tally],
    spend: Sequence[float],
    new: Values,
    old: Values,
    *,
    alpha: float,
    max_ratio: float,
    minutes: int,
    lower_is_better: bool = True,
) -> Result:
    """Compare the values of the same minutes.

    `path` are the tallies of the looks so far, newest last, `spend` and `alpha` are as for `compare`. Bad
    means that the median of the minutes' ratios is at least `max_ratio` and that chance is excluded, good
    that the median is surely below it. Fewer than `minutes` are unclear. Where higher values are better, the
    ratio is that of the old value to the new one.
    """
    pairs = _pairs(new, old)
    ratio = _median(pairs, lower_is_better)
    if not path or ratio is None or len(pairs) < minutes:
        return Result(Verdict.UNCLEAR, ratio=ratio, needed=max(minutes - len(pairs), 1))
    found = against_constant(path, spend, alpha=alpha, rate=0.5, min_samples=1)
    if found.verdict is Verdict.BAD and ratio.value >= max_ratio:
        verdict = Verdict.BAD
    else:
        verdict = Verdict.GOOD if ratio.high < max_ratio else Verdict.UNCLEAR
    return Result(verdict, found.p, found.room, ratio)


def _pairs(new: Values, old: Values) -> list[tuple[int, float, float]]:
    theirs = {at: value for at, value in old if math.isfinite(value)}
    return sorted(
        (at, value, theirs[at]) for at, value in dict(new).items() if at in theirs and math.isfinite(value)
    )


def _median(pairs: Sequence[tuple[int, float, float]], lower_is_better: bool) -> Interval | None:
    """Return the median ratio and its limits: the order statistics that the sign test does not exclude."""
    if not pairs:
        return None
    ratios = sorted(
        _ratio(mine, theirs) if lower_is_better else _ratio(theirs, mine) for _, mine, theirs in pairs
    )
    out = 0
    while 2 * (out + 1) <= len(ratios) and upper_tail(len(ratios) - out, len(ratios), 0.5) <= 0.025:
        out += 1
    low, high = (ratios[out - 1], ratios[-out]) if out else (0.0, MAX_RATIO)
    return Interval(median(ratios), low, high)


def _ratio(worse: float, better: float) -> float:
    if worse == better:
        return 1.0
    if better <= 0:
        return MAX_RATIO if worse > better else 0.0
    return min(max(worse / better, 0.0), MAX_RATIO)


def _dispersion(worse: Sequence[tuple[int, bool]]) -> float:
    """Return how much more the number of worse minutes varies if a minute resembles the one before."""
    n = len(worse)
    mean = sum(each for _, each in worse) / n if n else 0.0
    variance = n * mean * (1 - mean)
    if not variance:
        return 1.0
    alike = sum(
        (one - mean) * (other - mean) for (at, one), (then, other) in pairwise(worse) if then - at <= _MINUTE
    )
    correlation = min(alike / variance + 1 / n, 0.9)
    return (1 + correlation) / (1 - correlation) if correlation > _CHANCE / math.sqrt(n) else 1.0
