"""The pure decisions: for every sequence of outcomes, a rollout ends, once, and its record is right."""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from math import ceil
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluicegate.deployer.worker import TURN_SECONDS
from sluicegate.deployment.call_budget import InLine
from sluicegate.deployment.model import (
    MAX_RETRY_ENTRIES,
    AliasOutcome,
    AliasState,
    Deployment,
    EarlierVersion,
    Reason,
    Status,
)
from sluicegate.deployment.observations import AlarmState
from sluicegate.deployment.plan import Limit, Metric, Plan, TrafficStep, Unclear, Watch
from sluicegate.deployment.strategy import MAX_BAKE, MAX_STEPS, checked
from sluicegate.rollout.actions import End, Lock, Observe, Publish, Restore, ReuseVersion, Shift, Verify
from sluicegate.rollout.budget import MAX_EXTENSIONS, MAX_LOOKS, MIN_INTERVAL
from sluicegate.rollout.machine import (
    APPROVAL_LOOKS,
    MAX_LOCK_DELAY,
    advance,
    backoff,
    next_action,
    next_delay,
)
from sluicegate.rollout.outcomes import (
    AliasFound,
    AliasMoved,
    Blocked,
    Denied,
    Locked,
    LockLost,
    Observed,
    Outcome,
    Pending,
    PermanentFailure,
    Published,
    Restored,
    Shifted,
    TransientFailure,
)
from sluicegate.rollout.transitions import (
    DENIED_SECONDS,
    LINE_TIMEOUT,
    PUBLISH_TIMEOUT,
    QUEUE_TIMEOUT,
    RESTORE_SECONDS,
    RETRY_SECONDS,
    THROTTLED_SECONDS,
    WAKE_TIMEOUT,
    force_fail,
    request_abort,
)
from sluicegate.store.codec import marshal, record
from support.plans import (
    ABORTED,
    RolloutSimulation,
    accepted,
    approved,
    fixes,
    plans,
    possible_outcomes,
    rejected,
    successful_outcome,
    versions,
)
from support.readings import VersionMetrics, alarm_readings, readings
from support.simulation import OWN, START, new_deployment
from support.state_machine import EVENTS_OF_A_WAIT

OLD, NEW = AliasState("1"), AliasState("2")


def at(status: Status, **fields: Any) -> Deployment:
    return replace(new_deployment(START, "a" * 64), status=status, **fields)


SHIFTING = at(Status.SHIFTING, version="2", original=OLD, alias_revision="r1", current=OLD)
ROLLING_BACK = replace(SHIFTING, status=Status.ROLLING_BACK, reason=Reason("shift_failed", "it failed"))


@pytest.mark.parametrize(
    ("deployment", "action"),
    [
        (at(Status.ACCEPTED), Lock()),
        (at(Status.QUEUED), Lock()),
        (at(Status.PUBLISHING), Publish()),
        (SHIFTING, Shift(OLD, "r1", NEW)),
        (ROLLING_BACK, Restore(OLD, (NEW,), OLD, "r1")),
        (replace(ROLLING_BACK, current=NEW), Restore(OLD, (NEW, NEW), NEW, "r1")),
        (at(Status.SUCCEEDED), End()),
        (at(Status.ABORTED), End()),
    ],
)
def test_each_record_has_one_next_action(deployment: Deployment, action: object) -> None:
    assert next_action(deployment) == action


