"""The real state machine around the real deployer's handler, path by path, from the request to the end."""

from collections.abc import Iterator
from typing import Any

import pytest

from sluicegate.aws.stepfunctions import Executions
from sluicegate.deployment.model import AliasOutcome, AliasState, Deployment, Status
from sluicegate.deployment.observations import AlarmState
from sluicegate.deployment.plan import Limit, Metric, Smoke, TrafficStep, Unclear, Watch
from sluicegate.gate.rollout_settings import Rollout
from sluicegate.recovery.janitor import GIVES_UP_AFTER, RESTART_EVERY, SOON
from support.cloudwatch_model import Requests
from support.gateway_simulation import (
    GatewaySimulation,
    artifact,
    function,
    gate_of,
    gateway_simulation,
    problem,
)
from support.lambda_model import error, timeout
from support.simulation import Killed
from support.state_machine import (
    EVENTS_OF_A_WAIT,
    MOST_EVENTS,
    ServiceError,
    TaskFailed,
    definition,
    evaluate,
)

pytestmark = pytest.mark.filterwarnings("ignore:No application metrics")

CANARY = (TrafficStep(10, 300), TrafficStep(100, 0))
ERRORS = Watch(limits=(Limit(Metric.ERRORS, 100, most=5.0),))
ALARM = Watch(alarms=("orders-5xx",))
APPROVAL = Rollout(approval=3_600)


@pytest.fixture
def at() -> Iterator[GatewaySimulation]:
    with gateway_simulation() as made:
        yield made


def served(at: GatewaySimulation, rollout: Rollout, **stages: Rollout) -> tuple[str, str]:
    """Digests of two artifacts: the first is served by prod, the other one goes by the rollout."""
    old, new = artifact(at, b"old"), artifact(at, b"new")
    assert at.release(old).status is Status.SUCCEEDED
    at.gate = gate_of({"prod": rollout, **stages})
    return old, new


def statuses(deployment: Deployment) -> list[Status]:
    return list(dict.fromkeys(entry.status for entry in deployment.timeline))


def ended(
    at: GatewaySimulation,
    deployment: Deployment,
    status: Status,
    outcome: AliasOutcome,
    code: str | None = None,
) -> Deployment:
    """The deployment, which ended so; nothing runs or is locked, and the alias is as the record says."""
    deployment = at.finish(deployment)
    assert (deployment.status, deployment.outcome) == (status, outcome)
    assert (deployment.reason and deployment.reason.code) == code
    assert at.locks() == []
    assert all(one.status != "RUNNING" for one in at.machine.executions.values())
    assert all(one.events < MOST_EVENTS for one in at.machine.executions.values())
    alias = at.model.serves("orders", "prod")
    if deployment.current:
        assert alias == (deployment.current.version, deployment.current.weights)
    if outcome is AliasOutcome.RESTORED:
        assert deployment.original == deployment.current
    return deployment


# How traffic moves


@pytest.mark.parametrize(
    ("steps", "weights", "seconds"),
    [
        ((TrafficStep(100, 0),), [], 0),
        ((TrafficStep(100, 600),), [100], 600),
        (CANARY, [10], 300),
        (
            (TrafficStep(25, 60), TrafficStep(50, 60), TrafficStep(75, 60), TrafficStep(100, 0)),
            [25, 50, 75],
            180,
        ),
        ((TrafficStep(1, 30), TrafficStep(50, 3_600), TrafficStep(100, 86_400)), [1, 50, 100], 90_030),
    ],
    ids=["all-at-once", "bake at 100%", "canary", "linear", "steps"],
)
def test_a_rollout_takes_its_steps(
    at: GatewaySimulation, steps: tuple[TrafficStep, ...], weights: list[int], seconds: int
) -> None:
    _, new = served(at, Rollout(steps=steps))
    deployment = at.deploy(new)
    baked: list[tuple[int, Any]] = []
    began = at.clock.now
    ended(at, deployment, Status.SUCCEEDED, AliasOutcome.MOVED)
    for change in at.changes:
        if change.id == deployment.id and change.status is Status.BAKING:
            baked.append((change.weight, change.current))
    assert [weight for weight, _ in baked] == weights
    assert all(
        state == (AliasState("2") if weight == 100 else AliasState("1", {"2": weight / 100}))
        for weight, state in baked
    )
    assert seconds <= at.clock.now - began < seconds + 5
    assert at.model.serves("orders", "prod") == ("2", {})


