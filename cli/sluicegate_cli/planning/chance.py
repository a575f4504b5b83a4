"""Draw counts by seeded chance, quickly, with the standard library alone."""

import math
from bisect import bisect_left
from functools import lru_cache
from random import Random
from typing import Final

_TABLE_MEAN: Final = 500
"""Above this mean a Poisson count is drawn as a rounded normal value: its skewness is below 0.05."""


def seeded(seed: str) -> Random:
    """Return chance that is the same each time for the same seed."""
    return Random(seed)  # noqa: S311 (simulated traffic, not a secret)


def poisson(chance: Random, mean: float) -> int:
    """Return a Poisson count. Means recur in a simulation, so each has a table of its distribution."""
    if mean <= 0:
        return 0
    if mean > _TABLE_MEAN:
        return max(0, round(chance.gauss(mean, math.sqrt(mean))))
    low, cumulative = _table(mean)
    return low + bisect_left(cumulative, chance.random())


def geometric(chance: Random, mean: float) -> int:
    """Return a geometric count of at least one, with a mean above one."""
    return 1 + int(math.log(1 - chance.random()) / math.log(1 - 1 / mean))


@lru_cache(maxsize=8192)
def _table(mean: float) -> tuple[int, list[float]]:
    """Return the lowest count with a noticeable probability, and from there on the cumulative ones."""
    reach = 8.5 * math.sqrt(mean)
    low = max(0, int(mean - reach - 4))
    probability = math.exp(low * math.log(mean) - mean - math.lgamma(low + 1))
    cumulative, total = [], 0.0
    for count in range(low, int(mean + reach + 16)):
        total += probability
        cumulative.append(total)
        probability *= mean / (count + 1)
    # What is left out is below 1e-15. Chance above the last entry would otherwise go beyond the table.
    cumulative[-1] = 1.0
    return low, cumulative