@pytest.mark.parametrize(
    ("before", "outcome", "status", "alias"),
    [
        (at(Status.ACCEPTED), Locked(), Status.PUBLISHING, None),
        (at(Status.ACCEPTED), Blocked("other"), Status.QUEUED, None),
        (at(Status.ACCEPTED), InLine(27, 7.4, 7.4), Status.QUEUED, None),
        (at(Status.PUBLISHING), LockLost(), Status.QUEUED, None),
        (at(Status.PUBLISHING), Published("2", OLD, "r1"), Status.SHIFTING, None),
        (
            at(Status.PUBLISHING),
            PermanentFailure("function_not_found", "gone"),
            Status.FAILED,
            AliasOutcome.UNTOUCHED,
        ),
        (SHIFTING, Shifted(NEW), Status.SUCCEEDED, AliasOutcome.MOVED),
        (SHIFTING, AliasMoved(AliasState("9")), Status.FAILED, AliasOutcome.LEFT_TO_OTHER),
        (SHIFTING, AliasMoved(None), Status.FAILED, AliasOutcome.LEFT_TO_OTHER),
        (SHIFTING, PermanentFailure("lambda_refused", "no"), Status.ROLLING_BACK, None),
        (ROLLING_BACK, AliasFound(NEW, "r3"), Status.ROLLING_BACK, None),
        (SHIFTING, AliasFound(OLD, "r3"), Status.SHIFTING, None),
        (ROLLING_BACK, Restored(AliasOutcome.RESTORED, OLD), Status.ROLLED_BACK, AliasOutcome.RESTORED),
        (ROLLING_BACK, Restored(AliasOutcome.REMOVED, None), Status.ROLLED_BACK, AliasOutcome.REMOVED),
        (ROLLING_BACK, Restored(AliasOutcome.UNTOUCHED, OLD), Status.FAILED, AliasOutcome.UNTOUCHED),
        (ROLLING_BACK, Restored(AliasOutcome.LEFT_TO_OTHER, None), Status.FAILED, AliasOutcome.LEFT_TO_OTHER),
        (ROLLING_BACK, PermanentFailure("target_denied", "no"), Status.FAILED, AliasOutcome.UNKNOWN),
    ],
)
def test_each_outcome_leads_to_a_status(
    before: Deployment, outcome: Outcome, status: Status, alias: AliasOutcome | None
) -> None:
    after = advance(before, outcome, START + 1)
    assert (after.status, after.outcome) == (status, alias)
    assert after.revision == before.revision + 1
    assert after.timeline[-1].seq == after.revision
    assert after.status.final == (after.finished_at is not None)


def test_the_first_reason_is_kept_while_rolling_back() -> None:
    after = advance(ROLLING_BACK, Restored(AliasOutcome.RESTORED, OLD), START)
    assert after.reason == Reason("shift_failed", "it failed")


def test_a_failure_before_traffic_keeps_its_reason() -> None:
    after = advance(at(Status.PUBLISHING), PermanentFailure("artifact_not_found", "none", {"a": "b"}), START)
    assert after.reason == Reason("artifact_not_found", "none", {"a": "b"})


def test_waiting_in_the_queue_is_recorded_once_and_bounded() -> None:
    queued = advance(at(Status.ACCEPTED), Blocked("other"), START)
    assert advance(queued, Blocked("other"), START + QUEUE_TIMEOUT) is queued
    ended = advance(queued, Blocked("other"), START + QUEUE_TIMEOUT + 1)
    assert (ended.status, ended.reason and ended.reason.code) == (Status.FAILED, "queue_timeout")


def test_a_place_in_line_is_said_once_and_no_line_is_too_long() -> None:
    queued = advance(at(Status.ACCEPTED), InLine(27, 7.4, 7.4), START)
    assert queued.timeline[-1].message == "27th in line for Lambda's control plane, about 8s"
    assert advance(queued, InLine(26, 7.2, 7.2), START + QUEUE_TIMEOUT + 1) is queued
    # The time for the lock begins when the line is over.
    assert advance(queued, Blocked("other"), START + QUEUE_TIMEOUT + 1) is queued
    handed_over = advance(at(Status.QUEUED), InLine(2, 1.0, 1.0), START)
    assert handed_over.timeline[-1].message.startswith("2nd in line")
    ended = advance(queued, InLine(1, 1.0, 1.0), START + LINE_TIMEOUT + 1)
    assert (ended.status, ended.reason and ended.reason.code) == (Status.FAILED, "queue_timeout")


