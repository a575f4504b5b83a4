"""The way in for callers with IAM credentials: the same endpoints, by the principal that signed.

security.md#callers-with-iam-credentials
"""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from sluicegate.deployment.model import Requester
from sluicegate.gate import patterns
from sluicegate.gate.model import FunctionEntry
from sluicegate.gateway import app
from sluicegate.gateway.authorization import is_own
from sluicegate.gateway.http import GatewayRequest, GatewayResponse, read_event
from sluicegate.oidc.identity import Identity
from support.gateway_simulation import (
    OTHER,
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
    NOBODY,
    ORG,
    ROLE_ID,
    SSO_ID,
    USER_ID,
    person,
    principal_rule,
    session,
    signed,
    user,
)
from support.signing import ISSUER, token

pytestmark = pytest.mark.filterwarnings("ignore:No application metrics")

Json = dict[str, Any]

DEPLOYERS = principal_rule("deployers", "deploy", "promote", "rollback", "abort", "hold")
BOTH_CLAIMS = {"account": [ACCOUNT], "principal_id": [ROLE_ID]}
BOTH = rule("both", "deploy", "rollback", via="iam+id_token", claims=BOTH_CLAIMS, functions=["orders"])


@pytest.fixture
def at() -> Iterator[GatewaySimulation]:
    with gateway_simulation(gate=gate_of(rules=(RELEASERS, DEPLOYERS, BOTH))) as made:
        yield made


def whoami(at: GatewaySimulation, identity: Json, **how: Any) -> Json:
    value: Json = signed(at, "GET", "/whoami", identity, **how).value
    return value


# The routes


@pytest.mark.parametrize("route", app.ENDPOINTS)
def test_every_call_has_a_second_way_in_that_needs_a_principal(
    at: GatewaySimulation, route: app.Route
) -> None:
    method, resource = route
    path = {"id": "0" * 26, "stage": "prod", "name": "orders"}
    for identity in (NOBODY, {}, None):
        found = problem(signed, at, method, resource, identity, **path)
        assert (found.status, found.members["check"]) == (403, "identity")


@pytest.mark.parametrize(
    "resource", ["/iam/health", "/iam/webhooks/gitlab/{name}", "/iam", "/iam/iam/whoami", "/iamwhoami"]
)
def test_no_other_resource_begins_so(at: GatewaySimulation, resource: str) -> None:
    context = {"stage": "v1", "identity": session()}
    for method in ("GET", "POST"):
        call = GatewayRequest(method, resource, {"name": "x"}, {}, {}, b"", "request", context)
        refused(404, "not_found", app.dispatch, at.context, call)


def test_a_route_for_tokens_takes_no_principal(at: GatewaySimulation) -> None:
    context = {"stage": "v1", "identity": session()}
    for headers in (
        {},
        {"authorization": ["AWS4-HMAC-SHA256 Credential=x"]},
        {"sluicegate-id-token": [token(at.job())]},
    ):
        call = GatewayRequest("GET", "/whoami", {}, {}, headers, b"", "request", context)
        assert refused(401, "invalid_token", app.dispatch, at.context, call).startswith("authorization")


def test_a_signed_route_reads_no_authorization_header(at: GatewaySimulation) -> None:
    bearer = {"authorization": [f"Bearer {token(at.job())}"]}
    assert whoami(at, session(), headers=bearer)["via"] == "iam"
    refused(403, "not_allowed", whoami, at, NOBODY, headers=bearer)


def test_the_identity_is_read_from_the_context_alone(at: GatewaySimulation) -> None:
    forged = {
        f"x-amzn-{name}".lower(): [value] for name, value in session(account="222222222222").items() if value
    }
    headers = forged | {"x-forwarded-user": ["root"], "cognitoidentityid": ["x"]}
    assert whoami(at, session(), headers=headers)["account"] == ACCOUNT
    body = {"requestContext": {"stage": "v1", "identity": session()}, "identity": session()}
    found = problem(signed, at, "POST", "/deployments", NOBODY, body)
    assert found.status == 403


@pytest.mark.parametrize("stage", ["test-invoke-stage", "v2"])
def test_events_of_another_stage_are_refused(at: GatewaySimulation, stage: str) -> None:
    assert problem(whoami, at, session(), api_stage=stage).members["check"] == "stage"


@pytest.mark.parametrize("name", ["X-Amz-Signature", "x-amz-signature", "X-Amz-Credential", "X-Amz-Expires"])
def test_a_signature_in_the_query_is_refused(at: GatewaySimulation, name: str) -> None:
    refused(400, "invalid_request", whoami, at, session(), query={name: ["x"]})


