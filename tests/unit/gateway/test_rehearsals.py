"""Dry runs of decisions and holds: `GatewaySimulation.decide` and `.hold` compare each with the real call."""

from typing import Any

import pytest

from sluicegate.deployment.model import Deployment, Status
from sluicegate.deployment.plan import TrafficStep
from sluicegate.gate.rollout_settings import Rollout
from support.gateway_simulation import (
    APPROVERS,
    RELEASERS,
    GatewaySimulation,
    artifact,
    gate_of,
    refused,
    rule,
)

pytestmark = pytest.mark.filterwarnings("ignore:No application metrics")

CANARY = Rollout(steps=(TrafficStep(10, 300), TrafficStep(100, 0)), approval=3_600)


def rehearse(at: GatewaySimulation, action: str, deployment: Deployment, **body: Any) -> dict[str, Any]:
    resource = f"/deployments/{{id}}/{action}"
    with at.nothing_written():
        answer = at.ask("POST", resource, at.person(), {"dry_run": True, **body}, id=deployment.id)
    found: dict[str, Any] = answer.value
    return found


def test_says_what_an_approval_would_do_and_does_nothing(at: GatewaySimulation) -> None:
    at.gate = gate_of({"prod": CANARY})
    deployment = at.run_until(at.deploy(artifact(at, b"new")), "awaiting_approval")
    found = rehearse(at, "approve", deployment, reason="looks good")
    assert found["effect"] == "alias prod gets 10% for 5m, then 100% of the traffic on the new version"
    assert found["message"].endswith("by rule 'approvers': looks good")
    assert (found["changes"], found["rule"], found["revision"]) == (True, "approvers", deployment.revision)
    assert at.now(deployment) == deployment
    assert at.decide("approve", deployment).status == 202


def test_is_refused_at_another_revision(at: GatewaySimulation) -> None:
    at.gate = gate_of({"prod": CANARY})
    deployment = at.run_until(at.deploy(artifact(at, b"new")), "awaiting_approval")
    refused(409, "wrong_state", rehearse, at, "approve", deployment, revision=deployment.revision - 1)


def test_is_refused_for_a_token_that_was_used(at: GatewaySimulation) -> None:
    """The real call is refused by the condition of its transaction; a dry run has to look."""
    both = rule("both", "approve", "rollback", claims=APPROVERS["claims"])
    at.gate = gate_of({"prod": Rollout()}, (RELEASERS, both))
    for code in (b"old", b"new"):
        at.release(artifact(at, code))
    who = at.person("8")
    assert at.finish(at.rollback(who)).status is Status.SUCCEEDED
    at.gate = gate_of({"prod": CANARY}, (RELEASERS, both))
    deployment = at.deploy(artifact(at, b"newer"))
    refused(409, "token_used", at.decide, "approve", deployment, who)


def test_says_what_becomes_of_the_alias(at: GatewaySimulation) -> None:
    at.gate = gate_of({"prod": CANARY})
    at.release(artifact(at, b"old"))
    waiting = at.run_until(at.deploy(artifact(at, b"new")), "awaiting_approval")
    assert (
        rehearse(at, "reject", waiting)["effect"]
        == "it ends rejected now, and alias prod serves what it serves"
    )
    at.decide("approve", waiting)
    moved = at.run_until(waiting, "baking")
    at.gate = gate_of({"prod": CANARY}, (RELEASERS, rule("aborters", "abort", claims=APPROVERS["claims"])))
    assert rehearse(at, "abort", moved)["effect"] == "alias prod goes back to what it served before"
    assert at.decide("abort", moved).status == 202
    assert rehearse(at, "abort", moved)["changes"] is False


def test_names_the_holds_that_it_would_place_replace_and_release(at: GatewaySimulation) -> None:
    stage = "/stages/{stage}/hold"

    def place(**body: Any) -> Any:
        return at.ask("POST", stage, at.job(), {"reason": "freeze", **body}, stage="prod").value

    def release(**query: list[str]) -> Any:
        return at.ask("DELETE", stage, at.job(), query=query, stage="prod").value

    with at.nothing_written():
        assert place(dry_run=True)["holds"] == [{"functions": ["orders*"], "reason": "freeze", "id": None}]
    [held] = place()["holds"]
    with at.nothing_written():
        assert place(dry_run=True)["holds"][0]["id"] == held["id"]
        assert [one["id"] for one in release(dry_run=["true"])["holds"]] == [held["id"]]
        assert release(dry_run=["true"], id=["0" * 26])["changes"] is False
    refused(400, "invalid_request", release, dry_run=["1"])
    assert release(dry_run=["false"])["holds"] == []
