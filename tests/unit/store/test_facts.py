"""Facts are written with what they are about, or not at all."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from sluicegate.deployment.model import AliasOutcome, Deployment, Reason, Status
from sluicegate.rollout.transitions import request_abort
from sluicegate.store.errors import Busy, RequestKnown, StaleRevision
from sluicegate.store.facts import MOST_REFUSALS
from sluicegate.store.holds import Hold
from sluicegate.store.locks import Supersession
from support.simulation import OWN, START, TABLE, Simulation, new_deployment, simulation

SHA = "a" * 64
HOLD = Hold("prod", "oncall", ("orders-*",), "a reason", "2026-11-26T17:00:00.000Z", {}, "H1")


@pytest.fixture
def at() -> Iterator[Simulation]:
    with simulation() as made:
        yield made


def facts(at: Simulation) -> list[dict[str, Any]]:
    """Return all items of facts, with their lines read."""
    items = at.client.scan(TableName=TABLE)["Items"]
    found = [
        {name: next(iter(value.values())) for name, value in item.items()}
        for item in items
        if item["pk"]["S"].startswith("fact#")
    ]
    for item in found:
        item["line"] = json.loads(item.get("line", "{}"))
    return sorted(found, key=lambda item: (item["pk"], item["sk"]))


def accept(at: Simulation, supersession: Supersession | None = None, **fields: Any) -> Deployment:
    at.clock.now += 1
    deployment = replace(new_deployment(at.clock(), SHA), evidence=True, **fields)
    at.store.deployments.accept(
        deployment, request_key=deployment.id, fingerprint="f", supersession=supersession
    )
    return deployment


def test_an_acceptance_and_its_fact_are_one_write(at: Simulation) -> None:
    deployment = accept(at)
    (fact,) = facts(at)
    assert (fact["pk"], fact["sk"]) == (f"fact#{deployment.id}", "00000001#accepted")
    assert (fact["unsealed"], fact["at"]) == ("yes", deployment.created_at)
    assert (fact["line"]["kind"], fact["line"]["n"], fact["line"]["artifact"]) == ("accepted", 1, SHA)


def test_what_was_not_accepted_leaves_no_fact(at: Simulation) -> None:
    accept(at)
    with pytest.raises(Busy):
        accept(at)
    assert len(facts(at)) == 1


def test_a_change_that_lost_its_race_leaves_no_fact(at: Simulation) -> None:
    deployment = accept(at)
    reason = Reason("aborted", "aborted")
    ended = request_abort(deployment, reason, "aborted", at.clock())
    at.store.deployments.save(deployment, ended)
    failed = deployment.changed(at.clock(), "failed", Status.FAILED, outcome=AliasOutcome.UNTOUCHED)
    with pytest.raises(StaleRevision):
        at.store.deployments.save(deployment, failed)
    assert [fact["line"]["kind"] for fact in facts(at)] == ["accepted", "decided", "ended"]
    assert [fact["line"]["n"] for fact in facts(at)] == [1, 2, 3]


def test_a_step_of_a_rollout_is_no_fact(at: Simulation) -> None:
    deployment = accept(at)
    at.store.deployments.save(deployment, deployment.changed(at.clock(), "waits", Status.QUEUED))
    assert len(facts(at)) == 1


def test_a_deployment_that_was_superseded_has_its_facts_in_the_same_write(at: Simulation) -> None:
    before = accept(at)
    lock = at.store.locks.alias_lock(OWN, "orders", "prod")
    assert lock is not None
    reason = Reason("superseded", "superseded", {"by": "B"})
    after = request_abort(before, reason, "superseded", at.clock())
    accept(at, Supersession(lock, ((before, after),), at_once=True))
    kinds = [fact["line"]["kind"] for fact in facts(at) if fact["pk"] == f"fact#{before.id}"]
    assert kinds == ["accepted", "decided", "ended"]


def test_a_record_from_before_there_was_evidence_can_end(at: Simulation) -> None:
    deployment = replace(new_deployment(at.clock(), SHA), evidence=False)
    at.store.deployments.accept(deployment, request_key="k", fingerprint="f")
    ended = request_abort(deployment, Reason("aborted", "aborted"), "aborted", at.clock())
    at.store.deployments.save(deployment, ended)
    assert [("n" in fact["line"], fact["line"]["kind"]) for fact in facts(at)] == [
        (False, "decided"),
        (False, "ended"),
    ]


def test_a_hold_and_its_release_are_facts_once(at: Simulation) -> None:
    at.store.holds.place(HOLD, "k")
    with pytest.raises(RequestKnown):
        at.store.holds.place(replace(HOLD, id="H2"), "k")
    at.store.holds.release(HOLD)
    at.store.holds.release(HOLD)
    assert [(fact["pk"], fact["sk"]) for fact in facts(at)] == [
        ("fact#hold#H1", "held"),
        ("fact#hold#H1", "released"),
    ]


def test_the_release_of_a_hold_that_was_replaced_is_no_fact(at: Simulation) -> None:
    at.store.holds.place(HOLD)
    at.store.holds.place(replace(HOLD, id="H2"))
    at.store.holds.release(HOLD)
    assert [hold.id for hold in at.store.holds.of_stage("prod")] == ["H2"]
    assert "released" not in {fact["sk"] for fact in facts(at)}


def test_ten_refusals_an_hour_are_lines_and_the_rest_is_a_number(at: Simulation) -> None:
    counted = {"code": "not_allowed"}
    for _ in range(25):
        at.store.facts.refuse("s", MOST_REFUSALS, counted, START, lambda: {"claims": {"ref": "x"}})
    found = facts(at)
    lines = [fact for fact in found if fact["pk"] == "fact#refused#s"]
    (number,) = [fact for fact in found if fact["pk"] == "fact#refusals#s"]
    assert len(lines) == MOST_REFUSALS
    assert (number["count"], number["unsealed"]) == ("25", "yes")
    assert number["counted"] == {"code": {"S": "not_allowed"}}


def test_ten_refusals_need_no_number_and_the_next_hour_begins_again(at: Simulation) -> None:
    for now in (START, START + 3_600):
        for _ in range(MOST_REFUSALS):
            at.store.facts.refuse("s", MOST_REFUSALS, {}, now, dict)
    found = facts(at)
    assert len([fact for fact in found if fact["pk"] == "fact#refused#s"]) == 2 * MOST_REFUSALS
    assert not any("unsealed" in fact for fact in found if fact["pk"] == "fact#refusals#s")
