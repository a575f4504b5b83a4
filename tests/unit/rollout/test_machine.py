"""The pure decisions: whatever comes out of the steps, a rollout ends, once, and says the truth."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluicegate.deployer.worker import TURN
from sluicegate.deployment.model import AliasOutcome, AliasState, Deployment, Reason, Status
from sluicegate.deployment.plan import Limit, Metric, NoData, Plan, TrafficStep, Watch
from sluicegate.deployment.strategy import MAX_BAKE, MAX_STEPS, checked
from sluicegate.rollout.analysis import CLOSEST, LOOKS, Measured, Observation
from sluicegate.rollout.machine import (
    EXTENSIONS,
    PUBLISH_LIMIT,
    QUEUE_LIMIT,
    WAITING,
    AliasMoved,
    Blocked,
    End,
    FoundMoved,
    Lock,
    Locked,
    LockLost,
    Observe,
    Observed,
    Outcome,
    Pending,
    PermanentFailure,
    Publish,
    Published,
    Restore,
    Restored,
    ReuseVersion,
    Shift,
    Shifted,
    TransientFailure,
    Verify,
    abandon,
    advance,
    next_step,
    pause,
    stop,
)
from support.plans import ABORTED, Walk, accepted, approved, going_well, outcomes, plans, versions
from support.state_machine import EVENTS_OF_A_WAIT
from support.world import OWN, START, new_deployment

OLD, NEW = AliasState("1"), AliasState("2")


def at(status: Status, **fields: Any) -> Deployment:
    return replace(new_deployment(START, "a" * 64), status=status, **fields)


SHIFTING = at(Status.SHIFTING, version="2", original=OLD, alias_revision="r1", current=OLD)
ROLLING_BACK = replace(SHIFTING, status=Status.ROLLING_BACK, reason=Reason("shift_failed", "it failed"))


@pytest.mark.parametrize(
    ("deployment", "step"),
    [
        (at(Status.ACCEPTED), Lock()),
        (at(Status.QUEUED), Lock()),
        (at(Status.PUBLISHING), Publish()),
        (SHIFTING, Shift(OLD, "r1", NEW)),
        (ROLLING_BACK, Restore(OLD, (NEW,), OLD)),
        (replace(ROLLING_BACK, current=NEW), Restore(OLD, (NEW, NEW), NEW)),
        (at(Status.SUCCEEDED), End()),
        (at(Status.ABORTED), End()),
    ],
)
def test_the_record_asks_for_one_step(deployment: Deployment, step: object) -> None:
    assert next_step(deployment) == step


@pytest.mark.parametrize(
    ("before", "outcome", "status", "alias"),
    [
        (at(Status.ACCEPTED), Locked(), Status.PUBLISHING, None),
        (at(Status.ACCEPTED), Blocked("other"), Status.QUEUED, None),
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
        (ROLLING_BACK, FoundMoved(NEW), Status.ROLLING_BACK, None),
        (ROLLING_BACK, Restored(AliasOutcome.RESTORED, OLD), Status.ROLLED_BACK, AliasOutcome.RESTORED),
        (ROLLING_BACK, Restored(AliasOutcome.REMOVED, None), Status.ROLLED_BACK, AliasOutcome.REMOVED),
        (ROLLING_BACK, Restored(AliasOutcome.UNTOUCHED, OLD), Status.FAILED, AliasOutcome.UNTOUCHED),
        (ROLLING_BACK, Restored(AliasOutcome.LEFT_TO_OTHER, None), Status.FAILED, AliasOutcome.LEFT_TO_OTHER),
        (ROLLING_BACK, PermanentFailure("target_denied", "no"), Status.FAILED, AliasOutcome.UNKNOWN),
    ],
)
def test_each_outcome_leads_somewhere(
    before: Deployment, outcome: Outcome, status: Status, alias: AliasOutcome | None
) -> None:
    after = advance(before, outcome, START + 1)
    assert (after.status, after.outcome) == (status, alias)
    assert after.revision == before.revision + 1
    assert after.timeline[-1].seq == after.revision
    assert after.status.final == (after.finished_at is not None)


def test_the_first_reason_is_kept_on_the_way_back() -> None:
    after = advance(ROLLING_BACK, Restored(AliasOutcome.RESTORED, OLD), START)
    assert after.reason == Reason("shift_failed", "it failed")


def test_a_failure_before_anything_moved_says_untouched_and_why() -> None:
    after = advance(at(Status.PUBLISHING), PermanentFailure("artifact_not_found", "none", {"a": "b"}), START)
    assert after.reason == Reason("artifact_not_found", "none", {"a": "b"})


def test_waiting_in_the_queue_is_told_once_and_bounded() -> None:
    queued = advance(at(Status.ACCEPTED), Blocked("other"), START)
    assert advance(queued, Blocked("other"), START + QUEUE_LIMIT) is queued
    ended = advance(queued, Blocked("other"), START + QUEUE_LIMIT + 1)
    assert (ended.status, ended.reason and ended.reason.code) == (Status.FAILED, "queue_timeout")


def test_looking_again_changes_nothing_until_it_takes_too_long() -> None:
    publishing = at(Status.PUBLISHING)
    assert advance(publishing, Pending("update"), START + 900) is publishing
    ended = advance(publishing, Pending("update"), START + 901)
    assert (ended.status, ended.reason and ended.reason.code) == (Status.FAILED, "publish_timeout")


def test_pauses_grow_with_trouble_and_are_bounded() -> None:
    trouble = TransientFailure("ThrottlingException", "throttled")
    pauses = [pause(replace(SHIFTING, failures=count), trouble, START) for count in range(1, 12)]
    assert pauses == sorted(pauses)
    assert (pauses[0], pauses[-1]) == (2, 30)
    assert pause(SHIFTING, Shifted(NEW), START) == 0


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
def test_an_abandoned_deployment_claims_no_more_than_is_known(
    before: Deployment, alias: AliasOutcome
) -> None:
    after = abandon(before, "the engine failed", START)
    assert (after.status, after.outcome) == (Status.FAILED, alias)


ENDLESS = 10_000

kinds = st.sampled_from(["well", "well", "well", "anything"])


@st.composite
def new_deployments(draw: st.DrawFn, most: int, bake: int) -> Deployment:
    version = draw(st.none() | versions)
    source = draw(st.none() | st.just("dev")) if version else None
    return accepted(
        draw(plans(most, bake)),
        version=version,
        source=source,
        supersedes=draw(st.none() | st.just("01K0000000000000000000000A")),
    )


def walk_on(walk: Walk, data: st.DataObject, luck: st.SearchStrategy[str]) -> None:
    """To the end, interrupted wherever it comes to hypothesis' mind."""
    interruptions = {"abort": 1, "approve": 1, "wake": 5}
    for _ in range(ENDLESS):
        step, deployment = walk.step, walk.deployment
        if isinstance(step, End):
            return
        happens = data.draw(st.sampled_from(["nothing", "nothing", "nothing", *interruptions]))
        if happens == "abort" and interruptions[happens]:
            interruptions[happens] -= 1
            walk.change(stop(deployment, ABORTED, "aborted by job 9", walk.now))
            continue
        may_approve = deployment.plan.approval is not None and deployment.approval is None
        if happens == "approve" and interruptions[happens] and may_approve and deployment.status in WAITING:
            interruptions[happens] -= 1
            walk.change(approved(deployment, walk.now))
            continue
        well = data.draw(luck) == "well"
        outcome = going_well(step, deployment) if well else data.draw(outcomes(step, deployment))
        woken = happens == "wake" and interruptions[happens] > 0
        if woken:
            interruptions[happens] -= 1
        walk.come_out(outcome, takes=data.draw(st.floats(0, 30)), wait=not woken)
    raise AssertionError("it does not end")


