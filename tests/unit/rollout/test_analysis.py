"""What is seen of a version, and when it is not good enough."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluicegate.deployment.plan import Limit, Metric, Watch
from sluicegate.deployment.strategy import MAX_BAKE
from sluicegate.rollout.analysis import (
    CLOSEST,
    LOOKS,
    AlarmState,
    Measured,
    Observation,
    alarmed,
    breached,
    look_every,
    summary,
    unmeasured,
)
from support.plans import limits, looks, measured, watches

ERRORS = Limit(Metric.ERRORS, min_samples=100, most=5.0)
RATIO = Limit(Metric.ERRORS, min_samples=100, max_ratio=2.0)
THROTTLES = Limit(Metric.THROTTLES, min_samples=100, most=5.0)
SLOW = Limit(Metric.DURATION_P95, min_samples=100, most=300.0)
SLOWER = Limit(Metric.DURATION_P95, min_samples=100, max_ratio=1.5)


@pytest.mark.parametrize(
    ("limit", "new", "old", "bad"),
    [
        (ERRORS, Measured(100, 5), None, False),
        (ERRORS, Measured(100, 6), None, True),
        (ERRORS, Measured(99, 99), None, False),  # too few to say anything
        (ERRORS, Measured(50, 50, throttles=50), None, True),  # requests, throttled ones included
        (ERRORS, Measured(0, 0, throttles=200), None, False),
        (RATIO, Measured(100, 100), None, False),  # there is no old version
        (RATIO, Measured(100, 100), Measured(), False),  # of which nothing is known
        (RATIO, Measured(1000, 40), Measured(1000, 20), False),
        (RATIO, Measured(1000, 41), Measured(1000, 20), True),
        (RATIO, Measured(1000, 20), Measured(1000, 0), False),  # one of a hundred is as good as none
        (RATIO, Measured(1000, 21), Measured(1000, 0), True),
        (THROTTLES, Measured(95, 0, 5), None, False),
        (THROTTLES, Measured(94, 0, 6), None, True),
        (SLOW, Measured(100, 0, 0, 300.0), None, False),
        (SLOW, Measured(100, 0, 0, 300.1), None, True),
        (SLOW, Measured(100, 0, 0, None), None, False),
        (SLOWER, Measured(100, 0, 0, 150.0), Measured(100, 0, 0, 100.0), False),
        (SLOWER, Measured(100, 0, 0, 151.0), Measured(100, 0, 0, 100.0), True),
        (SLOWER, Measured(100, 0, 0, 151.0), Measured(100, 0, 0, None), False),
    ],
)
def test_a_limit_is_broken_above_it(limit: Limit, new: Measured, old: Measured | None, bad: bool) -> None:
    reason = breached(Watch(limits=(limit,)), Observation((), new, old))
    assert (reason is not None) == bad
    if reason:
        assert reason.code == "metric"
        assert reason.data["metric"] == limit.metric.value
        assert reason.data["value"] > reason.data["limit"]


def test_the_reason_names_the_gate_files_word() -> None:
    def because(limit: Limit, new: Measured, old: Measured | None = None) -> str:
        reason = breached(Watch(limits=(limit,)), Observation((), new, old))
        assert reason is not None
        assert str(reason.data["because"]) in reason.message
        return str(reason.data["because"])

    assert because(ERRORS, Measured(100, 50)) == "max_percent"
    assert because(SLOW, Measured(100, 0, 0, 900.0)) == "max_ms"
    assert because(RATIO, Measured(100, 50), Measured(100, 10)) == "max_ratio 2 of the old version's 10"


@pytest.mark.parametrize(
    ("states", "code"),
    [
        ([], None),
        ([AlarmState.OK, AlarmState.INSUFFICIENT_DATA], None),
        ([AlarmState.OK, AlarmState.ALARM], "alarm"),
        ([AlarmState.MISSING, AlarmState.OK], "alarm_missing"),
    ],
)
def test_alarms_stop_it_where_one_fires_or_cannot_be_heard(
    states: list[AlarmState], code: str | None
) -> None:
    named = tuple((f"alarm-{number}", state) for number, state in enumerate(states))
    reason = alarmed(named)
    assert (reason and reason.code) == code
    assert breached(Watch(alarms=tuple(name for name, _ in named)), Observation(named)) == reason


def test_too_few_requests_say_nothing_and_name_the_first_limit_that_wants_more() -> None:
    watch = Watch(limits=(replace(ERRORS, min_samples=10), THROTTLES))
    reason = unmeasured(watch, Observation(new=Measured(50, 0)))
    assert reason is not None
    assert reason.data == {"metric": "throttles", "samples": 50, "min_samples": 100}
    assert unmeasured(watch, Observation(new=Measured(90, 0, throttles=10))) is None
    assert unmeasured(Watch(alarms=("a",)), Observation()) is None


@pytest.mark.parametrize(
    ("new", "line"),
    [
        (Measured(), "no requests"),
        (Measured(200, 1, 0, 12.34), "200 requests, 0.5 % errors, p95 12.3 ms"),
        (Measured(200, 0), "200 requests, 0 % errors"),
    ],
)
def test_a_bake_that_went_well_is_told_in_a_line(new: Measured, line: str) -> None:
    assert summary(Observation(new=new)) == line


@given(limits(), measured(), st.none() | measured(), st.integers(0, 1_000))
def test_more_errors_never_make_a_version_good_enough(
    limited: tuple[Limit, ...], new: Measured, old: Measured | None, more: int
) -> None:
    watch = Watch(limits=limited)
    worse = replace(new, errors=min(new.errors + more, new.invocations))
    if breached(watch, Observation((), new, old)):
        assert breached(watch, Observation((), worse, old))


@given(limits(), measured(), measured(), st.floats(0, 1_000_000))
def test_a_slower_answer_never_makes_a_version_good_enough(
    limited: tuple[Limit, ...], new: Measured, old: Measured, more: float
) -> None:
    watch = Watch(limits=limited)
    if new.duration_p95 is not None and breached(watch, Observation((), new, old)):
        assert breached(watch, Observation((), replace(new, duration_p95=new.duration_p95 + more), old))


@given(limits(), measured(), measured(), st.integers(0, 1_000))
def test_an_old_version_that_was_worse_is_never_held_against_the_new(
    limited: tuple[Limit, ...], new: Measured, old: Measured, more: int
) -> None:
    watch = Watch(limits=limited)
    worse = replace(old, errors=min(old.errors + more, old.invocations))
    if not breached(watch, Observation((), new, old)):
        assert not breached(watch, Observation((), new, worse))


@given(st.data())
def test_a_look_is_one_of_three_things_and_its_words_can_be_kept(data: st.DataObject) -> None:
    """Good, bad, or too little to tell; what breaks a limit is never too little for that limit."""
    watch = data.draw(watches)
    seen = data.draw(looks(watch))
    reasons = [breached(watch, seen), unmeasured(watch, seen)]
    for reason in filter(None, reasons):
        assert len(reason.message) <= 256
        assert all(isinstance(value, (str, int, float)) for value in reason.data.values())
    if reasons[0] and reasons[0].code == "metric":
        [limit] = [one for one in watch.limits if one.metric.value == reasons[0].data["metric"]]
        assert reasons[0].data["samples"] >= limit.min_samples


@given(st.integers(0, 4 * MAX_BAKE))
def test_looks_are_few_and_not_too_close(bake: int) -> None:
    every: Any = look_every(Watch(alarms=("a",)), bake)
    assert every >= CLOSEST
    assert bake / every <= LOOKS
    assert look_every(None, bake) == max(bake, 1)
