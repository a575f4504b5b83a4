"""A strategy in one word of a shell: what is read is what a plan can have, the rest says what is wrong."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluicegate.deployment.plan import ALL_AT_ONCE, TrafficStep
from sluicegate.deployment.strategy import MAX_BAKE, MAX_STEPS, StrategyError, canary, checked, linear
from sluicegate_cli.durations import format_duration, seconds_of
from sluicegate_cli.strategy import parse_strategy


@pytest.mark.parametrize(
    ("text", "strategy"),
    [
        ("all-at-once", {"type": "all-at-once"}),
        ("canary:10:5m", {"type": "canary", "percent": 10, "bake": "5m"}),
        ("canary:1:90s", {"type": "canary", "percent": 1, "bake": "90s"}),
        ("linear:10:2m", {"type": "linear", "percent": 10, "every": "2m"}),
        ("linear:33:1d", {"type": "linear", "percent": 33, "every": "1d"}),
        (
            "steps:5:1m,50:10m,100",
            {
                "type": "steps",
                "steps": [{"percent": 5, "bake": "1m"}, {"percent": 50, "bake": "10m"}, {"percent": 100}],
            },
        ),
        ("steps:100", {"type": "steps", "steps": [{"percent": 100}]}),
        ("steps:100:5m", {"type": "steps", "steps": [{"percent": 100, "bake": "5m"}]}),
    ],
)
def test_each_form_is_the_apis_json(text: str, strategy: dict[str, Any]) -> None:
    assert parse_strategy(text) == strategy


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a strategy is one of all-at-once, canary:10:5m"),
        ("blue-green", "a strategy is one of all-at-once, canary:10:5m"),
        ("Canary:10:5m", "a strategy is one of"),
        ("all-at-once:5m", "to watch it after the shift, use steps:100:5m"),
        ("canary", "canary:PERCENT:BAKE, such as canary:10:5m"),
        ("canary:10", "canary:PERCENT:BAKE"),
        ("canary:10:5m:1m", "canary:PERCENT:BAKE"),
        ("canary:10%:5m", "'10%' is not a percentage"),
        ("canary:0:5m", "'0' is not a percentage"),
        ("canary:010:5m", "'010' is not a percentage"),
        ("canary:\u0661\u0660:5m", "is not a percentage"),
        ("canary:100:5m", "each step must have a higher percentage than the one before"),
        ("canary:10:5", "'5' is not a duration such as 90s, 5m or 2h"),
        ("canary:10:0s", "'0s' is not a duration"),
        ("canary:10:1h30m", "'1h30m' is not a duration"),
        ("canary:10:8d", "a bake lasts at most 7 days"),
        ("linear:1:1m", "this makes 100 steps"),
        ("linear:100:1m", "percent must be from 1 to 99"),
        ("linear:10", "linear:PERCENT:EVERY, such as linear:10:2m"),
        ("steps", "'' is not a percentage"),
        ("steps:5:1m,50:10m", "the last step must be 100 percent"),
        ("steps:5,100", "each step except the last must bake for at least a second"),
        ("steps:50:1m,5:1m,100", "each step must have a higher percentage than the one before"),
        ("steps:5:,100", "'5:' has no bake time after its colon"),
        ("steps:5:1m, 100", "' 100' is not a percentage"),
        ("steps:5:1m:2m,100", "'1m:2m' is not a duration"),
        ("steps:999", "the last step must be 100 percent"),
    ],
)
def test_what_is_wrong_is_said(text: str, message: str) -> None:
    with pytest.raises(StrategyError) as raised:
        parse_strategy(text)

    assert message in str(raised.value)


def resolved(strategy: dict[str, Any]) -> tuple[TrafficStep, ...]:
    """The strategy as steps, by the words that the gate file and the API use."""
    match strategy:
        case {"type": "all-at-once"}:
            return ALL_AT_ONCE
        case {"type": "canary", "percent": percent, "bake": bake}:
            return canary(percent, seconds_of(bake))
        case {"type": "linear", "percent": percent, "every": every}:
            return linear(percent, seconds_of(every))
        case {"type": "steps", "steps": steps}:
            return checked(
                [TrafficStep(step["percent"], seconds_of(step.get("bake", "0s"))) for step in steps]
            )
    raise AssertionError(strategy)


percents = st.integers(-1, 120).map(str)
durations = st.builds("{}{}".format, st.integers(0, MAX_BAKE), st.sampled_from("smhdw"))
words = st.one_of(
    st.text(max_size=20),
    st.builds("canary:{}:{}".format, percents, durations),
    st.builds("linear:{}:{}".format, percents, durations),
    st.lists(st.builds("{}:{}".format, percents, durations), max_size=4).map(
        lambda parts: "steps:" + ",".join((*parts, "100"))
    ),
)


@given(words)
def test_what_is_read_resolves_and_everything_else_is_refused(text: str) -> None:
    try:
        strategy = parse_strategy(text)
    except StrategyError:
        return
    assert 1 <= len(resolved(strategy)) <= MAX_STEPS


plans = st.lists(st.integers(1, 99), unique=True, max_size=MAX_STEPS - 1).map(sorted)


@given(plans, st.integers(1, MAX_BAKE))
def test_every_plan_has_a_word(percents: list[int], bake: int) -> None:
    text = "steps:" + ",".join((*(f"{percent}:{bake}s" for percent in percents), "100"))

    steps = resolved(parse_strategy(text))

    assert steps == (*(TrafficStep(percent, bake) for percent in percents), TrafficStep(100, 0))


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-3, "0s"),
        (0.9, "0s"),
        (59.9, "59s"),
        (60, "1m0s"),
        (200, "3m20s"),
        (3_600, "1h0m"),
        (86_399, "23h59m"),
        (183_600, "2d3h"),
    ],
)
def test_a_duration_is_told_in_its_two_largest_units(seconds: float, words: str) -> None:
    assert format_duration(seconds) == words
