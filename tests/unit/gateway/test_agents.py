"""Agents: what they never have, what a stage leaves them, and what they only propose."""

from collections.abc import Iterator
from typing import Any

import pytest

from sluicegate.deployment.model import AliasOutcome, Deployment, Status
from sluicegate.deployment.plan import TrafficStep
from sluicegate.gate.rollout_settings import Rollout
from support.gateway_simulation import (
    APPROVERS,
    PERSON,
    RELEASERS,
    GatewaySimulation,
    artifact,
    gate_of,
    gateway_simulation,
    refused,
    rule,
)
from support.signing import ISSUER

pytestmark = pytest.mark.filterwarnings("ignore:No application metrics")

ACTIONS = ("deploy", "promote", "rollback", "abort", "reject", "approve", "hold", "override-strategy")
AGENTS = {"users": [{"issuer": ISSUER, "user_id": "91"}], "principals": []}
EVERYTHING = rule("everything", *ACTIONS, claims={**PERSON, "user_id": ["91"]})
PROPOSE = {"actions": ["deploy", "promote", "rollback", "abort", "reject"], "propose": True}
CANARY = Rollout(steps=(TrafficStep(10, 3_600), TrafficStep(100, 0)))


@pytest.fixture
def at() -> Iterator[GatewaySimulation]:
    with gateway_simulation(gate=gate()) as made:
        yield made


def gate(of_agents: Any = PROPOSE, prod: Rollout | None = None, **more: Any) -> Any:
    rules = (EVERYTHING, RELEASERS, APPROVERS)
    return gate_of({"prod": prod or Rollout()}, rules, of_agents=of_agents, agents=AGENTS, **more)


def agent(at: GatewaySimulation, **claims: Any) -> Any:
    """Claims of a job that the agent started; its name looks like a bot's."""
    return at.person("91", user_login="duo-developer", **claims)


def served(at: GatewaySimulation, *codes: bytes) -> None:
    for code in codes:
        assert at.release(artifact(at, code)).status is Status.SUCCEEDED


def codes(deployment: Deployment) -> tuple[Status, str | None]:
    return deployment.status, deployment.reason.code if deployment.reason else None


def test_an_agent_never_approves_holds_or_overrides_a_strategy(at: GatewaySimulation) -> None:
    new, waiting = artifact(at, b"2"), at.deploy(artifact(at, b"1"), agent(at))
    for of_agents in (None, PROPOSE):
        at.gate, claims = gate(of_agents, CANARY), agent(at)
        fast = {"type": "all-at-once"}
        assert "agents may not" in refused(403, "not_allowed", at.decide, "approve", waiting, claims)
        assert "agents may not" in refused(403, "not_allowed", at.hold, claims)
        detail = refused(403, "not_allowed", at.deploy, new, claims, strategy=fast)
        assert "agents may not" in detail


def test_a_stage_leaves_agents_at_most_its_actions(at: GatewaySimulation) -> None:
    at.gate = gate({"actions": ["promote"], "propose": False})
    new = artifact(at, b"new")
    assert "agents may not deploy orders in prod" in refused(403, "not_allowed", at.deploy, new, agent(at))
    assert at.finish(at.deploy(new, agent(at), stage="dev")).status is Status.SUCCEEDED
    assert at.finish(at.promote(agent(at), version="1")).status is Status.SUCCEEDED
    refused(403, "not_allowed", at.rollback, agent(at))
    assert at.finish(at.deploy(artifact(at, b"by a person"), at.person())).status is Status.SUCCEEDED


def test_an_agent_uploads_only_for_what_it_may_deploy(at: GatewaySimulation) -> None:
    body = {"function": "orders", "sha256": "a" * 64, "size": 1}
    everything = EVERYTHING | {"stages": ["prod"]}
    at.gate = gate_of(rules=(everything,), of_agents={"actions": ["promote"], "propose": True}, agents=AGENTS)
    refused(403, "not_allowed", at.ask, "POST", "/artifacts", agent(at), body)


