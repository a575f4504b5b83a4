"""Approvals, rejections and aborts: security.md#approvals."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from sluicegate.deployment.model import Status
from sluicegate.deployment.plan import TrafficStep
from sluicegate.gate.rollout_settings import Rollout
from sluicegate.gateway.rechecks import ACCEPTANCE
from sluicegate.store import keys
from sluicegate.store.codec import marshal
from support.gateway_simulation import (
    APPROVERS,
    OTHER,
    RELEASERS,
    GatewaySimulation,
    artifact,
    gate_of,
    problem,
    refused,
    rule,
)
from support.signing import ISSUER, NOW
from support.simulation import OWN, TABLE, new_deployment

pytestmark = pytest.mark.filterwarnings("ignore:No application metrics")

ADA = {"issuer": ISSUER, "claims": {"user_id": ["7"]}}
"""An entry of `deny`: the requester in these tests, unless they say otherwise."""


@pytest.fixture
def asked(at: GatewaySimulation) -> GatewaySimulation:
    """Ada (7) has asked for a deployment that needs a second person."""
    at.gate = gate_of({"prod": Rollout(approval=3_600)}, ALLOWED)
    return at


ALLOWED = (
    RELEASERS,
    APPROVERS,
    {**APPROVERS, "name": "elsewhere", "issuer": OTHER},
    rule("strangers", "approve", claims={**APPROVERS["claims"], "project_id": ["99"]}, stages=["dev"]),
)


@pytest.mark.parametrize(
    ("claims", "status"),
    [
        ({}, 202),
        ({"user_id": "7"}, 403),  # who asked
        ({"user_id": "7", "iss": OTHER}, 202),  # another person, of another GitLab
        ({"pipeline_id": "574"}, 403),  # the pipeline that asked
        ({"pipeline_id": "574", "iss": OTHER}, 202),
        ({"user_id": None, "user_login": None}, 403),
        ({"user_id": "0"}, 403),
        ({"user_id": "08"}, 403),
        ({"user_id": "eight"}, 403),
        ({"user_login": "project_4213_bot_0a1b"}, 403),
        ({"user_login": "group_72_bot"}, 403),
        ({"user_login": "service_account_deploys"}, 403),
        ({"user_login": "robot"}, 202),
        ({"pipeline_source": "push"}, 403),  # nobody pressed anything
        ({"pipeline_source": "schedule"}, 403),
        ({"ref_protected": "false"}, 403),
        ({"project_id": "99"}, 404),  # may not even see it
    ],
)
def test_somebody_else_approves(asked: GatewaySimulation, claims: dict[str, Any], status: int) -> None:
    deployment = asked.deploy(artifact(asked, b"new"), asked.job(pipeline_id="574"))
    who = asked.person("8") | claims
    if status == 202:
        assert asked.decide("approve", deployment, who).status == 202
        assert asked.finish(deployment).status is Status.SUCCEEDED
    else:
        assert problem(asked.decide, "approve", deployment, who).status == status
        assert asked.now(deployment).approval is None


def test_a_bot_approves_only_where_the_rule_lists_it(asked: GatewaySimulation) -> None:
    listed = {**APPROVERS, "claims": {**APPROVERS["claims"], "user_id": ["55"]}}
    asked.gate = gate_of({"prod": Rollout(approval=3_600)}, (RELEASERS, listed))
    deployment = asked.deploy(artifact(asked, b"new"))
    assert asked.decide("approve", deployment, asked.person("55", user_login="project_1_bot")).status == 202


@pytest.mark.parametrize("user_id", [None, "0", "x"])
def test_what_no_user_asks_for_nobody_could_approve(asked: GatewaySimulation, user_id: str | None) -> None:
    """It is refused at once, and does not wait for an approval that cannot come."""
    sha256 = artifact(asked, b"new")
    refused(422, "unprocessable", asked.deploy, sha256, asked.job(user_id=user_id, user_login=None))
    dry = {"action": "deploy", "artifact": {"sha256": sha256}, "dry_run": True}
    refused(422, "unprocessable", asked.request, asked.job(user_id=user_id, user_login=None), **dry)


BOTS = [
    "project_4213_bot",
    "project_4213_bot_0a1b",
    "Project_4213_Bot",
    "group_72_bot_9f",
    "gitlab_security_policy_project_4213_bot_0a1b",
    "service_account_group_345_0a1b",
    "duo-developer",
    "release-bot",
    "",
]
"""docs.gitlab.com: project and group access tokens, service accounts, Duo; and without any name."""


@pytest.mark.parametrize("login", BOTS)
def test_a_bots_request_is_approved_only_where_its_rule_lists_it(
    asked: GatewaySimulation, login: str
) -> None:
    """The maintainer who created a project's access token holds it, and could approve his own request."""
    bot = {"user_id": "55", "user_login": login}
    sha256 = artifact(asked, b"new")
    assert "bot" in refused(422, "unprocessable", asked.deploy, sha256, asked.job(**bot))
    named = {**RELEASERS, "name": "bots", "claims": {**RELEASERS["claims"], "user_id": ["55"]}}
    asked.gate = gate_of({"prod": Rollout(approval=3_600)}, (RELEASERS, named, APPROVERS))
    deployment = asked.deploy(sha256, asked.job(**bot))
    asked.gate = gate_of({"prod": Rollout(approval=3_600)}, (RELEASERS, APPROVERS))
    refused(422, "unprocessable", asked.decide, "approve", deployment)
    asked.gate = gate_of({"prod": Rollout(approval=3_600)}, (RELEASERS, named, APPROVERS))
    assert asked.decide("approve", deployment).status == 202


