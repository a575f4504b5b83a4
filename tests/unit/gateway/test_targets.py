"""Stages in other accounts and regions: what acceptance fixes, and what crosses over."""

from collections.abc import Iterator
from typing import Any

import pytest

from sluicegate.deployment.model import Deployment, Status
from sluicegate.deployment.plan import Plan, Target
from sluicegate.gate.policy import Gate
from sluicegate.gate.rollout_settings import Rollout
from support.gateway_simulation import (
    APPROVERS,
    GatewaySimulation,
    artifact,
    gate_of,
    gateway_simulation,
    refused,
    rule,
)
from support.simulation import OWN
from support.world_model import World, world_of

WEST = Target("222222222222", "eu-west-1")
TARGET = {
    "name": "prod-west",
    "account": WEST.account,
    "region": WEST.region,
    "role": "sluicegate-target-eu-west-1",
    "external_id": "3c9e",
}
RULES = (rule("everything", "deploy", "promote", "rollback", "abort", "hold"), APPROVERS)


def gate(prod: Rollout | None = None, **changes: Any) -> Gate:
    """`prod` is in another account and region."""
    stages = {"prod": prod or Rollout()}
    return gate_of(stages, RULES, places={"prod": "prod-west"}, targets=[TARGET | changes])


@pytest.fixture
def at() -> Iterator[GatewaySimulation]:
    with gateway_simulation(gate=gate()) as made:
        yield made


@pytest.fixture
def world(at: GatewaySimulation) -> World:
    made = world_of(at)
    plan = Plan(WEST, "prod", (), "", role=TARGET["role"], external_id=TARGET["external_id"])
    made.add_target(plan).add("orders", b"code of somebody")
    return made


def released(at: GatewaySimulation, code: bytes, stage: str = "dev") -> Deployment:
    return at.finish(at.deploy(artifact(at, code), stage=stage))


def test_acceptance_fixes_the_target_its_role_and_its_external_id(
    at: GatewaySimulation, world: World
) -> None:
    sha256 = artifact(at, b"new")
    accepted = at.deploy(sha256)
    at.gate = gate(role="another", external_id="another")
    plan = at.finish(accepted).plan
    assert at.now(accepted).status is Status.SUCCEEDED
    assert (plan.target, plan.role, plan.external_id, plan.target_name) == (
        WEST,
        "sluicegate-target-eu-west-1",
        "3c9e",
        "prod-west",
    )
    assert world.lambdas[WEST].serves("orders", "prod") == ("1", {})


def test_the_api_names_the_target_and_not_how_it_is_entered(at: GatewaySimulation, world: World) -> None:
    answer = at.request(action="deploy", artifact={"sha256": artifact(at, b"new")})
    west = {"name": "prod-west", "account": "222222222222", "region": "eu-west-1"}
    assert answer.value["target"] == west
    at.finish(at.of(answer))
    source = released(at, b"new")
    stages = at.ask("GET", "/functions/{name}", at.job(), name="orders").value["stages"]
    assert stages["prod"]["target"] == west
    assert stages["dev"]["target"] == {"name": "default", "account": OWN.account, "region": OWN.region}
    wanted: dict[str, Any] = {"from": "dev", "dry_run": True, "artifact": {"sha256": source.sha256}}
    dry = at.request(action="promote", **wanted).value
    assert dry["plan"]["target"] == west
    assert "3c9e" not in str((answer.value, stages, dry))
    assert world.calls


def test_a_promotion_across_targets_publishes_the_same_digest(at: GatewaySimulation, world: World) -> None:
    released(at, b"first")
    source = released(at, b"new")
    promoted = at.finish(at.promote(artifact={"sha256": source.sha256}))
    assert promoted.status is Status.SUCCEEDED
    west = world.lambdas[WEST]
    assert west.serves("orders", "prod") == ("1", {})  # the first version there, the second one here
    assert west.code_of("orders", "1") == source.sha256
    assert at.model.serves("orders", "dev") == ("2", {})
    assert promoted.built == source.built
    serving = at.store.versions.serving_of(promoted)
    assert serving is not None
    assert serving.built is not None
    assert serving.built.by.job_id == source.requested_by.job_id


def test_a_promotion_of_an_expired_artifact_is_refused(at: GatewaySimulation, world: World) -> None:
    source = released(at, b"new")
    at.model.code.clear()
    detail = refused(422, "unprocessable", at.promote, version=source.version)
    assert "has expired, and was never published in 222222222222 eu-west-1" in detail
    assert at.locks() == []
    assert all(call.region != "eu-west-1" for call in world.calls)


def test_what_the_target_has_already_needs_no_artifact(at: GatewaySimulation, world: World) -> None:
    source = released(at, b"new")
    at.finish(at.promote(version=source.version))
    at.finish(at.deploy(artifact(at, b"newer"), stage="prod"))
    at.model.code.clear()
    assert at.finish(at.promote(artifact={"sha256": source.sha256})).version == "1"
    assert world.lambdas[WEST].serves("orders", "prod") == ("1", {})


def test_a_rollback_stays_in_its_target(at: GatewaySimulation, world: World) -> None:
    for code in (b"one", b"two"):
        released(at, code, "prod")
        released(at, code + b" elsewhere")
    back = at.finish(at.rollback())
    assert (back.status, back.version, back.plan.role) == (Status.SUCCEEDED, "1", TARGET["role"])
    assert world.lambdas[WEST].serves("orders", "prod") == ("1", {})
    assert at.model.serves("orders", "dev") == ("2", {})


def test_what_must_succeed_first_may_be_elsewhere(at: GatewaySimulation, world: World) -> None:
    at.gate = gate(Rollout(requires="dev"))
    sha256 = artifact(at, b"new")
    refused(422, "unprocessable", at.deploy, sha256)
    released(at, b"new")
    assert at.finish(at.deploy(sha256)).status is Status.SUCCEEDED
    assert world.lambdas[WEST].serves("orders", "prod") == ("1", {})


def test_one_token_may_deploy_to_a_function_in_each_of_two_targets_once(
    at: GatewaySimulation, world: World
) -> None:
    """Also if both aliases have one name: a token's use is bound to account and region."""
    at.gate = gate_of(
        {},
        RULES,
        places={"prod": "prod-west"},
        targets=[TARGET],
        functions=[
            {
                "pattern": "orders*",
                "prune": None,
                "alias": {"dev": "live", "prod": "live"},
                "max_age": {},
                "rollout": {},
            }
        ],
    )
    first, second = artifact(at, b"new"), artifact(at, b"other")
    claims = at.job()
    for stage in ("dev", "prod"):
        assert at.finish(at.deploy(first, claims, stage=stage)).status is Status.SUCCEEDED
        refused(409, "token_used", at.deploy, second, claims, stage=stage)
    assert world.lambdas[WEST].serves("orders", "live") == at.model.serves("orders", "live") == ("1", {})


@pytest.mark.parametrize("changes", [{"role": "another"}, {"external_id": "another"}])
def test_an_approval_is_refused_if_the_target_is_entered_in_another_way_by_now(
    at: GatewaySimulation, world: World, changes: dict[str, str]
) -> None:
    """The plan has the old way in, and nobody names that any more."""
    at.gate = gate(Rollout(approval=3_600))
    waiting = at.run_until(at.deploy(artifact(at, b"new")), "awaiting_approval")
    at.gate = gate(Rollout(approval=3_600), **changes)
    detail = refused(422, "unprocessable", at.decide, "approve", waiting)
    assert "request it again" in detail
    assert "another" not in detail.replace("another role", "").replace("another external", "")
    assert "UpdateFunctionCode" not in [call.name for call in world.calls]
