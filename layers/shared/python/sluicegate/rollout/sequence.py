"""Looking repeatedly without being wrong more often: the exact group-sequential boundary.

A version that is as good as the old one may be found bad with probability `alpha` in all looks together. Each
look has a cumulative share of it (K. K. G. Lan and D. L. DeMets, Biometrika 70 (1983), 659). What has been
spent so far is counted exactly, by carrying the distribution of the hits from look to look without what has
crossed the boundary (P. Armitage, C. K. McPherson and B. C. Rowe, JRSS A 132 (1969), 235). So a look that
could not use its share, because hits are whole numbers, leaves it to the next ones.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from operator import mul
from typing import Final

_NEGLIGIBLE: Final = 1e-18
"""A probability that changes no verdict: far below what any look may spend."""

_REACH: Final = 8.5
"""Standard deviations from the mean that are calculated."""

_MOST_VARIANCE: Final = 225.0
"""Up to this variance the distribution is exact: at a share of 10 %, that of 2,500 hits."""

_LATTICE: Final = 14
"""Steps of a standard deviation where a normal distribution stands for the exact one."""


_TINY: Final = 1e-300

_NOTHING: Final = 1e-9
"""Less than that of a trial is a rounding error."""


@dataclass(frozen=True)
class Increment:
    """What one look added: `trials`, of which `expected` hit on average if the version is as good.

    Both may be counts divided by their dispersion. `allowed` is the probability, of all looks up to this one,
    to find a version bad that is as good. Fewer than `least` hits so far are not bad here, however rare.
    Increments of the same `share` of the traffic, by its number, belong together.
    """

    trials: float
    expected: float
    allowed: float
    least: float = 0.0
    share: int = 0

    @property
    def variance(self) -> float:
        return self.expected * (1 - self.expected / self.trials) if self.trials > 0 else 0.0


@dataclass(frozen=True)
class _Step:
    """One look on whole numbers: how the hits it adds are distributed, and what the boundary is made of.

    `chances` are the probabilities of `offset` hits, one more, and so on.
    """

    offset: int
    chances: list[float]
    allowed: float = 0.0
    least: float = 0.0


def joint_tail(increments: Sequence[Increment], hits: float, deviate: float) -> tuple[float, float]:
    """Return (p, room) for `hits` at the last look, which are the normal `deviate` of their tail.

    p is the probability that a version that is as good has as many there without having crossed the boundary
    before, room what may still be spent: chance is excluded if p is at most room.
    """
    if sum(one.variance for one in increments) <= _MOST_VARIANCE:
        return _walk(*_exact(increments), hits)
    return _walk(_normal(increments), [], deviate * _LATTICE + 0.5)


def _walk(steps: Sequence[_Step], rest: Sequence[tuple[float, float]], at: float) -> tuple[float, float]:
    first, below, spent = 0, [1.0], 0.0
    for number, step in enumerate(steps, 1):
        first, below = _trim(first + step.offset, _convolve(below, step.chances))
        if number == len(steps):
            break
        room, crossed, kept = step.allowed - spent, 0.0, len(below)
        while kept > 0 and crossed + below[kept - 1] <= room and first + kept - 1 >= step.least:
            kept -= 1
            crossed += below[kept]
        spent += crossed
        below = below[:kept] or [0.0]
    return _tail_with(rest, first, below, at), steps[-1].allowed - spent


def _exact(increments: Sequence[Increment]) -> tuple[list[_Step], list[tuple[float, float]]]:
    """Return the looks with binomial distributions, of whole trials.

    A fraction is left to the next look at the same share. The last ones are returned with the probability
    of each to hit.
    """
    steps: list[_Step] = []
    rest: dict[int, tuple[float, float]] = {}
    for one in increments:
        trials, expected = rest.get(one.share, (0.0, 0.0))
        trials, expected = trials + one.trials, expected + one.expected
        share = min(expected / trials, 1.0) if trials > 0 else 0.0
        whole = math.floor(trials + _NOTHING)
        left = max(trials - whole, 0.0)
        rest[one.share] = left, left * share
        offset, chances = binomial(whole, share)
        steps.append(_Step(offset, chances, one.allowed, one.least))
    return steps, [(trials, expected / trials) for trials, expected in rest.values() if trials > _NOTHING]


def _normal(increments: Sequence[Increment]) -> list[_Step]:
    """Return the looks with normal distributions about their means, on a lattice."""
    scale = _LATTICE / math.sqrt(sum(one.variance for one in increments) or 1.0)
    steps, mean = [], 0.0
    for one in increments:
        mean += one.expected
        offset, chances = normal(one.variance * scale * scale)
        steps.append(_Step(offset, chances, one.allowed, (one.least - mean) * scale + 0.5))
    return steps


def binomial(trials: int, share: float) -> tuple[int, list[float]]:
    """Return the least hits that matter, and the probabilities of them, of one more, and so on."""
    if trials <= 0 or share <= 0:
        return 0, [1.0]
    if share >= 1:
        return trials, [1.0]
    deviation = math.sqrt(trials * share * (1 - share))
    low = max(0, math.floor(trials * share - _REACH * deviation - 4))
    high = min(trials, math.ceil(trials * share + _REACH * deviation + 8))
    whole, hit, miss = math.lgamma(trials + 1), math.log(share), math.log1p(-share)
    return low, [
        math.exp(whole - math.lgamma(k + 1) - math.lgamma(trials - k + 1) + k * hit + (trials - k) * miss)
        for k in range(low, high + 1)
    ]


def normal(variance: float) -> tuple[int, list[float]]:
    """Return a distribution on whole numbers with mean 0, this variance, and a normal's shape if it can."""
    if variance <= 0:
        return 0, [1.0]
    if variance < 0.5:
        return -1, [variance / 2, 1 - variance, variance / 2]
    reach = math.ceil(_REACH * math.sqrt(variance))
    weights = [math.exp(-k * k / (2 * variance)) for k in range(-reach, reach + 1)]
    whole = sum(weights)
    return -reach, [weight / whole for weight in weights]