@pytest.mark.parametrize("login", BOTS)
def test_a_bot_does_not_approve_unless_a_rule_lists_it(asked: GatewaySimulation, login: str) -> None:
    deployment = asked.deploy(artifact(asked, b"new"))
    bot = asked.person("55", user_login=login)
    refused(403, "not_allowed", asked.decide, "approve", deployment, bot)
    listed = {**APPROVERS, "name": "bot", "claims": {**APPROVERS["claims"], "user_id": ["55"]}}
    asked.gate = gate_of({"prod": Rollout(approval=3_600)}, (RELEASERS, APPROVERS, listed))
    assert asked.decide("approve", deployment, bot).status == 202


def test_the_requester_who_approves_learns_that_another_person_must(asked: GatewaySimulation) -> None:
    deployment = asked.deploy(artifact(asked, b"new"))
    found = problem(asked.decide, "approve", deployment, asked.person("7"))
    assert (found.title, found.members) == ("This identity may not approve this", {"nearest": []})
    assert "a different person must approve it" in found.detail


# Again: everything that acceptance checked and that can have changed


def _withdraw(asked: GatewaySimulation) -> None:
    asked.run_until(asked.rollback(stage="dev", version="1"), "succeeded", waits=False)


def _hold(asked: GatewaySimulation) -> None:
    asked.hold()


def _gate(*rules: Any, **changes: Any) -> Callable[[GatewaySimulation], None]:
    def change(asked: GatewaySimulation) -> None:
        rollout = Rollout(approval=3_600, **changes.pop("rollout", {}))
        asked.gate = gate_of({"prod": rollout, "qa": Rollout()}, rules or ALLOWED, **changes)

    return change


def _newer(asked: GatewaySimulation) -> None:
    """A newer pipeline has succeeded there, which no gate file minded so far."""
    key = keys.newest_pipeline(replace(NEW, plan=replace(NEW.plan, target=OWN)))
    asked.client.put_item(TableName=TABLE, Item=marshal({**key, "pipeline": 10**6}))
    _gate(rollout={"ordered": True})(asked)


ELSEWHERE = [{"pattern": "orders*", "prune": None, "alias": {"prod": "live"}, "max_age": {}, "rollout": {}}]
UNCOVERED: list[dict[str, Any]] = [
    {"pattern": "orders-*", "prune": None, "alias": {}, "max_age": {}, "rollout": {}}
]
NEW = new_deployment(NOW, "0" * 64)
CHANGES: list[tuple[str, str, Callable[[GatewaySimulation], None]]] = [
    ("requester", "not_allowed", _gate(deny=[ADA])),
    ("requester", "not_allowed", _gate(APPROVERS)),
    ("placement", "unprocessable", _gate(functions=ELSEWHERE)),
    ("placement", "unprocessable", _gate(functions=UNCOVERED)),
    ("requires", "unprocessable", _withdraw),
    ("requires", "unprocessable", _gate(rollout={"requires": "qa"})),
    ("order", "outdated", _newer),
    ("hold", "held", _hold),
]


@pytest.mark.parametrize(("check", "code", "change"), CHANGES)
def test_an_approval_checks_again_what_can_have_changed(
    asked: GatewaySimulation, check: str, code: str, change: Callable[[GatewaySimulation], None]
) -> None:
    asked.gate = gate_of({"prod": Rollout(approval=3_600, requires="dev")}, ALLOWED)
    old, new = artifact(asked, b"old"), artifact(asked, b"new")
    asked.finish(asked.deploy(old, stage="dev"))
    asked.finish(asked.deploy(new, stage="dev"))
    deployment = asked.deploy(new)
    change(asked)
    assert problem(asked.decide, "approve", deployment).code == code, check
    assert asked.now(deployment).approval is None
    asked.gate = gate_of({"prod": Rollout(approval=3_600, requires="dev")}, ALLOWED)
    if change in (_withdraw, _hold):
        return
    assert asked.decide("approve", deployment).status == 202


