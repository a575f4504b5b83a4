"""Strategies: the steps that they come to, and which of two is the more careful one."""

from collections.abc import Sequence
from itertools import accumulate, pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from sluicegate.deployment.plan import ALL_AT_ONCE, TrafficStep
from sluicegate.deployment.strategy import (
    MAX_BAKE,
    MAX_STEPS,
    StrategyError,
    all_at_once,
    canary,
    checked,
    is_at_least_as_cautious,
    linear,
)

PERCENTS = st.integers(1, 99)
BAKES = st.integers(1, 40)  # short, so that every second can be looked at


@st.composite
def plans(draw: st.DrawFn, most: int = 5) -> tuple[TrafficStep, ...]:
    """Sound steps."""
    shares = sorted(draw(st.sets(PERCENTS, max_size=most - 1)))
    steps = [TrafficStep(share, draw(BAKES)) for share in shares]
    return checked([*steps, TrafficStep(100, draw(st.integers(0, 40)))])


def exposure(steps: Sequence[TrafficStep]) -> list[int]:
    """Second by second, the share of traffic on the new version; 101 once nobody watches any more."""
    return [step.percent for step in steps for _ in range(step.bake)] + [101]


def brute_force(one: Sequence[TrafficStep], other: Sequence[TrafficStep]) -> bool:
    a, b = exposure(one), exposure(other)
    seconds = max(len(a), len(b))
    padded = (e + [101] * (seconds - len(e)) for e in (a, b))
    return all(mine <= theirs for mine, theirs in zip(*padded, strict=True))


# What strategies come to


def test_all_at_once_is_one_step() -> None:
    assert all_at_once() == ALL_AT_ONCE == (TrafficStep(100, 0),)
    assert all_at_once(300) == (TrafficStep(100, 300),)


@given(PERCENTS, st.integers(1, MAX_BAKE))
def test_a_canary_is_a_share_and_then_all(percent: int, bake: int) -> None:
    assert canary(percent, bake) == (TrafficStep(percent, bake), TrafficStep(100, 0))


@given(st.integers(5, 99), st.integers(1, MAX_BAKE))
def test_linear_moves_equal_shares_at_equal_times(percent: int, every: int) -> None:
    steps = linear(percent, every)
    assert checked(steps) == steps
    moves = [steps[0].percent, *(later.percent - step.percent for step, later in pairwise(steps))]
    assert all(move == percent for move in moves[:-1])
    assert 1 <= moves[-1] <= percent
    assert [step.bake for step in steps] == [every] * (len(steps) - 1) + [0]


def test_linear_may_end_with_a_smaller_share() -> None:
    assert [step.percent for step in linear(30, 60)] == [30, 60, 90, 100]
    assert [step.percent for step in linear(50, 60)] == [50, 100]
    assert [step.percent for step in linear(99, 60)] == [99, 100]
    assert len(linear(5, 60)) == MAX_STEPS


@given(plans())
def test_steps_that_are_sound_stay_as_they_are(steps: tuple[TrafficStep, ...]) -> None:
    assert checked(steps) == steps
    assert checked(list(steps)) == steps


@given(st.lists(st.builds(TrafficStep, st.integers(-1, 102), st.integers(-1, 3)), max_size=4))
def test_what_is_checked_is_sound_or_refused(steps: list[TrafficStep]) -> None:
    shares = [step.percent for step in steps]
    sound = (
        shares == sorted(set(shares))
        and shares[-1:] == [100]
        and shares[0] >= 1
        and all(step.bake >= 1 for step in steps[:-1])
        and steps[-1].bake >= 0
    )
    if sound:
        assert checked(steps) == tuple(steps)
    else:
        with pytest.raises(StrategyError):
            checked(steps)


@pytest.mark.parametrize(
    ("steps", "why"),
    [
        ([], "this makes 0 steps"),
        (
            [TrafficStep(i, 1) for i in range(1, 21)] + [TrafficStep(100, 0)],
            "this makes 21 steps, and a plan can have 1 to 20",
        ),
        ([TrafficStep(10, 1)], "the last step must be 100 percent"),
        ([TrafficStep(100, 1), TrafficStep(50, 0)], "the last step must be 100 percent"),
        ([TrafficStep(0, 1), TrafficStep(100, 0)], "percent must be from 1 to 100"),
        ([TrafficStep(101, 1), TrafficStep(100, 0)], "percent must be from 1 to 100"),
        (
            [TrafficStep(10, 1), TrafficStep(10, 1), TrafficStep(100, 0)],
            "a higher percentage than the one before",
        ),
        ([TrafficStep(100, 1), TrafficStep(100, 0)], "a higher percentage than the one before"),
        ([TrafficStep(10, MAX_BAKE + 1), TrafficStep(100, 0)], "a bake lasts at most 7 days"),
        ([TrafficStep(100, MAX_BAKE + 1)], "a bake lasts at most 7 days"),
        (
            [TrafficStep(10, 0), TrafficStep(100, 0)],
            "each step except the last must bake for at least a second",
        ),
        ([TrafficStep(10, -1), TrafficStep(100, 0)], "a bake lasts at most 7 days"),
    ],
)
def test_steps_that_cannot_be_say_why(steps: list[TrafficStep], why: str) -> None:
    with pytest.raises(StrategyError, match=why):
        checked(steps)


@pytest.mark.parametrize("percent", [0, 100, -1])
def test_linear_takes_less_than_all(percent: int) -> None:
    with pytest.raises(StrategyError, match="from 1 to 99"):
        linear(percent, 60)


@pytest.mark.parametrize("percent", [1, 4])
def test_linear_in_too_many_steps_is_refused(percent: int) -> None:
    with pytest.raises(StrategyError, match="steps"):
        linear(percent, 60)