def check_end(walk: Walk) -> None:
    deployment = walk.deployment
    assert deployment.status.final
    assert deployment.outcome is not None
    assert [entry.seq for entry in deployment.timeline] == list(range(1, deployment.revision + 1))
    assert [entry.status.final for entry in deployment.timeline].count(True) == 1
    assert deployment.timeline[-1].status is deployment.status
    assert (deployment.status is Status.SUCCEEDED) == (deployment.outcome is AliasOutcome.MOVED)
    assert (deployment.status is Status.SUCCEEDED) == (deployment.reason is None)
    assert deployment.finished_at == deployment.updated_at
    if deployment.status is Status.SUCCEEDED:
        assert deployment.current == AliasState(deployment.version or "")
        assert deployment.abort is None
    if deployment.outcome is AliasOutcome.RESTORED:
        assert deployment.current == deployment.original


def check_way(walk: Walk) -> None:
    """Traffic goes forward through the plan's steps, or back to what was found; a way back is a way back."""
    plan, moved, back = walk.deployment.plan, [], False
    for before, after in pairwise(walk.seen):
        assert not before.status.final
        assert not (back and after.status in (Status.SHIFTING, Status.BAKING, Status.VERIFYING))
        back = back or after.status is Status.ROLLING_BACK
        if after.status in (Status.BAKING, Status.SUCCEEDED) and before.status is Status.SHIFTING:
            moved.append(after)
    shares = [step.percent for step in plan.steps]
    weights = [deployment.weight for deployment in moved]
    if walk.deployment.original is None or shares[-1:] == weights:
        assert weights in ([], [100])
    else:
        assert weights == shares[: len(weights)]
    for deployment in moved:
        version, found = deployment.version or "", deployment.original
        if deployment.weight == 100:
            assert deployment.current == AliasState(version)
        else:
            assert found is not None
            assert deployment.current == AliasState(found.version, {version: deployment.weight / 100})


def check_approval(walk: Walk) -> None:
    """Nothing of the new code reaches the target before somebody else agreed."""
    deployment = walk.deployment
    if deployment.plan.approval is None:
        return
    touching = [
        step for step in walk.done if isinstance(step, (Lock, Publish, ReuseVersion, Verify, Shift, Observe))
    ]
    assert not touching or deployment.approval is not None


