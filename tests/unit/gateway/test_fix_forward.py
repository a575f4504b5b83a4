"""Asking for alarms to be overlooked: who may, with what, and what happens if it is repeated."""

from collections.abc import Iterator
from typing import Any

import pytest

from sluicegate.deployment.fix_forward import FixForward
from sluicegate.deployment.observations import AlarmState
from sluicegate.deployment.plan import TrafficStep, Watch
from sluicegate.gate.rollout_settings import Rollout
from support.gateway_simulation import (
    APPROVERS,
    RELEASERS,
    GatewaySimulation,
    Json,
    artifact,
    gate_of,
    gateway_simulation,
    problem,
    refused,
    rule,
    rule_limits,
)
from support.signed_requests import principal_rule, session, signed
from support.signing import ISSUER

pytestmark = pytest.mark.filterwarnings("ignore:No application metrics")

WATCHED = Rollout(watch=Watch(("orders-5xx", "orders-latency")))
FIXERS = rule("fixers", "deploy", "rollback", "fix-forward")
WHY = "orders fail since v1.4"
FIX: Json = {"fix_forward": True, "reason": WHY}


@pytest.fixture
def at() -> Iterator[GatewaySimulation]:
    with gateway_simulation(gate=gate()) as made:
        made.cloudwatch.alarms = {"orders-5xx": AlarmState.OK, "orders-latency": AlarmState.OK}
        yield made


def gate(*rules: Json, prod: Rollout = WATCHED, **more: Any) -> Any:
    return gate_of({"prod": prod}, rules or (RELEASERS, FIXERS, APPROVERS), **more)


def test_the_record_keeps_the_reason_and_the_rule(at: GatewaySimulation) -> None:
    accepted = at.deploy(artifact(at, b"fix"), **FIX)
    assert (accepted.rule, accepted.fix_forward) == ("fixers", FixForward(WHY))
    assert accepted.timeline[0].message.endswith(f"; fix-forward: {WHY}")
    noted = next(fields for event, fields in at.notes if event == "deployment_accepted")
    assert noted["fix_forward"] == WHY
    assert at.deploy(artifact(at, b"other"), on_busy="supersede").fix_forward is None


@pytest.mark.parametrize(
    ("rules", "body"),
    [
        ((RELEASERS,), FIX),
        ((RELEASERS, rule("alarms", "fix-forward")), FIX),
        ((rule("alarms", "fix-forward"),), {}),
        ((RELEASERS, rule("elsewhere", "deploy", "fix-forward", stages=["dev"])), FIX),
        ((RELEASERS, rule("others", "deploy", "fix-forward", claims={"project_id": ["99"]})), FIX),
    ],
    ids=["without", "in another rule", "alone", "another stage", "another project"],
)
def test_one_rule_has_to_grant_it_together_with_deploy(
    at: GatewaySimulation, rules: tuple[Json, ...], body: Json
) -> None:
    at.gate = gate(*rules)
    new = artifact(at, b"fix") if rules[0] is RELEASERS else "0" * 64
    detail = refused(403, "not_allowed", at.deploy, new, **body)
    assert ("deploy and fix-forward orders in prod" in detail) == bool(body)


@pytest.mark.parametrize(
    ("action", "body", "says"),
    [
        ("deploy", {"fix_forward": True}, "`fix_forward` needs a `reason`"),
        ("deploy", {"fix_forward": True, "reason": "  "}, "`fix_forward` needs a `reason`"),
        ("deploy", {"reason": WHY}, "`reason` is for `fix_forward`"),
        ("deploy", {"fix_forward": False, "reason": WHY}, "`reason` is for `fix_forward`"),
        ("rollback", FIX, "only a deploy can be a `fix_forward`, not a rollback"),
        ("promote", FIX, "only a deploy can be a `fix_forward`, not a promote"),
    ],
)
@pytest.mark.parametrize("dry_run", [True, False])
def test_flag_reason_and_deploy_come_together(
    at: GatewaySimulation, action: str, body: Json, says: str, dry_run: bool
) -> None:
    at.gate = gate(rule("fixers", "deploy", "promote", "rollback", "fix-forward"))
    choices: dict[str, Json] = {
        "deploy": {"artifact": {"sha256": artifact(at, b"fix")}},
        "promote": {"from": "dev", "version": "1"},
        "rollback": {},
    }
    of_action = choices[action]
    detail = refused(422, "unprocessable", at.request, action=action, dry_run=dry_run, **of_action, **body)
    assert says in detail


