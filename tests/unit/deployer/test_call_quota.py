"""What deployments take of their target's control plane: all that they call, and nothing that they do not."""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from botocore.exceptions import ReadTimeoutError

from sluicegate.deployment.call_budget import START_RATE, CallClass, InLine
from sluicegate.deployment.durations import seconds, timestamp
from sluicegate.deployment.model import Approval, Deployment, Reason, Status
from sluicegate.deployment.plan import Limit, Metric, Plan, TrafficStep, Watch
from sluicegate.observability import metrics
from sluicegate.rollout.call_budget import PUBLISH_CALLS, REUSE_CALLS
from sluicegate.rollout.outcomes import TransientFailure
from sluicegate.rollout.transitions import request_abort
from sluicegate.store.call_budget import CallClaim
from sluicegate.store.locks import AliasLock, Supersession
from support.cloudwatch_model import Requests
from support.gateway_simulation import GatewaySimulation, function, gateway_simulation
from support.lambda_model import timeout
from support.lambda_quota import OWN_QUOTA, LambdaQuota
from support.line_model import take
from support.simulation import OWN, Killed, Simulation, new_deployment, simulation

OLD, NEW = b"old code", b"new code"
OLD_SHA, NEW_SHA = (hashlib.sha256(code).hexdigest() for code in (OLD, NEW))
CANARY = Plan(
    OWN,
    "prod",
    (TrafficStep(10, 60), TrafficStep(100, 0)),
    "0" * 64,
    watch=Watch(limits=(Limit(Metric.ERRORS, 10, most=5.0),)),
)


@pytest.fixture
def at() -> Iterator[Simulation]:
    with simulation() as made:
        prepare(made)
        yield made


def prepare(at: Simulation) -> None:
    """Prod serves version 1, the budget is full."""
    at.model.add("orders", b"code of somebody")
    at.upload("orders", OLD)
    at.upload("orders", NEW)
    at.run(at.accept(OLD_SHA))
    at.model.calls.clear()
    at.clock.now += 60


def counted(at: Simulation) -> int:
    """The calls that share the quota."""
    return sum(name not in OWN_QUOTA for name in at.model.calls)


class Ledger:
    """What the budget's bucket was given and took, in calls, as its writes say."""

    def __init__(self, at: Simulation) -> None:
        self.calls, self.writes = 0, 0
        at.listen("before-call.dynamodb.UpdateItem", self._hear)

    def _hear(self, params: Any, **_: Any) -> None:
        """Durations at the first rate are whole calls. A write that failed is sent again in another form."""
        if params["Key"]["pk"]["S"].startswith("budget#") and "spent_until" in params["UpdateExpression"]:
            values = params["ExpressionAttributeValues"]
            self.writes += 1
            if ":duration" in values:
                self.calls += round(int(values[":duration"]["N"]) * START_RATE / 1_000)
            else:
                taken = int(values[":then"]["N"]) - int(values[":now"]["N"])
                self.calls += round(taken * START_RATE / 1_000)


def test_a_deployment_takes_in_one_write_what_it_calls(at: Simulation) -> None:
    ledger = Ledger(at)
    deployment = at.run(at.accept(NEW_SHA))
    assert deployment.status is Status.SUCCEEDED
    assert (ledger.calls, ledger.writes) == (PUBLISH_CALLS, 1)
    assert counted(at) == PUBLISH_CALLS


@pytest.mark.parametrize("action", ["promote", "rollback"])
def test_what_publishes_nothing_takes_less(at: Simulation, action: str) -> None:
    at.run(at.accept(NEW_SHA))
    at.model.calls.clear()
    at.clock.now += 60
    ledger = Ledger(at)
    at.run(at.accept(OLD_SHA, action=action, version="1"))
    assert (ledger.calls, ledger.writes, counted(at)) == (REUSE_CALLS, 1, REUSE_CALLS)