def test_a_wait_takes_thirteen_events(at: GatewaySimulation) -> None:
    _, new = served(at, Rollout(steps=CANARY, watch=ALARM))
    at.cloudwatch.alarms["orders-5xx"] = AlarmState.OK
    execution = at.machine.of(at.finish(at.deploy(new)))
    waits = execution.path.count("Wait")
    assert waits == 20
    assert execution.path == ["Run", "Next", "Wait"] * waits + ["Run", "Next", "End"]
    assert execution.events == waits * EVENTS_OF_A_WAIT + 10


def test_a_first_release_has_nothing_to_share_traffic_with(at: GatewaySimulation) -> None:
    at.gate = gate_of({"prod": Rollout(steps=CANARY)})
    deployment = ended(at, at.deploy(artifact(at, b"new")), Status.SUCCEEDED, AliasOutcome.MOVED)
    assert Status.BAKING not in statuses(deployment)


@pytest.mark.parametrize(
    ("prepare", "because"),
    [
        (lambda at: at.model.set_alias("orders", "prod", "1", {"2": 0.5}), "weights"),
        (lambda at: at.model.provision("orders", "prod"), "provisioned_concurrency"),
        (lambda at: at.model.configure("orders", Role="arn:aws:iam::111111111111:role/other"), "role"),
        (lambda at: at.model.configure("orders", DeadLetterConfig={"TargetArn": "arn:q"}), "dead_letter"),
    ],
)
def test_versions_that_cannot_share_traffic_fail_before_anything_moves(
    at: GatewaySimulation, prepare: Any, because: str
) -> None:
    _, new = served(at, Rollout(steps=CANARY))
    versions = at.model.functions["orders"]["versions"]
    versions["2"] = {**versions["1"], "Version": "2"}
    prepare(at)
    before = at.model.serves("orders", "prod")
    at.model.calls.clear()
    deployment = ended(at, at.deploy(new), Status.FAILED, AliasOutcome.UNTOUCHED, "weights_refused")
    assert deployment.reason is not None
    assert deployment.reason.data == {"because": because}
    assert at.model.serves("orders", "prod") == before
    assert "UpdateAlias" not in at.model.calls


# Before traffic


def test_a_smoke_test_that_fails_keeps_traffic_away(at: GatewaySimulation) -> None:
    smoke = Smoke(5, '{"ping":true}', '{"status":"ok"}')
    _, new = served(at, Rollout(steps=CANARY, smoke=smoke))
    at.model.responses["orders:2"] = b'{"status":"broken"}'
    deployment = ended(at, at.deploy(new), Status.FAILED, AliasOutcome.UNTOUCHED, "smoke_failed")
    assert at.model.invoked == [("orders:2", {"ping": True})]
    assert at.model.timeout == 5
    assert at.model.serves("orders", "prod") == ("1", {})
    assert "broken" in deployment.timeline[-1].message


def test_a_hook_gets_the_deployment_and_may_reject_it(at: GatewaySimulation) -> None:
    _, new = served(at, Rollout(smoke=Smoke(10, hook="orders-check")))
    at.model.add("orders-check")
    at.model.responses["orders-check"] = b'{"ok":false,"message":"the schema is too old"}'
    deployment = ended(at, at.deploy(new), Status.FAILED, AliasOutcome.UNTOUCHED, "smoke_failed")
    assert "the schema is too old" in deployment.timeline[-1].message
    [(name, facts)] = at.model.invoked
    assert name == "orders-check"
    assert facts == {
        "sluicegate": 1,
        "deployment": deployment.id,
        "function": "orders",
        "version": "2",
        "stage": "prod",
        "alias": "prod",
        "sha256": new,
    }


def test_a_missing_hook_is_named(at: GatewaySimulation) -> None:
    _, new = served(at, Rollout(smoke=Smoke(10, hook="orders-check")))
    deployment = ended(at, at.deploy(new), Status.FAILED, AliasOutcome.UNTOUCHED, "smoke_failed")
    assert "orders-check" in deployment.timeline[-1].message


def test_a_hook_that_does_not_respond_in_time_rejects(at: GatewaySimulation) -> None:
    _, new = served(at, Rollout(smoke=Smoke(10, hook="orders-check")))
    at.model.add("orders-check")
    at.model.responses["orders-check"] = timeout()
    deployment = ended(at, at.deploy(new), Status.FAILED, AliasOutcome.UNTOUCHED, "smoke_failed")
    assert "no answer within 10 s" in deployment.timeline[-1].message
    assert len(at.model.invoked) == 1