@pytest.mark.parametrize(("look_in", "seconds"), [(0.0, 0), (0.98, 0), (1.0, 1), (7.9, 7), (4_000.2, 4_000)])
def test_a_wait_in_line_is_for_whole_seconds_and_never_too_long(look_in: float, seconds: int) -> None:
    assert next_delay(at(Status.QUEUED), InLine(3, look_in, look_in), START) == seconds


@pytest.mark.parametrize("status", [Status.PUBLISHING, Status.VERIFYING, Status.SHIFTING, Status.BAKING])
def test_throttled_calls_are_retried_for_an_hour_unless_traffic_is_watched(status: Status) -> None:
    throttled = TransientFailure("TooManyRequestsException", "slower", throttled=True)
    first = advance(at(status), throttled, START)
    limit = RETRY_SECONDS if status is Status.BAKING else THROTTLED_SECONDS
    assert advance(first, throttled, START + limit - 1).status is status
    assert advance(first, throttled, START + limit + 1).status is not status


def test_a_lock_is_tried_again_ever_more_seldom() -> None:
    queued = advance(at(Status.ACCEPTED), Blocked("other"), START)
    delays = [next_delay(queued, Blocked("other"), START + waited) for waited in range(QUEUE_TIMEOUT)]
    assert delays == sorted(delays)
    assert delays[0] in (1, 2)
    assert delays[-1] in (MAX_LOCK_DELAY, MAX_LOCK_DELAY + 1)
    others = [replace(queued, id=f"{number}") for number in range(9)]
    assert {next_delay(one, Blocked("other"), START) for one in others} == {1, 2}


def test_a_pending_update_changes_nothing_until_its_timeout() -> None:
    publishing = at(Status.PUBLISHING)
    assert advance(publishing, Pending("update"), START + 900) is publishing
    ended = advance(publishing, Pending("update"), START + 901)
    assert (ended.status, ended.reason and ended.reason.code) == (Status.FAILED, "publish_timeout")


def test_a_pending_version_has_its_time_from_the_approval_on() -> None:
    """Somebody wakes an inactive version right before the approval, as the message asks for."""
    waiting = at(Status.AWAITING_APPROVAL, version="2", action="promote")
    decided = approved(waiting, START + 7_200)
    assert advance(decided, Pending("version 2"), START + 7_201) is decided
    ended = advance(decided, Pending("version 2"), START + 7_200 + PUBLISH_TIMEOUT + 1)
    assert (ended.status, ended.reason and ended.reason.code) == (Status.FAILED, "publish_timeout")


@pytest.mark.parametrize("status", [Status.VERIFYING, Status.SHIFTING])
def test_a_rollback_is_in_no_hurry_once_it_can_go_back_to_no_other_version(status: Status) -> None:
    fallbacks = (EarlierVersion("1", "b" * 64),)
    chosen = at(status, version="2", action="rollback", original=AliasState("3"), fallbacks=fallbacks)
    assert advance(chosen, Pending("waking"), START + PUBLISH_TIMEOUT) is chosen
    choosing = replace(chosen, status=Status.ACCEPTED)
    assert advance(choosing, Pending("waking"), START + WAKE_TIMEOUT + 1).version == "1"


THROTTLED = TransientFailure("ThrottlingException", "throttled")
DENIED = Denied("AccessDeniedException", "not authorized to perform lambda:UpdateAlias")
BAKING = replace(
    SHIFTING,
    status=Status.BAKING,
    current=NEW,
    plan=replace(SHIFTING.plan, steps=(TrafficStep(100, 3_600),), watch=Watch(alarms=("a",))),
)


