"""Approvals across the two ways in: only `people` says who is whom.

security.md#callers-with-iam-credentials
"""

from collections.abc import Iterator
from typing import Any

import pytest

from sluicegate.deployment.model import Deployment, Status
from sluicegate.gate.rollout_settings import Rollout
from sluicegate.gateway.http import GatewayResponse
from support.gateway_simulation import (
    APPROVERS,
    RELEASERS,
    GatewaySimulation,
    artifact,
    gate_of,
    gateway_simulation,
    problem,
    refused,
    rule,
)
from support.signed_requests import (
    ACCOUNT,
    ORG,
    ROLE_ID,
    SSO_ID,
    person,
    principal_rule,
    session,
    signed,
)

pytestmark = pytest.mark.filterwarnings("ignore:No application metrics")

Json = dict[str, Any]

SSO = [{"account": ACCOUNT, "principal_id": SSO_ID, "org": ORG}]
NAMES = ["ada@example.com", "Ada@example.com", "bob@example.com"]
BY_SSO = principal_rule(
    "persons", "deploy", "approve", "reject", claims={"principal_id": [SSO_ID], "session_name": NAMES}
)
BOTH = rule("both", "deploy", via="iam+id_token", claims={"account": [ACCOUNT], "principal_id": [SSO_ID]})
CORP = "https://gitlab.example.com"


def someone(name: str, *sessions: str, user: str | None = None) -> Json:
    users = [{"issuer": CORP, "user_id": user}] if user else []
    return {"name": name, "gitlab": users, "iam": [{"org": ORG, "session_name": each} for each in sessions]}


ADA = someone("ada", "ada@example.com", user="7")
BOB = someone("bob", "bob@example.com", user="8")


def gate(*people: Json, **more: Any) -> Any:
    rules = (RELEASERS, APPROVERS, BY_SSO)
    return gate_of(
        {"prod": Rollout(approval=3_600)}, more.pop("rules", rules), sso=SSO, people=people, **more
    )


@pytest.fixture
def at() -> Iterator[GatewaySimulation]:
    with gateway_simulation(gate=gate(ADA, BOB)) as made:
        yield made


def deploy(at: GatewaySimulation, identity: Json, code: bytes = b"new", **how: Any) -> Deployment:
    at.clock.now += 0.002
    body = {
        "action": "deploy",
        "function": "orders",
        "stage": "prod",
        "artifact": {"sha256": artifact(at, code)},
    }
    return at.of(signed(at, "POST", "/deployments", identity, body | how.pop("more", {}), **how))


def approve(at: GatewaySimulation, deployment: Deployment, identity: Json, **how: Any) -> GatewayResponse:
    body = how.pop("body", {})
    return signed(at, "POST", "/deployments/{id}/approve", identity, body, id=deployment.id, **how)


def test_a_person_by_either_way_approves_anothers(at: GatewaySimulation) -> None:
    by_token = at.deploy(artifact(at, b"one"))  # user 7, ada
    answer = approve(at, by_token, person("bob@example.com"))
    assert (answer.status, answer.value["approval"]["by"]["actor"]) == (202, "person")
    assert f"approved by bob@example.com of account {ACCOUNT}" in answer.value["timeline"][-1]["message"]
    assert at.finish(by_token).status is Status.SUCCEEDED
    by_session = deploy(at, person(), b"two")
    assert at.decide("approve", by_session, at.person("8")).status == 202
    assert at.finish(by_session).status is Status.SUCCEEDED


def test_nobody_approves_their_own_by_the_other_way_in(at: GatewaySimulation) -> None:
    by_token = at.deploy(artifact(at, b"one"))
    refused(403, "not_allowed", approve, at, by_token, person())
    at.decide("abort", by_token, at.job())
    by_session = deploy(at, person(), b"two")
    refused(403, "not_allowed", at.decide, "approve", by_session, at.person("7"))
    for same in ("ada@example.com", "Ada@example.com"):
        refused(403, "not_allowed", approve, at, by_session, person(same, key="ASIAANOTHER111111111"))


@pytest.mark.parametrize(
    "people", [[], [ADA], [BOB], [someone("bob", user="8")], [someone("ada", "ada@example.com")]]
)
def test_who_is_not_mapped_is_unknown(at: GatewaySimulation, people: list[Json]) -> None:
    at.gate = gate(*people)
    by_token = at.deploy(artifact(at, b"one"))
    refused(403, "person_unknown", approve, at, by_token, person("bob@example.com"))
    at.decide("abort", by_token, at.job())
    by_session = deploy(at, person(), b"two")
    refused(403, "person_unknown", at.decide, "approve", by_session, at.person("8"))
    # Within one way in, ids are enough.
    assert approve(at, by_session, person("bob@example.com")).status == 202


