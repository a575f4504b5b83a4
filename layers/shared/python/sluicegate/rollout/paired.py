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
from sluicegate.rollout.comparison import Result, compare
from sluicegate.rollout.readings import MINUTE
from sluicegate.rollout.split import MAX_RATIO

Values = Sequence[tuple[int, float]]
"""(epoch seconds, value) by the minute."""

_CHANCE: Final = 1.644854
"""The 95 % quantile of the normal distribution."""


def tally_values(new: Values, old: Values, *, lower_is_better: bool = True) -> Tally:
    """Count the minutes in which both versions had a value: `x` where the new one's was worse, `y` better."""
    pairs = _pairs(new, old)
    worse = [(at, (mine > theirs) == lower_is_better) for at, mine, theirs in pairs if mine != theirs]
    n, differ, x = len(pairs), len(worse), sum(each for _, each in worse)
    phi = _dispersion(worse)
    return Tally(n, x, n, differ - x, differ / 2, differ / 4, phi, phi_alone=phi)


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
    if not path or len(pairs) < max(minutes, 1):
        return Result(Verdict.UNCLEAR)
    ordered = ((mine, theirs) if lower_is_better else (theirs, mine) for _, mine, theirs in pairs)
    ratio = _median([_ratio(worse, better) for worse, better in ordered], 0.0, MAX_RATIO)
    mine, theirs = (_median([pair[i] for pair in pairs]) for i in (1, 2))
    split = compare(path, spend, alpha=alpha, max_ratio=1, min_samples=1)
    if split.verdict is Verdict.BAD and ratio.value >= max_ratio:
        verdict = Verdict.BAD
    else:
        verdict = Verdict.GOOD if ratio.high < max_ratio else Verdict.UNCLEAR
    return Result(verdict, split.p, split.room, ratio, mine, theirs)


def _pairs(new: Values, old: Values) -> list[tuple[int, float, float]]:
    theirs = {at: value for at, value in old if math.isfinite(value)}
    return sorted(
        (at, value, theirs[at]) for at, value in dict(new).items() if at in theirs and math.isfinite(value)
    )


def _median(values: Sequence[float], least: float = -math.inf, most: float = math.inf) -> Interval:
    """Return the median and its limits: the order statistics that the sign test does not exclude.

    Of few values, none excludes anything: the limits are then the least and the most there can be, or were.
    """
    ordered, out = sorted(values), 0
    while 2 * (out + 1) <= len(ordered) and upper_tail(len(ordered) - out, len(ordered), 0.5) <= 0.025:
        out += 1
    if out:
        return Interval(median(ordered), ordered[out - 1], ordered[-out])
    low = least if math.isfinite(least) else ordered[0]
    return Interval(median(ordered), low, most if math.isfinite(most) else ordered[-1])


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
        (one - mean) * (other - mean) for (at, one), (then, other) in pairwise(worse) if then - at <= MINUTE
    )
    correlation = min(alike / variance + 1 / n, 0.9)
    return (1 + correlation) / (1 - correlation) if correlation > _CHANCE / math.sqrt(n) else 1.0
