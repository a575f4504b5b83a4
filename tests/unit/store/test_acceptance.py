"""Accepting: which error an acceptance raises where several apply, and what is recognised as its own work."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from sluicegate.deployment.model import AliasOutcome, Deployment, Status
from sluicegate.store.errors import (
    Busy,
    CredentialUsed,
    Outdated,
    RequestKnown,
    ServingChanged,
    StaleRevision,
    StoreError,
    TagMoved,
)
from sluicegate.store.locks import AliasLock, Supersession
from sluicegate.store.requests import CredentialUse, PermanentClaim
from sluicegate.store.table import Resolution
from support.simulation import START, Simulation, new_deployment, simulation

SHA = "a" * 64
USE = CredentialUse("token", "fingerprint", int(START) + 3_600)


@pytest.fixture
def at() -> Iterator[Simulation]:
    with simulation() as made:
        yield made


def deployment_of_pipeline(at: Simulation, pipeline: str) -> Deployment:
    at.clock.now += 1
    made = new_deployment(at.clock(), SHA)
    by = replace(made.requested_by, pipeline_id=pipeline)
    return replace(made, requested_by=by, plan=replace(made.plan, ordered=True), version="1")


def contested(at: Simulation) -> dict[str, Any]:
    """The arguments of an acceptance for which every condition fails."""
    store = at.store.deployments
    first = deployment_of_pipeline(at, "1")
    store.accept(first, request_key="first", fingerprint="f", uses=())
    succeed(at, first)
    [serving] = at.store.versions.serving("orders")
    newer = deployment_of_pipeline(at, "20")
    store.accept(newer, request_key="newer", fingerprint="f", uses=())
    succeed(at, newer)
    holder = deployment_of_pipeline(at, "30")
    claim = PermanentClaim("tag", "one commit")
    store.accept(holder, request_key="known", fingerprint="f", uses=(USE,), claim=claim)
    return {
        "request_key": "known",
        "fingerprint": "f",
        "uses": (USE,),
        "claim": PermanentClaim("tag", "another commit"),
        "still_serving": serving,
    }


def succeed(at: Simulation, deployment: Deployment) -> None:
    after = deployment.changed(at.clock(), "succeeded", Status.SUCCEEDED, outcome=AliasOutcome.MOVED)
    at.store.deployments.save(deployment, after)


@pytest.mark.parametrize("supersedes", [False, True])
def test_the_first_of_several_errors_is_raised(at: Simulation, supersedes: bool) -> None:
    arguments = contested(at)
    stale = Supersession(AliasLock("another deployment"), (), at_once=True)
    steps: list[tuple[type[StoreError], dict[str, Any]]] = [
        (RequestKnown, {"request_key": "new"}),
        (CredentialUsed, {"uses": ()}),
        (TagMoved, {"claim": None}),
        (Outdated, {"pipeline": "40"}),
        (ServingChanged, {"still_serving": None}),
        (StaleRevision if supersedes else Busy, {}),
    ]
    pipeline = "10"
    for error, mended in steps:
        late = deployment_of_pipeline(at, pipeline)
        with pytest.raises(error):
            at.store.deployments.accept(late, supersession=stale if supersedes else None, **arguments)
        assert at.store.deployments.get(late.id) is None
        pipeline = mended.pop("pipeline", pipeline)
        arguments |= mended


def test_a_save_whose_answer_was_lost_is_done_and_another_one_is_stale(at: Simulation) -> None:
    before = deployment_of_pipeline(at, "1")
    at.store.deployments.accept(before, request_key="r", fingerprint="f", uses=())
    after = before.changed(at.clock(), "shifting", Status.SHIFTING)
    at.store.deployments.save(before, after)
    at.store.deployments.save(before, after)
    assert at.now(before) == after
    with pytest.raises(StaleRevision):
        at.store.deployments.save(before, before.changed(at.clock() + 1, "shifting", Status.SHIFTING))
    assert at.now(before) == after


def test_a_lock_that_names_the_deployment_is_its_own_work(at: Simulation) -> None:
    holder, other = deployment_of_pipeline(at, "1"), deployment_of_pipeline(at, "2")
    locks = at.store.locks
    assert locks.alias_conflict(holder, None) is Resolution.RETRY  # freed just now
    at.store.deployments.accept(holder, request_key="r", fingerprint="f", uses=())
    assert locks.alias_conflict(holder, None) is Resolution.TOOK_EFFECT
    busy = locks.alias_conflict(other, None)
    assert isinstance(busy, Busy)
    assert busy.deployment == holder.id
    supersession = Supersession(AliasLock(holder.id), (), at_once=False)
    assert isinstance(locks.alias_conflict(other, supersession), StaleRevision)
    at.store.deployments.accept(other, request_key="s", fingerprint="f", uses=(), supersession=supersession)
    assert locks.alias_conflict(other, supersession) is Resolution.TOOK_EFFECT


def test_an_identity_is_kept_for_as_long_as_an_approval_can_take(at: Simulation) -> None:
    one = deployment_of_pipeline(at, "1")
    one = replace(one, plan=replace(one.plan, approval=600))
    identity = {"via": "id_token", "claims": {"ref": "main", "list": ["a"]}}
    at.store.deployments.accept(one, request_key="r", fingerprint="f", uses=(), identity=identity)
    kept = at.store.deployments.identity(one.id)
    assert kept is not None
    assert {name: kept[name] for name in identity} == identity
    assert kept["expires_at"] == int(at.clock()) + 600 + 32 * 86_400
    assert at.store.deployments.identity("another") is None


def test_a_claim_is_never_forgotten_and_its_tag_stays_at_its_commit(at: Simulation) -> None:
    one = deployment_of_pipeline(at, "1")
    claim = PermanentClaim("tag", "a commit")
    at.store.deployments.accept(one, request_key="r", fingerprint="f", uses=(), claim=claim)
    items = {item["sk"]["S"]: item for item in at.client.scan(TableName="sluicegate")["Items"]}
    assert "expires_at" not in items["request"]
    assert items["tag"]["sha"] == {"S": "a commit"}
    at.store.deployments.save(one, one.changed(at.clock(), "ended", Status.FAILED))
    again = deployment_of_pipeline(at, "2")
    at.store.deployments.accept(again, request_key="s", fingerprint="f", uses=(), claim=claim)
