"""The guarantees of the table alone: locks that are handed over, whatever happens in between."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from sluicegate.deployment.durations import timestamp
from sluicegate.deployment.model import AliasOutcome, AliasState, Deployment, Reason, Status
from sluicegate.deployment.plan import TrafficStep
from sluicegate.gate.rollout_settings import Rollout
from sluicegate.oidc import limits
from sluicegate.rollout.transitions import request_abort
from sluicegate.store import keys, locks, requests
from sluicegate.store.codec import marshal
from sluicegate.store.errors import (
    AliasLockLost,
    Busy,
    Contended,
    CredentialUsed,
    Outdated,
    RequestKnown,
    StaleRevision,
)
from sluicegate.store.holds import Hold
from sluicegate.store.locks import AliasLock, Supersession
from sluicegate.store.requests import CredentialUse
from support.gateway_simulation import GatewaySimulation, artifact, gate_of, gateway_simulation, problem
from support.simulation import OWN, START, TABLE, Simulation, new_deployment, simulation

pytestmark = pytest.mark.filterwarnings("ignore:No application metrics")

SHA = "a" * 64
CANARY = Rollout(steps=(TrafficStep(10, 300), TrafficStep(100, 0)))


@pytest.fixture
def at() -> Iterator[Simulation]:
    with simulation() as made:
        yield made


def lock(at: Simulation) -> AliasLock | None:
    return at.store.locks.alias_lock(OWN, "orders", "prod")


def accept(at: Simulation, *, supersession: Supersession | None = None, **fields: Any) -> Deployment:
    at.clock.now += 1
    deployment = replace(new_deployment(at.clock(), SHA), **fields)
    keywords: dict[str, Any] = {"request_key": deployment.id, "fingerprint": "f", "uses": ()}
    at.store.deployments.accept(deployment, supersession=supersession, **keywords)
    return deployment


def moved(at: Simulation, deployment: Deployment, status: Status, **fields: Any) -> Deployment:
    """Its record, changed and saved."""
    after = deployment.changed(at.clock(), "as the test wants it", status, **fields)
    at.store.deployments.save(deployment, after)
    return after


def superseding(at: Simulation, holder: Deployment, successor: Deployment | None = None) -> Supersession:
    """How a new deployment replaces the one that has the alias."""
    found = lock(at)
    assert found is not None
    reason = Reason("superseded", "another one takes its place")
    changes = []
    for before in filter(None, (holder, successor)):
        after = request_abort(before, reason, reason.message, at.clock())
        if after is not before:
            changes.append((before, after))
    return Supersession(found, tuple(changes), at_once=False)


class Interleaving:
    """Runs something before a transaction of the table's, by its number from now; nothing inside counts."""

    def __init__(self, at: Simulation, **plans: Callable[[], object]) -> None:
        self.plans = {int(name.removeprefix("before_")): what for name, what in plans.items()}
        self.count = 0
        self.inside = False
        at.listen("before-call.dynamodb.TransactWriteItems", self)

    def __call__(self, **_: Any) -> None:
        if self.inside:
            return
        self.count += 1
        if what := self.plans.get(self.count):
            self.inside = True
            what()
            self.inside = False


# Locks


def test_a_holder_leaves_its_lock_to_its_successor(at: Simulation) -> None:
    holder = moved(at, accept(at), Status.SHIFTING)
    successor = accept(at, supersession=superseding(at, holder), supersedes=holder.id)
    assert lock(at) == AliasLock(holder.id, successor.id)
    assert not at.store.locks.holds_alias(successor)
    aborted = at.now(holder)
    assert aborted.abort is not None
    moved(at, aborted, Status.ABORTED)
    assert lock(at) == AliasLock(successor.id)
    assert at.store.locks.holds_alias(successor)
    moved(at, successor, Status.FAILED)
    assert lock(at) is None


def test_a_successor_that_ends_first_leaves_the_lock_to_its_holder(at: Simulation) -> None:
    holder = moved(at, accept(at), Status.SHIFTING)
    successor = accept(at, supersession=superseding(at, holder), supersedes=holder.id)
    moved(at, successor, Status.ABORTED)
    assert lock(at) == AliasLock(holder.id)
    moved(at, at.now(holder), Status.ABORTED)
    assert lock(at) is None


