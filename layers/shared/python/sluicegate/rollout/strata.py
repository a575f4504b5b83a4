"""How the hits are split between the versions when the new one's share of the traffic has changed.

If the new version fails r times as often, a hit at share s is its own with the probability
r s / (r s + 1 - s). Its hits are then a sum of binomial numbers, one for each share. `parts` are (trials,
share) of each, where trials may be fractions. Sources:

* K. J. Rothman and J. D. Boice, "Epidemiologic Analysis with a Programmable Calculator" (NIH, 1979): the
  ratio of rates after Mantel and Haenszel.
* O. E. Barndorff-Nielsen, Biometrika 73 (1986), 307; H. E. Daniels, Int. Stat. Rev. 55 (1987), 37: the
  signed root of the likelihood, and its correction for whole numbers.

More hits of the new version never lower a ratio, a limit or a deviate, at whatever share they come.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Final

from sluicegate.deployment.observations import ShareHits
from sluicegate.rollout.binomial import NORMAL

Parts = Sequence[tuple[float, float]]

_FARTHEST: Final = 14.0
"""The logarithm of the largest ratio: above a million it is as good as infinite."""


def parts_of(split: Iterable[ShareHits], phi: float) -> list[tuple[float, float]]:
    """Return the trials of each share, divided by their dispersion, and the share."""
    found = [(one.x + one.y, one.expected) for one in split]
    return [(hits / phi, expected / hits) for hits, expected in found if hits]


def ratio(split: Sequence[ShareHits], even: float) -> float:
    """Return the new version's rate over the old one's, stratified by the share.

    Half a hit is added to each version's, at the share `even`.
    """
    new, old = (1 - even) / 2, even / 2
    for one in split:
        if hits := one.x + one.y:
            new += one.x * (1 - one.expected / hits)
            old += one.y * one.expected / hits
    return new / old if old > 0 else math.inf


def limits(parts: Parts, hits: float, doubt: float) -> tuple[float, float]:
    """Return the lower and upper limit of the ratio, each wrong with probability `doubt`."""
    deviate = -NORMAL.inv_cdf(doubt)
    low = _root(parts, hits - 0.5, deviate) if hits > 0.5 else -math.inf
    high = _root(parts, hits + 0.5, -deviate) if hits + 0.5 < sum(trials for trials, _ in parts) else math.inf
    return math.exp(low), math.exp(high) if high < _FARTHEST else math.inf


def deviate(parts: Parts, hits: float) -> float:
    """Return the normal deviate of at least so many hits if the versions are equal."""
    if hits <= 0.5:
        return -math.inf
    if hits - 0.5 >= sum(trials for trials, _ in parts):
        hits = sum(trials for trials, _ in parts)
    return _deviate(parts, hits - 0.5, _likeliest(parts, hits - 0.5), 0.0)


def _mean(parts: Parts, tilt: float) -> float:
    odds = math.exp(tilt)
    return sum(trials * share * odds / (1 - share + share * odds) for trials, share in parts)


def _variance(parts: Parts, tilt: float) -> float:
    odds = math.exp(tilt)
    return sum(
        trials * share * (1 - share) * odds / (1 - share + share * odds) ** 2 for trials, share in parts
    )


def _likeliest(parts: Parts, hits: float) -> float:
    """Return the logarithm of the ratio that makes so many hits likeliest: Newton's method, within bounds."""
    low, high, tilt = -2 * _FARTHEST, 2 * _FARTHEST, 0.0
    for _ in range(60):
        excess = hits - _mean(parts, tilt)
        low, high = (tilt, high) if excess > 0 else (low, tilt)
        variance = _variance(parts, tilt)
        following = tilt + excess / variance if variance > 0 else math.inf
        if not low < following < high:
            following = (low + high) / 2
        if abs(following - tilt) < 1e-10:
            break
        tilt = following
    return tilt


def _deviate(parts: Parts, hits: float, likeliest: float, tilt: float) -> float:
    """Return the normal deviate of the hits if the logarithm of the ratio is `tilt`."""

    def cumulant(at: float) -> float:
        return sum(trials * math.log1p(share * math.expm1(at)) for trials, share in parts)

    away = likeliest - tilt
    root = math.sqrt(max(2 * (away * hits - cumulant(likeliest) + cumulant(tilt)), 0.0))
    root = math.copysign(root, away)
    deviation = math.sqrt(_variance(parts, likeliest))
    if abs(root) < 1e-3 or not deviation:
        return away * deviation
    return root + math.log(2 * math.sinh(away / 2) * deviation / root) / root


def _root(parts: Parts, hits: float, deviate: float) -> float:
    """Return the logarithm of the ratio at which the hits have this deviate: it falls as the ratio rises."""
    likeliest = _likeliest(parts, hits)
    low, high = (likeliest, _FARTHEST) if deviate < 0 else (-2 * _FARTHEST, likeliest)
    for _ in range(50):
        middle = (low + high) / 2
        if _deviate(parts, hits, likeliest, middle) > deviate:
            low = middle
        else:
            high = middle
    return (low + high) / 2
