"""Repeated looks: the boundary against exact fractions, and how often equal versions cross it."""

import math
from fractions import Fraction
from itertools import accumulate

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluicegate.deployment.observations import Tally, Verdict
from sluicegate.rollout.binomial import NORMAL
from sluicegate.rollout.comparison import against_constant, compare
from sluicegate.rollout.sequence import Increment, binomial, joint_tail, normal

ALPHA = 0.0095


def binomial_exactly(trials: int, share: Fraction) -> list[Fraction]:
    return [math.comb(trials, k) * share**k * (1 - share) ** (trials - k) for k in range(trials + 1)]


def add(below: list[Fraction], step: list[Fraction]) -> list[Fraction]:
    total = [Fraction()] * (len(below) + len(step) - 1)
    for i, one in enumerate(below):
        for k, other in enumerate(step):
            total[i + k] += one * other
    return total


Look = tuple[int, Fraction, Fraction]
"""Trials, the probability of each to hit, and what may have been spent by then."""


def exactly(looks: list[Look], hits: int) -> tuple[Fraction, Fraction]:
    """Return p and room, as `joint_tail` does, in exact fractions."""
    below, spent = [Fraction(1)], Fraction()
    for number, (trials, share, allowed) in enumerate(looks, 1):
        below = add(below, binomial_exactly(trials, share))
        if number < len(looks):
            while below and spent + below[-1] <= allowed:
                spent += below.pop()
    return sum(below[hits:], Fraction()), looks[-1][2] - spent


@st.composite
def sequences(draw: st.DrawFn) -> tuple[list[Look], int]:
    number = draw(st.integers(1, 5))
    trials = draw(st.lists(st.integers(0, 9), min_size=number, max_size=number))
    shares = draw(st.lists(st.integers(1, 9), min_size=number, max_size=number))
    spent = accumulate(draw(st.lists(st.integers(0, 40), min_size=number, max_size=number)))
    looks = [
        (n, Fraction(share, 10), Fraction(part, 1000))
        for n, share, part in zip(trials, shares, spent, strict=True)
    ]
    return looks, draw(st.integers(0, sum(trials)))


@given(sequences())
@settings(max_examples=60)
def test_what_was_spent_and_what_is_left_is_exact(case: tuple[list[Look], int]) -> None:
    looks, hits = case
    increments = [Increment(n, float(n * share), float(allowed) + 1e-12) for n, share, allowed in looks]
    p, room = joint_tail(increments, hits, 0.0)
    exact_p, exact_room = exactly(looks, hits)
    assert p == pytest.approx(float(exact_p), abs=1e-9)
    assert room == pytest.approx(float(exact_room), abs=1e-9)


def crossings(errors: list[int], share: float, verdicts: list[list[bool]]) -> float:
    """Return the probability that a version with this share of the errors is bad at any look.

    `verdicts` says for each look and number of hits whether it is bad.
    """
    alive, bad = {0: 1.0}, 0.0
    for added, found in zip(errors, verdicts, strict=True):
        offset, chances = binomial(added, share)
        after: dict[int, float] = {}
        for x, mass in alive.items():
            for k, chance in enumerate(chances, offset):
                after[x + k] = after.get(x + k, 0.0) + mass * chance
        bad += sum(mass for x, mass in after.items() if found[x])
        alive = {x: mass for x, mass in after.items() if not found[x]}
    return bad


@pytest.mark.parametrize(("new", "old"), [(10, 90), (50, 50), (5, 495), (90, 10)])
@pytest.mark.parametrize(
    ("errors", "power"), [([1] * 10, 3), ([4] * 10, 3), ([12] * 10, 3), ([0, 30, 2, 0, 9], 1)]
)
def test_equal_versions_are_bad_no_more_often_than_promised(
    new: int, old: int, errors: list[int], power: int
) -> None:
    totals = list(accumulate(errors))
    spend = [((look + 1) / len(errors)) ** power for look in range(len(errors))]
    verdicts = []
    for look in range(len(errors)):
        bad = []
        for x in range(totals[look] + 1):
            path = [
                Tally(
                    1_000 * new,
                    x if i == look else 0,
                    1_000 * old,
                    total - (x if i == look else 0),
                    total * new / (new + old),
                )
                for i, total in enumerate(totals[: look + 1])
            ]
            result = compare(path, spend[: look + 1], alpha=ALPHA, max_ratio=1, min_samples=1)
            bad.append(result.verdict is Verdict.BAD)
        assert bad == sorted(bad), "more hits are never better"
        verdicts.append(bad)
    often = crossings(errors, new / (new + old), verdicts)
    assert often <= ALPHA * (1 + 1e-6)


