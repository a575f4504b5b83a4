"""Who signed a request, by API Gateway's request context: security.md#callers-with-iam-credentials."""

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluicegate.gateway.principals import RefusedPrincipal, is_long_lived, read_principal
from sluicegate.oidc.identity import Principal
from support.signed_requests import (
    ACCOUNT,
    NOBODY,
    ORG,
    ROLE_ID,
    SSO_ID,
    SSO_NAME,
    USER_ID,
    person,
    session,
    user,
)

Json = dict[str, Any]

ROLE, SSO, USER = session(), person(), user()
ROOT = ROLE | {"caller": ACCOUNT, "user": ACCOUNT, "userArn": f"arn:aws:iam::{ACCOUNT}:root"}
FEDERATED = ROLE | {
    "caller": f"{ACCOUNT}:bob",
    "user": f"{ACCOUNT}:bob",
    "userArn": f"arn:aws:sts::{ACCOUNT}:federated-user/bob",
}
# What the console sends for "Test" with a role (printed in a public repository, read on 2026-11-26).
CONSOLE = ROLE | {
    "caller": "AROAYMUCOBDHSNGTGWG2G:test-invoke-caller",
    "user": "AROAYMUCOBDHSNGTGWG2G:test-invoke-caller",
    "userArn": "test-invoke-user-arn",
    "apiKey": "test-invoke-api-key",
}


def is_sso(account: str, principal_id: str, org: str | None) -> bool:
    return (account, principal_id, org) == (ACCOUNT, SSO_ID, ORG)


def read(identity: object, stage: object = "v1") -> Principal:
    return read_principal({"stage": stage, "identity": identity}, is_sso)


def arn(value: str) -> Json:
    return {"userArn": value}


def test_a_roles_session() -> None:
    assert read(ROLE) == Principal(
        account=ACCOUNT,
        principal_id=ROLE_ID,
        principal_type="role",
        arn=ROLE["userArn"],
        access_key="ASIACALLER1111111111",
        role="deployer",
        session_name="job-302",
        org=ORG,
    )


def test_a_person_of_identity_center() -> None:
    found = read(SSO)
    assert (found.principal_type, found.session_name, found.role) == ("sso", "ada@example.com", SSO_NAME)


@pytest.mark.parametrize(
    "changes",
    [
        {"principalOrgId": None},
        {"principalOrgId": "o-another0000"},
        # the same name, of a role that was made later or by somebody else
        {"caller": f"{ROLE_ID}:ada@example.com", "user": f"{ROLE_ID}:ada@example.com"},
        arn(f"arn:aws:sts::{ACCOUNT}:assumed-role/releases/ada@example.com"),
    ],
)
def test_what_only_looks_like_a_role_of_identity_center_is_a_role(changes: Json) -> None:
    assert read(SSO | changes).principal_type == "role"


def test_a_user_has_no_role_and_no_session() -> None:
    found = read(USER)
    assert (found.principal_type, found.principal_id) == ("user", USER_ID)
    assert (found.role, found.session_name) == (None, None)
    assert is_long_lived(found.access_key)
    session = read(USER | {"accessKey": "ASIAUSER111111111111"})  # sts:GetSessionToken
    assert not is_long_lived(session.access_key)


@pytest.mark.parametrize("partition", ["aws-cn", "aws-us-gov", "aws-eusc"])
def test_every_partition_has_principals(partition: str) -> None:
    there = read(ROLE | arn(ROLE["userArn"].replace("arn:aws:", f"arn:{partition}:")))
    assert there.arn.startswith(f"arn:{partition}:sts:")


def test_an_account_outside_an_organisation_has_none() -> None:
    assert read(ROLE | {"principalOrgId": None}).org is None


OTHER_ROLE = f"AROAOTHER111111111111:{'job-302'}"