@pytest.mark.parametrize(
    ("deployment", "failure", "patience", "status", "code"),
    [
        (at(Status.PUBLISHING), THROTTLED, RETRY_SECONDS, Status.FAILED, "publish_failed"),
        (SHIFTING, THROTTLED, RETRY_SECONDS, Status.ROLLING_BACK, "shift_failed"),
        (BAKING, THROTTLED, RETRY_SECONDS, Status.ROLLING_BACK, "watch_failed"),
        (at(Status.PUBLISHING), DENIED, DENIED_SECONDS, Status.FAILED, "target_denied"),
        (SHIFTING, DENIED, DENIED_SECONDS, Status.ROLLING_BACK, "target_denied"),
        (BAKING, DENIED, DENIED_SECONDS, Status.ROLLING_BACK, "target_denied"),
        (ROLLING_BACK, THROTTLED, RESTORE_SECONDS, Status.FAILED, "shift_failed"),
        (ROLLING_BACK, DENIED, RESTORE_SECONDS, Status.FAILED, "shift_failed"),
        (ROLLING_BACK, AliasFound(NEW, "r3"), RESTORE_SECONDS, Status.FAILED, "shift_failed"),
        (SHIFTING, AliasFound(OLD, "r3"), RETRY_SECONDS, Status.ROLLING_BACK, "alias_moved"),
    ],
)
def test_time_ends_retries_and_their_number_does_not(
    deployment: Deployment, failure: Outcome, patience: int, status: Status, code: str
) -> None:
    """Whatever wakes a rollout early, a thousand times, uses nothing up."""
    for _ in range(1_000):
        deployment = advance(deployment, failure, START + 1)
    assert deployment.status is not status
    before = advance(deployment, failure, START + patience - 0.5)
    assert before.status is deployment.status
    ended = advance(before, failure, START + 1 + patience)
    assert (ended.status, ended.reason and ended.reason.code) == (status, code)


@pytest.mark.parametrize("failure", [THROTTLED, DENIED])
def test_what_failed_long_ago_and_recovered_does_not_count(failure: Outcome) -> None:
    failing = advance(at(Status.PUBLISHING), failure, START)
    pending = advance(failing, Pending("the update"), START + 30)
    assert (pending.failures, pending.failing_since, pending.denied_since) == (0, None, None)
    again = advance(pending, failure, START + 400)
    assert again.status is Status.PUBLISHING
    observed = advance(
        advance(BAKING, failure, START), Observed(readings(alarm_readings(AlarmState.OK))), START + 1
    )
    assert (observed.status, observed.failures, observed.failing_since) == (Status.BAKING, 0, None)


def test_pauses_grow_with_failures_and_are_bounded() -> None:
    pauses = [backoff(replace(SHIFTING, failures=count), START) for count in range(12)]
    assert pauses == sorted(pauses)
    assert pauses[0] == 0
    assert 0.25 <= pauses[1] <= 0.5
    assert 15 <= pauses[-1] == pauses[-2] <= 30
    assert next_delay(replace(SHIFTING, failures=3), THROTTLED, START) == ceil(pauses[3])
    assert next_delay(SHIFTING, Shifted(NEW), START) == 0


def test_what_failed_together_does_not_come_back_together() -> None:
    failed = [replace(SHIFTING, id=f"{number:026}", failures=9) for number in range(200)]
    pauses = [backoff(one, START) for one in failed]
    assert pauses == [backoff(one, START) for one in failed]
    in_each_second = Counter(int(pause) for pause in pauses)
    assert set(in_each_second) == set(range(15, 30))
    assert max(in_each_second.values()) < 30


@given(st.integers(1, 200), st.floats(0, 40))
def test_a_pause_is_counted_from_the_failure_and_an_abort_is_not_kept_waiting(
    count: int, since: float
) -> None:
    failing = replace(ROLLING_BACK, failures=count)
    full = backoff(failing, START)
    assert backoff(failing, START + since) == pytest.approx(max(0.0, full - since), abs=1e-3)
    assert backoff(failing, START - 3_600) == pytest.approx(full, abs=1e-3)  # a clock that was set back
    assert backoff(replace(failing, abort=ABORTED), START) == full
    assert backoff(replace(failing, status=Status.BAKING, abort=ABORTED), START) == 0


@pytest.mark.parametrize("status", [status for status in Status if status.final])
def test_a_final_status_is_never_left(status: Status) -> None:
    with pytest.raises(ValueError, match="stays so"):
        at(status).changed(START, "again", Status.PUBLISHING)