@pytest.mark.parametrize("errors", [0, 50])
def test_looks_later_steps_and_the_way_back_are_counted(at: Simulation, errors: int) -> None:
    at.cloudwatch.metrics["2"] = Requests(invocations=100, errors=errors)
    ledger = Ledger(at)
    deployment = at.run(at.accept(NEW_SHA, plan=CANARY))
    assert deployment.status is (Status.ROLLED_BACK if errors else Status.SUCCEEDED)
    assert ledger.calls == counted(at)


@pytest.mark.parametrize("name", ["GetAlias", "UpdateFunctionCode", "PublishVersion", "UpdateAlias"])
def test_a_call_that_is_made_again_is_counted_again(at: Simulation, name: str) -> None:
    ledger, failed = Ledger(at), list[str]()

    def fail(called: str) -> None:
        if called == name and not failed:
            failed.append(name)
            raise timeout()

    at.model.after = fail
    assert at.run(at.accept(NEW_SHA)).status is Status.SUCCEEDED
    assert ledger.calls == max(PUBLISH_CALLS, counted(at))


def test_a_throttled_call_makes_the_rate_smaller(at: Simulation) -> None:
    quota = LambdaQuota(at.clock, rate=2)
    at.model.before = quota
    assert at.run(at.accept(NEW_SHA)).status is Status.SUCCEEDED
    assert quota.throttled
    item = at.client.get_item(
        TableName="sluicegate",
        Key={"pk": {"S": f"budget#{OWN.account}#{OWN.region}"}, "sk": {"S": "bucket"}},
    )["Item"]
    assert float(item["rate"]["N"]) < START_RATE


def test_other_tools_that_take_the_whole_quota_for_ten_minutes_fail_nothing(at: Simulation) -> None:
    began = at.clock.now
    quota = LambdaQuota(at.clock)

    def taken(name: str) -> None:
        quota.rate = 0.001 if at.clock.now < began + 600 else 15
        quota(name)

    quota._tokens = 0
    at.model.before = taken
    assert at.run(at.accept(NEW_SHA)).status is Status.SUCCEEDED


def test_a_budget_that_cannot_be_charged_fails_nothing(at: Simulation) -> None:
    def fail(params: Any, **_: Any) -> None:
        if "spent_until" in params["UpdateExpression"] and at.now(deployment).status is Status.BAKING:
            raise timeout()

    deployment = at.accept(NEW_SHA, plan=CANARY)
    at.listen("before-call.dynamodb.UpdateItem", fail)
    assert at.run(deployment).status is Status.SUCCEEDED


# In line


def take_all(at: Simulation, deployments: int = 6) -> None:
    """Other deployments have taken what there is, and three wait in line."""
    for number in range(deployments):
        claim = CallClaim(f"other-{number}", f"owner-{number}", CallClass.DEPLOY, 4)
        take(at.store.calls, OWN, claim, in_line=False)
        at.clock.now += 0.001


def in_line(at: Simulation) -> list[str]:
    return [one.id for one in at.store.calls.line(OWN) if not one.id.startswith("other")]


def test_one_that_waits_says_its_place_once_and_holds_no_lambda(at: Simulation) -> None:
    accepted = at.accept(NEW_SHA)
    take_all(at, 12)
    began = at.clock.now
    answer = at.deployer.run_turn(accepted.id)
    assert (answer["next"], at.clock.now) == ("wait", began)
    assert (at.now(accepted).status, in_line(at)) == (Status.QUEUED, [accepted.id])
    assert at.now(accepted).timeline[-1].message == "10th in line for Lambda's control plane, about 3s"
    assert at.model.calls == []
    assert at.deployer.run_turn(accepted.id)["next"] == "wait"
    deployment = at.run(accepted)
    assert deployment.status is Status.SUCCEEDED
    assert [entry.status for entry in deployment.timeline].count(Status.QUEUED) == 1
    assert in_line(at) == []