@pytest.mark.parametrize("point", [1, 2, 3])
@pytest.mark.parametrize("first", ["holder", "successor"])
def test_holder_and_successor_that_end_at_once_leave_no_lock(at: Simulation, point: int, first: str) -> None:
    """One of them ends before any transaction of the other's."""
    holder = moved(at, accept(at), Status.SHIFTING)
    successor = accept(at, supersession=superseding(at, holder), supersedes=holder.id)
    one, other = (at.now(holder), successor) if first == "holder" else (successor, at.now(holder))
    plan: dict[str, Callable[[], object]] = {f"before_{point}": lambda: moved(at, other, Status.ABORTED)}
    Interleaving(at, **plan)
    moved(at, one, Status.ABORTED)
    if not at.now(other).status.final:  # it needed fewer transactions
        moved(at, other, Status.ABORTED)
    assert lock(at) is None


@pytest.mark.parametrize("point", [1, 2])
def test_a_holder_that_ends_while_it_is_superseded_is_read_again(at: Simulation, point: int) -> None:
    holder = moved(at, accept(at), Status.SHIFTING)
    takeover = superseding(at, holder)
    plan: dict[str, Callable[[], object]] = {f"before_{point}": lambda: moved(at, holder, Status.FAILED)}
    Interleaving(at, **plan)
    if point == 1:
        with pytest.raises(StaleRevision):
            accept(at, supersession=takeover)
        assert lock(at) is None
    else:
        accept(at, supersession=takeover)  # one transaction was enough
        assert lock(at) is not None


def test_of_two_that_supersede_at_once_one_has_to_read_again(at: Simulation) -> None:
    holder = moved(at, accept(at), Status.SHIFTING)
    first, second = superseding(at, holder), superseding(at, holder)
    winner = accept(at, supersession=first, supersedes=holder.id)
    with pytest.raises(StaleRevision):
        accept(at, supersession=second, supersedes=holder.id)
    assert lock(at) == AliasLock(holder.id, winner.id)


def test_a_third_takes_the_second_ones_place(at: Simulation) -> None:
    holder = moved(at, accept(at), Status.SHIFTING)
    second = accept(at, supersession=superseding(at, holder), supersedes=holder.id)
    third = accept(at, supersession=superseding(at, at.now(holder), second), supersedes=holder.id)
    assert at.now(second).status is Status.ABORTED
    assert lock(at) == AliasLock(holder.id, third.id)


def test_a_lock_that_is_somebody_elses_is_not_freed(at: Simulation) -> None:
    holder = accept(at)
    other = replace(new_deployment(at.clock(), SHA), id="another")
    key = {"pk": {"S": "lock#111111111111#eu-central-1#orders"}, "sk": {"S": "alias#prod"}}
    at.client.put_item(TableName="sluicegate", Item={**key, "deployment": {"S": other.id}})
    moved(at, holder, Status.FAILED)
    assert lock(at) == AliasLock(other.id)


def conflicting(at: Simulation, times: int) -> None:
    """DynamoDB refuses so many transactions: another one is at the same items."""
    left = [True] * times
    reasons = [{"Code": "TransactionConflict"}, {"Code": "None"}]
    answer: Any = {"Error": {"Code": "TransactionCanceledException"}, "CancellationReasons": reasons}

    def refuse(**_: Any) -> None:
        if left:
            left.pop()
            raise ClientError(answer, "TransactWriteItems")

    at.listen("before-call.dynamodb.TransactWriteItems", refuse)


@pytest.mark.parametrize("times", [1, 5])
def test_transactions_in_each_others_way_are_tried_again(at: Simulation, times: int) -> None:
    conflicting(at, times)
    deployment = accept(at)
    conflicting(at, times)
    assert moved(at, deployment, Status.SHIFTING) == at.now(deployment)


def test_transactions_that_are_always_in_the_way_write_nothing(at: Simulation) -> None:
    conflicting(at, 6)
    with pytest.raises(Contended):
        accept(at)
    assert at.locks() == []
    deployment = accept(at)
    conflicting(at, 6)
    with pytest.raises(Contended):
        moved(at, deployment, Status.SHIFTING)
    assert at.now(deployment) == deployment


def test_a_deployment_without_the_lock_of_its_alias_does_not_begin_to_move_it(at: Simulation) -> None:
    deployment = accept(at)
    key = keys.alias_lock(OWN, "orders", "prod")
    at.client.delete_item(TableName=TABLE, Key=marshal(key))
    with pytest.raises(AliasLockLost):
        moved(at, deployment, Status.SHIFTING)
    at.client.put_item(TableName=TABLE, Item=marshal({**key, "deployment": "another"}))
    with pytest.raises(AliasLockLost):
        moved(at, deployment, Status.SHIFTING)
    assert at.now(deployment) == deployment
    at.client.put_item(
        TableName=TABLE, Item=marshal({**key, "deployment": deployment.id, "successor": "another"})
    )
    deployment = moved(at, deployment, Status.SHIFTING)
    assert at.now(deployment) == deployment


