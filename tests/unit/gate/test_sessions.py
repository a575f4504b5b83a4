"""Rules for people who signed in: what the reader refuses, and whom they match."""

from typing import Any

import pytest

from sluicegate.gate.decoding import GateError
from sluicegate.oidc.identity import Identity
from sluicegate.owner import Owner
from support.gate_documents import CORP, OTHER, document, gate, rule

SIGN_IN = {"client_id": "5f1d", "secret": "sluicegate/sign-in/corp"}


def issuers(**changes: Any) -> list[dict[str, Any]]:
    corp, other = document()["issuers"]
    return [corp | {"sign_in": SIGN_IN} | changes, other]


def session_rule(**changes: Any) -> dict[str, Any]:
    return rule("people", via="session", claims={"user_id": ["7"]}, actions=["approve", "rollback"]) | changes


def person(issuer: str = CORP, **changes: Any) -> Identity:
    claims = {"user_id": "7", "user_login": "ada", "groups_direct": ("acme", "acme/release")} | changes
    return Identity("session", issuer, claims, None, 0, 3600)


def decides(identity: Identity, *rules: dict[str, Any], **changes: Any) -> str | None:
    loaded = gate(rules=list(rules), issuers=issuers(**changes))
    decision = loaded.decide(identity, actions=("approve",), function="orders-api", stage="prod")
    return decision.rule.name if decision.rule else None


@pytest.mark.parametrize(
    "changes",
    [
        {"claims": {}},
        {"claims": {"user_login": ["ada"]}},
        {"claims": {"user_id": ["7*"]}},
        {"claims": {"groups_direct": ["acme"]}},
        {"claims": {"user_id": ["7"], "project_id": ["4213"]}},
        {"claims": {"user_id": ["7"], "pipeline_source": ["web"]}},
        {"actions": ["deploy"]},
        {"actions": ["approve", "override-strategy"]},
        {"actions": ["fix-forward"]},
        {"issuer": ""},
    ],
)
def test_a_rule_that_goes_beyond_a_session_makes_the_gate_unusable(changes: dict[str, Any]) -> None:
    assert gate(rules=[session_rule()], issuers=issuers())
    with pytest.raises(GateError):
        gate(rules=[session_rule(**changes)], issuers=issuers())


@pytest.mark.parametrize("key", ["audience", "sts_audience"])
def test_an_audience_of_jobs_is_never_the_application(key: str) -> None:
    with pytest.raises(GateError, match="signs people in"):
        gate(issuers=issuers(**{key: "5f1d"}))


def test_a_session_meets_rules_for_sessions_alone() -> None:
    job = rule("job", actions=["deploy"], claims={"project_id": ["4213"], "pipeline_source": ["web"]})
    assert decides(person(), job, session_rule()) == "people"
    assert decides(person(OTHER), session_rule()) is None
    assert decides(person(user_id="8"), session_rule()) is None
    # A job's token of the same user, and a session that claims a project.
    token = Identity("id_token", CORP, {"user_id": "7", "project_id": "4213"}, "j", 0, 3600)
    assert decides(token, session_rule()) is None
    approving = rule(
        "button",
        actions=["approve"],
        claims={"project_id": ["4213"], "pipeline_source": ["web"], "ref_protected": ["true"]},
    )
    claiming = person(project_id="4213", pipeline_source="web", ref_protected="true")
    assert decides(claiming, approving) is None


def test_a_group_is_enough_where_groups_are_trusted() -> None:
    by_group = session_rule(claims={"groups_direct": ["acme/release", "acme/sre"]})
    assert decides(person(), by_group, groups="trusted") == "people"
    assert decides(person(groups_direct=("acme/release/x",)), by_group, groups="trusted") is None
    assert decides(person(groups_direct=()), by_group, groups="trusted") is None
    both = person(groups_direct=("acme/release", "acme/sre"))
    assert decides(both, by_group, groups="trusted") == "people"
    # A group that is no list is none: only GitLab's list counts.
    assert decides(person(groups_direct=None), by_group, groups="trusted") is None


def test_a_person_is_denied_and_owns_as_a_user() -> None:
    denying = gate(
        rules=[session_rule()],
        issuers=issuers(),
        deny=[{"issuer": CORP, "claims": {"user_id": ["7"]}}],
    )
    assert denying.denied(person()) == "user_id"
    assert denying.denied(person(OTHER)) is None
    assert person().owner == Owner("user", CORP, "7")
    assert denying.principals.actor(person()) == "person"


def test_a_listed_agent_that_signs_in_is_an_agent() -> None:
    agents = {"users": [{"issuer": CORP, "user_id": "7"}], "principals": []}
    loaded = gate(rules=[session_rule()], issuers=issuers(), agents=agents)
    assert loaded.principals.actor(person()) == "agent"
    assert loaded.decide(person(), actions=("approve",), function="orders-api", stage="prod").withheld


def test_a_refused_person_learns_of_rules_with_their_own_id_alone() -> None:
    others = session_rule(name="others", claims={"groups_direct": ["acme"], "email": ["x@example.com"]})
    own = session_rule(claims={"user_id": ["7"], "email": ["ada@example.com"]})
    loaded = gate(rules=[others, own], issuers=issuers(groups="trusted"))
    decision = loaded.decide(person(), actions=("approve",), function="orders-api", stage="prod")
    assert [near.rule for near in decision.nearest] == ["people"]
