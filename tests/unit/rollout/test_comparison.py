"""When counts of two versions make the new one good, bad or unclear."""

import math

import pytest

from sluicegate.deployment.observations import Tally, Verdict
from sluicegate.rollout.comparison import against_constant, compare, find_gross, tally
from sluicegate.rollout.readings import Minute, Series

ALPHA = 0.0095
SPEND = [(look / 20) ** 3 for look in range(1, 21)]


def series(*minutes: tuple[int, int, int, int], before: tuple[tuple[int, int], ...] = ()) -> Series:
    return Series(tuple(Minute(60 * i, *one) for i, one in enumerate(minutes)), before)


def looks(*minutes: tuple[int, int, int, int]) -> list[Tally]:
    """A look after each minute."""
    return [tally(series(*minutes[:end])) for end in range(1, len(minutes) + 1)]


def test_a_minute_counts_for_the_comparison_if_both_versions_had_requests() -> None:
    counted = tally(series((10, 1, 90, 3), (0, 0, 500, 100), (20, 5, 0, 0)))
    assert (counted.n, counted.x, counted.m, counted.y) == (30, 6, 90, 3)
    assert counted.x_alone == 5
    assert counted.expected == pytest.approx(4 * 0.1 + 5)
    assert counted.information == pytest.approx(4 * 0.1 * 0.9)


def test_a_version_that_fails_far_more_often_is_bad() -> None:
    path = looks(*[(40, 4, 360, 2)] * 20)
    result = compare(path, SPEND, alpha=ALPHA, max_ratio=2, min_samples=200)
    assert result.verdict is Verdict.BAD
    assert result.p <= result.room <= ALPHA
    assert result.ratio is not None
    assert result.ratio.low > 2 < 18 < result.ratio.high


def test_a_version_that_is_as_good_is_good_or_unclear() -> None:
    many = compare(looks(*[(400, 4, 3600, 36)] * 20), SPEND, alpha=ALPHA, max_ratio=2, min_samples=200)
    few = compare(looks(*[(30, 0, 270, 1)] * 10), SPEND[:10], alpha=ALPHA, max_ratio=2, min_samples=200)
    assert (many.verdict, few.verdict) == (Verdict.GOOD, Verdict.UNCLEAR)


def test_too_few_requests_or_no_old_ones_are_unclear() -> None:
    few = compare(looks((199, 199, 1000, 0)), [1.0], alpha=ALPHA, max_ratio=2, min_samples=200)
    alone = compare(looks((1000, 0, 0, 0)), [1.0], alpha=ALPHA, max_ratio=2, min_samples=200)
    nothing = compare([], [], alpha=ALPHA, max_ratio=2, min_samples=0)
    assert {one.verdict for one in (few, alone, nothing)} == {Verdict.UNCLEAR}


def test_an_outage_that_hits_both_versions_is_not_held_against_the_new_one() -> None:
    minutes = [(40, 0, 360, 2)] * 8 + [(40, 20, 360, 180)] * 4 + [(40, 0, 360, 2)] * 8
    result = compare(looks(*minutes), SPEND, alpha=ALPHA, max_ratio=1, min_samples=0)
    assert result.verdict is not Verdict.BAD


@pytest.mark.parametrize(
    ("x", "verdict"), [(0, Verdict.GOOD), (2, Verdict.GOOD), (20, Verdict.UNCLEAR), (45, Verdict.BAD)]
)
def test_a_rate_is_surely_below_a_constant_surely_above_or_neither(x: int, verdict: Verdict) -> None:
    path = [Tally(n=1_000, x=x, m=1_000)]
    assert against_constant(path, [1.0], alpha=ALPHA, rate=0.02, min_samples=1).verdict is verdict


@pytest.mark.parametrize(
    ("counted", "hour", "found"),
    [
        (Tally(n=10, x=10, m=90, y=0), (5_000, 25), True),
        (Tally(n=50, x=15, m=450, y=2), (5_000, 25), True),
        (Tally(n=10, x=2, m=90, y=0), (5_000, 25), False),  # fewer than three
        (Tally(n=50, x=15, m=450, y=90), (5_000, 25), False),  # the old one fails as well
        (Tally(n=10, x=10), (5_000, 25), True),  # only the hour before
        (Tally(n=10, x=5), (0, 0), True),  # nothing to compare with
        (Tally(n=9, x=9), (0, 0), False),
        (Tally(), (0, 0), False),
    ],
)
def test_gross_failure_is_found_at_once(counted: Tally, hour: tuple[int, int], found: bool) -> None:
    result = find_gross(counted, hour, alpha=0.00025 / 20)
    assert (result is not None) == found


def test_a_look_without_anything_to_spend_finds_nothing() -> None:
    path = looks((1_000, 1_000, 9_000, 0))
    result = compare(path, [0.0], alpha=ALPHA, max_ratio=2, min_samples=0)
    assert result.verdict is Verdict.UNCLEAR
    assert not math.isnan(result.p)
