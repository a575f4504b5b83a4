"""How much more the hits vary than those of requests that fail independently.

Errors come in bursts: a broken dependency, a retried event, a bad host. If the variance of the hits is `phi`
times that of independent requests, counts divided by phi behave as independent ones do (J. N. K. Rao and
A. J. Scott, "A simple method for the analysis of clustered binary data", Biometrics 48 (1992), 577).
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import add, mul
from typing import Final, NamedTuple

from sluicegate.rollout.binomial import upper_hypergeometric
from sluicegate.rollout.readings import Series

_BLOCK: Final = 5
"""Minutes of a block: a burst may last longer than one."""

_LAGS: Final = ((1, 2 / 3), (2, 1 / 3))
"""How much of what a minute has in common with the next ones counts: bursts may last three minutes."""

_FEW: Final = 10
"""Degrees of freedom below which a dispersion is too uncertain to be corrected."""

_SURE: Final = 2.326348
_CHANCE: Final = 1.644854
"""Normal quantiles of 99 % and 95 %."""

_SKEW: Final = 1.1
"""Bursts are more skewed than independent hits, so that large numbers are less rare than phi alone says."""

_SMALL: Final = 0.1
"""The probability that the versions' worst minutes coincide by chance, if outages do not hit both."""

_PRIOR: Final = 10
"""For how many degrees of freedom it counts that outages that hit both leave the split as it is."""


def estimate(series: Series) -> tuple[float, float]:
    """Return the dispersion of the split of the hits between the versions, and of one version's hits.

    One version's hits vary with bursts of its own and with outages that hit both. The first vary the split
    as much, the second do not at all. Without evidence for the second, both dispersions are the same.
    """
    alone = _alone(series)
    if alone <= 1:
        return 1.0, 1.0
    split = _Split.of(series)
    phi = alone
    if split.is_less_than(alone):
        phi = min(phi, split.estimate * _allowance(split.freedom))
    if phi > 1 and (quiet := _quiet(series)) is not None:
        phi = min(phi, max(split.shrunk, quiet))
    return max(1.0, min(phi, split.most)), alone


def _alone(series: Series) -> float:
    """Return the dispersion of one version's hits in a minute, or in blocks if it is surely more there.

    A handful of minutes, with none before, says too little of it to be corrected: then it counts as it is.
    """
    minutes, many = variation(series, 1)
    if many < _FEW:
        return max(1.0, minutes)
    blocks, few = variation(series, _BLOCK)
    if few and blocks > minutes * (1 + _CHANCE * math.sqrt(2 / few)):
        minutes, many = blocks, few
    return 1 + _SKEW * max(0.0, minutes * _allowance(many) - 1)


class _Sums(NamedTuple):
    """Of blocks with n requests and x hits each: their number, and the sums of n, x and their products."""

    blocks: int
    n: int
    x: int
    nn: int
    nx: int
    xx: int

    def about(self, rate: float) -> float:
        """Return the sum of the squares of x - rate * n."""
        return max(self.xx - rate * (2 * self.nx - rate * self.nn), 0.0)


def variation(series: Series, size: int) -> tuple[float, int]:
    """Return the variance of each version's hits about its own mean rate, over that of independent ones.

    Of blocks of `size` minutes, the newest one complete; with the degrees of freedom.
    """
    found = independent = 0.0
    freedom = 0
    new = _sums([(one.n, one.x) for one in series.minutes], size)
    for sums in (new, _sums_of_old(series, size)):
        if sums.blocks < 2 or not sums.n:
            continue
        rate = min(sums.x / sums.n, 1.0)
        found += sums.about(rate)
        independent += sums.x * (1 - rate) * (1 - 1 / sums.blocks)
        freedom += sums.blocks - 1
    return (found / independent if independent > 0 else 1.0), freedom


def _sums_of_old(series: Series, size: int) -> _Sums:
    """Return the old version's. Most of its blocks are the same at each look of a rollout, and are kept."""
    shared = -len(series.minutes) % size  # minutes in a block with the first of the new version's
    whole = max(len(series.before) - shared, 0)
    late = _sums([*series.before[whole:], *((one.m, one.y) for one in series.minutes)], size)
    early = _sums_before(series.before, whole, size)
    return _Sums(*map(add, early, late))


@lru_cache(maxsize=32)
def _sums_before(before: tuple[tuple[int, int], ...], whole: int, size: int) -> _Sums:
    return _sums(before[:whole], size)


def _sums(counts: Sequence[tuple[int, int]], size: int) -> _Sums:
    """Return the sums of whole blocks, the newest complete."""
    blocks = all_n = all_x = nn = nx = xx = 0
    for end in range(len(counts), size - 1, -size):
        n = x = 0
        for one in counts[end - size : end]:
            n, x = n + one[0], x + one[1]
        blocks, all_n, all_x = blocks + 1, all_n + n, all_x + x
        nn, nx, xx = nn + n * n, nx + n * x, xx + x * x
    return _Sums(blocks, all_n, all_x, nn, nx, xx)


