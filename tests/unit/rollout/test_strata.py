"""The split of the hits where the new version's share of the traffic has changed."""

import math
from dataclasses import replace
from itertools import product

import pytest

from sluicegate.deployment.observations import ShareHits, Tally, Verdict
from sluicegate.rollout.binomial import NORMAL, confidence_limits
from sluicegate.rollout.comparison import compare, count
from sluicegate.rollout.readings import Minute, Series
from sluicegate.rollout.strata import deviate, limits, ratio

STEPS = (0.1, 0.3, 0.5, 0.7, 0.9)


def exact_tail(parts: list[tuple[int, float]], hits: int) -> float:
    """Return the probability of at least so many hits, by counting all ways to have them."""
    total = 0.0
    for each in product(*(range(trials + 1) for trials, _ in parts)):
        if sum(each) >= hits:
            total += math.prod(
                math.comb(trials, k) * share**k * (1 - share) ** (trials - k)
                for k, (trials, share) in zip(each, parts, strict=True)
            )
    return total


def tilted(parts: list[tuple[int, float]], ratio: float) -> list[tuple[int, float]]:
    return [(trials, share * ratio / (1 - share + share * ratio)) for trials, share in parts]


@pytest.mark.parametrize("parts", [[(4, 0.05), (6, 0.25), (9, 0.5)], [(9, 0.1), (9, 0.9)], [(20, 0.1)]])
def test_the_deviate_is_that_of_the_exact_probability(parts: list[tuple[int, float]]) -> None:
    for hits in range(1, sum(trials for trials, _ in parts)):
        exact = exact_tail(parts, hits)
        if 1e-9 < exact < 0.4:
            assert NORMAL.cdf(-deviate(parts, hits)) == pytest.approx(exact, rel=0.08)


@pytest.mark.parametrize("parts", [[(4, 0.05), (6, 0.25), (9, 0.5)], [(9, 0.1), (9, 0.9)]])
def test_each_limit_is_wrong_as_often_as_it_may_be(parts: list[tuple[int, float]]) -> None:
    for hits in range(2, sum(trials for trials, _ in parts) - 1):
        low, high = limits(parts, hits, 0.025)
        assert exact_tail(tilted(parts, low), hits) == pytest.approx(0.025, rel=0.08)
        assert 1 - exact_tail(tilted(parts, high), hits + 1) == pytest.approx(0.025, rel=0.08)


def test_with_one_share_the_limits_are_those_of_the_binomial() -> None:
    for found, exact in zip(limits([(60, 0.1)], 9, 0.025), confidence_limits(9, 60), strict=True):
        assert found == pytest.approx(9 * exact / (1 - exact), rel=0.02)


def test_no_hits_and_nothing_but_hits_have_one_limit() -> None:
    assert limits([(3, 0.1), (2, 0.5)], 0, 0.025)[0] == 0
    assert limits([(3, 0.1), (2, 0.5)], 5, 0.025)[1] == math.inf


def rollout(times: float, errors: float = 0.01) -> list[Minute]:
    """Return a rollout in which the new version fails so many times as often, with no chance in it."""
    each = [(round(100_000 * share), round(100_000 * (1 - share))) for share in STEPS]
    return [
        Minute(60 * i, n, round(times * errors * n), m, round(errors * m)) for i, (n, m) in enumerate(each)
    ]


@pytest.mark.parametrize("times", [1, 2.5, 3, 5])
def test_the_ratio_is_the_true_one_whatever_the_shares(times: float) -> None:
    """One estimate for all shares together would say 2.2 of a version that fails three times as often."""
    minutes = tuple(rollout(times))
    counted = count(Series(minutes, (), tuple(one.at for one in minutes[1:])))
    assert ratio(counted.by_share, 0.5) == pytest.approx(times, rel=1e-3)
    result = compare([counted], [1.0], alpha=0.0095, max_ratio=2, min_samples=1)
    assert result.ratio is not None
    assert result.ratio.low < times < result.ratio.high
    assert (result.verdict is Verdict.BAD) == (times > 2)


def test_the_hits_by_share_are_those_of_minutes_with_both_versions() -> None:
    minutes = (Minute(0, 10, 1, 90, 4), Minute(60, 10, 2, 90, 0), Minute(120, 50, 3, 50, 5))
    alone = Minute(180, 100, 7, 0, 0)
    counted = count(Series((*minutes, alone), (), (120, 180)))
    assert [(one.x, one.y) for one in counted.by_share] == [(3, 4), (3, 5), (0, 0)]
    assert [one.expected for one in counted.by_share] == pytest.approx([0.7, 4.0, 0.0])
    assert (counted.x_alone, counted.n_alone) == (7, 100)
    assert count(Series(minutes[:2])).by_share == ()


def test_a_record_of_before_has_one_share() -> None:
    """A rollout that an earlier version began goes on: its looks have no hits by share."""
    old = Tally(30, 3, 970, 5, 0.5, 0.4)
    by_share = (ShareHits(3, 5, 0.5), ShareHits(9, 0, 4.0))
    now = replace(old, x=12, expected=4.5, information=2.0, by_share=by_share)
    result = compare([old, now], [0.1, 1.0], alpha=0.0095, max_ratio=2, min_samples=1)
    assert result.verdict is Verdict.BAD
    assert compare([old, old], [0.1, 1.0], alpha=0.0095, max_ratio=2, min_samples=1).ratio is not None