@pytest.mark.parametrize("state", [AlarmState.ALARM, AlarmState.MISSING])
def test_an_alarm_that_is_firing_already_stops_it_before_anything_moves(
    at: GatewaySimulation, state: AlarmState
) -> None:
    _, new = served(at, Rollout(steps=CANARY, watch=ALARM))
    at.cloudwatch.alarms["orders-5xx"] = state
    code = "alarm" if state is AlarmState.ALARM else "alarm_missing"
    ended(at, at.deploy(new), Status.FAILED, AliasOutcome.UNTOUCHED, code)


def test_a_slow_version_is_waited_for(at: GatewaySimulation) -> None:
    _, new = served(at, Rollout(steps=CANARY))
    at.model.pending_polls = 40
    ended(at, at.deploy(new), Status.SUCCEEDED, AliasOutcome.MOVED)


# While it bakes


def test_an_alarm_ends_the_wait_and_restores_the_alias_at_once(at: GatewaySimulation) -> None:
    _, new = served(at, Rollout(steps=((TrafficStep(10, 86_400), TrafficStep(100, 0))), watch=ALARM))
    at.cloudwatch.alarms["orders-5xx"] = AlarmState.OK
    deployment = at.run_until(at.deploy(new), "baking")
    began = at.clock.now
    assert fires(at, "orders-5xx", region="eu-west-1") == []
    assert fires(at, "orders-latency") == []
    assert fires(at, "orders-5xx") == [deployment.id]
    ended(at, deployment, Status.ROLLED_BACK, AliasOutcome.RESTORED, "alarm")
    assert at.clock.now - began < 2


def fires(at: GatewaySimulation, alarm: str, region: str = "eu-central-1") -> list[str]:
    """EventBridge tells the waker."""
    at.cloudwatch.alarms[alarm] = AlarmState.ALARM
    event = {
        "source": "aws.cloudwatch",
        "detail-type": "CloudWatch Alarm State Change",
        "account": "111111111111",
        "region": region,
        "detail": {"alarmName": alarm, "state": {"value": "ALARM"}},
    }
    woken: list[str] = function("waker").handler(event, None)["woken"]
    return woken


def test_an_alarm_whose_event_was_lost_is_seen_at_the_next_observation(at: GatewaySimulation) -> None:
    _, new = served(at, Rollout(steps=((TrafficStep(10, 600), TrafficStep(100, 0))), watch=ALARM))
    at.cloudwatch.alarms["orders-5xx"] = AlarmState.OK
    deployment = at.run_until(at.deploy(new), "baking")
    at.cloudwatch.alarms["orders-5xx"] = AlarmState.ALARM
    began = at.clock.now
    ended(at, deployment, Status.ROLLED_BACK, AliasOutcome.RESTORED, "alarm")
    assert at.clock.now - began <= 31


def test_an_alarm_that_is_ok_again_wakes_and_changes_nothing(at: GatewaySimulation) -> None:
    _, new = served(at, Rollout(steps=CANARY, watch=ALARM))
    at.cloudwatch.alarms["orders-5xx"] = AlarmState.OK
    deployment = at.run_until(at.deploy(new), "baking")
    assert fires(at, "orders-5xx") == [deployment.id]
    at.cloudwatch.alarms["orders-5xx"] = AlarmState.OK
    ended(at, deployment, Status.SUCCEEDED, AliasOutcome.MOVED)


def test_a_metric_above_its_limit_restores_the_alias(at: GatewaySimulation) -> None:
    _, new = served(at, Rollout(steps=CANARY, watch=ERRORS))
    deployment = at.run_until(at.deploy(new), "baking")
    at.cloudwatch.metrics["2"] = Requests(invocations=100, errors=20)
    deployment = ended(at, deployment, Status.ROLLED_BACK, AliasOutcome.RESTORED, "metric")
    assert deployment.reason is not None
    assert deployment.reason.data["value"] == 20
    assert at.model.serves("orders", "prod") == ("1", {})


@pytest.mark.parametrize(
    ("unclear", "status", "seconds"),
    [
        (Unclear.PASS, Status.SUCCEEDED, 300),
        (Unclear.FAIL, Status.ROLLED_BACK, 300),
        (Unclear.EXTEND, Status.ROLLED_BACK, 1_200),
    ],
)
def test_a_bake_without_requests_ends_as_the_gate_file_says(
    at: GatewaySimulation, unclear: Unclear, status: Status, seconds: int
) -> None:
    watch = Watch(limits=ERRORS.limits, unclear=unclear)
    _, new = served(at, Rollout(steps=CANARY, watch=watch))
    began = at.clock.now
    failed = status is Status.ROLLED_BACK
    outcome = AliasOutcome.RESTORED if failed else AliasOutcome.MOVED
    ended(at, at.deploy(new), status, outcome, "unclear" if failed else None)
    assert seconds <= at.clock.now - began < seconds + 5