def test_an_abort_leaves_the_line(at: Simulation) -> None:
    accepted = at.accept(NEW_SHA)
    take_all(at, 12)
    at.deployer.run_turn(accepted.id)
    at.store.deployments.save(
        at.now(accepted), at.now(accepted).changed(at.clock(), "aborted", Status.ABORTED)
    )
    assert in_line(at) == []
    assert at.deployer.run_turn(accepted.id)["next"] == "end"


def test_one_that_another_deployment_supersedes_leaves_the_line(at: Simulation) -> None:
    waiting = at.accept(NEW_SHA)
    take_all(at, 12)
    at.deployer.run_turn(waiting.id)
    before = at.now(waiting)
    reason = Reason("superseded", "another one supersedes it")
    after = request_abort(before, reason, reason.message, at.clock())
    supersession = Supersession(AliasLock(waiting.id), ((before, after),), at_once=True)
    at.store.deployments.accept(
        new_deployment(at.clock(), OLD_SHA), request_key="k", fingerprint="f", supersession=supersession
    )
    assert at.now(waiting).status is Status.ABORTED
    assert in_line(at) == []


def test_a_place_is_no_place_without_the_record(at: Simulation) -> None:
    """The record is not written that says so, and by the next turn there are calls."""
    take_all(at)
    deployment, failed = at.accept(NEW_SHA), list[str]()

    def fail(model: Any, **_: Any) -> None:
        if not failed:
            failed.append(model.name)
            raise timeout()

    at.listen("before-call.dynamodb.TransactWriteItems", fail)
    with pytest.raises(ReadTimeoutError):
        at.deployer.run_turn(deployment.id)
    assert (at.now(deployment).in_line, in_line(at)) == (False, [])
    at.clock.now += 60
    assert at.run(deployment).status is Status.SUCCEEDED
    assert in_line(at) == []


def test_a_place_is_not_kept_after_the_end(at: Simulation) -> None:
    """A deployer is held up while another one runs the whole rollout."""
    take_all(at)
    deployment = at.accept(NEW_SHA)
    others = [at.run]

    def held_up(params: Any, **_: Any) -> None:
        if params["Key"]["sk"]["S"].startswith("wait#") and others:
            others.pop()(deployment)

    at.listen("before-call.dynamodb.UpdateItem", held_up)
    assert at.run(deployment).status is Status.SUCCEEDED
    assert not others
    assert in_line(at) == []


def test_one_that_finds_the_publishing_lock_taken_keeps_its_place(at: Simulation) -> None:
    other, accepted = at.accept(OLD_SHA, alias="dev"), at.accept(NEW_SHA)
    at.store.deployments.save(other, other.changed(at.clock(), "publishing", Status.PUBLISHING))
    take_all(at)
    at.deployer.run_turn(accepted.id)
    joined = [one.since for one in at.store.calls.line(OWN) if one.id == accepted.id]
    at.clock.now += 3
    assert at.deployer.run_turn(accepted.id)["next"] == "wait"  # for the lock
    assert [one.since for one in at.store.calls.line(OWN) if one.id == accepted.id] == joined
    at.clock.now += 200  # the lease is over
    assert at.run(accepted).status is Status.SUCCEEDED
    assert in_line(at) == []


def calls_in_line() -> list[str]:
    """Every call of a deployment that has to wait, in order."""
    with simulation() as at:
        prepare(at)
        accepted = at.accept(NEW_SHA)
        take_all(at)
        names: list[str] = []
        at.model.before = names.append
        at.listen("before-call.dynamodb", lambda model, **_: names.append(model.name))
        at.run(accepted)
        return names


IN_LINE = calls_in_line()


READS = ("GetItem", "Query", "GetAlias", "GetFunction")
WRITES = [point for point, name in enumerate(IN_LINE) if name not in READS]


