"""The binomial distribution and its confidence limits, in double precision, with the standard library alone.

Counts may be fractions: a count that is divided by its dispersion is one. Sources:

* W. H. Press et al., "Numerical Recipes", 3rd ed., 6.4: the continued fraction, by Lentz's method.
* C. J. Clopper and E. S. Pearson, Biometrika 26 (1934), 404: the confidence limits.
* O. E. Barndorff-Nielsen, Biometrika 73 (1986), 307: the signed root, for large counts.
"""

import math
from statistics import NormalDist
from typing import Final

NORMAL: Final = NormalDist()

_LARGE: Final = 20_000
"""From so many expected hits and misses the saddle point approximation errs by less than 1 in 10,000."""

_TINY: Final = 1e-300

_NOTHING: Final = 1e-9
"""Fewer hits than that are none: a fraction is one only by its dispersion."""


def upper_tail(hits: float, trials: float, share: float) -> float:
    """Return the probability of at least `hits` in `trials` that each hit with probability `share`.

    Between whole numbers it is the regularised incomplete beta function, which joins the exact values.
    """
    if hits <= 0:
        return 1.0
    if hits > trials or share <= 0:
        return 0.0
    if share >= 1:
        return 1.0
    if min(trials * share, trials * (1 - share), hits, trials - hits) >= _LARGE:
        return NORMAL.cdf(-_signed_root(hits - 0.5, trials, share))
    return beta_cdf(share, hits, trials - hits + 1)


def confidence_limits(hits: float, trials: float, doubt: float = 0.025) -> tuple[float, float]:
    """Return the lower and upper limit of a share, each wrong with probability `doubt` (Clopper-Pearson)."""
    if trials <= 0:
        return 0.0, 1.0
    misses = max(trials - hits, 0.0)
    low = beta_quantile(doubt, hits, misses + 1) if hits > _NOTHING else 0.0
    high = beta_quantile(1 - doubt, hits + 1, misses) if misses > _NOTHING else 1.0
    return low, high


def upper_hypergeometric(hits: float, requests: float, others_hits: float, others: float) -> float:
    """Return the probability that of all hits at least `hits` are among `requests`, not among the others.

    It is Fisher's exact test of one side. Fractions are rounded so that it never becomes too small.
    """
    least, theirs = math.floor(hits), math.ceil(others_hits)
    most = max(math.ceil(requests), least)
    total, whole = least + theirs, most + max(math.floor(others), theirs)
    if least * whole <= total * most:
        return 1.0
    if total > _LARGE:  # drawn with replacement, they vary more (W. Hoeffding, JASA 58 (1963), 13)
        return upper_tail(least, total, most / whole)
    value = term = math.exp(
        _log_choose(total, least) + _log_choose(whole - total, most - least) - _log_choose(whole, most)
    )
    for k in range(least, min(most, total)):
        term *= (total - k) * (most - k) / ((k + 1) * (whole - total - most + k + 1))
        value += term
        if term < 1e-12 * value:
            break
    return min(value, 1.0)


def _log_choose(whole: int, part: int) -> float:
    return math.lgamma(whole + 1) - math.lgamma(part + 1) - math.lgamma(whole - part + 1)


def beta_cdf(x: float, a: float, b: float) -> float:
    """Return the regularised incomplete beta function I_x(a, b), for a and b above 0."""
    if x <= 0:
        return 0.0
    if x >= 1:
        return 1.0
    logarithm = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    front = math.exp(min(logarithm, 700.0))
    if x > (a + 1) / (a + b + 2):  # the fraction converges faster on the other side
        return min(max(1 - front * _fraction(1 - x, b, a) / b, 0.0), 1.0)
    return min(front * _fraction(x, a, b) / a, 1.0)


def beta_quantile(probability: float, a: float, b: float) -> float:
    """Return x such that I_x(a, b) is `probability`: Newton's method, kept between bounds that close in."""
    low, high = 0.0, 1.0
    x = _rough_quantile(probability, a, b)
    scale = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    for _ in range(60):
        excess = beta_cdf(x, a, b) - probability
        if excess > 0:
            high = x
        else:
            low = x
        density = scale + (a - 1) * math.log(x) + (b - 1) * math.log1p(-x)
        step = excess / math.exp(density) if -600 < density < 600 else math.inf
        following = x - step
        if not low < following < high:
            following = (low + high) / 2
        if abs(following - x) <= 1e-9 * min(x, 1 - x) or not 0 < following < 1:
            return min(max(following, 0.0), 1.0)
        x = following
    return x


def _fraction(x: float, a: float, b: float) -> float:
    """Return the continued fraction of I_x(a, b), by the modified method of Lentz."""
    c, d = 1.0, 1 - (a + b) * x / (a + 1)
    d = 1 / (d if abs(d) > _TINY else _TINY)
    value = d
    for m in range(1, 20_000):
        double = 2 * m
        term = m * (b - m) * x / ((a - 1 + double) * (a + double))
        d = 1 + term * d
        c = 1 + term / c
        d = 1 / (d if abs(d) > _TINY else _TINY)
        c = c if abs(c) > _TINY else _TINY
        value *= d * c
        term = -(a + m) * (a + b + m) * x / ((a + double) * (a + 1 + double))
        d = 1 + term * d
        c = 1 + term / c
        d = 1 / (d if abs(d) > _TINY else _TINY)
        c = c if abs(c) > _TINY else _TINY
        change = d * c
        value *= change
        if abs(change - 1) < 1e-12:
            break
    return value


def _rough_quantile(probability: float, a: float, b: float) -> float:
    """Return a first guess: the normal approximation of the logarithm of the odds."""
    mean, spread = math.log(a / b), math.sqrt(1 / a + 1 / b)
    logit = mean + spread * NORMAL.inv_cdf(min(max(probability, 1e-12), 1 - 1e-12))
    return min(max(1 / (1 + math.exp(-min(max(logit, -600), 600))), 1e-300), 1 - 1e-15)


def _signed_root(hits: float, trials: float, share: float) -> float:
    """Return the normal deviate of `hits`: the signed root of the deviance, with its first correction."""
    mean = trials * share
    deviance = 2 * (_departure(hits, mean) + _departure(trials - hits, trials - mean))
    root = math.copysign(math.sqrt(max(deviance, 0.0)), hits - mean)
    if abs(root) < 1e-3:
        return (hits - mean) / math.sqrt(mean * (1 - share))
    observed = hits * (trials - hits) / trials
    logit = math.log(hits / mean) - math.log((trials - hits) / (trials - mean))
    return root + math.log(logit * math.sqrt(observed) / root) / root


def _departure(count: float, mean: float) -> float:
    """Return count log(count / mean) - count + mean, without cancellation (C. Loader's `bd0`, 2000)."""
    excess = (count - mean) / mean
    if abs(excess) < 1e-2:
        series = excess * excess * (1 / 2 - excess * (1 / 6 - excess * (1 / 12 - excess / 20)))
        return mean * series
    return count * math.log1p(excess) - mean * excess