@dataclass(frozen=True)
class _Split:
    """How unevenly the versions shared the hits of each minute.

    `short` and `long` estimate the dispersion from single minutes and from three in a row (W. K. Newey and
    K. D. West, Econometrica 55 (1987), 703), with so many degrees of freedom. `most` is the dispersion if all
    hits within three minutes were one burst.
    """

    short: float = 1.0
    long: float = 1.0
    freedom: float = 0.0
    long_freedom: float = 0.0
    most: float = math.inf

    @classmethod
    def of(cls, series: Series) -> "_Split":
        both = [
            (one.x, one.x + one.y, one.n / (one.n + one.m)) if one.n and one.m else _NONE
            for one in series.minutes
        ]
        hits, new = sum(each for _, each, _ in both), sum(x for x, _, _ in both)
        expected = sum(together * share for _, together, share in both)
        if not 0 < expected < hits:
            return cls()
        ratio = (new + 0.5) / (hits - new + 0.5) * (hits - expected) / expected
        shares = [ratio * share / (ratio * share + 1 - share) for _, _, share in both]
        off = [x - together * share for (x, together, _), share in zip(both, shares, strict=True)]
        variances = [
            together * share * (1 - share) for (_, together, _), share in zip(both, shares, strict=True)
        ]
        counts = [float(together) for _, together, _ in both]
        variance = sum(variances)
        short, long = _products(off)
        fitted, fitted_long = _products(variances)
        pairs, pairs_long = (each - hits for each in _products(counts))
        return cls(
            short / variance / max(1 - fitted / variance**2, 0.05),
            long / variance / max(1 - fitted_long / variance**2, 0.05),
            hits * hits / pairs - 1 if pairs else math.inf,
            hits * hits / pairs_long - 1 if pairs_long else math.inf,
            1 + pairs_long / hits,
        )

    @property
    def estimate(self) -> float:
        return max(self.short, self.long)

    @property
    def shrunk(self) -> float:
        """The estimate, drawn towards 1."""
        freedom = max(self.freedom, 0.0)
        return 1.0 if math.isinf(freedom) else (self.estimate * freedom + _PRIOR) / (freedom + _PRIOR)

    def is_less_than(self, dispersion: float) -> bool:
        """Return whether the split's dispersion is surely below that."""
        short, long = _least(self.freedom), _least(self.long_freedom)
        return self.short < dispersion * short and self.long < dispersion * long


_NONE: Final = (0, 0, 0.0)


def _products(values: Sequence[float]) -> tuple[float, float]:
    """Return the sum of the squares, and the same with the products of neighbours."""
    squares = sum(map(mul, values, values))
    return squares, squares + sum(2 * weight * sum(map(mul, values, values[lag:])) for lag, weight in _LAGS)


def _least(freedom: float) -> float:
    """Return the 1 % quantile of an estimate of 1: of chi-square over its degrees of freedom.

    E. B. Wilson and M. M. Hilferty, PNAS 17 (1931), 684.
    """
    if freedom <= 0:
        return 0.0
    if math.isinf(freedom):
        return 1.0
    third = 2 / (9 * freedom)
    return max(1 - third - _SURE * math.sqrt(third), 0.0) ** 3


def _allowance(freedom: float) -> float:
    """Return the factor for a dispersion that is itself estimated: Student's quantile over the normal one.

    Squared, at 1 %. M. Abramowitz and I. A. Stegun, "Handbook of Mathematical Functions", 26.7.5.
    """
    z, f = _SURE, 1 / max(freedom, 1.0)  # 0 if nothing can vary
    second = (z**2 + 1) / 4
    third = (5 * z**4 + 16 * z**2 + 3) / 96
    return (1 + second * f + third * f * f) ** 2


def _quiet(series: Series) -> float | None:
    """Return the dispersion outside of outages if outages hit both versions, or None if that is not sure.

    A minute is one of an outage if the old version had far more hits than usual. The new one must have had
    more in these minutes, too, than in the others (Fisher's exact test): bursts of one version do not
    coincide with those of the other.
    """
    old = [*series.before, *((one.m, one.y) for one in series.minutes)]
    usual = sorted((y / m, m, y) for m, y in old if m)
    usual = usual[: len(usual) - len(usual) // 10]
    rate = _rate((m, y) for _, m, y in usual)
    calm = [(m, y) for m, y in old if not _is_far_above(y, m * rate)]
    outages = [one for one in series.minutes if one.n and one.m and _is_far_above(one.y, one.m * rate)]
    others = [one for one in series.minutes if one.n and one.m and not _is_far_above(one.y, one.m * rate)]
    new_rate = _rate((one.n, one.x) for one in others)
    hit, hit_else = (
        sum(one.x > (mean := one.n * new_rate) + 1.5 * math.sqrt(mean) for one in minutes)
        for minutes in (outages, others)
    )
    if not hit or upper_hypergeometric(hit, len(outages), hit_else, len(others)) >= _SMALL:
        return None
    hits, calm_rate = sum(y for _, y in calm), _rate(calm)
    return sum((y - m * calm_rate) ** 2 for m, y in calm) / hits if hits else 1.0


def _is_far_above(hits: int, mean: float) -> bool:
    return hits > mean + 3 * math.sqrt(mean) + 1.5


def _rate(counts: Iterable[tuple[int, int]]) -> float:
    requests = hits = 0
    for n, x in counts:
        requests, hits = requests + n, hits + x
    return hits / requests if requests else 0.0
