"""Values by the minute: when the new version's are worse than the old one's."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluicegate.deployment.observations import Tally, Verdict
from sluicegate.rollout.comparison import Result
from sluicegate.rollout.paired import Values, compare_values, tally_values
from sluicegate.rollout.split import MAX_RATIO

ALPHA = 0.0095


def values(*each: float) -> Values:
    return [(60 * i, value) for i, value in enumerate(each)]


def judged(new: Values, old: Values, *, ratio: float = 1.2, lower: bool = True, minutes: int = 3) -> Result:
    """Judge at every minute, as the looks of a bake do, and return the last result."""
    path = [tally_values(new[: i + 1], old, lower_is_better=lower) for i in range(len(new))]
    spend = [((i + 1) / len(new)) ** 3 for i in range(len(new))]
    return compare_values(
        path, spend, new, old, alpha=ALPHA, max_ratio=ratio, minutes=minutes, lower_is_better=lower
    )


def test_only_minutes_of_both_with_different_values_count() -> None:
    new, old = [(0, 1.0), (60, 2.0), (120, 3.0), (180, 9.0)], [(60, 1.0), (120, 3.0), (180, 10.0), (240, 1.0)]
    assert tally_values(new, old) == Tally(n=3, x=1, m=3, y=1, expected=1.0, information=0.5)
    assert tally_values(new, old, lower_is_better=False).x == 1


@pytest.mark.parametrize("lower", [True, False])
def test_values_that_are_always_worse_are_bad(lower: bool) -> None:
    low, high = values(*[100.0] * 20), values(*[150.0] * 20)
    new, old = (high, low) if lower else (low, high)
    result = judged(new, old, lower=lower)
    assert result.verdict is Verdict.BAD
    assert result.p <= result.room
    assert result.ratio is not None
    assert result.ratio.value == pytest.approx(1.5)
    assert judged(old, new, lower=lower).verdict is Verdict.GOOD


def test_values_that_are_a_little_worse_are_not_bad() -> None:
    assert judged(values(*[101.0] * 20), values(*[100.0] * 20)).verdict is Verdict.GOOD


def test_few_minutes_are_unclear() -> None:
    result = judged(values(200, 200), values(100, 100))
    assert result.verdict is Verdict.UNCLEAR
    assert judged(values(*[200.0] * 6), values(*[100.0] * 6)).verdict is Verdict.UNCLEAR  # 1 in 64 is chance
    assert judged((), values(100)).verdict is Verdict.UNCLEAR


def test_equal_versions_are_bad_no_more_often_than_promised() -> None:
    chance = Random(20261126)  # noqa: S311 (simulated)
    bad = 0
    for _ in range(500):
        new, old = (values(*(chance.lognormvariate(0, 0.5) for _ in range(20))) for _ in "no")
        path = [tally_values(new[:end], old) for end in (5, 10, 15, 20)]
        found = {
            compare_values(
                path[: i + 1],
                [((k + 1) / 4) ** 3 for k in range(i + 1)],
                new[: 5 * (i + 1)],
                old,
                alpha=ALPHA,
                max_ratio=1,
                minutes=3,
            ).verdict
            for i in range(4)
        }
        bad += Verdict.BAD in found
    assert bad <= 12  # 5 are 0.95 %


def test_minutes_that_resemble_the_one_before_count_less() -> None:
    runs = values(*([2.0] * 8 + [0.5] * 4 + [2.0] * 8))
    mixed = values(*([2.0, 2.0, 2.0, 2.0, 0.5] * 4))
    one = values(*[1.0] * 20)
    assert tally_values(mixed, one).phi == 1
    assert tally_values(runs, one).phi > 2


@given(
    st.lists(st.tuples(st.integers(0, 30), st.floats(allow_nan=True, allow_infinity=True)), max_size=30),
    st.lists(st.tuples(st.integers(0, 30), st.floats(allow_nan=True, allow_infinity=True)), max_size=30),
    st.booleans(),
)
def test_any_values_have_a_verdict(new: Values, old: Values, lower: bool) -> None:
    tally = tally_values(new, old, lower_is_better=lower)
    result = compare_values(
        [tally], [1.0], new, old, alpha=ALPHA, max_ratio=1.5, minutes=1, lower_is_better=lower
    )
    assert 0 <= result.p <= 1
    if result.ratio is not None:
        assert 0 <= result.ratio.low <= result.ratio.value <= result.ratio.high <= MAX_RATIO