@pytest.mark.parametrize(
    "body",
    [
        {"fix_forward": "true", "reason": WHY},
        {"fix_forward": 1, "reason": WHY},
        {"fix_forward": True, "reason": ""},
        {"fix_forward": True, "reason": ["a"]},
        {"fix_forward": True, "reason": "x" * 257},
        {"fix-forward": True, "reason": WHY},
        {"fix_forward": True, "reason": WHY, "overlook": ["orders-5xx"]},
    ],
)
def test_other_forms_are_refused(at: GatewaySimulation, body: Json) -> None:
    refused(400, "invalid_request", at.deploy, artifact(at, b"fix"), **body)


def test_a_dry_run_says_what_would_be_overlooked(at: GatewaySimulation) -> None:
    new = artifact(at, b"fix")
    dry = at.request(action="deploy", artifact={"sha256": new}, dry_run=True, **FIX)
    assert dry.value["fix_forward"] == {"reason": WHY, "alarms": ["orders-5xx", "orders-latency"]}
    would = next(line for line in dry.lines if line.startswith("fix-forward:"))
    assert would.endswith("before the first move, of alarms orders-5xx, orders-latency")
    plain = at.request(action="deploy", artifact={"sha256": new}, dry_run=True)
    assert plain.value["fix_forward"] is None
    at.gate = gate(prod=Rollout())
    dry = at.request(action="deploy", artifact={"sha256": new}, dry_run=True, **FIX)
    assert any("nothing to overlook" in line for line in dry.lines)


# The same request, and another


def test_a_repetition_that_changes_the_flag_is_another_request(at: GatewaySimulation) -> None:
    new, job = artifact(at, b"fix"), at.job()
    plain = at.deploy(new, job)
    assert at.deploy(new, job).id == plain.id
    refused(409, "token_used", at.deploy, new, job, **FIX)
    assert at.now(plain).fix_forward is None


@pytest.mark.parametrize("second", [FIX, {"fix_forward": True, "reason": "another"}, {}])
def test_an_idempotency_key_holds_the_flag_and_the_reason(at: GatewaySimulation, second: Json) -> None:
    new, job, key = artifact(at, b"fix"), at.job(), "k" * 16
    body = {"action": "deploy", "artifact": {"sha256": new}}
    first = FIX if second != FIX else {}
    made = at.of(at.request(job, key, **body, **first))
    assert at.of(at.request(job, key, **body, **first)).id == made.id
    refused(409, "key_reused", at.request, job, key, **body, **second)
    refused(409, "token_used", at.request, job, "l" * 16, **body, **second)


def test_false_is_the_same_as_absent(at: GatewaySimulation) -> None:
    new, job = artifact(at, b"fix"), at.job()
    assert at.deploy(new, job).id == at.deploy(new, job, fix_forward=False).id


def test_a_session_that_deployed_without_it_cannot_ask_for_it_later(at: GatewaySimulation) -> None:
    """Nor the other way round: a captured body with the flag flipped is another request."""
    at.gate = gate(principal_rule("roles", "deploy", "fix-forward"), APPROVERS)
    new = artifact_of(at)
    plain = {"action": "deploy", "function": "orders", "stage": "prod", "artifact": {"sha256": new}}
    first = signed(at, "POST", "/deployments", session(), plain)
    again = signed(at, "POST", "/deployments", session(), plain)
    assert (again.status, again.value["id"]) == (200, first.value["id"])
    refused(409, "session_used", signed, at, "POST", "/deployments", session(), {**plain, **FIX})
    keyed = {**plain, "idempotency_key": "k" * 16}
    refused(409, "session_used", signed, at, "POST", "/deployments", session(), {**keyed, **FIX})