def test_what_it_deploys_or_rolls_back_waits_for_a_person(at: GatewaySimulation) -> None:
    served(at, b"1", b"2")
    proposed = at.deploy(artifact(at, b"3"), agent(at))
    assert (proposed.plan.approval, proposed.plan.proposed) == (86_400, True)
    waiting = at.run_until(proposed, "awaiting_approval")
    assert at.model.serves("orders", "prod") == ("2", {})
    assert at.decide("approve", waiting).status == 202
    assert at.finish(waiting).status is Status.SUCCEEDED
    back = at.run_until(at.rollback(agent(at)), "awaiting_approval")
    assert at.model.serves("orders", "prod") == ("3", {})
    assert at.hold().status == 200  # which stops no rollback
    assert at.decide("approve", back).status == 202
    assert at.finish(back).status is Status.SUCCEEDED
    assert at.model.serves("orders", "prod") == ("2", {})


def test_a_proposal_expires(at: GatewaySimulation) -> None:
    ended = at.finish(at.deploy(artifact(at, b"1"), agent(at)))
    assert codes(ended) == (Status.FAILED, "approval_expired")
    assert ended.outcome is AliasOutcome.UNTOUCHED


def test_the_agent_is_not_the_person_who_approves(at: GatewaySimulation) -> None:
    waiting = at.deploy(artifact(at, b"1"), agent(at))
    pipeline = waiting.requested_by.pipeline_id
    refused(403, "not_allowed", at.decide, "approve", waiting, agent(at))
    refused(403, "not_allowed", at.decide, "approve", waiting, at.person(pipeline_id=pipeline))
    refused(403, "not_allowed", at.decide, "approve", waiting, at.person("9", user_login="project_1_bot"))


def test_its_supersede_ends_nothing_before_the_approval(at: GatewaySimulation) -> None:
    served(at, b"1")
    at.gate = gate(prod=CANARY)
    running = at.run_until(at.deploy(artifact(at, b"2")), "baking")
    proposal = at.deploy(artifact(at, b"3"), agent(at), on_busy="supersede")
    proposal = at.run_until(proposal, "awaiting_approval")
    assert at.now(running).status is Status.BAKING
    refused(409, "busy", at.deploy, artifact(at, b"4"), agent(at), on_busy="supersede")
    assert at.now(running).abort is None
    assert at.decide("approve", proposal).status == 202
    at.machine.later(50, at.sweep)  # the janitor, every minute
    at.run_until(proposal, "baking", "succeeded")
    assert codes(at.now(running)) == (Status.ABORTED, "superseded")
    assert at.finish(proposal).status is Status.SUCCEEDED
    assert at.model.serves("orders", "prod") == ("3", {})


def test_no_approved_proposal_ends_a_rollback_that_was_approved_before(at: GatewaySimulation) -> None:
    served(at, b"1", b"2")
    back = at.run_until(at.rollback(agent(at)), "awaiting_approval")
    proposal = at.deploy(artifact(at, b"3"), agent(at), on_busy="supersede")
    proposal = at.run_until(proposal, "awaiting_approval")
    at.model.set_state("orders", "1", "Pending")  # it was idle for weeks
    assert at.decide("approve", back).status == 202
    assert at.decide("approve", proposal).status == 202
    at.machine.later(20, lambda: at.model.set_state("orders", "1", "Active"))
    assert at.finish(proposal).status is Status.SUCCEEDED
    assert at.now(back).status is Status.SUCCEEDED


def test_a_proposal_behind_a_deployment_that_ends_is_next(at: GatewaySimulation) -> None:
    served(at, b"1")
    at.gate = gate(prod=CANARY)
    running = at.run_until(at.deploy(artifact(at, b"2")), "baking")
    proposal = at.deploy(artifact(at, b"3"), agent(at), on_busy="supersede")
    assert at.finish(running).status is Status.SUCCEEDED
    assert codes(at.now(proposal)) == (Status.FAILED, "approval_expired")
    assert at.locks() == []