@pytest.mark.parametrize("point", WRITES, ids=lambda i: f"{i}-{IN_LINE[i]}")
def test_a_deployer_that_dies_after_any_call_in_line_changes_nothing_in_the_end(point: int) -> None:
    with simulation() as at:
        prepare(at)
        accepted = at.accept(NEW_SHA)
        take_all(at)
        names: list[str] = []

        def after(_: str) -> None:
            if len(names) - 1 == point:
                names.append("dead")
                raise Killed

        at.model.before, at.model.after = names.append, after
        at.listen("before-call.dynamodb", lambda model, **_: names.append(model.name))
        at.listen("after-call.dynamodb", lambda model, **_: after(model.name))
        with pytest.raises(Killed):
            at.run(accepted)
        deployment = at.run(accepted)
        assert (deployment.status, deployment.version) == (Status.SUCCEEDED, "2")
        assert at.locks() == []
        assert in_line(at) == []


def test_the_line_and_throttled_calls_are_metrics() -> None:
    app = function("deployer")
    deployment = new_deployment(0.0, NEW_SHA)
    metrics.clear_metrics()
    app.log_change(deployment, InLine(27, 8.0, 8.0))
    app.log_change(deployment, TransientFailure("TooManyRequestsException", "slower", throttled=True))
    app.log_change(deployment, TransientFailure("ServiceException", "down"))
    found = {name: metric["Value"] for name, metric in metrics.provider.metric_set.items()}
    metrics.clear_metrics()
    assert found == {"ControlPlaneQueue": [27.0], "ThrottledCalls": [1.0]}


# Many at once


def release(at: GatewaySimulation, number: int) -> list[Deployment]:
    """So many functions are released in one moment; their rollouts begin."""
    released, began = [], at.clock.now
    for index in range(number):
        name = f"function-{index}-of-{number}"
        at.model.add(name)
        deployment = at.accept(at.upload(name, name.encode()), function=name)
        at.machine.start(deployment)
        released.append(deployment)
    at.clock.now = began
    return released


@pytest.mark.parametrize("number", [60, 300])
def test_a_burst_ends_within_the_quotas_bound_and_a_rollback_within_it_at_once(number: int) -> None:
    with gateway_simulation() as at:
        [first] = release(at, 1)
        at.machine.run()
        at.clock.now += 60
        began = at.clock.now
        quota = LambdaQuota(at.clock)
        at.model.before = quota
        released = release(at, number)
        back = replace(first, version="1")
        rolled_back: list[Deployment] = []

        def roll_back() -> None:
            deployment = at.accept(
                back.sha256, function=back.function, alias="other", action="rollback", version="1"
            )
            at.machine.start(deployment)
            rolled_back.append(deployment)

        at.machine.later(5, roll_back)
        at.machine.run()
        ended = [at.now(one) for one in (*released, *rolled_back)]
        assert {one.status for one in ended} == {Status.SUCCEEDED}, ended
        assert at.clock.now - began <= 1.25 * len(quota.calls) / 15
        assert seconds(ended[-1].finished_at or "") - seconds(ended[-1].created_at) <= 3
        assert quota.throttled == []
        assert any("in line for Lambda" in entry.message for one in ended for entry in one.timeline)
        assert "in line" not in str(ended[-1].timeline)
        assert at.store.calls.line(OWN) == []


def test_what_was_only_looked_at_has_not_begun(at: Simulation) -> None:
    """A process that looked before an approval, or waited for a lock, does not pass the line afterwards."""
    plan = replace(CANARY, approval=3_600, watch=None)
    accepted = at.accept(NEW_SHA, plan=plan)
    assert at.deployer.run_turn(accepted.id)["next"] == "wait"
    assert "GetAlias" in at.model.calls
    take_all(at, 12)
    approval = Approval("approved", accepted.requested_by, "a rule", timestamp(at.clock()))
    now = at.now(accepted)
    at.store.deployments.save(now, now.changed(at.clock(), "approved", approval=approval))
    assert at.deployer.run_turn(accepted.id)["next"] == "wait"
    assert in_line(at) == [accepted.id]