@pytest.mark.parametrize(
    ("before", "alias"),
    [
        (at(Status.ACCEPTED), AliasOutcome.UNTOUCHED),
        (at(Status.PUBLISHING), AliasOutcome.UNTOUCHED),
        (SHIFTING, AliasOutcome.UNKNOWN),
        (ROLLING_BACK, AliasOutcome.UNKNOWN),
    ],
)
def test_a_force_failed_deployment_claims_no_more_than_is_known(
    before: Deployment, alias: AliasOutcome
) -> None:
    after = force_fail(before, "the engine failed", START)
    assert (after.status, after.outcome) == (Status.FAILED, alias)


MAX_ACTIONS = 10_000

mostly_successful = st.sampled_from(["success", "success", "success", "anything"])


@st.composite
def new_deployments(draw: st.DrawFn, max_steps: int, max_bake: int) -> Deployment:
    version = draw(st.none() | versions)
    fallbacks = draw(st.lists(versions, max_size=3)) if version else []
    return accepted(
        draw(plans(max_steps, max_bake)),
        version=version,
        fallbacks=tuple(EarlierVersion(number, "b" * 64) for number in fallbacks),
        supersedes=draw(st.none() | st.just("01K0000000000000000000000A")),
        fix_forward=draw(fixes),
    )


def run_with_interruptions(
    simulation: RolloutSimulation, data: st.DataObject, kinds: st.SearchStrategy[str]
) -> None:
    """Run to the end, interrupted wherever Hypothesis chooses."""
    interruptions = {"abort": 1, "approve": 1, "reject": 1, "wake": 5}
    for _ in range(MAX_ACTIONS):
        action, deployment = simulation.next_action, simulation.deployment
        if isinstance(action, End):
            return
        event = data.draw(st.sampled_from(["nothing", "nothing", "nothing", *interruptions]))
        if event == "abort" and interruptions[event]:
            interruptions[event] -= 1
            simulation.save(request_abort(deployment, ABORTED, "aborted by job 9", simulation.now))
            continue
        stopped = deployment.status is Status.ROLLING_BACK or deployment.abort is not None
        begun = deployment.plan.unapproved_percent > 0 and not stopped
        undecided = deployment.plan.approval is not None and deployment.approval is None
        may_decide = undecided and (deployment.is_waiting or begun)
        if event in ("approve", "reject") and interruptions[event] and may_decide:
            interruptions[event] -= 1
            decide = approved if event == "approve" else rejected
            simulation.save(decide(deployment, simulation.now))
            continue
        if data.draw(kinds) == "success":
            outcome = successful_outcome(action, deployment)
        else:
            outcome = data.draw(possible_outcomes(action, deployment))
        woken = event == "wake" and interruptions[event] > 0
        if woken:
            interruptions[event] -= 1
        simulation.apply(outcome, duration=data.draw(st.floats(0, 30)), woken=woken)
    raise AssertionError("it does not end")


def check_end(simulation: RolloutSimulation) -> None:
    deployment = simulation.deployment
    assert deployment.status.final
    assert deployment.outcome is not None
    check_timeline(simulation)
    assert [entry.status.final for entry in deployment.timeline].count(True) == 1
    assert deployment.timeline[-1].status is deployment.status
    assert (deployment.status is Status.SUCCEEDED) == (deployment.outcome is AliasOutcome.MOVED)
    assert (deployment.status is Status.SUCCEEDED) == (deployment.reason is None)
    assert deployment.finished_at == deployment.updated_at
    if deployment.status is Status.SUCCEEDED:
        assert not (deployment.fix_forward and deployment.fix_forward.ringing)
        assert deployment.current == AliasState(deployment.version or "")
        assert deployment.abort is None
    if deployment.outcome is AliasOutcome.RESTORED:
        assert deployment.current == deployment.original