def test_an_extended_bake_passes_once_there_are_requests(at: GatewaySimulation) -> None:
    watch = Watch(limits=ERRORS.limits, unclear=Unclear.EXTEND)
    _, new = served(at, Rollout(steps=CANARY, watch=watch))
    deployment = at.run_until(at.deploy(new), "baking")
    at.machine.later(310, lambda: at.cloudwatch.metrics.update({"2": Requests(invocations=200, errors=1)}))
    deployment = ended(at, deployment, Status.SUCCEEDED, AliasOutcome.MOVED)
    assert deployment.extended == 1


def test_an_alias_moved_by_someone_else_is_left_unchanged(at: GatewaySimulation) -> None:
    _, new = served(at, Rollout(steps=CANARY))
    deployment = at.run_until(at.deploy(new), "baking")
    at.model.set_alias("orders", "prod", "2", {})
    ended(at, deployment, Status.FAILED, AliasOutcome.LEFT_TO_OTHER, "alias_moved")
    assert at.model.serves("orders", "prod") == ("2", {})


# People


def test_an_approval_starts_it_at_once(at: GatewaySimulation) -> None:
    _, new = served(at, APPROVAL)
    at.model.calls.clear()
    deployment = at.run_until(at.deploy(new), "awaiting_approval")
    assert set(at.model.calls) <= {"GetAlias", "GetFunction"}  # it is read, and nothing is changed or invoked
    began = at.clock.now
    at.machine.later(120, lambda: at.decide("approve", deployment))
    deployment = ended(at, deployment, Status.SUCCEEDED, AliasOutcome.MOVED)
    assert at.clock.now - began < 125
    assert deployment.approval is not None
    assert deployment.approval.by.user_id == "8"


def test_a_rejection_ends_it_at_once_and_untouched(at: GatewaySimulation) -> None:
    _, new = served(at, APPROVAL)
    deployment = at.run_until(at.deploy(new), "awaiting_approval")
    at.model.calls.clear()
    at.decide("reject", deployment, reason="not on a friday")
    assert at.now(deployment).status is Status.REJECTED
    deployment = ended(at, deployment, Status.REJECTED, AliasOutcome.UNTOUCHED, "rejected")
    assert at.model.calls == []
    assert "not on a friday" in deployment.timeline[-1].message


def test_an_approval_that_does_not_come_expires(at: GatewaySimulation) -> None:
    _, new = served(at, APPROVAL)
    deployment = at.deploy(new)
    began = at.clock.now
    ended(at, deployment, Status.FAILED, AliasOutcome.UNTOUCHED, "approval_expired")
    assert 3_600 <= at.clock.now - began < 3_605


def test_a_late_approval_is_rejected(at: GatewaySimulation) -> None:
    """Even where the rollout has not noticed yet: its execution has died, say."""
    _, new = served(at, APPROVAL)
    deployment = at.run_until(at.deploy(new), "awaiting_approval")
    at.clock.now += 3_601
    refused = problem(at.decide, "approve", deployment)
    assert (refused.status, refused.code) == (409, "wrong_state")
    ended(at, deployment, Status.FAILED, AliasOutcome.UNTOUCHED, "approval_expired")


@pytest.mark.parametrize("action", ["abort", "approve"])
def test_the_janitor_makes_up_for_a_lost_wake_up(at: GatewaySimulation, action: str) -> None:
    _, new = served(at, Rollout(approval=86_400) if action == "approve" else Rollout(steps=CANARY))
    status = "awaiting_approval" if action == "approve" else "baking"
    deployment = at.run_until(at.deploy(new), status)
    at.machine.lost_wakes = 1
    at.decide(action, deployment, at.job() if action == "abort" else None)
    assert at.machine.waits(deployment)
    began = at.clock.now
    at.clock.now += 46
    assert at.sweep().running == 1
    at.finish(deployment)
    assert at.now(deployment).status is (Status.SUCCEEDED if action == "approve" else Status.ABORTED)
    assert at.clock.now - began < 50


def test_the_janitor_does_not_wake_what_was_woken(at: GatewaySimulation) -> None:
    """Each look is a few calls and thirteen events of a history: a bake of a week would outgrow it."""
    _, new = served(at, Rollout(steps=(TrafficStep(10, 7 * 86_400), TrafficStep(100, 0)), approval=3_600))
    deployment = at.deploy(new)
    at.decide("approve", deployment)
    at.run_until(deployment, "baking")
    looks = 0
    for _ in range(60):
        at.clock.now += 60
        looks += at.sweep().running
        assert at.machine.waits(deployment)
    assert 1 < looks < 6


