"""The budget of a control plane: what may be made when, and who is next."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluicegate.deployment.call_budget import (
    AGEING,
    BURST,
    LATE,
    MAX_RATE,
    MIN_RATE,
    START_RATE,
    CallBucket,
    CallClass,
    CallWaiter,
    ahead_of,
    next_turn,
)
from sluicegate.rollout.actions import Abort, Action, Lock, ReuseVersion
from sluicegate.rollout.call_budget import PUBLISH_CALLS, REUSE_CALLS, calls_of, level_of
from sluicegate.rollout.messages import ordinal
from support.simulation import new_deployment

NOW = 1_780_000_000_000


def waiter(name: str, **fields: object) -> CallWaiter:
    one = CallWaiter(name, CallClass.DEPLOY, "one", 1, NOW, NOW, 4)
    return replace(one, **fields)  # type: ignore[arg-type]


def order(*line: CallWaiter, now: int = NOW) -> str:
    """The ids in line, each after all that are ahead of it."""
    return "".join(one.id for one in sorted(line, key=lambda one: len(ahead_of(one, line, now))))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ((waiter("b", since=NOW - 1), waiter("a", since=NOW - 2)), "ab"),
        ((waiter("b", since=NOW - 2), waiter("a", level=CallClass.PROMOTION)), "ab"),
        # A second of one owner comes after the first of another.
        ((waiter("c", since=NOW - 3, turn=2), waiter("b", since=NOW - 2), waiter("a", since=NOW - 4)), "abc"),
        # After each minute in line, a deployment is a class better.
        ((waiter("b", level=CallClass.PROMOTION), waiter("a", since=NOW - 2 * AGEING)), "ab"),
        ((waiter("a", level=CallClass.PROMOTION), waiter("b", since=NOW - AGEING + 1)), "ab"),
        ((waiter("b", turn=1), waiter("a", turn=300, since=NOW - AGEING)), "ab"),
    ],
)
def test_the_line_has_an_order(line: tuple[CallWaiter, ...], expected: str) -> None:
    assert order(*line) == expected


def test_one_that_is_late_is_ahead_of_nobody_and_keeps_its_place() -> None:
    dead, other = waiter("a", since=NOW - 9_000, next_look=NOW - LATE - 1), waiter("b")
    assert ahead_of(other, [dead, other], NOW) == []
    assert ahead_of(dead, [dead, other], NOW) == []


def test_an_owners_next_deployment_comes_after_its_others_and_not_before_what_is_served() -> None:
    line = [waiter("a", turn=7), waiter("b", turn=8), waiter("c", owner="two", turn=9)]
    assert next_turn("one", line) == 9
    assert next_turn("two", line) == 10
    assert next_turn("three", line) == 7
    assert next_turn("three", []) == 1


@pytest.mark.parametrize(
    ("action", "first", "level", "calls"),
    [
        ("deploy", Lock(), CallClass.DEPLOY, PUBLISH_CALLS),
        ("promote", ReuseVersion("1"), CallClass.PROMOTION, REUSE_CALLS),
        ("promote", Lock(), CallClass.PROMOTION, PUBLISH_CALLS),
        ("rollback", ReuseVersion("1"), CallClass.UNDER_WAY, REUSE_CALLS),
        # Published already, and approved since.
        ("deploy", ReuseVersion("1"), CallClass.UNDER_WAY, REUSE_CALLS),
        ("deploy", Abort(), CallClass.UNDER_WAY, 0),
    ],
)
def test_a_deployment_begins_with_its_calls(action: str, first: Action, level: CallClass, calls: int) -> None:
    deployment = replace(new_deployment(0, "0" * 64), action=action)
    assert (level_of(deployment, first), calls_of(first)) == (level, calls)


def test_a_throttled_call_shrinks_the_rate_once_a_second_and_quiet_grows_it() -> None:
    bucket = CallBucket().throttled_now(NOW)
    assert bucket.rate_at(NOW) == pytest.approx(START_RATE * 0.8)
    assert bucket.throttled_now(NOW + 999) is bucket
    assert bucket.rate_at(NOW + 4_000) == pytest.approx(START_RATE * 0.8 + 1)
    assert bucket.rate_at(NOW + 60_000) == MAX_RATE
    for second in range(1, 40):
        bucket = bucket.throttled_now(NOW + second * 1_000)
    assert bucket.rate_at(NOW + 39_000) == MIN_RATE


@given(
    st.floats(MIN_RATE, MAX_RATE), st.lists(st.tuples(st.integers(0, 3_000), st.integers(1, 4)), max_size=80)
)
def test_no_window_has_more_calls_than_burst_and_rate(rate: float, asked: list[tuple[int, int]]) -> None:
    """The burst is a second's calls, or one deployment's where these are more."""
    bucket, now, granted = CallBucket(rate=rate), NOW, list[tuple[int, int]]()
    for later, calls in asked:
        now += later
        if bucket.grants(calls, 0, now):
            bucket = replace(bucket, spent_until=max(bucket.spent_until, now) + bucket.duration(calls, now))
            granted.append((now, calls))
    for index, (began, _) in enumerate(granted):
        total = 0
        for ended, calls in granted[index:]:
            total += calls
            assert total <= max(rate * BURST / 1_000, 4) + rate * (ended - began) / 1_000 + 1e-6


@given(st.floats(MIN_RATE, MAX_RATE), st.integers(0, 5_000), st.integers(1, 4), st.integers(0, 1_200))
def test_who_waits_as_long_as_it_is_told_is_granted_its_calls(
    rate: float, spent: int, calls: int, behind: int
) -> None:
    bucket = CallBucket(spent_until=NOW + spent, rate=rate)
    wait = bucket.wait(calls, behind, NOW)
    assert bucket.grants(calls, behind, NOW) == (wait == 0)
    # Those ahead have taken theirs by then.
    later = replace(bucket, spent_until=bucket.spent_until + bucket.duration(behind, NOW))
    assert later.grants(calls, 0, NOW + wait)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (1, "1st"),
        (2, "2nd"),
        (3, "3rd"),
        (4, "4th"),
        (11, "11th"),
        (12, "12th"),
        (13, "13th"),
        (21, "21st"),
        (112, "112th"),
    ],
)
def test_a_place_reads_as_a_person_says_it(number: int, text: str) -> None:
    assert ordinal(number) == text