def test_an_event_is_read_with_its_context() -> None:
    context = {"requestId": "r", "stage": "v1", "identity": session()}
    event = {"httpMethod": "GET", "resource": "/iam/whoami", "requestContext": context}
    call = read_event(event)
    assert (call.request_context, call.request_id, call.is_signed, call.base) == (
        context,
        "r",
        True,
        "/v1/iam",
    )
    assert "ASIA" not in repr(call)
    bare = read_event({"httpMethod": "GET", "resource": "/whoami"})
    assert (bare.request_context, bare.is_signed, bare.base) == ({}, False, "/v1")


def test_a_deployment_is_found_by_the_same_way_in(at: GatewaySimulation) -> None:
    answer = deploy(at, session(), artifact(at, b"new"))
    where = f"/v1/iam/deployments/{answer.value['id']}"
    assert (answer.headers["Location"], answer.value["links"]) == (where, {"self": where})


# Who it is


def test_a_role(at: GatewaySimulation) -> None:
    answer = whoami(at, session())
    claims = {"account": ACCOUNT, "principal_id": ROLE_ID, "principal_type": "role"}
    claims |= {"role": "deployer", "session_name": "job-302", "org": ORG}
    assert answer == {
        "via": "iam",
        "actor": "pipeline",
        "issuer": None,
        "project_id": None,
        "expires_at": None,
        "signed_in_at": None,
        "principal": f"arn:aws:sts::{ACCOUNT}:assumed-role/deployer/job-302",
        "principal_id": ROLE_ID,
        "principal_type": "role",
        "account": ACCOUNT,
        "org": ORG,
        "role": "deployer",
        "session": "job-302",
        "access_key": "ASIACALLER1111111111",
        "claims": claims,
        "rules": answer["rules"],
    }
    assert [one["name"] for one in answer["rules"]] == ["deployers"]


def test_a_user_and_a_person(at: GatewaySimulation) -> None:
    at.gate = gate_of(sso=[{"account": ACCOUNT, "principal_id": SSO_ID, "org": ORG}])
    assert (whoami(at, user())["principal_type"], whoami(at, user())["actor"]) == ("user", "pipeline")
    assert (whoami(at, person())["principal_type"], whoami(at, person())["actor"]) == ("sso", "person")
    imitated = whoami(at, person(role_id="AROAIMITATION11111111"))
    assert (imitated["principal_type"], imitated["actor"]) == ("role", "pipeline")


def test_with_a_token_the_caller_is_both(at: GatewaySimulation) -> None:
    answer = whoami(at, session(), beside=at.job())
    assert (answer["via"], answer["issuer"], answer["project_id"]) == ("iam+id_token", ISSUER, "4213")
    assert (answer["account"], answer["session"]) == (ACCOUNT, "job-302")
    assert answer["claims"]["principal_id"] == ROLE_ID
    assert answer["expires_at"] is not None
    assert [one["name"] for one in answer["rules"]] == ["both"]


def test_only_aws_says_who_signed(at: GatewaySimulation) -> None:
    """A token's claim of the same name counts for nothing, also where the principal has no such claim."""
    claims = at.job(account="222222222222", principal_id="AROAX", session_name="ada", role="admin", org="o-x")
    found = whoami(at, user(), beside=claims)["claims"]
    assert (found["account"], found["principal_id"]) == (ACCOUNT, USER_ID)
    assert not {"session_name", "role"} & set(found)
    assert found["org"] == ORG


@pytest.mark.parametrize(
    ("values", "check"),
    [
        ([], "id_token"),
        (["{}", "{}"], "id_token"),
        ([""], "token"),
        (["Bearer {}"], "token"),
        (["{},{}"], "token"),
        (["{} "], "token"),
        (["x.y.z"], "token"),
    ],
)
def test_a_bad_token_header_is_refused_and_never_ignored(
    at: GatewaySimulation, values: list[str], check: str
) -> None:
    sent = [value.replace("{}", token(at.job())) for value in values]
    detail = refused(401, "invalid_token", whoami, at, session(), headers={"sluicegate-id-token": sent})
    assert check in detail.partition(":")[0] or detail.startswith("header")


@pytest.mark.parametrize(
    ("claims", "check"),
    [
        ({"exp": 1_795_300_000, "iat": 1_795_299_000, "nbf": 1_795_299_000}, "exp"),
        ({"aud": "https://sts.example.com"}, "aud"),
        ({"iss": "https://gitlab.example.com/"}, "iss"),
    ],
)
def test_the_token_beside_a_signature_is_checked_like_any_other(
    at: GatewaySimulation, claims: Json, check: str
) -> None:
    found = problem(whoami, at, session(), beside=at.job(**claims))
    assert (found.status, found.members["check"]) == (401, check)


