"""Which facts a change makes, and how they are numbered."""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluicegate.deployment.model import AbortProposal, Deployment, Reason, Requester, Status
from sluicegate.deployment.plan import ALL_AT_ONCE, Plan, Target
from sluicegate.evidence.facts import accepted, changes, count, held
from sluicegate.rollout.transitions import request_abort
from support import plans
from support.plans import RolloutSimulation

PLAN = Plan(Target("111111111111", "eu-central-1"), "prod", ALL_AT_ONCE, "9" * 64)
SUPERSEDED = Reason("superseded", "deployment B supersedes it", {"by": "01KAQ3ZV6N8T4R1F0C2H7M5XWE"})


def lines(simulation: RolloutSimulation) -> list[dict[str, Any]]:
    """Return the lines of all facts that the revisions of a rollout make."""
    first, *_ = revisions = simulation.revisions
    found = [accepted(first, None)]
    for before, after in pairwise(revisions):
        found += changes(before, after)
    assert len({fact.sk for fact in found}) == len(found)
    return [json.loads(fact.line) for fact in found]


def numbers(found: list[dict[str, Any]]) -> list[int]:
    return [line["n"] for line in found]


def begun(**fields: Any) -> RolloutSimulation:
    plan = replace(PLAN, **fields)
    return RolloutSimulation(plans.accepted(plan, evidence=True))


def proposed(simulation: RolloutSimulation) -> None:
    deployment = simulation.deployment
    by = Requester("https://gitlab.example.com", "4213", job_id="9")
    proposal = AbortProposal(by, deployment.updated_at)
    simulation.save(deployment.changed(simulation.now, "proposes to abort", abort_proposed=proposal))


DECISIONS: dict[str, Callable[[RolloutSimulation], None]] = {
    "approve": lambda one: one.save(plans.approved(one.deployment, one.now)),
    "reject": lambda one: one.save(plans.rejected(one.deployment, one.now)),
    "abort": lambda one: one.save(request_abort(one.deployment, plans.ABORTED, "aborted", one.now)),
    "supersede": lambda one: one.save(request_abort(one.deployment, SUPERSEDED, "superseded", one.now)),
    "propose": proposed,
}


def may(name: str, deployment: Deployment) -> bool:
    """Return whether the API would take the decision (`gateway.decisions`)."""
    stopped = deployment.status is Status.ROLLING_BACK or deployment.abort is not None
    if name in ("approve", "reject"):
        asked = deployment.plan.approval is not None and deployment.approval is None
        return asked and not stopped
    return deployment.abort is None and not (name == "propose" and deployment.abort_proposed)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_whatever_happens_the_numbers_have_no_gap_and_the_last_is_the_end(data: st.DataObject) -> None:
    plan = data.draw(plans.plans(max_steps=3))
    simulation = RolloutSimulation(plans.accepted(plan, evidence=True))
    for _ in range(60):
        deployment = simulation.deployment
        if deployment.status.final:
            break
        names = [name for name in DECISIONS if may(name, deployment)]
        if names and data.draw(st.integers(0, 5)) == 0:
            DECISIONS[data.draw(st.sampled_from(names))](simulation)
        else:
            action = simulation.next_action
            simulation.apply(data.draw(plans.possible_outcomes(action, deployment)))
    found = lines(simulation)
    assert numbers(found) == list(range(1, len(found) + 1))
    assert count(simulation.deployment) == len(found)
    kinds = Counter(line["kind"] for line in found)
    assert kinds["accepted"] == 1
    assert kinds["ended"] == simulation.deployment.status.final
    if simulation.deployment.status.final:
        assert found[-1]["status"] == simulation.deployment.status
    assert [line["revision"] for line in found] == sorted(line["revision"] for line in found)


def test_a_rejection_of_what_has_not_begun_is_a_decision_and_the_end() -> None:
    simulation = begun(approval=3_600)
    DECISIONS["reject"](simulation)
    _, decided, ended = lines(simulation)
    assert (decided["kind"], decided["code"], decided["n"]) == ("decided", "rejected", 2)
    assert (ended["kind"], ended["status"], ended["n"]) == ("ended", "rejected", 3)
    assert decided["revision"] == ended["revision"]


def test_who_superseded_it_is_in_the_line() -> None:
    simulation = begun()
    DECISIONS["supersede"](simulation)
    _, decided, ended = lines(simulation)
    assert decided["superseded_by"] == "01KAQ3ZV6N8T4R1F0C2H7M5XWE"
    assert "by" not in decided
    assert ended["code"] == "superseded"


def test_of_a_record_from_before_there_was_evidence_nothing_is_numbered() -> None:
    simulation = begun()
    simulation.deployment = replace(simulation.deployment, evidence=False)
    simulation.revisions = [simulation.deployment]
    DECISIONS["abort"](simulation)
    before, after = simulation.revisions
    assert ["n" in json.loads(fact.line) for fact in changes(before, after)] == [False, False]


def test_no_free_text_of_a_caller_is_in_a_line() -> None:
    hostile = "x\u2028=cmd()"
    simulation = RolloutSimulation(
        plans.accepted(PLAN, evidence=True, release=hostile, description=hostile, rule="tags")
    )
    DECISIONS["abort"](simulation)
    assert "cmd" not in json.dumps(lines(simulation))


@pytest.mark.parametrize("kind", ["held", "released"])
def test_a_hold_is_a_fact(kind: str) -> None:
    fact = held(kind, "prod", "01KAQ3ZV6N8T4R1F0C2H7M5XWE", ["orders-*"] * 90, "oncall", None, 0)
    found = json.loads(fact.line)
    assert (found["kind"], found["stage"], found["hold_rule"]) == (kind, "prod", "oncall")
    assert len(found["functions"]) == 50
    assert (fact.pk, fact.sk) == ("fact#hold#01KAQ3ZV6N8T4R1F0C2H7M5XWE", kind)