ABORTED_IN = ["accepted", "awaiting_approval", "queued", "publishing", "verifying", "shifting", "baking"]


@pytest.mark.parametrize("status", ABORTED_IN)
def test_an_abort_ends_it_from_every_status(at: GatewaySimulation, status: str) -> None:
    """In a status that does not wait, somebody aborts inside a call of the step's."""
    rollout = Rollout(
        steps=CANARY,
        smoke=Smoke(10, "{}"),
        approval=3_600 if status == "awaiting_approval" else None,
    )
    _, new = served(at, rollout)
    other = occupy_publishing(at) if status == "queued" else None
    deployment = at.deploy(new)
    moved = status in ("shifting", "baking")
    if status in ("awaiting_approval", "queued", "baking"):
        at.run_until(deployment, status)
        at.decide("abort", deployment, at.job())
    elif status == "accepted":
        at.decide("abort", deployment, at.job())
    else:
        call = {"publishing": "PublishVersion", "verifying": "Invoke", "shifting": "UpdateAlias"}[status]
        in_a_call(at, call, lambda: at.decide("abort", deployment, at.job()))
    if other:
        at.machine.start(other)
    deployment = ended(
        at,
        deployment,
        Status.ABORTED,
        AliasOutcome.RESTORED if moved else AliasOutcome.UNTOUCHED,
        "aborted",
    )
    assert at.model.serves("orders", "prod") == ("1", {})
    assert (Status.ROLLING_BACK in statuses(deployment)) == moved


def in_a_call(at: GatewaySimulation, name: str, what: Any) -> None:
    """Once, before that call of the deployer's takes effect."""

    def before(called: str) -> None:
        if called == name:
            at.model.before = lambda _: None
            what()

    at.model.before = before


def occupy_publishing(at: GatewaySimulation) -> Deployment:
    """Another stage of the function is publishing, and does not get on until its execution is started."""
    other = at.deploy(artifact(at, b"another"), stage="dev")
    at.machine.executions.clear()
    at.store.deployments.save(other, other.changed(at.clock(), "publishing", Status.PUBLISHING))
    return other


def test_an_abort_while_rolling_back_changes_nothing(at: GatewaySimulation) -> None:
    _, new = served(at, Rollout(steps=CANARY, watch=ERRORS))
    deployment = at.run_until(at.deploy(new), "baking")
    at.cloudwatch.metrics["2"] = Requests(invocations=100, errors=50)
    in_a_call(at, "UpdateAlias", lambda: at.decide("abort", deployment, at.job()))
    ended(at, deployment, Status.ROLLED_BACK, AliasOutcome.RESTORED, "metric")


# Taking over


def test_a_superseded_rollout_is_restored_and_hands_over(at: GatewaySimulation) -> None:
    _, new = served(at, Rollout(steps=CANARY))
    first = at.run_until(at.deploy(new), "baking")
    second = at.deploy(artifact(at, b"newer"), on_busy="supersede")
    assert second.supersedes == first.id
    second = ended(at, second, Status.SUCCEEDED, AliasOutcome.MOVED)
    first = at.now(first)
    assert (first.status, first.outcome) == (Status.ABORTED, AliasOutcome.RESTORED)
    assert first.reason is not None
    assert (first.reason.code, first.reason.data) == ("superseded", {"by": second.id})
    assert second.original == AliasState("1")
    assert (second.version, second.created_at <= (first.finished_at or "")) == ("3", True)


def test_one_that_waits_for_its_turn_is_superseded_by_a_third(at: GatewaySimulation) -> None:
    _, new = served(at, Rollout(steps=CANARY))
    first = at.run_until(at.deploy(new), "baking")
    second = at.deploy(artifact(at, b"second"), on_busy="supersede")
    third = at.deploy(artifact(at, b"third"), on_busy="supersede")
    assert at.now(second).status is Status.ABORTED
    assert third.supersedes == first.id
    ended(at, third, Status.SUCCEEDED, AliasOutcome.MOVED)
    for one in (first, second):
        reason = at.now(one).reason
        assert at.now(one).status is Status.ABORTED
        assert reason is not None
        assert reason.code == "superseded"
    assert "PublishVersion" not in str(at.now(second).timeline)


def test_one_that_waits_for_its_turn_may_be_aborted_and_leaves_the_lock(at: GatewaySimulation) -> None:
    _, new = served(at, Rollout(steps=CANARY))
    first = at.run_until(at.deploy(new), "baking")
    second = at.deploy(artifact(at, b"second"), on_busy="supersede")
    at.decide("abort", second, at.job())
    assert at.now(second).status is Status.ABORTED
    ended(at, first, Status.ABORTED, AliasOutcome.RESTORED, "superseded")


