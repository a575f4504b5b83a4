"""Lines and what they rest on: canonical, bounded, without a name of a person."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluicegate.evidence.basis import MAX_CLAIMS, Basis, basis, session_digest
from sluicegate.evidence.line import MAX_LINE, canonical, line
from sluicegate.oidc.identity import ClaimValue, Identity, Principal

CLAIMS: dict[str, ClaimValue] = {
    "project_id": "4213",
    "project_path": "acme/orders",
    "namespace_path": "acme",
    "user_id": "7",
    "user_login": "ada",
    "user_email": "ada.l@example.com",
    "pipeline_id": "81",
    "job_id": "302",
    "ref": "main",
    "ref_type": "branch",
    "ref_protected": "true",
    "sub": "project_path:acme/orders:ref_type:branch:ref:main",
    "groups_direct": ("acme/release-managers",),
}
JOB = Identity("id_token", "https://gitlab.example.com", CLAIMS, "jti-1", 1_000, 4_600)
PERSON = Principal(
    account="111111111111",
    principal_id="AROASSO11111111111111",
    principal_type="sso",
    arn="arn:aws:sts::111111111111:assumed-role/AWSReservedSSO_Release_1a2b/ada.l@example.com",
    access_key="ASIASSO1111111111111",
    role="AWSReservedSSO_Release_1a2b",
    session_name="ada.l@example.com",
    org="o-a1b2c3d4e5",
)


def kept(identity: Identity, **fields: Any) -> Basis:
    given = {"gate": "9" * 64, "actor": "pipeline", "actions": ("deploy",), "rule": "tags", "now": 1_060.0}
    return basis(identity, **{**given, **fields})


def with_claims(**claims: Any) -> Identity:
    return replace(JOB, claims={**CLAIMS, **claims})


def test_a_line_is_canonical_and_has_what_was_decided() -> None:
    text = line("accepted", 1_060.25, {**kept(JOB).fields, "function": "orders-api"})
    found = json.loads(text)
    assert canonical(found) == text
    assert found["time"] == "1970-01-01T00:17:40.250Z"
    assert (found["v"], found["kind"], found["function"]) == (1, "accepted", "orders-api")
    assert (found["rule"], found["actions"], found["age"]) == ("tags", ["deploy"], 60)
    assert found["by"] == {
        "issuer": "https://gitlab.example.com",
        "project_id": "4213",
        "user_id": "7",
        "pipeline_id": "81",
        "job_id": "302",
    }
    assert "agent" not in found


def test_two_lines_of_the_same_fact_differ_by_their_salt() -> None:
    assert line("ended", 0, {}) != line("ended", 0, {})


def test_claims_that_name_a_person_are_withheld_and_named() -> None:
    found = kept(JOB)
    assert found.withheld == ("user_email", "user_login")
    assert found.claims == {name: value for name, value in CLAIMS.items() if not name.startswith("user_")} | {
        "user_id": "7"
    }


@pytest.mark.parametrize(
    ("claim", "value"),
    [
        ("ref", "ada/fix-rounding"),
        ("ref", "feature/ADA-fix"),
        ("ref_path", "refs/heads/ada"),
        ("namespace_path", "ada"),
        ("project_path", "ada/orders"),
        ("sub", "project_path:ada/orders:ref_type:branch:ref:main"),
        ("environment", "review/ada.l@example.com"),
        ("environment", "review/ada.l"),
        ("groups_direct", ("acme/release-managers", "friends-of-ada")),
    ],
)
def test_a_value_with_the_callers_name_as_a_word_is_withheld(claim: str, value: Any) -> None:
    found = kept(with_claims(**{claim: value}))
    assert claim in found.withheld
    assert claim not in found.claims


@pytest.mark.parametrize(
    ("claim", "value"), [("ref", "adapter"), ("ref", "canada"), ("environment", "prod/lada"), ("ref", "main")]
)
def test_a_value_that_only_has_the_letters_stays(claim: str, value: str) -> None:
    assert kept(with_claims(**{claim: value})).claims[claim] == value


@pytest.mark.parametrize("login", ["web", "branch", "true", "4213", "302"])
def test_a_login_that_is_a_word_of_gitlab_or_a_number_hides_none_of_those(login: str) -> None:
    found = kept(with_claims(user_login=login, pipeline_source="web"))
    assert {"project_id", "job_id", "ref_type", "ref_protected", "pipeline_source"} <= found.claims.keys()


def test_of_a_persons_session_there_is_a_digest() -> None:
    identity = Identity("iam", "", PERSON.claims, None, 0, 0, principal=PERSON)
    found = kept(identity, actor="person")
    text = line("decided", 0, found.fields)
    assert "ada" not in text
    assert "ASIA" not in text
    assert found.by["session"] == session_digest(PERSON)
    assert found.by["session"] != session_digest(replace(PERSON, session_name="bob@example.com"))
    assert found.by["session"] != session_digest(replace(PERSON, account="222222222222"))
    assert found.withheld == ("session_name",)
    assert found.age is None


def test_the_longest_claims_are_left_out_first() -> None:
    found = kept(with_claims(groups_direct=tuple(f"acme/team-{i}" for i in range(900)), ref="r" * 200))
    assert found.withheld == ("groups_direct", "user_email", "user_login")
    assert len(canonical(dict(found.claims))) <= MAX_CLAIMS
    assert found.claims["ref"] == "r" * 200


texts = st.text(max_size=400) | st.sampled_from(
    ["\n", "\u2028", "\U0001f600" * 300, '"},{"seq":1', "\x1b[31m"]
)


@given(
    claims=st.dictionaries(st.sampled_from([*CLAIMS, "x", "y"]) | st.text(max_size=30), texts, max_size=60),
    rule=texts,
    function=texts,
    issuer=texts,
    long=st.sampled_from([0, 300_000]),
)
def test_no_line_is_too_long_or_has_a_character_that_ends_it(
    claims: dict[str, str], rule: str, function: str, issuer: str, long: int
) -> None:
    claims = {**claims, "ref": "x" * long}
    identity = Identity("id_token", issuer, claims, None, 1, 2)
    given = kept(identity, rule=rule, actions=("deploy", "fix-forward")).fields
    text = line("accepted", 0, {**given, "function": function, "stage": rule, "functions": [rule] * 50})
    assert len(text.encode()) <= MAX_LINE
    assert text.isascii()
    assert text.isprintable()
    assert canonical(json.loads(text)) == text


def test_a_line_that_would_be_too_long_keeps_the_most_important_fields() -> None:
    text = line("held", 0, {"stage": "prod", "functions": ["f" * 250] * 100, "rule": "tags"})
    found = json.loads(text)
    assert (found["stage"], found["rule"], found["cut"]) == ("prod", "tags", True)
    assert "functions" not in found