def test_one_name_in_two_organisations_is_not_two_people(at: GatewaySimulation) -> None:
    other = {"account": "222222222222", "principal_id": ROLE_ID, "org": "o-another0000"}
    claims = {"account": ["222222222222"], "session_name": NAMES}
    there = principal_rule("there", "approve", claims=claims)
    rollouts = {"prod": Rollout(approval=3_600)}
    at.gate = gate_of(rollouts, (RELEASERS, BY_SSO, there), sso=[*SSO, other])
    of_other = {"account": "222222222222", "role_id": ROLE_ID, "org": "o-another0000"}
    deployment = deploy(at, person())
    refused(403, "not_allowed", approve, at, deployment, person("Ada@example.com", **of_other))
    assert approve(at, deployment, person("bob@example.com", **of_other)).status == 202


def test_two_users_of_one_person_are_one(at: GatewaySimulation) -> None:
    two = ADA | {"gitlab": [{"issuer": CORP, "user_id": "7"}, {"issuer": CORP, "user_id": "70"}]}
    at.gate = gate(two, BOB)
    deployment = at.deploy(artifact(at, b"one"))
    refused(403, "not_allowed", at.decide, "approve", deployment, at.person("70"))
    assert at.decide("approve", deployment, at.person("8")).status == 202


def test_who_is_no_longer_listed_is_no_person(at: GatewaySimulation) -> None:
    by_session = deploy(at, person())
    at.gate = gate_of({"prod": Rollout(approval=3_600)}, (RELEASERS, APPROVERS), people=[ADA, BOB])
    assert problem(at.decide, "approve", by_session, at.person("8")).status == 403


@pytest.mark.parametrize("changes", [{"role": "deployer"}, {"org": None}, {"org": "o-another0000"}])
def test_a_session_that_only_seems_to_be_a_persons_has_none_of_their_rules(
    at: GatewaySimulation, changes: Json
) -> None:
    """A person who may assume a plain role that `sso` lists chooses the session's name."""
    at.gate = gate_of(rules=(RELEASERS, BY_SSO), sso=SSO)
    assert "sso" in refused(403, "not_allowed", deploy, at, person(**changes))
    assert deploy(at, person()).requested_by.actor == "person"


def test_a_persons_agent_is_that_person_and_approves_nothing(at: GatewaySimulation) -> None:
    proposed = deploy(at, person(), more={"agent": True})
    assert proposed.requested_by.actor == "agent"
    refused(403, "not_allowed", approve, at, proposed, person(key="ASIAANOTHER111111111"))
    agent = {"agent": True}
    refused(403, "not_allowed", approve, at, proposed, person("bob@example.com"), body=agent)
    assert approve(at, proposed, person("bob@example.com")).status == 202


def test_two_credentials_are_of_one_person(at: GatewaySimulation) -> None:
    at.gate = gate(ADA, BOB, rules=(RELEASERS, BOTH))

    def whoami(name: str, user_id: str) -> GatewayResponse:
        return signed(at, "GET", "/whoami", person(name), beside=at.job(user_id=user_id))

    assert whoami("ada@example.com", "7").value["via"] == "iam+id_token"
    assert whoami("carol@example.com", "9").value["actor"] == "person"
    refused(403, "not_allowed", whoami, "ada@example.com", "8")
    refused(403, "person_unknown", whoami, "ada@example.com", "9")
    refused(403, "person_unknown", whoami, "carol@example.com", "7")


def test_only_a_persons_or_a_listed_agents_request_can_be_approved(at: GatewaySimulation) -> None:
    asks = principal_rule("agent", "deploy", limits=limits(propose=True), stages=["dev"])
    at.gate = gate(ADA, BOB, rules=(RELEASERS, APPROVERS, BY_SSO, asks))
    body = {
        "action": "deploy",
        "function": "orders",
        "stage": "dev",
        "artifact": {"sha256": artifact(at, b"x")},
    }
    for more in ({}, {"agent": True}):
        refused(422, "unprocessable", signed, at, "POST", "/deployments", session(), body | more)
    listed = {"users": [], "principals": [{"account": ACCOUNT, "principal_id": ROLE_ID}]}
    at.gate = gate(ADA, BOB, rules=(RELEASERS, APPROVERS, BY_SSO, asks), agents=listed)
    proposed = at.of(signed(at, "POST", "/deployments", session(), body))
    assert (proposed.requested_by.actor, proposed.plan.proposed) == ("agent", True)
    assert at.decide("approve", proposed, at.person("8")).status == 202


def test_a_proposal_is_withdrawn_by_the_person_who_made_it(at: GatewaySimulation) -> None:
    both = {"principal_id": [SSO_ID], "session_name": NAMES}
    asks = principal_rule("ask", "deploy", "abort", claims=both, limits=limits(propose=True), stages=["dev"])
    at.gate = gate(ADA, BOB, rules=(RELEASERS, APPROVERS, asks))
    proposed = deploy(at, person(), more={"stage": "dev"})

    def abort(name: str) -> Deployment:
        made = signed(at, "POST", "/deployments/{id}/abort", person(name), id=proposed.id)
        return at.of(made)

    assert abort("bob@example.com").abort_proposed is not None
    assert at.now(proposed).abort is None
    assert abort("ada@example.com").status is Status.ABORTED


def limits(**given: Any) -> Json:
    none: Json = {
        "per_hour": None,
        "per_day": None,
        "unapproved_percent": None,
        "hours": None,
        "propose": False,
    }
    return none | given