def test_each_check_that_is_repeated_has_its_case() -> None:
    repeated = {one.name for one in ACCEPTANCE if one.again}
    assert {check for check, *_ in CHANGES} | {"version"} == repeated


def test_nobody_approves_a_promotion_of_a_version_that_was_found_deleted(asked: GatewaySimulation) -> None:
    asked.finish(asked.deploy(artifact(asked, b"new"), stage="dev"))
    tried = asked.finish(asked.deploy(artifact(asked, b"newer"), stage="dev"))
    deployment = asked.run_until(asked.promote(version=tried.version), "awaiting_approval")
    asked.model.set_alias("orders", "dev", "1")
    asked.model.prune("orders", "2")
    undone = asked.rollback(stage="dev", version="2")
    asked.run_until(undone, "failed", waits=False)
    assert "no longer exists" in refused(422, "unprocessable", asked.decide, "approve", deployment)
    assert asked.now(deployment).approval is None


@pytest.mark.parametrize(
    "gate",
    [
        gate_of({"prod": Rollout(approval=3_600)}, (APPROVERS,)),
        gate_of({"prod": Rollout(approval=3_600)}, (rule("releasers", "rollback"), APPROVERS)),
        gate_of({"prod": Rollout(approval=3_600)}, ({**RELEASERS, "stages": ["dev"]}, APPROVERS)),
        gate_of({"prod": Rollout(approval=3_600)}, deny=[ADA]),
    ],
)
def test_the_gate_file_in_force_must_still_allow_it_to_who_asked(asked: GatewaySimulation, gate: Any) -> None:
    deployment = asked.deploy(artifact(asked, b"new"))
    asked.gate = gate
    refused(403, "not_allowed", asked.decide, "approve", deployment)
    assert asked.decide("reject", deployment).status == 202


def test_the_gate_file_in_force_must_allow_it_to_who_approves(asked: GatewaySimulation) -> None:
    deployment = asked.deploy(artifact(asked, b"new"))
    asked.gate = gate_of({"prod": Rollout(approval=3_600)}, (RELEASERS,))
    refused(403, "not_allowed", asked.decide, "approve", deployment)


def test_what_is_held_is_not_approved(asked: GatewaySimulation) -> None:
    deployment = asked.deploy(artifact(asked, b"new"))
    asked.hold()
    refused(409, "held", asked.decide, "approve", deployment)
    asked.ask("DELETE", "/stages/{stage}/hold", asked.job(), stage="prod")
    assert asked.decide("approve", deployment).status == 202


def test_a_decision_is_made_once_and_its_repetition_is_answered(asked: GatewaySimulation) -> None:
    deployment = asked.deploy(artifact(asked, b"new"))
    who = asked.person("8")
    assert asked.decide("approve", deployment, who).status == 202
    again = asked.decide("approve", deployment, who)
    assert (again.status, again.headers["Idempotent-Replayed"]) == (200, "true")
    refused(409, "wrong_state", asked.decide, "approve", deployment, asked.person("9"))
    refused(409, "wrong_state", asked.decide, "reject", deployment, who)
    done = asked.finish(deployment)
    assert done.status is Status.SUCCEEDED
    assert asked.decide("approve", deployment, who).status == 200
    refused(409, "wrong_state", asked.decide, "reject", deployment, asked.person("9"))
    refused(409, "wrong_state", asked.decide, "abort", deployment, asked.job())
    assert [entry.message for entry in done.timeline if "approved" in entry.message] != []


def test_a_rejection_is_no_approval_to_the_job_that_rejected(asked: GatewaySimulation) -> None:
    deployment = asked.deploy(artifact(asked, b"new"))
    who = asked.person("8")
    assert asked.decide("reject", deployment, who, reason="no").status == 202
    assert asked.decide("reject", deployment, who, reason="no").status == 200
    refused(409, "wrong_state", asked.decide, "approve", deployment, who)
    assert asked.now(deployment).status is Status.REJECTED


def test_what_needs_no_approval_is_neither_approved_nor_rejected(at: GatewaySimulation) -> None:
    deployment = at.deploy(artifact(at, b"new"))
    refused(409, "wrong_state", at.decide, "approve", deployment)
    refused(409, "wrong_state", at.decide, "reject", deployment)