def test_somebody_who_moves_the_alias_to_and_fro_does_not_keep_a_rollout_going() -> None:
    canary = AliasState("1", {"2": 0.1})
    plan = checked_plan((TrafficStep(10, 60), TrafficStep(100, 0)))
    deployment = replace(ROLLING_BACK, plan=plan, step=1, current=canary)
    for turn in range(ENDLESS):
        deployment = advance(deployment, FoundMoved(NEW if turn % 2 else canary), START)
        if deployment.status.final:
            break
    assert (deployment.status, deployment.outcome) == (Status.FAILED, AliasOutcome.UNKNOWN)


@given(st.data())
def test_every_rollout_ends_whatever_comes_out(data: st.DataObject) -> None:
    walk = Walk(data.draw(new_deployments(most=3, bake=60)))
    walk_on(walk, data, st.just("anything"))
    check_end(walk)
    check_way(walk)
    check_approval(walk)


@given(st.data())
def test_every_rollout_ends_that_goes_well_but_for_a_few_things(data: st.DataObject) -> None:
    walk = Walk(data.draw(new_deployments(most=5, bake=MAX_BAKE)))
    walk_on(walk, data, kinds)
    check_end(walk)
    check_way(walk)
    check_approval(walk)


def run_well(deployment: Deployment, outcome: Callable[[Walk], Outcome] | None = None) -> Walk:
    """To the end, without a hitch, every step taking no time."""
    walk = Walk(deployment)
    while not isinstance(step := walk.step, End):
        if walk.deployment.status is Status.AWAITING_APPROVAL and walk.deployment.approval is None:
            walk.change(approved(walk.deployment, walk.now))
            continue
        walk.come_out(outcome(walk) if outcome else going_well(step, walk.deployment))
    return walk


@given(plans())
def test_a_rollout_without_a_hitch_takes_the_plans_steps_and_its_time(plan: Plan) -> None:
    walk = run_well(accepted(plan))
    check_end(walk)
    check_way(walk)
    check_approval(walk)
    assert walk.deployment.status is Status.SUCCEEDED
    assert [d.weight for d in walk.seen if d.status is Status.BAKING or d.status.final] == [
        *(step.percent for step in plan.steps if step.bake),
        100,
    ]
    bakes = sum(step.bake for step in plan.steps)
    waited = walk.now - START - (plan.approval or 0)
    assert bakes <= waited <= bakes + 2 * len(plan.steps)


@given(plans())
def test_looks_of_a_bake_are_few_however_long_it_is(plan: Plan) -> None:
    walk = run_well(accepted(plan))
    assert all(count <= LOOKS + 1 for count in walk.looks)
    if plan.watch is None:
        assert all(count <= 3 for count in walk.looks)


def extended(walk: Walk) -> Outcome:
    """Every bake is prolonged as often as can be, and then there is just enough to tell."""
    deployment, step = walk.deployment, walk.step
    if isinstance(step, Observe) and deployment.extended < EXTENSIONS:
        return Observed(Observation(new=Measured(), old=Measured()))
    return going_well(step, deployment)


@pytest.mark.parametrize("bake", [MAX_BAKE, 3_600, 100])
def test_the_worst_plan_stays_within_the_history_of_one_execution(bake: int) -> None:
    """25,000 events (Step Functions quotas). A fifth is left for trouble, and for what wakes it early."""
    steps = tuple(TrafficStep(5 * (number + 1), bake) for number in range(MAX_STEPS))
    watch = Watch(limits=(Limit(Metric.ERRORS, 200, most=1.0),), no_data=NoData.EXTEND)
    plan = replace(accepted(checked_plan(steps)).plan, watch=watch, approval=14 * 86_400)
    walk = run_well(accepted(plan), extended)
    assert walk.deployment.status is Status.SUCCEEDED
    assert max(walk.looks) <= LOOKS * (1 + EXTENSIONS)
    queue_and_publish = (QUEUE_LIMIT * 2 + PUBLISH_LIMIT) // int(TURN)
    assert (walk.waits + queue_and_publish) * EVENTS_OF_A_WAIT < 20_000


def checked_plan(steps: tuple[TrafficStep, ...]) -> Plan:
    return Plan(OWN, "prod", checked(steps), "0" * 64)


@given(st.integers(1, MAX_BAKE), st.integers(0, EXTENSIONS), st.floats(0, MAX_BAKE), st.booleans())
def test_a_bake_waits_for_its_next_look_and_never_past_its_end(
    bake: int, prolonged: int, gone: float, watched: bool
) -> None:
    plan = replace(
        checked_plan((TrafficStep(10, bake), TrafficStep(100, 0))),
        watch=Watch(alarms=("a",)) if watched else None,
    )
    deployment = replace(accepted(plan), status=Status.BAKING, version="2", original=OLD, extended=prolonged)
    left = START + bake * (1 + prolonged) - (START + gone)
    seconds = pause(deployment, Observed(Observation()), START + gone)
    assert 1 <= seconds < max(left, 0) + 1.001
    if watched:
        assert seconds <= max(CLOSEST, -(-bake * (1 + prolonged) // LOOKS))
    assert pause(replace(deployment, abort=ABORTED), Observed(Observation()), START + gone) == 0