def test_equal_versions_with_a_growing_share_are_bad_no_more_often_than_promised() -> None:
    """Some 10 % of the traffic, then 50: each look has its own share, and the power that goes with it."""
    errors, shares = [6] * 10, [0.1] * 5 + [0.5] * 5
    totals = list(accumulate(errors))
    expected = list(accumulate(6 * share for share in shares))
    spend = [((look + 1) / 10) ** 3 for look in range(10)]
    alive, often = {0: 1.0}, 0.0
    for look in range(10):
        offset, chances = binomial(errors[look], shares[look])
        after: dict[int, float] = {}
        for x, mass in alive.items():
            for k, chance in enumerate(chances, offset):
                after[x + k] = after.get(x + k, 0.0) + mass * chance
        alive = {}
        for x, mass in after.items():
            path = [Tally(1_000, 0, 9_000, totals[i], expected[i]) for i in range(look)] + [
                Tally(1_000, x, 9_000, totals[look] - x, expected[look])
            ]
            found = compare(path, spend[: look + 1], alpha=ALPHA, max_ratio=1, min_samples=1)
            assert (found.verdict is Verdict.BAD) == (found.p <= found.room and x > expected[look])
            if found.verdict is Verdict.BAD:
                often += mass
            else:
                alive[x] = mass
    assert ALPHA / 2 < often <= ALPHA * (1 + 1e-6)


@pytest.mark.parametrize("rate", [0.001, 0.05, 0.5])
def test_a_rate_at_the_constant_is_bad_no_more_often_than_promised(rate: float) -> None:
    requests = [round(4 / rate)] * 8
    totals = list(accumulate(requests))
    spend = [((look + 1) / 8) ** 3 for look in range(8)]
    verdicts = []
    for look in range(8):
        top = min(totals[look], 120)
        found = [
            against_constant(
                [Tally(n, x if i == look else 0) for i, n in enumerate(totals[: look + 1])],
                spend[: look + 1],
                alpha=ALPHA,
                rate=rate,
                min_samples=1,
            ).verdict
            for x in range(top + 1)
        ]
        verdicts.append([verdict is Verdict.BAD for verdict in found] + [True] * (totals[look] - top))
    assert ALPHA / 3 < crossings(requests, rate, verdicts) <= ALPHA * (1 + 1e-6)


def test_the_normal_distribution_stands_for_the_exact_one() -> None:
    """At the number of hits where one takes over, both leave the same room."""
    looks = [Increment(110, 11, ALPHA * ((i + 1) / 20) ** 3) for i in range(20)]
    more = [Increment(130, 13, one.allowed) for one in looks]  # above the variance up to which it is exact
    rooms = []
    for each in (looks, more):
        trials, mean = 20 * each[0].trials, 20 * each[0].expected
        hits = round(mean + 2.4 * math.sqrt(mean * 0.9))
        p = sum(
            chance
            for k, chance in enumerate(binomial(round(trials), 0.1)[1], binomial(round(trials), 0.1)[0])
            if k >= hits
        )
        joint, room = joint_tail(each, hits, -NORMAL.inv_cdf(p))
        rooms.append(room + p - joint)
    assert rooms[0] == pytest.approx(rooms[1], rel=0.05)


@given(st.floats(0, 1e4))
def test_the_lattice_keeps_the_variance(variance: float) -> None:
    offset, chances = normal(variance)
    assert sum(chances) == pytest.approx(1)
    assert sum(chance * k * k for k, chance in enumerate(chances, offset)) == pytest.approx(
        variance, rel=3e-3
    )