def test_a_token_that_approved_deploys_nothing_there(asked: GatewaySimulation) -> None:
    both = rule("both", "deploy", "approve", claims=APPROVERS["claims"])
    asked.gate = gate_of({"prod": Rollout(approval=3_600)}, (RELEASERS, both))
    sha256 = artifact(asked, b"new")
    deployment = asked.deploy(sha256)
    who = asked.person("8")
    asked.decide("approve", deployment, who)
    asked.finish(deployment)
    refused(409, "token_used", asked.deploy, artifact(asked, b"newer"), who)


def test_a_token_that_deployed_there_approves_nothing(asked: GatewaySimulation) -> None:
    both = rule("both", "deploy", "approve", claims=APPROVERS["claims"])
    asked.gate = gate_of({"prod": Rollout()}, (RELEASERS, both))
    who = asked.person("8")
    asked.finish(asked.deploy(artifact(asked, b"old"), who))
    asked.gate = gate_of({"prod": Rollout(approval=3_600)}, (RELEASERS, both))
    deployment = asked.deploy(artifact(asked, b"new"))
    refused(409, "token_used", asked.decide, "approve", deployment, who)
    assert asked.now(deployment).approval is None


def test_an_invisible_deployment_is_answered_like_a_missing_one(
    asked: GatewaySimulation,
) -> None:
    deployment = asked.deploy(artifact(asked, b"new"))
    stranger = asked.job(project_id="12")
    for action in ("approve", "reject", "abort"):
        found = problem(asked.decide, action, deployment, stranger)
        missing = problem(asked.decide, action, replace(deployment, id=f"01K{'0' * 23}"), stranger)
        assert (found.status, found.body("1")) == (404, missing.body("1"))


def test_an_abort_needs_its_right(asked: GatewaySimulation) -> None:
    deployment = asked.deploy(artifact(asked, b"new"))
    asked.gate = gate_of(rules=(rule("releasers", "deploy"),))
    refused(403, "not_allowed", asked.decide, "abort", deployment, asked.job())
    asked.gate = gate_of()
    assert asked.decide("abort", deployment, asked.job()).status == 202


# One right, one effect


def test_a_token_that_approved_rolls_nothing_back(asked: GatewaySimulation) -> None:
    """A token may roll back what its own deployment put there: an approval deployed nothing."""
    both = rule("both", "approve", "rollback", claims=APPROVERS["claims"])
    asked.gate = gate_of({"prod": Rollout()}, (RELEASERS, both))
    asked.release(artifact(asked, b"old"))
    asked.gate = gate_of({"prod": Rollout(approval=3_600)}, (RELEASERS, both))
    deployment = asked.deploy(artifact(asked, b"new"))
    who = asked.person("8")
    asked.decide("approve", deployment, who)
    assert asked.finish(deployment).status is Status.SUCCEEDED
    refused(409, "token_used", asked.rollback, who)
    assert asked.finish(asked.rollback(asked.person("8"))).status is Status.SUCCEEDED


def test_an_abort_of_a_rollback_needs_the_right_to_roll_back_too(at: GatewaySimulation) -> None:
    """An emergency rollback must not be ended by a job that may only abort."""
    aborters = rule("aborters", "abort", claims={"project_id": ["4214"]})
    separate = rule("separate", "rollback", claims={"project_id": ["4214"]})
    at.gate = gate_of(rules=(RELEASERS, aborters))
    for code in (b"old", b"new"):
        at.release(artifact(at, code))
    back = at.rollback()
    refused(403, "not_allowed", at.decide, "abort", back, at.job(project_id="4214"))
    at.gate = gate_of(rules=(RELEASERS, aborters, separate))  # rights of two rules never add up
    refused(403, "not_allowed", at.decide, "abort", back, at.job(project_id="4214"))
    assert at.now(back).abort is None
    assert at.decide("abort", back, at.job()).status == 202


def test_a_deploy_takes_no_waiting_rollbacks_place(at: GatewaySimulation) -> None:
    """The rollback waits until the canary has given the alias back; nothing but a rollback supersedes it."""
    at.gate = gate_of({"prod": Rollout(steps=(TrafficStep(10, 300), TrafficStep(100, 0)))})
    for code in (b"one", b"two"):
        at.release(artifact(at, code))
    at.run_until(at.deploy(artifact(at, b"three")), "baking")
    back = at.rollback()
    new = artifact(at, b"four")
    found = problem(at.deploy, new, on_busy="supersede")
    assert (found.code, found.members) == ("busy", {"deployment": back.id})
    assert at.now(back).abort is None
    further = at.rollback(version="1")
    assert at.now(back).status is Status.ABORTED
    assert at.finish(further).version == "1"