def test_the_deny_list_knows_both(at: GatewaySimulation) -> None:
    deny = [
        {"issuer": ISSUER, "claims": {"user_id": ["7"]}},
        {"issuer": "", "claims": {"session_name": ["job-9"]}},
        {"issuer": "", "claims": {"access_key": ["ASIALEAKED1111111111"]}},
        {"issuer": "", "claims": {"principal_id": ["AROAGONE1111111111111"], "account": [ACCOUNT]}},
    ]
    at.gate = gate_of(rules=(DEPLOYERS, BOTH), deny=deny)
    assert whoami(at, session(), beside=at.job(user_id="8"))["via"] == "iam+id_token"
    for identity, beside in (
        (session(), at.job(user_id="7")),
        (session("job-9"), at.job(user_id="8")),
        (session("job-9"), None),
        (session(key="ASIALEAKED1111111111"), None),
        (session(key="ASIALEAKED1111111111"), at.job(user_id="8")),
        (session(role_id="AROAGONE1111111111111"), None),
    ):
        refused(403, "not_allowed", whoami, at, identity, beside=beside)


# What it may do


def deploy(at: GatewaySimulation, identity: Json, sha256: str, **more: Any) -> GatewayResponse:
    at.clock.now += 0.002
    body = {"action": "deploy", "function": "orders", "stage": "prod", "artifact": {"sha256": sha256}}
    how = {name: more.pop(name) for name in ("beside", "headers") if name in more}
    return signed(at, "POST", "/deployments", identity, body | more, **how)


def test_a_role_deploys_and_the_record_says_who(at: GatewaySimulation) -> None:
    answer = deploy(at, session(), artifact(at, b"new"))
    by = answer.value["requested_by"]
    assert (answer.status, by["via"], by["actor"], by["account"]) == (202, "iam", "pipeline", ACCOUNT)
    assert (by["principal_id"], by["role"], by["session_name"]) == (ROLE_ID, "deployer", "job-302")
    assert (by["issuer"], by["project_id"], by["job_id"]) == ("", "", None)
    assert "access_key" not in by
    assert f"for role deployer of account {ACCOUNT} (job-302)" in answer.value["timeline"][0]["message"]
    done = at.finish(at.of(answer))
    assert (done.status, done.requested_by.access_key) == ("succeeded", "ASIACALLER1111111111")


def test_both_credentials_are_in_the_record(at: GatewaySimulation) -> None:
    answer = deploy(at, session(), artifact(at, b"new"), beside=at.job(job_id="302"))
    by = answer.value["requested_by"]
    assert (by["via"], by["project_id"], by["user_login"]) == ("iam+id_token", "4213", "ada")
    assert (by["principal_id"], by["session_name"]) == (ROLE_ID, "job-302")
    message = answer.value["timeline"][0]["message"]
    assert f"for job 302 of project 4213 (ada) as role deployer of account {ACCOUNT} (job-302)" in message


@pytest.mark.parametrize(
    ("identity", "claims", "status"),
    [
        (session(), {}, 202),
        (session(), {"project_id": "99"}, 403),
        (session(), {"iss": OTHER}, 403),
        (session(role_id="AROAOTHER111111111111"), {}, 403),
        (session(account="222222222222"), {}, 403),
        (session(), None, 403),  # leaked credentials alone
    ],
)
def test_a_rule_for_both_needs_both(
    at: GatewaySimulation, identity: Json, claims: Json | None, status: int
) -> None:
    at.gate = gate_of(rules=(BOTH,))
    sha256 = at.upload("orders", b"new")
    beside = None if claims is None else at.job(**claims)
    if status == 202:
        body = {"function": "orders", "sha256": sha256, "size": 3}
        assert signed(at, "POST", "/artifacts", identity, body, beside=at.job()).status == 200
        assert deploy(at, identity, sha256, beside=beside).status == status
    else:
        assert problem(deploy, at, identity, sha256, beside=beside).status == status


def test_a_leaked_token_alone_does_nothing(at: GatewaySimulation) -> None:
    at.gate = gate_of(rules=(BOTH,))
    refused(403, "not_allowed", at.deploy, "0" * 64)


def test_a_role_made_anew_is_another_role(at: GatewaySimulation) -> None:
    sha256 = artifact(at, b"new")
    refused(403, "not_allowed", deploy, at, session(role_id="AROAMADEANEW111111111"), sha256)


def test_no_secret_of_a_signed_request_is_logged(at: GatewaySimulation) -> None:
    secret = token(at.job())
    headers = {"sluicegate-id-token": [secret], "x-amz-security-token": ["a session's secret"]}
    whoami(at, session(), headers=headers)
    deploy(at, session(), artifact(at, b"new"), headers=headers)
    problem(whoami, at, session(), headers={"sluicegate-id-token": [f"{secret}x"]})
    problem(whoami, at, session() | {"user": "x"}, headers=headers)
    noted = json.dumps(at.notes)
    assert at.notes
    assert secret[-40:] not in noted
    assert "session's secret" not in noted