def test_what_has_touched_nothing_yet_hands_over_at_once(at: GatewaySimulation) -> None:
    _, new = served(at, APPROVAL)
    first = at.run_until(at.deploy(new), "awaiting_approval")
    second = at.deploy(artifact(at, b"second"), on_busy="supersede")
    assert second.supersedes is None
    assert at.now(first).status is Status.ABORTED
    at.decide("approve", second)
    ended(at, second, Status.SUCCEEDED, AliasOutcome.MOVED)


def test_a_rollback_takes_the_place_of_what_is_under_way(at: GatewaySimulation) -> None:
    _, new = served(at, Rollout(steps=CANARY))
    first = at.run_until(at.deploy(new), "baking")
    back = ended(at, at.rollback(), Status.SUCCEEDED, AliasOutcome.MOVED)
    assert (at.now(first).status, back.version) == (Status.ABORTED, "1")
    assert at.model.serves("orders", "prod") == ("1", {})


def test_a_second_rollback_goes_further_back_not_forth(at: GatewaySimulation) -> None:
    digests = [artifact(at, code) for code in (b"one", b"two", b"three")]
    for sha256 in digests:
        at.release(sha256)
    back = [ended(at, at.rollback(), Status.SUCCEEDED, AliasOutcome.MOVED) for _ in range(2)]
    assert [one.version for one in back] == ["2", "1"]
    assert [one.sha256 for one in back] == [digests[1], digests[0]]
    assert problem(at.rollback).code == "unprocessable"


def test_a_promotion_takes_over_the_version_that_another_stage_serves(at: GatewaySimulation) -> None:
    _, new = served(at, Rollout(steps=CANARY))
    tried = at.release(new, stage="dev")
    at.model.calls.clear()
    deployment = ended(at, at.promote(version=tried.version), Status.SUCCEEDED, AliasOutcome.MOVED)
    assert (deployment.version, deployment.action) == (tried.version, "promote")
    assert not {"UpdateFunctionCode", "PublishVersion"} & set(at.model.calls)


# Failures


@pytest.mark.parametrize("error", ["Lambda.TooManyRequestsException", "Lambda.Unknown", "SomethingElse"])
def test_a_function_that_fails_is_retried(at: GatewaySimulation, error: str) -> None:
    _, new = served(at, Rollout())
    at.failures += [ServiceError(error)] * 3
    deployment = ended(at, at.deploy(new), Status.SUCCEEDED, AliasOutcome.MOVED)
    assert at.machine.of(deployment).path == ["Run", "Run", "Run", "Run", "Next", "End"]


def test_where_no_concurrency_is_left_an_execution_tries_until_there_is(at: GatewaySimulation) -> None:
    """Ten tries ended it after a minute and a half, with half a minute between two of them.

    guarantees.md#13-a-burst-waits-its-turn
    """
    _, new = served(at, Rollout())
    deployment, tries = at.deploy(new), 200
    began = at.clock.now
    at.failures += [ServiceError("Lambda.TooManyRequestsException")] * tries
    deployment = ended(at, deployment, Status.SUCCEEDED, AliasOutcome.MOVED)
    assert deployment.attempt == 1
    assert at.clock.now - began < tries * 4 + 10


def test_a_failed_execution_is_started_again_by_the_janitor(at: GatewaySimulation) -> None:
    _, new = served(at, Rollout(steps=CANARY))
    deployment = at.run_until(at.deploy(new), "baking")
    at.failures += [ServiceError("Lambda.Unknown")] * 11
    at.finish(deployment)
    assert at.machine.of(deployment).status == "FAILED"
    at.clock.now += 60
    assert at.sweep().started == [deployment.id]
    deployment = ended(at, deployment, Status.SUCCEEDED, AliasOutcome.MOVED)
    assert deployment.attempt == 2


def test_a_deployment_that_never_runs_ends_failed_and_leaves_no_lock(at: GatewaySimulation) -> None:
    _, new = served(at, Rollout(steps=CANARY))
    deployment = at.run_until(at.deploy(new), "baking")
    began, starts = at.clock.now, 0
    while not at.now(deployment).status.final:
        at.failures[:] = [ServiceError("Lambda.Unknown")] * 11
        at.finish(deployment)
        at.clock.now += 60
        starts += len(at.sweep().started)
    deployment = at.now(deployment)
    assert at.clock.now - began > GIVES_UP_AFTER
    assert SOON < starts <= SOON + GIVES_UP_AFTER / RESTART_EVERY + 1
    assert len(deployment.timeline) < 60
    assert (deployment.status, deployment.outcome) == (Status.FAILED, AliasOutcome.UNKNOWN)
    assert deployment.reason is not None
    assert deployment.reason.code == "engine_failed"
    assert at.locks() == []