@pytest.mark.parametrize("percent", [0, 100, 101])
def test_a_canary_takes_less_than_all(percent: int) -> None:
    with pytest.raises(StrategyError):
        canary(percent, 60)


# Which is the more careful one


@pytest.mark.parametrize(
    ("one", "other", "careful"),
    [
        (canary(10, 300), canary(10, 300), True),
        (canary(5, 300), canary(10, 300), True),
        (canary(10, 600), canary(10, 300), True),
        (canary(10, 299), canary(10, 300), False),
        (canary(11, 300), canary(10, 300), False),
        (canary(10, 300), all_at_once(), True),
        (all_at_once(), canary(10, 300), False),
        (all_at_once(300), all_at_once(), True),
        (all_at_once(), all_at_once(1), False),
        (canary(10, 300), all_at_once(300), True),
        (canary(10, 300), all_at_once(301), False),  # it stops watching a second before
        (linear(10, 60), canary(10, 60), True),
        (canary(10, 60), linear(10, 60), False),
        (canary(10, 540), linear(10, 60), True),
        (canary(50, 600), linear(10, 60), False),  # more at first
        (linear(10, 60), canary(50, 600), False),  # stops sooner
    ],
)
def test_one_is_at_least_as_cautious_as_the_other(
    one: tuple[TrafficStep, ...], other: tuple[TrafficStep, ...], careful: bool
) -> None:
    assert is_at_least_as_cautious(one, other, watched=False) is careful


@given(plans())
def test_everything_is_as_careful_as_itself(steps: tuple[TrafficStep, ...]) -> None:
    assert is_at_least_as_cautious(steps, steps, watched=False)


@given(plans(), plans())
def test_it_agrees_with_looking_at_every_second(
    one: tuple[TrafficStep, ...], other: tuple[TrafficStep, ...]
) -> None:
    assert is_at_least_as_cautious(one, other, watched=False) is brute_force(one, other)


@given(plans(), plans(), plans())
def test_it_is_transitive(
    one: tuple[TrafficStep, ...], other: tuple[TrafficStep, ...], third: tuple[TrafficStep, ...]
) -> None:
    if is_at_least_as_cautious(one, other, watched=False) and is_at_least_as_cautious(
        other, third, watched=False
    ):
        assert is_at_least_as_cautious(one, third, watched=False)


@given(plans(), st.data())
def test_it_is_transitive_where_it_holds(third: tuple[TrafficStep, ...], data: st.DataObject) -> None:
    """Chains that chance would hardly find: each more careful than the one after it."""
    other = data.draw(more_careful(third))
    one = data.draw(more_careful(other))
    assert is_at_least_as_cautious(one, other, watched=False)
    assert is_at_least_as_cautious(other, third, watched=False)
    assert is_at_least_as_cautious(one, third, watched=False)


@given(plans(), plans())
def test_two_that_are_as_careful_as_each_other_expose_the_same(
    one: tuple[TrafficStep, ...], other: tuple[TrafficStep, ...]
) -> None:
    both = is_at_least_as_cautious(one, other, watched=False) and is_at_least_as_cautious(
        other, one, watched=False
    )
    assert both is (exposure(one) == exposure(other))


@given(plans(), st.data())
def test_a_longer_bake_is_more_careful(steps: tuple[TrafficStep, ...], data: st.DataObject) -> None:
    i = data.draw(st.integers(0, len(steps) - 1))
    longer = [*steps[:i], TrafficStep(steps[i].percent, steps[i].bake + data.draw(BAKES)), *steps[i + 1 :]]
    assert is_at_least_as_cautious(longer, steps, watched=False)
    assert not is_at_least_as_cautious(steps, longer, watched=False)


@given(plans(), st.data())
def test_a_lower_share_is_more_careful(steps: tuple[TrafficStep, ...], data: st.DataObject) -> None:
    assume(len(steps) > 1)
    i = data.draw(st.integers(0, len(steps) - 2))
    floor = steps[i - 1].percent if i else 0
    assume(steps[i].percent - floor > 1)
    lower = TrafficStep(data.draw(st.integers(floor + 1, steps[i].percent - 1)), steps[i].bake)
    assert is_at_least_as_cautious([*steps[:i], lower, *steps[i + 1 :]], steps, watched=False)
    assert not is_at_least_as_cautious(steps, [*steps[:i], lower, *steps[i + 1 :]], watched=False)


@given(plans())
def test_nothing_is_less_careful_than_all_at_once(steps: tuple[TrafficStep, ...]) -> None:
    assert is_at_least_as_cautious(steps, ALL_AT_ONCE, watched=False)
    assert is_at_least_as_cautious(ALL_AT_ONCE, steps, watched=False) is (steps == ALL_AT_ONCE)


@given(plans())
def test_watching_to_the_end_makes_up_for_no_steps(steps: tuple[TrafficStep, ...]) -> None:
    total = list(accumulate(step.bake for step in steps))[-1]
    assert is_at_least_as_cautious(steps, all_at_once(total), watched=False)
    assert not is_at_least_as_cautious(steps, all_at_once(total + 1), watched=False)


@st.composite
def more_careful(draw: st.DrawFn, steps: tuple[TrafficStep, ...]) -> tuple[TrafficStep, ...]:
    """The same steps with longer bakes, and with a first step put before them."""
    longer = [TrafficStep(step.percent, step.bake + draw(st.integers(0, 5))) for step in steps]
    if longer[0].percent > 1 and draw(st.booleans()):
        longer.insert(0, TrafficStep(draw(st.integers(1, longer[0].percent - 1)), draw(BAKES)))
    return checked(longer)
