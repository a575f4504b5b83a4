"""Alarms that a fix overlooks: which may still fire, for how long, and what sends it back."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluicegate.deployment.durations import timestamp
from sluicegate.deployment.fix_forward import FixForward, OverlookedAlarm
from sluicegate.deployment.model import Deployment, Status
from sluicegate.deployment.observations import AlarmReading, AlarmState
from sluicegate.deployment.plan import SILENT_WITHIN, TrafficStep, Watch
from sluicegate.rollout import fix_forward
from sluicegate.rollout.actions import End, Observe, Verify
from sluicegate.rollout.fix_forward import after_look, find_failure, judged
from sluicegate.rollout.outcomes import Observed, Verified
from support.plans import (
    RolloutSimulation,
    accepted,
    firing_alarms,
    plans,
    possible_readings,
    successful_outcome,
)
from support.simulation import START, new_deployment

OK, ALARM = AlarmState.OK, AlarmState.ALARM
NO_DATA, MISSING = AlarmState.INSUFFICIENT_DATA, AlarmState.MISSING
SINCE = "2026-11-26T14:02:11Z"
BY = START + SILENT_WITHIN
RANG = FixForward("v1.4 fails", (OverlookedAlarm("5xx", SINCE), OverlookedAlarm("slow")))
DUE = replace(RANG, silent_by=timestamp(BY))


def states(fives: AlarmState, slow: AlarmState = OK, other: AlarmState = OK) -> list[AlarmReading]:
    return [AlarmReading("5xx", fives), AlarmReading("slow", slow), AlarmReading("other", other)]


def deployment(fix: FixForward | None) -> Deployment:
    return replace(new_deployment(START, "a" * 64), fix_forward=fix)


@pytest.mark.parametrize(
    ("fix", "alarms", "seconds", "code"),
    [
        # However long it takes before all traffic: the old version still serves most of it.
        (RANG, states(ALARM, ALARM), 86_400, None),
        (DUE, states(ALARM, ALARM), SILENT_WITHIN - 1, None),
        (DUE, states(ALARM, OK), SILENT_WITHIN, "alarm"),
        (DUE, states(OK, OK), SILENT_WITHIN, None),
        (DUE, states(NO_DATA, OK), SILENT_WITHIN, None),
        (DUE, states(MISSING, OK), 0, "alarm_missing"),
        (DUE, states(OK, MISSING), SILENT_WITHIN + 1, "alarm_missing"),
        (RANG, [AlarmReading("5xx", OK)], 0, "alarm_missing"),
        (RANG, [], 0, "alarm_missing"),
    ],
)
def test_until_when_an_overlooked_alarm_may_fire(
    fix: FixForward, alarms: list[AlarmReading], seconds: int, code: str | None
) -> None:
    reason = find_failure(deployment(fix), alarms, START + seconds)
    assert (reason.code if reason else None) == code


def test_one_that_fell_silent_does_not_fire_again() -> None:
    fix = after_look(RANG, states(OK, ALARM), START)
    assert [alarm.silent_at for alarm in fix.overlooked] == [timestamp(START), None]
    assert after_look(fix, states(OK, ALARM), START + 60) is fix
    assert find_failure(deployment(fix), states(OK, ALARM), START + 60) is None
    reason = find_failure(deployment(fix), states(ALARM, OK), START + 60)
    assert reason is not None
    assert reason.message == "alarm 5xx had fallen silent, and is firing again"
    assert AlarmReading("5xx", ALARM) in judged(fix, states(ALARM, OK), START + 60)


def test_missing_data_is_silence_only_when_the_time_is_over() -> None:
    """The fix may serve nobody. An alarm that is between two values may fire again."""
    assert after_look(DUE, states(NO_DATA, NO_DATA), BY - 1) is DUE
    assert find_failure(deployment(DUE), states(ALARM), BY - 1) is None
    assert after_look(DUE, states(NO_DATA, OK), BY).ringing == frozenset()


def test_an_alarm_that_was_not_firing_counts_at_once() -> None:
    assert judged(RANG, states(ALARM, ALARM, ALARM), START) == (AlarmReading("other", ALARM),)
    assert judged(None, states(ALARM), START) == tuple(states(ALARM))
    assert find_failure(deployment(None), states(ALARM), START) is None
    assert judged(DUE, states(ALARM, OK), BY) == tuple(states(ALARM, OK))
    assert AlarmReading("5xx", MISSING) in judged(RANG, states(MISSING), START)


def test_the_time_runs_from_all_traffic_and_only_once() -> None:
    began = deployment(RANG)
    changed = fix_forward.with_deadline(began, START)
    assert changed == {"fix_forward": DUE}
    assert fix_forward.with_deadline(replace(began, **changed), START + 60) == {}
    assert fix_forward.with_deadline(deployment(FixForward("v1.4 fails")), START) == {}
    assert fix_forward.with_deadline(deployment(None), START) == {}
    canary = replace(began.plan, steps=(TrafficStep(99, 60), TrafficStep(100, 0)))
    assert fix_forward.with_deadline(replace(began, plan=canary), START) == {}
    sooner = replace(began.plan, watch=Watch(("5xx",), silent_within=60))
    assert fix_forward.with_deadline(replace(began, plan=sooner), START) == {
        "fix_forward": replace(RANG, silent_by=timestamp(START + 60))
    }


def test_the_refusal_of_a_plain_deploy_has_the_command() -> None:
    reason = fix_forward.refusal(deployment(None), (OverlookedAlarm("5xx", SINCE, "Threshold Crossed"),))
    command = f"sluicegate deploy orders prod --artifact {'a' * 64} --fix-forward --reason TEXT"
    assert reason.message == (
        f"before any traffic: alarm 5xx is firing since {SINCE}. A rule with fix-forward may ship the fix:"
        f" {command} (component: fix_forward, reason)"
    )
    assert reason.data == {
        "alarm": "5xx",
        "since": SINCE,
        "reason": "Threshold Crossed",
        "command": command,
    }
    several = fix_forward.refusal(deployment(None), RANG.overlooked)
    assert f"alarm 5xx is firing since {SINCE}, and 1 more." in several.message


# Properties

names = st.sampled_from(["5xx", "slow", "other", "late"])
readings = st.dictionaries(names, st.sampled_from(AlarmState)).map(
    lambda found: [AlarmReading(name, state) for name, state in found.items()]
)
looks = st.lists(st.tuples(readings, st.integers(1, 300)), max_size=12)


@given(st.sets(names), looks, st.integers(0, 12))
def test_nothing_but_what_rang_is_ever_overlooked(rang: set[str], seen: list[Any], full_at: int) -> None:
    """Not what is missing, not what fell silent, and nothing when the time is over."""
    fix = FixForward("why", tuple(OverlookedAlarm(name) for name in sorted(rang)))
    now = START
    silent: set[str] = set()
    for number, (alarms, pause) in enumerate(seen):
        now += pause
        if number == full_at:
            fix = replace(fix, silent_by=timestamp(now + SILENT_WITHIN))
        counted = judged(fix, alarms, now)
        dropped = {one.name for one in alarms if one not in counted}
        assert dropped <= rang - silent
        assert dropped <= {one.name for one in alarms if one.state is ALARM}
        if fix.silent_by is not None and now >= fix.lasts_until > 0:
            assert not dropped
        after = after_look(fix, alarms, now)
        assert after.ringing <= fix.ringing
        assert {one.name for one in after.overlooked} == rang
        silent |= {one.name for one in alarms if one.state is OK}
        fix = after
    assert fix.ringing <= rang - silent


@st.composite
def fixed_deployments(draw: st.DrawFn) -> Deployment:
    """Watched by alarms alone: limits count as in any deployment."""
    watch = Watch(draw(st.sampled_from([("5xx",), ("5xx", "slow")])), silent_within=draw(st.integers(1, 900)))
    plan = replace(draw(plans(max_steps=3, max_bake=900)), watch=watch, approval=None)
    return accepted(plan, fix_forward=FixForward("v1.4 fails"))


@given(fixed_deployments(), st.data())
def test_whatever_is_read_only_what_rang_before_the_first_move_is_overlooked(
    fixed: Deployment, data: st.DataObject
) -> None:
    """And it succeeds only when all of that has fallen silent, within the time after all traffic."""
    simulation = RolloutSimulation(fixed)
    for _ in range(200):
        action, before = simulation.next_action, simulation.deployment
        if isinstance(action, End):
            break
        if not isinstance(action, Verify | Observe):
            simulation.apply(successful_outcome(action, before))
            continue
        if isinstance(action, Verify):
            simulation.apply(Verified(data.draw(firing_alarms(before))))
            continue
        read = data.draw(possible_readings(before.plan.watch))
        states = {one.name: one.state for one in read.alarms}
        now = simulation.now
        simulation.apply(Observed(read))
        assert before.fix_forward is not None
        late = before.fix_forward.silent_by is not None and now >= before.fix_forward.lasts_until
        may_ring = frozenset() if late else before.fix_forward.ringing
        stops = {name for name, state in states.items() if state is ALARM} - may_ring
        if stops or MISSING in states.values():
            assert simulation.deployment.status is Status.ROLLING_BACK
    ended = simulation.deployment
    assert ended.status.final
    assert ended.fix_forward is not None
    if ended.status is Status.SUCCEEDED:
        assert not ended.fix_forward.ringing