def test_the_publishing_lock_is_one_deployments_until_its_lease_runs_out(at: Simulation) -> None:
    one = accept(at)
    other = accept(at, plan=replace(one.plan, alias="dev"))
    one = moved(at, one, Status.PUBLISHING)
    with pytest.raises(Busy) as busy:
        moved(at, other, Status.PUBLISHING)
    assert busy.value.deployment == one.id
    at.clock.now += locks.PUBLISH_LEASE - 1
    assert at.store.locks.renew_publish_lock(one)
    at.clock.now += locks.PUBLISH_LEASE - 1
    with pytest.raises(Busy):
        moved(at, other, Status.PUBLISHING)
    at.clock.now += 3
    moved(at, other, Status.PUBLISHING)
    assert not at.store.locks.renew_publish_lock(one)
    moved(at, one, Status.SHIFTING)  # frees nothing of the other one's
    assert at.store.locks.renew_publish_lock(other)


def test_a_publishing_lock_that_was_freed_just_now_is_taken(at: Simulation) -> None:
    one = accept(at)
    other = accept(at, plan=replace(one.plan, alias="dev"))
    one = moved(at, one, Status.PUBLISHING)
    left = [one]

    def leave(**_: Any) -> None:
        if left:
            moved(at, left.pop(), Status.SHIFTING)

    at.listen("before-call.dynamodb.UpdateItem", leave)
    moved(at, other, Status.PUBLISHING)
    assert at.store.locks.renew_publish_lock(other)


# Requests, tokens, pipelines


def test_a_request_is_known_for_longer_than_any_token_can_repeat_it() -> None:
    assert requests.REQUEST_KEPT > limits.MAX_LIFETIME + limits.LEEWAY


def test_a_request_and_a_token_are_known_to_whom_they_belong(at: Simulation) -> None:
    binding = CredentialUse("token", "fingerprint", int(START) + 3_600)
    first = new_deployment(at.clock(), SHA)
    at.store.deployments.accept(first, request_key="r", fingerprint="fingerprint", uses=(binding,))
    moved(at, first, Status.FAILED)
    again = replace(new_deployment(at.clock() + 1, SHA))
    with pytest.raises(RequestKnown):
        at.store.deployments.accept(again, request_key="r", fingerprint="fingerprint", uses=(binding,))
    with pytest.raises(CredentialUsed) as used:
        at.store.deployments.accept(again, request_key="other", fingerprint="other", uses=(binding,))
    assert (used.value.request.deployment, used.value.request.fingerprint) == (first.id, "fingerprint")
    assert at.store.deployments.get(again.id) is None


def test_a_token_is_bound_by_an_approval_or_the_record_stays_as_it_was(at: Simulation) -> None:
    binding = CredentialUse("token", "fingerprint", int(START) + 3_600)
    one = accept(at)
    after = one.changed(at.clock(), "approved")
    at.store.deployments.save(one, after, uses=(binding,))
    with pytest.raises(CredentialUsed):
        at.store.deployments.save(after, after.changed(at.clock(), "approved again"), uses=(binding,))
    assert at.now(one) == after


def test_a_token_is_forgotten_an_hour_after_it_has_expired(at: Simulation) -> None:
    at.store.deployments.accept(
        new_deployment(at.clock(), SHA),
        request_key="r",
        fingerprint="f",
        uses=(CredentialUse("token", "f", int(START) + 600),),
    )
    [item] = [i for i in at.client.scan(TableName="sluicegate")["Items"] if i["sk"]["S"] == "token"]
    assert int(item["expires_at"]["N"]) == int(START) + 600 + 3_600


def succeeded(at: Simulation, pipeline: str, **fields: Any) -> Deployment:
    """A deployment of this pipeline that succeeded."""
    by = replace(new_deployment(START, SHA).requested_by, pipeline_id=pipeline)
    deployment = accept(at, requested_by=by, **fields)
    shifting = moved(at, deployment, Status.SHIFTING, version=fields.get("version") or "1")
    return moved(at, shifting, Status.SUCCEEDED, outcome=AliasOutcome.MOVED)


def test_the_newest_pipeline_that_succeeded_counts_and_never_goes_back(at: Simulation) -> None:
    ordered = replace(new_deployment(START, SHA).plan, ordered=True)
    succeeded(at, "20")
    succeeded(at, "9")  # not ordered then: it goes, and is no newer
    with pytest.raises(Outdated):
        succeeded(at, "19", plan=ordered)
    succeeded(at, "20", plan=ordered)
    succeeded(at, "100", plan=ordered)
    with pytest.raises(Outdated):
        succeeded(at, "99", plan=ordered)
    succeeded(at, "1", plan=ordered, action="rollback", version="1")
    with pytest.raises(Outdated):
        succeeded(at, "99", plan=ordered)