def check_timeline(simulation: RolloutSimulation) -> None:
    """Each revision ends with its own entry, and only those about retries and earlier looks are left out."""
    deployment, made = simulation.deployment, {entry.seq: entry for entry in simulation.revisions[0].timeline}
    for before, after in pairwise(simulation.revisions):
        last, entry = made[before.revision], after.timeline[-1]
        if entry.progress and last.progress and entry.status is last.status:
            del made[before.revision]
        made[after.revision] = entry
        assert after.timeline[-1].seq == after.revision
        assert after.timeline[-2].status is before.status  # `previous_status` of the event
    kept = [entry for entry in made.values() if not entry.retry]
    retries = [entry for entry in made.values() if entry.retry]
    if len(retries) > MAX_RETRY_ENTRIES:
        retries = retries[:10] + retries[10 - MAX_RETRY_ENTRIES :]
    assert list(deployment.timeline) == sorted([*kept, *retries], key=lambda entry: entry.seq)


def check_traffic(simulation: RolloutSimulation) -> None:
    """Traffic goes forward through the plan's steps, or back to the original and stays there."""
    plan, moved, rolling_back = simulation.deployment.plan, [], False
    for before, after in pairwise(simulation.revisions):
        assert not before.status.final
        assert not (rolling_back and after.status in (Status.SHIFTING, Status.BAKING, Status.VERIFYING))
        rolling_back = rolling_back or after.status is Status.ROLLING_BACK
        if after.status in (Status.BAKING, Status.SUCCEEDED) and before.status is Status.SHIFTING:
            moved.append(after)
    shares = [step.percent for step in plan.steps]
    weights = [deployment.weight for deployment in moved]
    if simulation.deployment.original is None or shares[-1:] == weights:
        assert weights in ([], [100])
    else:
        assert weights == shares[: len(weights)]
    for deployment in moved:
        version, original = deployment.version or "", deployment.original
        if deployment.weight == 100:
            assert deployment.current == AliasState(version)
        else:
            assert original is not None
            assert deployment.current == AliasState(original.version, {version: deployment.weight / 100})


def check_approval(simulation: RolloutSimulation) -> None:
    """Without a second person's approval, no more traffic moves than the plan allows.

    If that is less than the first step, nothing of the new code reaches the target.
    """
    plan = simulation.deployment.plan
    if plan.approval is None:
        return
    touching = (Lock, Publish, ReuseVersion, Verify, Shift, Observe)
    for deployment, action in zip(simulation.acted_on, simulation.actions, strict=True):
        if deployment.is_approved:
            continue
        if plan.steps[0].percent > plan.unapproved_percent:
            assert not isinstance(action, touching)
        if isinstance(action, Shift) and action.desired != action.original:
            assert plan.steps[deployment.step].percent <= plan.unapproved_percent
    for deployment in simulation.revisions:
        unapproved = not deployment.is_approved and deployment.current != deployment.original
        if unapproved and deployment.outcome is not AliasOutcome.LEFT_TO_OTHER:
            assert deployment.weight <= plan.unapproved_percent
    if simulation.deployment.approval and simulation.deployment.approval.decision == "rejected":
        assert simulation.deployment.status in (Status.REJECTED, Status.FAILED)


def test_an_alias_that_keeps_being_moved_does_not_keep_a_rollout_going() -> None:
    canary = AliasState("1", {"2": 0.1})
    plan = checked_plan((TrafficStep(10, 60), TrafficStep(100, 0)))
    deployment = replace(ROLLING_BACK, plan=plan, step=1, current=canary)
    now = START
    for turn in range(MAX_ACTIONS):
        now += backoff(deployment, now) + 1
        deployment = advance(deployment, AliasFound(NEW if turn % 2 else canary, f"r{turn}"), now)
        if deployment.status.final:
            break
    assert (deployment.status, deployment.outcome) == (Status.FAILED, AliasOutcome.UNKNOWN)
    assert len(deployment.timeline) < 200  # an item of the table has 400 kB


MAX_ITEM: Final = 400_000
"""Bytes of an item of the table: 400 KB (DynamoDB developer guide, "Quotas", read on 2026-11-26)."""


def stored_size(deployment: Deployment) -> int:
    """At least as much as DynamoDB counts: it takes no braces and no type names into account."""
    return len(json.dumps(marshal(record(deployment)), ensure_ascii=False).encode())


