"""Principals: rules for AWS credentials, denials, and who is a person or an agent."""

from dataclasses import replace
from typing import Any

import pytest

from sluicegate.gate.decoding import GateError
from sluicegate.oidc.identity import Identity, Principal
from sluicegate.owner import Owner
from support.gate_documents import CORP, claims, gate, rollout, rule, stage

ACCOUNT, OTHER_ACCOUNT = "111111111111", "222222222222"
ROLE_ID, AGENT_ID, SSO_ID = "AROACALLER11111111111", "AROAAGENT111111111111", "AROASSO11111111111111"
ORG = "o-a1b2c3d4e5"
ROLE = Principal(
    account=ACCOUNT,
    principal_id=ROLE_ID,
    principal_type="role",
    arn=f"arn:aws:sts::{ACCOUNT}:assumed-role/caller/job-302",
    access_key="ASIACALLER1111111111",
    role="caller",
    session_name="job-302",
    org=ORG,
)
ADA = replace(
    ROLE,
    principal_id=SSO_ID,
    principal_type="sso",
    role="AWSReservedSSO_Release_1a2b3c4d5e6f7a8b",
    session_name="ada@example.com",
)
AGENT = replace(ROLE, principal_id=AGENT_ID)
SSO = {"account": ACCOUNT, "principal_id": SSO_ID, "org": ORG}
STAGES = [
    stage("dev"),
    stage("prod", protected=True),
    stage("test", rollout=rollout(approval=60)),
    stage("fresh", max_age=60),
]
TOKEN = {"project_id": "4213", "ref_type": "tag", "ref": "v1", "pipeline_source": "push", "user_id": "7"}


def by_iam(principal: Principal = ROLE) -> Identity:
    return Identity("iam", "", principal.claims, None, 0, 0, principal=principal)


def by_both(principal: Principal = ROLE, **changes: str) -> Identity:
    return Identity(
        "iam+id_token", CORP, TOKEN | changes | principal.claims, "j1", 0, 3600, principal=principal
    )


def by_token(**changes: str) -> Identity:
    return Identity("id_token", CORP, TOKEN | changes, "j1", 0, 3600)


def iam_rule(**changes: Any) -> dict[str, Any]:
    pins = {"account": [ACCOUNT], "principal_id": [ROLE_ID]}
    return rule("by role", via="iam", issuer="", claims=pins, stages=["dev"]) | changes


def both_rule(**changes: Any) -> dict[str, Any]:
    pins = claims(account=[ACCOUNT], principal_id=[ROLE_ID])
    return rule("both", via="iam+id_token", claims=pins, stages=["dev"]) | changes


def allowed(who: Identity, *rules: dict[str, Any], stage: str = "dev", action: str = "deploy") -> bool:
    made = gate(stages=STAGES, rules=list(rules), sso=[SSO])
    return made.decide(who, actions=(action,), function="orders-api", stage=stage).rule is not None


@pytest.mark.parametrize(
    ("who", "expected"),
    [
        (by_iam(), True),
        (by_iam(replace(ROLE, principal_id="AROAMADEAGAIN11111111")), False),
        (by_iam(replace(ROLE, account=OTHER_ACCOUNT)), False),
        (by_iam(replace(ROLE, session_name="other")), True),
        (by_both(), False),
        (by_token(), False),
        (by_token(account=ACCOUNT, principal_id=ROLE_ID), False),
    ],
)
def test_a_rule_for_credentials_matches_that_account_and_that_unique_id(
    who: Identity, expected: bool
) -> None:
    assert allowed(who, iam_rule()) is expected


@pytest.mark.parametrize(
    ("who", "expected"),
    [
        (by_both(), True),
        (by_iam(), False),
        (by_token(), False),
        (by_both(project_id="4214"), False),
        (by_both(ref="main"), False),
        (by_both(replace(ROLE, principal_id=AGENT_ID)), False),
        (replace(by_both(), issuer="https://gitlab.example.org"), False),
    ],
)
def test_a_rule_for_both_credentials_needs_both(who: Identity, expected: bool) -> None:
    assert allowed(who, both_rule()) is expected
    assert not allowed(by_both(), rule(stages=["dev"])), "nor does a token's rule take both for one"


def test_an_organisation_that_is_not_known_matches_nothing() -> None:
    pinned = iam_rule(claims={"account": [ACCOUNT], "principal_id": [ROLE_ID], "org": ["**"]})
    assert allowed(by_iam(), pinned)
    assert not allowed(by_iam(replace(ROLE, org=None)), pinned)


PERSON = {"account": [ACCOUNT], "principal_id": [SSO_ID], "session_name": ["ada@example.com"]}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"issuer": CORP}, "has an issuer"),
        ({"claims": {"account": [ACCOUNT]}}, "pin"),
        ({"claims": {"principal_id": [ROLE_ID]}}, "pin"),
        ({"claims": {"account": ["1*"], "principal_id": [ROLE_ID]}}, "pin"),
        ({"claims": {"account": [ACCOUNT], "principal_id": ["AROA*"]}}, "pin"),
        ({"claims": {"account": [ACCOUNT], "principal_id": [ROLE_ID], "ref": ["v*"]}}, "no principal has"),
        ({"claims": PERSON | {"principal_id": [SSO_ID, ROLE_ID]}}, "mixes roles"),
        ({"claims": {"account": [ACCOUNT], "principal_id": [SSO_ID]}}, "session_name"),
        ({"claims": PERSON | {"session_name": ["ada*"]}}, "session_name"),
        ({"actions": ["approve"]}, "no person"),
        ({"actions": ["reject"]}, "no person"),
        ({"stages": ["dev", "prod"]}, "is protected"),
        ({"stages": ["test"]}, "asks for an approval"),
        ({"stages": ["prod"], "actions": ["rollback"]}, "is protected"),
        ({"stages": ["fresh"]}, "max_age"),
        ({"stages": ["fresh"], "claims": PERSON, "actions": ["promote"]}, "max_age"),
    ],
)
def test_credentials_alone_are_not_granted_what_they_do_not_prove(changes: Any, reason: str) -> None:
    with pytest.raises(GateError, match=reason):
        gate(stages=STAGES, rules=[iam_rule() | changes], sso=[SSO])


