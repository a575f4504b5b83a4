"""How much more the hits vary than those of requests that fail independently.

Errors come in bursts: a broken dependency, a retried event, a bad host. If the variance of the hits is `phi`
times that of independent requests, counts divided by phi behave as independent ones do (J. N. K. Rao and
A. J. Scott, "A simple method for the analysis of clustered binary data", Biometrics 48 (1992), 577).
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from operator import add
from typing import Final, NamedTuple

from sluicegate.rollout.readings import Minute, Series

_BLOCKS: Final = (1, 5)
"""Minutes of a block: a burst may last longer than one."""

_FEW: Final = 10
"""Fewer minutes with hits do not say how the versions shared them."""


def estimate(series: Series) -> tuple[float, float]:
    """Return the dispersion of the split of the hits between the versions, and of one version's hits."""
    alone = max(_variation(series, minutes) for minutes in _BLOCKS)
    split = _split(series.minutes)
    return max(1.0, min(alone, split)), max(1.0, alone)


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


def _variation(series: Series, size: int) -> float:
    """Return the variance of each version's hits about its own mean rate, over that of independent ones.

    Of blocks of `size` minutes, the newest one complete.
    """
    found = independent = 0.0
    new = _sums([(one.n, one.x) for one in series.minutes], size)
    for sums in (new, _sums_of_old(series, size)):
        if sums.blocks < 2 or not sums.n:
            continue
        rate = min(sums.x / sums.n, 1.0)
        found += sums.about(rate)
        independent += sums.x * (1 - rate) * (1 - 1 / sums.blocks)
    return found / independent if independent > 0 else 1.0


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


def _split(minutes: Sequence[Minute]) -> float:
    """Return an upper limit of the dispersion of the split: outages that hit both versions leave it at 1.

    The estimate is multiplied by what a chi-square estimate may fall short of with 5 % (E. B. Wilson and
    M. M. Hilferty, PNAS 17 (1931), 684).
    """
    used = [one for one in minutes if one.x + one.y]
    if len(used) < _FEW:
        return math.inf
    hits, new = sum(one.x + one.y for one in used), sum(one.x for one in used)
    share, freedom = (new + 0.5) / (hits + 1), len(used) - 1
    found = sum((one.x - share * (one.x + one.y)) ** 2 for one in used)
    estimated = found / (share * (1 - share) * hits * (1 - 1 / len(used)))
    third = 2 / (9 * freedom)
    return estimated / max((1 - third - 1.6449 * math.sqrt(third)) ** 3, 0.01)