def artifact_of(at: GatewaySimulation) -> str:
    """An artifact that a role has announced."""
    sha256 = at.upload("orders", b"fix")
    signed(at, "POST", "/artifacts", session(), {"function": "orders", "sha256": sha256, "size": 3})
    return sha256


# What it does not open


def test_hold_requires_and_order_stop_it_as_they_stop_any_deploy(at: GatewaySimulation) -> None:
    at.gate = gate(prod=Rollout(watch=WATCHED.watch, requires="dev", ordered=True))
    fix, newer = artifact(at, b"fix"), artifact(at, b"newer")
    refused(422, "unprocessable", at.deploy, fix, **FIX)
    for sha256 in (fix, newer):
        at.release(sha256, stage="dev")
    at.finish(at.deploy(newer, at.job(pipeline_id="20")))
    refused(409, "outdated", at.deploy, fix, at.job(pipeline_id="9"), **FIX)
    at.hold()
    refused(409, "held", at.deploy, fix, **FIX)


def test_a_faster_strategy_needs_its_own_right_as_well(at: GatewaySimulation) -> None:
    at.gate = gate(prod=Rollout(steps=(TrafficStep(10, 300), TrafficStep(100, 0)), watch=WATCHED.watch))
    detail = refused(
        403, "not_allowed", at.deploy, artifact(at, b"fix"), strategy={"type": "all-at-once"}, **FIX
    )
    assert "deploy and fix-forward and override-strategy" in detail


def test_it_waits_for_the_stages_approval_and_for_that_of_a_rule_that_proposes(
    at: GatewaySimulation,
) -> None:
    at.gate = gate(prod=Rollout(watch=WATCHED.watch, approval=3_600))
    asked = at.deploy(artifact(at, b"fix"), **FIX)
    assert (asked.plan.approval, asked.plan.proposed) == (3_600, False)
    proposing = FIXERS | {"limits": rule_limits(propose=True)}
    at.gate = gate(proposing, APPROVERS)
    asked = at.deploy(artifact(at, b"other"), on_busy="supersede", **FIX)
    assert (asked.plan.approval, asked.plan.proposed) == (86_400, True)


def test_an_approval_asks_again_whether_the_requester_may(at: GatewaySimulation) -> None:
    at.gate = gate(prod=Rollout(watch=WATCHED.watch, approval=3_600))
    waiting = at.run_until(at.deploy(artifact(at, b"fix"), **FIX), "awaiting_approval")
    at.gate = gate(RELEASERS, APPROVERS, prod=Rollout(watch=WATCHED.watch, approval=3_600))
    refused(403, "not_allowed", at.decide, "approve", waiting)
    at.gate = gate(prod=Rollout(watch=WATCHED.watch, approval=3_600))
    assert at.decide("approve", waiting).status == 202


AGENTS = {"users": [{"issuer": ISSUER, "user_id": "91"}], "principals": []}


@pytest.mark.parametrize("listed", [True, False])
def test_an_agent_may_only_propose_it(at: GatewaySimulation, listed: bool) -> None:
    at.gate = gate(agents=AGENTS)
    claims = at.job(user_id="91") if listed else at.job()
    says = {} if listed else {"agent": True}
    asked = at.deploy(artifact(at, b"fix"), claims, **FIX, **says)
    assert (asked.plan.approval, asked.plan.proposed) == (86_400, True)
    waiting = at.run_until(asked, "awaiting_approval")
    refused(403, "not_allowed", at.decide, "approve", waiting, at.job(user_id="91"))


def test_an_agent_has_it_only_where_its_stage_says_so(at: GatewaySimulation) -> None:
    at.gate = gate(of_agents={"actions": ["deploy"], "propose": True}, agents=AGENTS)
    found = problem(at.deploy, artifact(at, b"fix"), at.job(user_id="91"), **FIX)
    assert (found.status, found.title) == (403, "Agents may not do this")
