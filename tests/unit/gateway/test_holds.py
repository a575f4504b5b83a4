"""A hold stops new deployments of a stage, and never a rollback."""

import pytest

from sluicegate.deployment.model import Status
from support.gateway_simulation import (
    RELEASERS,
    GatewaySimulation,
    artifact,
    gate_of,
    refused,
    rule,
)

pytestmark = pytest.mark.filterwarnings("ignore:No application metrics")


def test_a_held_stage_takes_nothing_new_and_lets_go_back(at: GatewaySimulation) -> None:
    old, new = artifact(at, b"old"), artifact(at, b"new")
    at.release(old)
    at.release(new)
    at.hold()
    newer = artifact(at, b"newer")
    assert "freeze" in refused(409, "held", at.deploy, newer)
    refused(409, "held", at.request, at.job(), action="deploy", artifact={"sha256": newer}, dry_run=True)
    at.release(newer, stage="dev")
    refused(409, "held", at.promote, version="3")
    assert at.finish(at.rollback()).status is Status.SUCCEEDED
    at.ask("DELETE", "/stages/{stage}/hold", at.job(), stage="prod")
    assert at.release(newer).status is Status.SUCCEEDED


def test_a_hold_is_for_the_functions_of_its_rule(at: GatewaySimulation) -> None:
    web = rule("web", "hold", claims={"project_id": ["99"]}, functions=["orders-w*"])
    at.gate = gate_of(rules=(RELEASERS, web))
    at.hold(at.job(project_id="99"))
    assert at.release(artifact(at, b"new")).status is Status.SUCCEEDED
    refused(403, "not_allowed", at.hold, at.job(project_id="98"))
    # Nor does another rule's take away what it does not reach all of.
    at.hold(at.job())
    at.ask("DELETE", "/stages/{stage}/hold", at.job(project_id="99"), stage="prod")
    refused(409, "held", at.deploy, artifact(at, b"newer"))
