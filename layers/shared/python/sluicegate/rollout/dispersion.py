"""How much more the hits vary than those of requests that fail independently.

Errors come in bursts: a broken dependency, a retried event, a bad host. If the variance of the hits is `phi`
times that of independent requests, counts divided by phi behave as independent ones do (J. N. K. Rao and
A. J. Scott, "A simple method for the analysis of clustered binary data", Biometrics 48 (1992), 577).
"""

import math
from collections.abc import Sequence
from typing import Final

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


def _variation(series: Series, block: int) -> float:
    """Return the variance of each version's hits about its own mean rate, over that of independent ones."""
    found = independent = 0.0
    new = [(one.n, one.x) for one in series.minutes]
    old = [*series.before, *((one.m, one.y) for one in series.minutes)]
    for counts in (new, old):
        blocks = _sums(counts, block)
        requests, hits = (sum(column) for column in zip(*blocks, strict=True)) if blocks else (0, 0)
        if len(blocks) < 2 or not requests:
            continue
        rate = min(hits / requests, 1.0)
        found += sum((x - rate * n) ** 2 for n, x in blocks)
        independent += hits * (1 - rate) * (1 - 1 / len(blocks))
    return found / independent if independent > 0 else 1.0


def _sums(counts: Sequence[tuple[int, int]], size: int) -> list[tuple[int, int]]:
    """Return the sums of whole blocks, the newest complete."""
    spare = len(counts) % size
    return [
        (sum(n for n, _ in counts[i : i + size]), sum(x for _, x in counts[i : i + size]))
        for i in range(spare, len(counts), size)
    ]


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