@pytest.mark.parametrize(
    ("identity", "check"),
    [
        (None, "identity"),
        ("", "identity"),
        ([], "identity"),
        ({}, "identity"),
        (NOBODY, "identity"),
        (ROOT, "root"),
        (FEDERATED, "federated"),
        (CONSOLE, "userArn"),
        (ROLE | {"cognitoIdentityId": "eu-central-1:1"}, "cognito"),
        (ROLE | {"cognitoAuthenticationType": "unauthenticated"}, "cognito"),
        (ROLE | {"cognitoIdentityPoolId": ""}, "cognito"),
        (ROLE | {"CognitoSomethingNew": "x"}, "cognito"),
        (ROLE | {"accountId": "222222222222"}, "userArn"),
        (ROLE | {"accountId": None}, "accountId"),
        (ROLE | {"accountId": int(ACCOUNT)}, "accountId"),
        (ROLE | {"accountId": "\uff11" * 12}, "accountId"),
        (ROLE | {"accountId": f"{ACCOUNT}\n"}, "accountId"),
        (ROLE | {"caller": OTHER_ROLE}, "caller"),
        (ROLE | {"user": OTHER_ROLE}, "caller"),
        (ROLE | {"caller": None, "user": None}, "caller"),
        (ROLE | {"caller": f"{ROLE_ID}:other", "user": f"{ROLE_ID}:other"}, "caller"),
        (ROLE | {"caller": ROLE_ID, "user": ROLE_ID}, "caller"),
        (ROLE | {"caller": "AIDA1111111111111111:job-302", "user": "AIDA1111111111111111:job-302"}, "caller"),
        (ROLE | {"accessKey": None}, "accessKey"),
        (ROLE | {"accessKey": "AKIACALLER1111111111"}, "accessKey"),
        (ROLE | {"accessKey": ACCOUNT}, "accessKey"),
        (ROLE | {"principalOrgId": "o-1"}, "principalOrgId"),
        (ROLE | {"principalOrgId": ""}, "principalOrgId"),
        (ROLE | arn(""), "userArn"),
        (ROLE | arn("arn:aws:sts::111111111111"), "userArn"),
        (ROLE | arn(ROLE["userArn"].replace(":aws:", ":aws-other:")), "userArn"),
        (ROLE | arn(ROLE["userArn"].replace("sts::", "sts:eu-central-1:")), "userArn"),
        (ROLE | arn(f"arn:aws:iam::{ACCOUNT}:role/deployer"), "userArn"),
        (ROLE | arn(f"arn:aws:sts::{ACCOUNT}:assumed-root"), "userArn"),
        (ROLE | arn(f"arn:aws:sts::{ACCOUNT}:assumed-role/deployer"), "userArn"),
        (ROLE | arn(f"arn:aws:sts::{ACCOUNT}:assumed-role/path/deployer/job-302"), "userArn"),
        (ROLE | arn(f"arn:aws:sts::{ACCOUNT}:assumed-role/aws:ec2-instance/i-0123456789abcdef0"), "userArn"),
        (ROLE | arn(f"arn:aws:sts::{ACCOUNT}:assumed-role/deployer/{'j' * 3_000}"), "userArn"),
        (ROLE | {"userArn": 7}, "userArn"),
        (USER | arn(f"arn:aws:iam::{ACCOUNT}:user/"), "userArn"),
        (USER | arn(f"arn:aws:iam::{ACCOUNT}:user//builder"), "userArn"),
        (USER | arn(f"arn:aws:iam::{ACCOUNT}:user"), "userArn"),
        (USER | {"caller": ACCOUNT, "user": ACCOUNT}, "caller"),
        (USER | {"caller": f"{USER_ID}:x", "user": f"{USER_ID}:x"}, "caller"),
    ],
)
def test_whatever_else_is_refused_and_named(identity: object, check: str) -> None:
    with pytest.raises(RefusedPrincipal) as refused:
        read(identity)
    assert refused.value.check == check
    assert "111" not in refused.value.detail


@pytest.mark.parametrize("stage", ["test-invoke-stage", "prod", "v2", "", None])
def test_only_the_deployed_stage_counts(stage: object) -> None:
    with pytest.raises(RefusedPrincipal, match="stage"):
        read(ROLE, stage)


WELL_FORMED = st.sampled_from([ROLE, SSO, USER])
OTHERWISE = st.none() | st.integers() | st.lists(st.text()) | st.text(max_size=80)
READ = ("accountId", "caller", "user", "userArn", "accessKey")


@given(WELL_FORMED, st.sampled_from(READ), OTHERWISE)
def test_no_malformed_context_has_a_principal(base: Json, name: str, value: object) -> None:
    """Any one of the fields replaced by something else makes the others disagree, or is no key."""
    if value == base[name]:
        return
    with pytest.raises(RefusedPrincipal):
        read(base | {name: value})


@given(WELL_FORMED, st.data())
def test_no_damaged_value_has_the_same_principal(base: Json, data: st.DataObject) -> None:
    """One character of one field inserted, removed or replaced: refused, or another principal."""
    name = data.draw(st.sampled_from(READ))
    text = base[name]
    at = data.draw(st.integers(0, len(text)))
    damaged = text[:at] + data.draw(st.text(max_size=2)) + text[at + data.draw(st.integers(0, 1)) :]
    if damaged == text:
        return
    try:
        found = read(base | {name: damaged})
    except RefusedPrincipal:
        return
    assert found != read(base)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner), max_leaves=4
)


@given(st.dictionaries(st.sampled_from([*ROLE, "stage", "identity", "other"]), JSON))
def test_arbitrary_contexts_have_none(identity: Mapping[str, Any]) -> None:
    with pytest.raises(RefusedPrincipal):
        read(identity)
    with pytest.raises(RefusedPrincipal):
        read_principal(identity, lambda *_: True)