@pytest.mark.parametrize(
    "changes",
    [
        {"stages": ["prod", "test", "fresh"], "actions": ["read"]},
        {"stages": ["fresh"], "actions": ["rollback", "abort"]},
        {
            "stages": ["prod", "test"],
            "claims": PERSON,
            "actions": ["approve", "reject", "rollback", "deploy"],
        },
    ],
)
def test_what_they_prove_they_may_be_granted(changes: Any) -> None:
    assert gate(stages=STAGES, rules=[iam_rule() | changes], sso=[SSO])


@pytest.mark.parametrize(
    "changes",
    [
        {"claims": claims(account=[ACCOUNT])},
        {"claims": claims(principal_id=[ROLE_ID])},
        {"claims": {"account": [ACCOUNT], "principal_id": [ROLE_ID], "pipeline_source": ["push"]}},
        {"issuer": ""},
    ],
)
def test_a_rule_for_both_pins_both(changes: Any) -> None:
    with pytest.raises(GateError):
        gate(stages=STAGES, rules=[both_rule() | changes])


# Denials


@pytest.mark.parametrize(
    ("entry", "denied"),
    [
        ({"principal_id": [ROLE_ID]}, True),
        ({"account": [ACCOUNT]}, True),
        ({"session_name": ["job-302"]}, True),
        ({"access_key": [ROLE.access_key]}, True),
        ({"account": [ACCOUNT], "session_name": ["job-303"]}, False),
        ({"account": [OTHER_ACCOUNT], "principal_id": [ROLE_ID]}, False),
    ],
)
def test_credentials_are_denied_by_what_aws_says_of_them(entry: dict[str, list[str]], denied: bool) -> None:
    made = gate(stages=STAGES, rules=[iam_rule(), both_rule()], deny=[{"issuer": "", "claims": entry}])
    for caller in (by_iam(), by_both()):
        assert (made.denied(caller) is not None) is denied
    assert made.denied(by_token(account=ACCOUNT, principal_id=ROLE_ID, session_name="job-302")) is None


def test_a_denied_token_denies_both_credentials() -> None:
    made = gate(stages=STAGES, rules=[both_rule()], deny=[{"issuer": CORP, "claims": {"user_id": ["7"]}}])
    assert made.denied(by_both()) == "user_id"
    assert made.denied(by_iam()) is None


@pytest.mark.parametrize("issuer", ["", CORP])
def test_an_entry_does_not_mix_what_two_vouch_for(issuer: str) -> None:
    mixed = {"issuer": issuer, "claims": {"project_id": ["4213"], "account": [ACCOUNT]}}
    with pytest.raises(GateError, match="mixes"):
        gate(deny=[mixed])


# People and agents


def test_who_is_an_agent_a_person_a_pipeline() -> None:
    listed = {
        "users": [{"issuer": CORP, "user_id": "91"}],
        "principals": [{"account": ACCOUNT, "principal_id": AGENT_ID}],
    }
    actor = gate(rules=[], agents=listed, sso=[SSO]).principals.actor
    assert actor(by_token()) == actor(by_iam()) == actor(by_both()) == "pipeline"
    assert actor(by_token(user_id="91")) == actor(by_both(user_id="91")) == "agent"
    assert actor(replace(by_token(user_id="91"), issuer="https://gitlab.example.org")) == "pipeline"
    assert actor(by_iam(AGENT)) == actor(by_both(AGENT)) == "agent"
    assert actor(by_iam(replace(AGENT, account=OTHER_ACCOUNT))) == "pipeline"
    assert actor(by_iam(ADA)) == "person"
    assert actor(replace(by_iam(ADA), agent=True)) == "agent", "the caller's word only takes rights away"


def test_people_are_found_by_either_identity_and_by_no_role() -> None:
    people = [
        {
            "name": "ada",
            "gitlab": [{"issuer": CORP, "user_id": "8"}],
            "iam": [{"org": ORG, "session_name": "ada@example.com"}],
        }
    ]
    known = gate(rules=[], people=people, sso=[SSO]).principals
    assert known.person_of_user(CORP, "8") == known.person_of_session(ORG, "Ada@example.com") == "ada"
    assert known.person_of_user("https://gitlab.example.org", "8") is None
    assert known.person_of_user(CORP, None) is None
    assert known.person_of_session("o-zzzzzzzzzz", "ada@example.com") is None
    assert known.person_of_session(ORG, "eve@example.com") is None
    with pytest.raises(GateError, match="occurs twice"):
        gate(rules=[], people=[*people, people[0] | {"name": "eve"}])


def test_a_role_is_identity_centers_only_with_its_account_and_organisation() -> None:
    known = gate(rules=[], sso=[SSO]).principals
    assert known.is_sso(ACCOUNT, SSO_ID, ORG)
    assert not known.is_sso(OTHER_ACCOUNT, SSO_ID, ORG)
    assert not known.is_sso(ACCOUNT, SSO_ID, None)
    assert not known.is_sso(ACCOUNT, SSO_ID, "o-zzzzzzzzzz")


def test_records_belong_to_the_project_or_else_to_the_principal() -> None:
    assert by_iam().owner == Owner("principal", ACCOUNT, ROLE_ID)
    assert by_both().owner == by_token().owner == Owner("project", CORP, "4213")