def _convolve(one: list[float], other: list[float]) -> list[float]:
    if len(other) > len(one):
        one, other = other, one
    width, turned = len(other), other[::-1]
    edge = [0.0] * (width - 1)
    padded = [*edge, *one, *edge]
    return [sum(map(mul, padded[i : i + width], turned)) for i in range(len(one) + width - 1)]


def _trim(first: int, values: list[float]) -> tuple[int, list[float]]:
    begin, end = 0, len(values)
    while end > 1 and values[end - 1] < _NEGLIGIBLE:
        end -= 1
    while begin < end - 1 and values[begin] < _NEGLIGIBLE:
        begin += 1
    return first + begin, values[begin:end]


def _tail_with(rest: Sequence[tuple[float, float]], first: int, values: list[float], at: float) -> float:
    """Return the tail with fractions of trials: between those without and with a whole one.

    One more trial stands for one more hit there, so that more hits never make the tail larger.
    """
    at -= sum(part for part, _ in rest)
    logarithm, weight = 0.0, 1.0
    for part, share in sorted(rest, reverse=True):
        logarithm += (weight - part) * math.log(max(_tail(first, values, at), _TINY))
        at, weight, values = at + 1, part, _convolve(values, [1 - share, share])
    last = _tail(first, values, at)
    return math.exp(logarithm + weight * math.log(max(last, _TINY))) if rest else last


def _tail(first: int, values: list[float], at: float) -> float:
    """Return the probability of at least `at`, on a logarithmic scale between whole numbers."""
    whole = math.floor(at)
    part = at - whole
    more, less = (sum(values[max(0, k - first) :]) for k in (whole, whole + 1))
    if part < 1e-9:
        return more
    return math.exp((1 - part) * math.log(max(more, _TINY)) + part * math.log(max(less, _TINY)))