@pytest.mark.parametrize("action", ["deploy", "rollback"])
@pytest.mark.parametrize("proposed", ["deploy", "rollback"])
def test_a_proposal_stands_in_no_persons_way(at: GatewaySimulation, action: str, proposed: str) -> None:
    served(at, b"1", b"2")
    new = artifact(at, b"3")
    proposal = at.rollback(agent(at)) if proposed == "rollback" else at.deploy(new, agent(at))
    at.run_until(proposal, "awaiting_approval")
    mine = at.deploy(new, on_busy="supersede") if action == "deploy" else at.rollback()
    assert at.finish(mine).status is Status.SUCCEEDED
    assert codes(at.now(proposal)) == (Status.ABORTED, "superseded")


def test_a_person_replaces_a_proposal_that_waits_behind_a_deployment(at: GatewaySimulation) -> None:
    served(at, b"1")
    at.gate = gate(prod=CANARY)
    running = at.run_until(at.deploy(artifact(at, b"2")), "baking")
    back = at.rollback(agent(at))
    assert at.now(running).status is Status.BAKING
    mine = at.deploy(artifact(at, b"3"), on_busy="supersede")
    assert at.finish(mine).status is Status.SUCCEEDED
    assert codes(at.now(back)) == (Status.ABORTED, "superseded")


def test_its_abort_of_what_runs_is_noted_once_and_changes_nothing(at: GatewaySimulation) -> None:
    served(at, b"1")
    at.gate = gate(prod=CANARY)
    running = at.run_until(at.deploy(artifact(at, b"2")), "baking")
    assert at.decide("abort", running, agent(at), "it looks slow").status == 202
    noted = at.now(running)
    assert noted.abort is None
    assert noted.abort_proposed is not None
    assert noted.abort_proposed.reason == "it looks slow"
    assert "proposes to abort it: it looks slow" in noted.timeline[-1].message
    assert at.decide("abort", running, agent(at), "again").status == 200
    assert at.now(running) == noted
    assert "may only propose" in refused(403, "not_allowed", at.decide, "reject", waiting(at), agent(at))
    assert at.finish(running).status is Status.SUCCEEDED


def waiting(at: GatewaySimulation) -> Deployment:
    """A deployment of somebody else to another function, which waits for an approval."""
    at.gate = gate(prod=Rollout(approval=3_600))
    at.model.add("orders-2", b"code")
    return at.deploy(artifact(at, b"x", "orders-2"), at.person("7"), function="orders-2")


def test_it_withdraws_only_its_own_proposals_and_only_before_they_are_approved(at: GatewaySimulation) -> None:
    served(at, b"1")
    at.gate = gate(prod=CANARY)
    mine = at.run_until(at.deploy(artifact(at, b"2"), agent(at)), "awaiting_approval")
    assert at.decide("abort", mine, agent(at)).status == 202
    assert at.finish(mine).status is Status.ABORTED
    again = at.run_until(at.deploy(artifact(at, b"2"), agent(at)), "awaiting_approval")
    at.decide("approve", again)
    baking = at.run_until(again, "baking")
    at.decide("abort", baking, agent(at))
    assert at.now(baking).abort is None
    assert at.finish(baking).status is Status.SUCCEEDED


def test_a_deploy_of_what_was_served_before_is_no_rollback(at: GatewaySimulation) -> None:
    old = artifact(at, b"1")
    at.release(old)
    served(at, b"2")
    again = at.deploy(old, agent(at))
    assert (again.action, again.plan.proposed) == ("deploy", True)
    at.run_until(again, "awaiting_approval")
    assert at.model.serves("orders", "prod") == ("2", {})


def test_nobody_is_an_agent_by_what_a_rule_says_or_leaves_out(at: GatewaySimulation) -> None:
    new = artifact(at, b"1")
    at.gate = gate_of(rules=(EVERYTHING,), of_agents=PROPOSE)
    refused(403, "not_allowed", at.deploy, new, at.person("92"))
    assert at.finish(at.deploy(new, agent(at))).status is Status.SUCCEEDED