def test_a_deployment_whose_execution_never_began_is_started_by_the_janitor(at: GatewaySimulation) -> None:
    _, new = served(at, Rollout())
    deployment = at.deploy(new)
    at.machine.executions.clear()
    at.clock.now += 60
    assert at.sweep().started == [deployment.id]
    ended(at, deployment, Status.SUCCEEDED, AliasOutcome.MOVED)


def test_a_deployment_outlives_an_outage_of_hours(at: GatewaySimulation) -> None:
    """Five executions died within half an hour of an outage, and left a canary that nobody watched."""
    _, new = served(at, Rollout(steps=CANARY))
    deployment = at.run_until(at.deploy(new), "baking")
    until = at.clock.now + 5 * 3_600
    while at.clock.now < until:
        at.failures[:] = [ServiceError("Lambda.Unknown")] * 11
        at.finish(deployment)
        at.clock.now += 60
        at.sweep()
    at.failures.clear()
    at.clock.now += RESTART_EVERY
    at.sweep()
    ended(at, deployment, Status.SUCCEEDED, AliasOutcome.MOVED)


def test_without_a_stored_token_waits_are_short(at: GatewaySimulation) -> None:
    _, new = served(at, Rollout(steps=(TrafficStep(10, 22), TrafficStep(100, 0))))
    deployment = at.run_until(at.deploy(new), "shifting", "publishing", "accepted", waits=False)
    real = at.invoke
    failing = [True] * 3

    def invoke(payload: dict[str, Any]) -> Any:
        if "token" in payload and failing:
            failing.pop()
            raise RuntimeError("the table does not answer")
        return real(payload)

    at.machine.invoke = invoke
    ended(at, deployment, Status.SUCCEEDED, AliasOutcome.MOVED)
    assert at.machine.of(deployment).path.count("Pause") == 3


def test_a_change_between_the_turn_and_the_wait_ends_the_wait_at_once(at: GatewaySimulation) -> None:
    _, new = served(at, Rollout(steps=CANARY))
    deployment = at.deploy(new)
    real = at.invoke

    def invoke(payload: dict[str, Any]) -> Any:
        if "token" in payload:
            at.machine.invoke = real
            at.decide("abort", deployment, at.job())  # finds no token yet
        return real(payload)

    at.machine.invoke = invoke
    began = at.clock.now
    ended(at, deployment, Status.ABORTED, AliasOutcome.RESTORED, "aborted")
    assert at.clock.now - began < 5


def test_a_table_that_cannot_be_written_is_waited_for(at: GatewaySimulation) -> None:
    """Reads answer, and writes do not: without a wait this would use up the history within minutes."""
    _, new = served(at, Rollout(steps=CANARY))
    deployment = at.deploy(new)
    began = at.clock.now

    def throttled(**_: Any) -> None:
        if at.clock.now < began + 120:
            raise timeout()

    at.listen("before-call.dynamodb.TransactWriteItems", throttled)
    ended(at, deployment, Status.SUCCEEDED, AliasOutcome.MOVED)
    assert at.machine.of(deployment).events < 700


def test_a_deployer_that_dies_in_every_kind_of_call_is_retried(at: GatewaySimulation) -> None:
    """By the machine's own retries: the janitor is not needed."""
    _, new = served(at, Rollout(steps=(TrafficStep(10, 3), TrafficStep(100, 0)), smoke=Smoke(10, "{}")))
    died: list[str] = []

    def die(name: str) -> None:
        if name not in died:
            died.append(name)
            raise Killed

    deployment = at.deploy(new)
    at.model.before = die
    ended(at, deployment, Status.SUCCEEDED, AliasOutcome.MOVED)
    assert {"PublishVersion", "Invoke", "UpdateAlias", "GetAlias"} <= set(died)
    assert at.machine.of(deployment).path.count("Run") > len(died)
    assert len(at.machine.executions) == 2


# With no concurrency left for the deployer


def rolls_back(at: GatewaySimulation, new: str) -> Deployment:
    at.release(new)
    at.machine.busy = {"${DeployerArn}"}
    return at.rollback()


