"""How many more requests of the new version would settle a comparison, if the rates stay as they are.

Normal approximations on a scale where the variance hardly depends on the rate: the logarithm for ratios
(D. Katz et al., Biometrics 34 (1978), 469), the square root for rates (M. S. Bartlett, Supplement to the
JRSS 3 (1936), 68).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sluicegate.rollout.binomial import NORMAL

_POWER: Final = 0.841621
"""The 80 % quantile: how sure it should be that so many requests are enough."""

_LIMIT: Final = 1.959964
"""The 97.5 % quantile, of which confidence limits are."""

_NO_HITS: Final = 3.689
"""The hits that a rate could have had without any to be seen: its limit at 97.5 %."""

_MOST: Final = 10**12
"""More requests than that settle nothing."""


@dataclass(frozen=True)
class Seen:
    """What has been seen: `x` hits in `n` requests of the new version, and their dispersion."""

    n: int
    x: int
    dispersion: float


def for_ratio(
    seen: Seen, y: int, odds: float, *, alpha: float, max_ratio: float, tolerance: float
) -> int | None:
    """Return how many more requests would show that a ratio is above or below `max_ratio`, or None.

    The old version had `y` hits in the same minutes, `odds` are those of a hit to be the new version's if
    both are as good. A rate that is surely below `tolerance` settles it as well.
    """
    enough = [_below(seen, tolerance)]
    if odds > 0 and seen.x + y > 0:
        effect = math.log((seen.x + 0.5) / (y + 0.5) / odds)
        margin = effect - math.log(max_ratio)
        variance = seen.dispersion * (1 / (seen.x + 0.5) + 1 / (y + 0.5))
        if margin > 0 and effect > 0:
            quantile = max((_quantile(alpha) + _POWER) / effect, _POWER / margin)
            enough.append(seen.n * quantile**2 * variance)
        elif margin < 0:
            enough.append(seen.n * ((_LIMIT + _POWER) / margin) ** 2 * variance)
    return _more(seen, enough)


def for_rate(seen: Seen, *, alpha: float, rate: float) -> int | None:
    """Return how many more requests would show that a rate is above or below `rate`, or None."""
    above = math.sqrt(seen.x / seen.n) - math.sqrt(rate) if seen.n else 0.0
    if above <= 0:
        return _more(seen, [_below(seen, rate)])
    return _more(seen, [seen.dispersion * ((_quantile(alpha) + _POWER) / (2 * above)) ** 2])


def _below(seen: Seen, limit: float) -> float:
    """Return the requests that would show that a rate is below the limit."""
    if not seen.n or limit <= 0:
        return math.inf
    below = math.sqrt(limit) - math.sqrt(seen.x / seen.n)
    if below <= 0:
        return math.inf
    return seen.dispersion * max(((_LIMIT + _POWER) / (2 * below)) ** 2, _NO_HITS / limit)


def _quantile(alpha: float) -> float:
    return -NORMAL.inv_cdf(min(max(alpha, 1e-12), 0.5))


def _more(seen: Seen, enough: Sequence[float]) -> int | None:
    least = min(enough)
    return max(1, math.ceil(least - seen.n)) if least < _MOST else None
