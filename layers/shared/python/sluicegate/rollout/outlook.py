"""How many more requests of the new version would settle a comparison, if the rates stay as they are.

A first guess comes from a scale on which the variance hardly depends on the rate: the logarithm for ratios
(D. Katz et al., Biometrics 34 (1978), 469), the square root for rates (M. S. Bartlett, Supplement to the
JRSS 3 (1936), 68). Then the exact tails say how much more it takes to be 80 % sure.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sluicegate.rollout.binomial import NORMAL, upper_tail

_POWER: Final = 0.841621
"""The 80 % quantile: how sure it should be that so many requests are enough."""

_LIMIT: Final = 1.959964
_DOUBT: Final = 0.025
"""The normal quantile of confidence limits, and how often each of them is wrong."""

_MOST: Final = 10**12
"""More requests than that settle nothing."""

_STEP: Final = 1.08
_STEPS: Final = 24
"""A guess is raised by this factor, so often at most."""


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
    enough = _requests_below(seen, tolerance)
    hits = seen.x + y
    if not odds > 0 or not hits:
        return _more(seen, enough)
    effect = math.log((seen.x + 0.5) / (y + 0.5) / odds)
    margin = effect - math.log(max_ratio)
    deviation = math.sqrt(seen.dispersion * (1 / (seen.x + 0.5) + 1 / (y + 0.5)))
    equal, limit = (each / (1 + each) for each in (odds, odds * max_ratio))

    def is_bad(factor: float) -> bool:
        low = _low(seen, factor, seen.x, hits)
        trials = factor * hits / seen.dispersion
        return low > limit * trials and upper_tail(low, trials, equal) <= alpha

    def is_good(factor: float) -> bool:
        return _is_below(seen, factor, seen.x, hits, limit)

    if margin > 0 and effect > 0:
        quantile = max((_quantile(alpha) + _POWER) / effect, _POWER / margin)
        enough = min(enough, seen.n * _raised((quantile * deviation) ** 2, is_bad))
    elif margin < 0:
        enough = min(enough, seen.n * _raised(((_LIMIT + _POWER) * deviation / margin) ** 2, is_good))
    return _more(seen, enough)


def for_rate(seen: Seen, *, alpha: float, rate: float) -> int | None:
    """Return how many more requests would show that a rate is above or below `rate`, or None."""
    above = math.sqrt(seen.x / seen.n) - math.sqrt(rate) if seen.n else 0.0
    if above <= 0:
        return _more(seen, _requests_below(seen, rate))

    def is_above(factor: float) -> bool:
        low = _low(seen, factor, seen.x, seen.n)
        return upper_tail(low, factor * seen.n / seen.dispersion, rate) <= alpha

    guess = seen.dispersion * ((_quantile(alpha) + _POWER) / (2 * above)) ** 2 / seen.n
    return _more(seen, seen.n * _raised(guess, is_above))


def _requests_below(seen: Seen, limit: float) -> float:
    """Return the requests that would show that the new version's rate is below the limit."""
    if not seen.n or limit <= 0:
        return math.inf
    below = math.sqrt(limit) - math.sqrt(seen.x / seen.n)
    if below <= 0:
        return math.inf
    guess = seen.dispersion * ((_LIMIT + _POWER) / (2 * below)) ** 2 / seen.n
    return seen.n * _raised(guess, lambda factor: _is_below(seen, factor, seen.x, seen.n, limit))


def _is_below(seen: Seen, factor: float, part: int, whole: int, limit: float) -> bool:
    """Return whether `factor` times as many would show with 80 % that the share is below the limit."""
    trials = factor * whole / seen.dispersion
    share = min(part / whole, 1.0)
    high = min(factor * part / seen.dispersion + _POWER * math.sqrt(trials * share * (1 - share)), trials)
    return 1 - upper_tail(high + 1, trials, limit) <= _DOUBT


def _low(seen: Seen, factor: float, part: int, whole: int) -> float:
    """Return the hits, divided by their dispersion, of which there will be more with 80 %."""
    trials, share = factor * whole / seen.dispersion, min(part / whole, 1.0)
    return factor * part / seen.dispersion - _POWER * math.sqrt(trials * share * (1 - share))


def _raised(guess: float, settles: Callable[[float], bool]) -> float:
    """Return by what factor there must be more, from a first guess."""
    factor = max(guess, 1.0)
    for _ in range(_STEPS):
        if not factor < _MOST or settles(factor):
            break
        factor *= _STEP
    return factor


def _quantile(alpha: float) -> float:
    return -NORMAL.inv_cdf(min(max(alpha, 1e-12), 0.5))


def _more(seen: Seen, enough: float) -> int | None:
    return max(1, math.ceil(enough - seen.n)) if enough < _MOST else None