def test_logs_say_who_and_how(at: GatewaySimulation) -> None:
    deploy(at, session(), artifact(at, b"new"))
    noted = next(fields for event, fields in at.notes if event == "deployment_accepted")
    assert (noted["via"], noted["actor"], noted["account"]) == ("iam", "pipeline", ACCOUNT)
    assert (noted["principal_id"], noted["session_name"]) == (ROLE_ID, "job-302")
    assert noted["access_key"] == "ASIACALLER1111111111"
    assert "project_id" not in noted


# Whose it is


def test_two_principals_never_see_each_others_records(at: GatewaySimulation) -> None:
    """Neither has an issuer or a project: that is not the same owner."""
    one, two = session(), session(role_id="AROAOTHER111111111111", role="other", key="ASIAOTHER11111111111")
    elsewhere = session(account="222222222222")
    mine = deploy(at, one, artifact(at, b"new"))
    at.finish(at.of(mine))
    at.gate = gate_of(rules=())  # nobody sees by a rule
    path = {"id": mine.value["id"]}
    assert signed(at, "GET", "/deployments/{id}", one, **path).status == 200
    assert len(signed(at, "GET", "/deployments", one).value["items"]) == 1
    assert len(signed(at, "GET", "/functions", one).value["items"]) == 1
    for other, beside in ((two, None), (elsewhere, None), (user(), None), (person(), None), (one, at.job())):
        refused(404, "not_found", signed, at, "GET", "/deployments/{id}", other, beside=beside, **path)
        assert signed(at, "GET", "/deployments", other, beside=beside).value["items"] == []
        assert signed(at, "GET", "/functions", other, beside=beside).value["items"] == []
        refused(404, "not_found", signed, at, "GET", "/functions/{name}", other, beside=beside, name="orders")
    refused(404, "not_found", at.ask, "GET", "/deployments/{id}", at.job(), **path)


def test_with_both_credentials_a_record_is_the_projects(at: GatewaySimulation) -> None:
    made = deploy(at, session(), artifact(at, b"new"), beside=at.job())
    at.gate = gate_of(rules=())
    path = {"id": made.value["id"]}
    assert at.ask("GET", "/deployments/{id}", at.job(), **path).status == 200
    assert signed(at, "GET", "/deployments/{id}", session(), beside=at.job(), **path).status == 200
    refused(404, "not_found", signed, at, "GET", "/deployments/{id}", session(), **path)


def test_a_record_without_an_owner_is_nobodys() -> None:
    nobody = Identity("iam", "", {}, None, 0, 0)
    assert nobody.owner == Requester("", "").owner
    assert not is_own(nobody, Requester("", "").owner)


def test_a_cursor_is_of_one_principal(at: GatewaySimulation) -> None:
    for number in range(2):
        deploy(at, session(key=f"ASIASESSION{number}1111111"), artifact(at, b"%d" % number))
        at.machine.run()
    page = signed(at, "GET", "/deployments", session(), query={"limit": ["1"]}).value
    query = {"cursor": [page["next_cursor"]]}
    assert len(signed(at, "GET", "/deployments", session(), query=query).value["items"]) == 1
    other = session(role_id="AROAOTHER111111111111")
    refused(400, "invalid_request", signed, at, "GET", "/deployments", other, query=query)


# Stages with a maximum age


def test_where_a_stage_has_a_maximum_age_credentials_alone_bring_nothing_new(at: GatewaySimulation) -> None:
    new = artifact(at, b"new")
    for code in (b"older", b"old"):
        at.finish(at.deploy(artifact(at, code)))
    aged = FunctionEntry(patterns.compile("orders*"), {}, {"prod": 600}, {})
    # The compiler refuses such a rule; so does the gateway, should one get by.
    at.gate = replace(at.gate, functions=(aged,))
    refused(403, "not_allowed", deploy, at, session(), new)
    promotion = {"action": "promote", "function": "orders", "stage": "prod", "from": "dev", "version": "1"}
    refused(403, "not_allowed", signed, at, "POST", "/deployments", session(), promotion)
    refused(401, "invalid_token", deploy, at, session(), new, beside=at.job(iat=int(at.clock()) - 700))
    assert deploy(at, session(), new, beside=at.job()).status == 202
    at.machine.run()
    back = {"action": "rollback", "function": "orders", "stage": "prod"}
    made = signed(at, "POST", "/deployments", session(key="ASIAANOTHER111111111"), back)
    assert made.status == 202
    body = {"reason": "freeze"}
    assert signed(at, "POST", "/stages/{stage}/hold", session(), body, stage="prod").status == 200