LONGEST: Final = "\U0001f600" * 256
FAILURES: Final = (Denied("AccessDenied", LONGEST), TransientFailure("ThrottlingException", LONGEST))


def flaky(simulation: RolloutSimulation) -> Outcome:
    """Fail and work in turn wherever something may fail, never twice in a row; extend every bake."""
    count = len(simulation.actions)
    if simulation.deployment.failures or count < 3:
        return extended(simulation)
    return FAILURES[count // 2 % 2]


def test_a_week_of_looks_that_fail_and_work_in_turn_fits_into_the_table() -> None:
    """An item that is too large could never be saved again, not even to end the deployment."""
    watch = Watch(limits=(Limit(Metric.ERRORS, 200, most=1.0),), unclear=Unclear.EXTEND)
    plan = replace(checked_plan((TrafficStep(100, MAX_BAKE),)), watch=watch)
    simulation = RolloutSimulation(accepted(plan))
    ends_at = START + MAX_BAKE
    while simulation.now < ends_at:
        # An alarm that rings at times wakes the rollout, so it looks more often than it would.
        simulation.apply(flaky(simulation), duration=60, woken=True)
    assert simulation.deployment.revision > 5_000
    assert simulation.deployment.status is Status.BAKING
    assert stored_size(simulation.deployment) < MAX_ITEM / 4
    check_timeline(simulation)
    simulation.apply(PermanentFailure("metric", LONGEST))
    while not isinstance(simulation.next_action, End):
        simulation.apply(FAILURES[1])  # for an hour
    assert simulation.deployment.outcome is AliasOutcome.UNKNOWN
    assert stored_size(simulation.deployment) < MAX_ITEM / 4
    check_end(simulation)


def test_the_longest_plan_with_retries_everywhere_fits_into_the_table() -> None:
    steps = tuple(TrafficStep(5 * (number + 1), MAX_BAKE) for number in range(MAX_STEPS))
    watch = Watch(limits=(Limit(Metric.ERRORS, 200, most=1.0),), unclear=Unclear.EXTEND)
    simulation = RolloutSimulation(accepted(replace(checked_plan(steps), watch=watch)))
    while not isinstance(simulation.next_action, End):
        simulation.apply(flaky(simulation))
    assert simulation.deployment.status is Status.SUCCEEDED
    assert simulation.deployment.revision > 500
    assert stored_size(simulation.deployment) < MAX_ITEM / 2
    check_end(simulation)


def test_publishing_that_is_denied_and_throttled_in_turn_fits_into_the_table() -> None:
    simulation = RolloutSimulation(advance(accepted(checked_plan((TrafficStep(100, 0),))), Locked(), START))
    for number in range(10_000):
        simulation.apply(FAILURES[number % 2], woken=True)  # nothing passes time here
    assert simulation.deployment.status is Status.PUBLISHING
    assert stored_size(simulation.deployment) < MAX_ITEM / 4
    check_timeline(simulation)


@given(st.data())
def test_every_rollout_ends_for_all_outcomes(data: st.DataObject) -> None:
    simulation = RolloutSimulation(data.draw(new_deployments(max_steps=3, max_bake=60)))
    run_with_interruptions(simulation, data, st.just("anything"))
    check_end(simulation)
    check_traffic(simulation)
    check_approval(simulation)


@given(st.data())
def test_every_mostly_successful_rollout_ends(data: st.DataObject) -> None:
    simulation = RolloutSimulation(data.draw(new_deployments(max_steps=5, max_bake=MAX_BAKE)))
    run_with_interruptions(simulation, data, mostly_successful)
    check_end(simulation)
    check_traffic(simulation)
    check_approval(simulation)


def run_successfully(
    deployment: Deployment, outcome: Callable[[RolloutSimulation], Outcome] | None = None
) -> RolloutSimulation:
    """Run to the end without a failure; no action takes any time."""
    simulation = RolloutSimulation(deployment)
    while not isinstance(action := simulation.next_action, End):
        if (
            simulation.deployment.status is Status.AWAITING_APPROVAL
            and simulation.deployment.approval is None
        ):
            simulation.save(approved(simulation.deployment, simulation.now))
            continue
        simulation.apply(
            outcome(simulation) if outcome else successful_outcome(action, simulation.deployment)
        )
    return simulation


@given(plans())
def test_a_successful_rollout_takes_the_steps_and_the_time_of_its_plan(plan: Plan) -> None:
    simulation = run_successfully(accepted(plan))
    check_end(simulation)
    check_traffic(simulation)
    check_approval(simulation)
    assert simulation.deployment.status is Status.SUCCEEDED
    moves = [d for d in simulation.revisions if not d.timeline[-1].progress]
    assert [d.weight for d in moves if d.status is Status.BAKING or d.status.final] == [
        *(step.percent for step in plan.steps if step.bake),
        100,
    ]
    bakes = sum(step.bake for step in plan.steps)
    waited = simulation.now - START - simulation.awaited
    assert bakes <= waited <= bakes + 2 * len(plan.steps)


@given(plans())
def test_a_bake_has_few_observations_however_long_it_is(plan: Plan) -> None:
    simulation = run_successfully(accepted(plan))
    assert all(count <= MAX_LOOKS + 1 for count in simulation.observations)
    if plan.watch is None:
        assert all(count <= 3 for count in simulation.observations)


def extended(simulation: RolloutSimulation) -> Outcome:
    """Extend every bake as often as possible, then let it pass."""
    deployment, action = simulation.deployment, simulation.next_action
    if isinstance(action, Observe) and deployment.extended < MAX_EXTENSIONS:
        return Observed(readings(baseline=VersionMetrics()))
    return successful_outcome(action, deployment)


@pytest.mark.parametrize("bake", [MAX_BAKE, 3_600, 100])
def test_the_worst_plan_stays_within_the_history_of_one_execution(bake: int) -> None:
    """25,000 events (Step Functions quotas). A fifth is left for retries and early wake-ups."""
    steps = tuple(TrafficStep(5 * (number + 1), bake) for number in range(MAX_STEPS))
    watch = Watch(limits=(Limit(Metric.ERRORS, 200, most=1.0),), unclear=Unclear.EXTEND)
    plan = replace(accepted(checked_plan(steps)).plan, watch=watch, approval=14 * 86_400)
    simulation = run_successfully(accepted(plan), extended)
    assert simulation.deployment.status is Status.SUCCEEDED
    assert max(simulation.observations) <= MAX_LOOKS * (1 + MAX_EXTENSIONS)
    queue_and_publish = QUEUE_TIMEOUT * 2 // MAX_LOCK_DELAY + 50 + PUBLISH_TIMEOUT // int(TURN_SECONDS)
    waits = simulation.waits + queue_and_publish + APPROVAL_LOOKS
    assert waits * EVENTS_OF_A_WAIT < 20_000


def checked_plan(steps: tuple[TrafficStep, ...]) -> Plan:
    return Plan(OWN, "prod", checked(steps), "0" * 64)


@given(st.integers(1, MAX_BAKE), st.integers(0, MAX_EXTENSIONS), st.floats(0, MAX_BAKE), st.booleans())
def test_a_bake_waits_for_its_next_observation_and_never_past_its_end(
    bake: int, extensions: int, elapsed: float, watched: bool
) -> None:
    plan = replace(
        checked_plan((TrafficStep(10, bake), TrafficStep(100, 0))),
        watch=Watch(alarms=("a",)) if watched else None,
    )
    deployment = replace(accepted(plan), status=Status.BAKING, version="2", original=OLD, extended=extensions)
    remaining = START + bake * (1 + extensions) - (START + elapsed)
    seconds = next_delay(deployment, Observed(readings()), START + elapsed)
    assert 1 <= seconds < max(remaining, 0) + 1.001
    if watched:
        assert seconds <= max(MIN_INTERVAL, -(-bake * (1 + extensions) // MAX_LOOKS))
    assert next_delay(replace(deployment, abort=ABORTED), Observed(readings()), START + elapsed) == 0