def is_aborted(at: GatewaySimulation, new: str) -> Deployment:
    deployment = at.run_until(at.deploy(new), "baking")
    at.machine.busy = {"${DeployerArn}"}
    at.decide("abort", deployment)
    return deployment


def has_an_alarm(at: GatewaySimulation, new: str) -> Deployment:
    deployment = at.run_until(at.deploy(new), "baking")
    at.machine.busy = {"${DeployerArn}"}
    assert fires(at, "orders-5xx") == [deployment.id]
    return deployment


@pytest.mark.parametrize(
    ("happens", "status", "outcome", "code"),
    [
        (rolls_back, Status.SUCCEEDED, AliasOutcome.MOVED, None),
        (is_aborted, Status.ABORTED, AliasOutcome.RESTORED, "aborted"),
        (has_an_alarm, Status.ROLLED_BACK, AliasOutcome.RESTORED, "alarm"),
    ],
)
@pytest.mark.parametrize("throttled", [0, 3])
def test_what_takes_something_back_waits_behind_no_deployment(
    at: GatewaySimulation, happens: Any, status: Status, outcome: AliasOutcome, code: str, throttled: int
) -> None:
    """guarantees.md#13-a-burst-waits-its-turn"""
    _, new = served(at, Rollout(steps=((TrafficStep(10, 600), TrafficStep(100, 0))), watch=ALARM))
    at.cloudwatch.alarms["orders-5xx"] = AlarmState.OK
    deployment = happens(at, new)
    left = [error("TooManyRequestsException", 429)] * throttled

    def throttle(name: str) -> None:
        if name == "UpdateAlias" and left:
            raise left.pop()

    at.model.before = throttle
    began, at.machine.invoked = at.clock.now, []
    ended(at, deployment, status, outcome, code)
    assert at.model.serves("orders", "prod") == ("1", {})
    assert set(at.machine.invoked) == {"${RollbackArn}"}
    assert at.clock.now - began < (10 if throttled else 3)


def test_a_release_waits_until_the_deployer_has_concurrency(at: GatewaySimulation) -> None:
    _, new = served(at, Rollout())
    at.machine.busy = {"${DeployerArn}"}
    at.machine.later(60, at.machine.busy.clear)
    deployment = at.deploy(new)
    ended(at, deployment, Status.SUCCEEDED, AliasOutcome.MOVED)
    assert "${RollbackArn}" not in at.machine.invoked
    assert len(at.machine.executions) == 2


def test_looks_after_a_false_alarm_are_the_deployers_again(at: GatewaySimulation) -> None:
    _, new = served(at, Rollout(steps=CANARY, watch=ALARM))
    at.cloudwatch.alarms["orders-5xx"] = AlarmState.OK
    deployment = at.run_until(at.deploy(new), "baking")
    assert fires(at, "orders-5xx") == [deployment.id]
    at.cloudwatch.alarms["orders-5xx"] = AlarmState.OK
    at.machine.invoked = []
    ended(at, deployment, Status.SUCCEEDED, AliasOutcome.MOVED)
    assert at.machine.invoked[0] == "${RollbackArn}"
    assert set(at.machine.invoked[1:]) == {"${DeployerArn}"}


# The interpreter itself


def test_the_interpreter_rejects_what_it_does_not_know() -> None:
    scope = {"input": {"id": "1", "next": "run"}, "context": {"Task": {"Token": "t"}}}
    assert evaluate("{% $states.input.next = 'run' %}", scope) is True
    assert evaluate({"a": "{% $states.context.Task.Token %}", "b": 5}, scope) == {"a": "t", "b": 5}
    assert evaluate("{% $states.input.rollback = true %}", scope) is False
    for truth in (False, True):
        scope["result"] = {"rollback": truth}
        either = "$states.input.rollback = true or $states.result.rollback = true"
        assert evaluate(f"{{% {either} %}}", scope) is truth
        assert evaluate(f"{{% {either} ? '${{Yes}}' : 'no' %}}", scope) == ("${Yes}" if truth else "no")
    for unknown in (
        "{% $uuid() = true %}",
        "{% $uuid() %}",
        "{% $states.input.id & 'x' %}",
        "$.id",
        "x {% $states.input.id %}",
    ):
        with pytest.raises(AssertionError):
            evaluate(unknown, scope)
    with pytest.raises(KeyError):
        evaluate("{% $states.input.seconds %}", scope)


def test_the_machine_offers_what_the_product_asks_of_executions() -> None:
    asked = {name for name in dir(Executions) if not name.startswith("_")}
    assert asked == {"start", "wake", "state"}
    assert definition()["StartAt"] == "Run"
    assert issubclass(TaskFailed, Exception)