# History


def served(at: Simulation) -> list[tuple[str, bool]]:
    return [(one.version, one.withdrawn) for one in at.store.versions.served(OWN, "orders", "prod")]


def test_a_version_that_a_rollback_leaves_is_withdrawn_until_it_succeeds_again(at: Simulation) -> None:
    succeeded(at, "1", version="1")
    succeeded(at, "2", version="2", original=AliasState("1"))
    assert served(at) == [("2", False), ("1", False)]
    succeeded(at, "3", version="1", original=AliasState("2"), action="rollback")
    assert served(at) == [("1", False), ("2", True)]
    succeeded(at, "4", version="2", original=AliasState("1"))
    assert served(at) == [("2", False), ("1", False)]


def test_a_rollback_to_what_is_served_withdraws_nothing(at: Simulation) -> None:
    succeeded(at, "1", version="1")
    succeeded(at, "2", version="1", original=AliasState("1"), action="rollback")
    assert served(at) == [("1", False)]


def test_a_version_that_somebody_else_put_there_is_not_in_the_history(at: Simulation) -> None:
    succeeded(at, "1", version="1")
    succeeded(at, "2", version="1", original=AliasState("77"), action="rollback")
    assert served(at) == [("1", False)]


def test_each_alias_has_its_own_history(at: Simulation) -> None:
    succeeded(at, "1", version="1")
    assert at.store.versions.served(OWN, "orders", "dev") == []
    assert at.store.versions.served(replace(OWN, region="eu-west-1"), "orders", "prod") == []
    assert at.store.versions.served(OWN, "orders-api", "prod") == []


def test_a_hold_is_one_per_rule_and_stage(at: Simulation) -> None:
    def hold(rule: str, reason: str, stage: str = "prod") -> Hold:
        return Hold(stage, rule, ("orders*",), reason, timestamp(START), {"job_id": "1", "user_login": None})

    at.store.holds.place(hold("a", "one"))
    at.store.holds.place(hold("a", "two"))
    at.store.holds.place(hold("b", "three"))
    at.store.holds.place(hold("a", "other stage", "dev"))
    assert [found.reason for found in at.store.holds.of_stage("prod")] == ["two", "three"]
    at.store.holds.release(hold("a", "whatever"))
    at.store.holds.release(hold("a", "twice"))
    assert at.store.holds.of_stage("prod") == [hold("b", "three")]


# Races of requests, through the gateway


@pytest.fixture
def stage() -> Iterator[GatewaySimulation]:
    """Prod serves a version, and another one bakes there."""
    with gateway_simulation() as made:
        made.release(artifact(made, b"served"))
        made.gate = gate_of({"prod": CANARY})
        made.run_until(made.deploy(artifact(made, b"baking")), "baking")
        yield made


def test_two_requests_that_supersede_at_once_end_in_one_release(stage: GatewaySimulation) -> None:
    one, other = artifact(stage, b"one"), artifact(stage, b"other")
    late: list[Deployment] = []
    Interleaving(stage, before_1=lambda: late.append(stage.deploy(other, on_busy="supersede")))
    first = stage.deploy(one, on_busy="supersede")
    stage.machine.run()
    statuses = {stage.now(first).status, stage.now(late[0]).status}
    assert statuses == {Status.SUCCEEDED, Status.ABORTED}
    assert stage.locks() == []
    winner = next(d for d in (stage.now(first), stage.now(late[0])) if d.status is Status.SUCCEEDED)
    assert stage.model.serves("orders", "prod") == (winner.version, {})
    assert winner.id == first.id  # it was the last to be accepted


def test_a_release_that_ends_while_it_is_superseded_is_followed(stage: GatewaySimulation) -> None:
    [listed] = stage.store.deployments.unfinished()
    baking = stage.store.deployments.get(listed.id)
    assert baking
    new = artifact(stage, b"new")
    Interleaving(stage, before_1=lambda: stage.finish(baking))
    after = stage.deploy(new, on_busy="supersede")
    assert stage.now(baking).status is Status.SUCCEEDED
    assert after.supersedes is None
    assert stage.finish(after).status is Status.SUCCEEDED
    assert stage.locks() == []


def test_a_table_that_is_always_contended_is_a_503_and_nothing_is_accepted(stage: GatewaySimulation) -> None:
    new = artifact(stage, b"new")
    before = {d.id for d in stage.store.deployments.unfinished()}
    conflicting(stage, 6)
    refused = problem(stage.deploy, new, on_busy="supersede")
    assert (refused.status, refused.headers["Retry-After"]) == (503, "1")
    assert {d.id for d in stage.store.deployments.unfinished()} == before
