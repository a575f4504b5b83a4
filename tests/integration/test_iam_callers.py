"""Callers with IAM credentials: a job's token, its role's session, a signed request, a deployment.

STS, API Gateway or the gateway refuses, as on AWS: API Gateway before a function runs.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any
from uuid import uuid4

import httpx2
import pytest
from botocore.exceptions import ClientError

from stand import HANDLER, Stand, callers, package
from stand.callers import CallerRole, Credentials
from stand.emulator import OTHER_ACCOUNT, STRANGER


@pytest.fixture(scope="module")
def job(stand: Stand) -> CallerRole:
    """The role of the usual job, which the gate file names."""
    found = callers.existing(stand, callers.JOB)
    assert found
    return found


@pytest.fixture(scope="module")
def session(stand: Stand, job: CallerRole) -> Credentials:
    return callers.assume(stand, job)


@pytest.fixture
def role(stand: Stand) -> Iterator[Callable[..., CallerRole]]:
    """Make a role of a test's own."""
    made: list[tuple[str, str | None]] = []

    def make(name: str = "", account: str | None = None, **given: Any) -> CallerRole:
        name = name or f"caller-{uuid4().hex[:8]}"
        made.append((name, account))
        return callers.role(stand, name, account=account, **given)

    yield make
    for name, account in made:
        if callers.existing(stand, name, account):
            callers.delete_role(stand, name, account=account)


def key() -> str:
    return uuid4().hex


def deployment(function: str, sha256: str, **changed: Any) -> dict[str, Any]:
    usual = {
        "action": "deploy",
        "function": function,
        "stage": "dev",
        "artifact": {"sha256": sha256},
        "idempotency_key": key(),
    }
    return {**usual, **changed}


def upload(stand: Stand, credentials: Credentials, function: str, data: bytes) -> str:
    """Announce an artifact by a signed call, and upload it where the answer says; its SHA-256."""
    import hashlib

    digest = hashlib.sha256(data).hexdigest()
    announced = callers.call(
        stand, credentials, "POST", "/artifacts", {"function": function, "sha256": digest, "size": len(data)}
    )
    given = announced.raise_for_status().json()["upload"]
    if given:
        httpx2.request(
            given["method"], given["url"], headers=given["headers"], content=data, timeout=30, trust_env=False
        ).raise_for_status()
    return digest


def wait(stand: Stand, credentials: Credentials, deployment: str) -> dict[str, Any]:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        answer = callers.call(stand, credentials, "GET", f"/deployments/{deployment}")
        state: dict[str, Any] = answer.raise_for_status().json()
        if state["final"]:
            return state
        time.sleep(0.3)
    raise AssertionError(f"{deployment} is still {state['status']}")


def problem(answer: httpx2.Response) -> tuple[int, str]:
    return answer.status_code, answer.json().get("code", answer.text)


def denied(stand: Stand, role: CallerRole, token: str | None = None) -> str:
    """The code of STS's refusal."""
    with pytest.raises(ClientError) as raised:
        callers.assume(stand, role, token)
    return str(raised.value.response["Error"]["Code"])


def test_a_job_deploys_through_its_role(
    stand: Stand, function: str, job: CallerRole, session: Credentials
) -> None:
    answer = callers.call(stand, session, "GET", "/whoami")
    assert answer.status_code == 200, answer.text
    said = answer.json()
    assert (said["via"], said["actor"]) == ("iam", "pipeline")
    sha256 = upload(stand, session, function, package(HANDLER % "by role"))
    accepted = callers.call(stand, session, "POST", "/deployments", deployment(function, sha256))
    assert accepted.status_code == 202, accepted.text
    done = wait(stand, session, accepted.json()["id"])
    assert done["status"] == "succeeded", done
    assert stand.invoke(function, alias="dev") == {"release": "by role"}
    by = done["requested_by"]
    assert (by["via"], by["actor"], by["account"]) == ("iam", "pipeline", stand.account_id)
    assert (by["principal_id"], by["role"], by["session_name"]) == (job.principal_id, callers.JOB, "job-1")


def test_both_credentials_reach_prod(stand: Stand, function: str, session: Credentials) -> None:
    sha256 = upload(stand, session, function, package(HANDLER % "both"))
    alone = callers.call(stand, session, "POST", "/deployments", deployment(function, sha256, stage="prod"))
    assert alone.status_code == 403, alone.text
    headers = {"Sluicegate-Id-Token": stand.token()}
    body = deployment(function, sha256, stage="prod")
    accepted = callers.call(stand, session, "POST", "/deployments", body, headers=headers)
    assert accepted.status_code == 202, accepted.text
    by = stand.wait(accepted.json()["id"], token=stand.token())["requested_by"]
    assert (by["via"], by["project_id"], by["role"]) == ("iam+id_token", "4213", callers.JOB)


@pytest.mark.parametrize(
    ("claims", "audience", "code"),
    [
        ({}, "https://deploy.example.com", "InvalidIdentityToken"),
        ({"ref": "v1.0.1", "ref_type": "branch"}, callers.STS_AUDIENCE, "AccessDenied"),
        ({"project_path": "mallory/orders"}, callers.STS_AUDIENCE, "AccessDenied"),
        ({"iss": "SLASH"}, callers.STS_AUDIENCE, "InvalidIdentityToken"),
        ({"iat": "PAST"}, callers.STS_AUDIENCE, "ExpiredTokenException"),
    ],
    ids=["audience", "branch", "project", "issuer by one slash", "expired"],
)
def test_sts_refuses_the_wrong_token(
    stand: Stand, job: CallerRole, claims: dict[str, Any], audience: str, code: str
) -> None:
    filled = {"SLASH": f"{stand.issuer}/", "PAST": int(time.time()) - 3700}
    given = {name: filled.get(value, value) for name, value in claims.items()}
    assert denied(stand, job, stand.gitlab.token(given, audience=audience)) == code


def test_sts_refuses_what_the_issuer_did_not_sign(stand: Stand, job: CallerRole) -> None:
    signed = callers.sts_token(stand).rpartition(".")[0]
    assert denied(stand, job, f"{signed}.{'A' * 342}") == "InvalidIdentityToken"


def test_a_stranger_reaches_no_function(stand: Stand, session: Credentials) -> None:
    lambda_ = stand.client("lambda")
    for function in ("sluicegate-gateway-iam", "sluicegate-watcher-iam"):
        lambda_.get_function(FunctionName=function)
    with stand.throttled("sluicegate-gateway-iam"):  # a call that got there would be a 502
        unsigned = callers.call(stand, None, "GET", "/whoami")
        bearer = callers.call(
            stand, None, "GET", "/whoami", headers={"Authorization": f"Bearer {stand.token()}"}
        )
        wrongly = callers.call(stand, replace(session, secret_key="x" * 40), "GET", "/whoami")
        without = callers.call(stand, replace(session, token=None), "GET", "/whoami")
        for_sts = callers.call(stand, session, "GET", "/whoami", service="sts")
        elsewhere = callers.call(stand, session, "GET", "/whoami", region="eu-west-1")
    assert problem(unsigned) == (403, "not_signed")
    assert problem(wrongly) == problem(for_sts) == problem(elsewhere) == (403, "invalid_signature")
    for answer in (bearer, without):
        assert answer.status_code in (400, 403), answer.text
    for answer in (unsigned, bearer, wrongly, without, for_sts, elsewhere):
        assert answer.status_code != 502
        assert session.access_key not in answer.text


def test_a_role_calls_what_it_was_given(stand: Stand, session: Credentials) -> None:
    for method, path in (
        ("POST", "/deployments/01JD0000000000000000000000/approve"),
        ("POST", "/deployments/01JD0000000000000000000000/abort"),
        ("POST", "/stages/dev/hold"),
        ("GET", "/functions"),
    ):
        assert problem(callers.call(stand, session, method, path, {})) == (403, "not_allowed")


@pytest.mark.parametrize(
    "path",
    ["/deployments/%2e%2e/whoami", "/deployments/x%2fapprove", "//deployments/x/approve", "/%2e%2e/whoami"],
)
def test_a_spelling_of_a_path_opens_nothing(stand: Stand, session: Credentials, path: str) -> None:
    assert callers.call(stand, session, "POST", path, {}).status_code in (400, 403, 404)


def test_an_expired_session_is_refused_as_expired(stand: Stand, job: CallerRole) -> None:
    session = callers.assume(stand, job)
    stand.emulator.expire(session.access_key)
    assert problem(callers.call(stand, session, "GET", "/whoami")) == (403, "expired_session")


def test_a_role_that_is_made_again_is_another(stand: Stand, role: Callable[..., CallerRole]) -> None:
    """Its old session is dead, and its new one is not who a gate file named."""
    first = role()
    before = callers.assume(stand, first)
    callers.delete_role(stand, first.name)
    assert callers.call(stand, before, "GET", "/whoami").status_code in (400, 403)
    again = role(first.name)
    assert (again.arn, again.principal_id != first.principal_id) == (first.arn, True)
    assert callers.call(stand, before, "GET", "/whoami").status_code in (400, 403)
    said = callers.call(stand, callers.assume(stand, again), "GET", "/whoami").raise_for_status().json()
    assert (said["principal_id"], said["rules"]) == (again.principal_id, [])


def test_a_role_that_no_rule_names_is_refused(
    stand: Stand, function: str, role: Callable[..., CallerRole]
) -> None:
    session = callers.assume(stand, role())
    body = deployment(function, "0" * 64)
    assert callers.call(stand, session, "POST", "/deployments", body).status_code == 403


def test_another_accounts_role_of_the_same_name_needs_both_policies(stand: Stand) -> None:
    """Without an `Allow` in the API's resource policy, its own permission is not enough (table B)."""
    guest = callers.existing(stand, callers.JOB, OTHER_ACCOUNT)
    assert guest
    session = callers.assume(stand, guest)
    assert problem(callers.call(stand, session, "GET", "/whoami")) == (403, "not_allowed")


def test_a_strangers_account_is_refused(stand: Stand, role: Callable[..., CallerRole]) -> None:
    session = callers.assume(stand, role(callers.JOB, STRANGER))
    assert problem(callers.call(stand, session, "GET", "/whoami")) == (403, "not_allowed")


def test_root_is_refused(stand: Stand) -> None:
    """API Gateway lets the account's root in, whatever policies say; the gateway does not."""
    root = Credentials(stand.account_id, "stand")
    answer = callers.call(stand, root, "GET", "/whoami")
    assert answer.status_code == 403, answer.text
    assert answer.json()["code"] != "not_allowed" or "root" in answer.text


def test_a_person_of_identity_center_is_a_person(stand: Stand) -> None:
    person = callers.existing(stand, callers.PERSON)
    assert person
    session = callers.session_of(stand, person, "ada@example.com")
    said = callers.call(stand, session, "GET", "/whoami").raise_for_status().json()
    assert (said["via"], said["actor"]) == ("iam", "person")


def test_an_imitated_role_of_identity_center_is_none(stand: Stand, role: Callable[..., CallerRole]) -> None:
    """Its name alone says nothing: the gate file lists the unique id."""
    imitation = role(
        f"AWSReservedSSO_Deployer_{uuid4().hex[:16]}",
        trust=callers.account_trust(stand.account_id),
        methods=("*/iam/*",),
    )
    session = callers.session_of(stand, imitation, "ada@example.com")
    said = callers.call(stand, session, "GET", "/whoami").raise_for_status().json()
    assert (said["actor"], said["principal_type"], said["rules"]) == ("pipeline", "role", [])


def test_a_captured_request_repeats_only_itself(stand: Stand, function: str, session: Credentials) -> None:
    sha256 = upload(stand, session, function, package(HANDLER % "captured"))
    body = deployment(function, sha256)
    first = callers.call(stand, session, "POST", "/deployments", body)
    assert first.status_code == 202, first.text
    again = callers.call(stand, session, "POST", "/deployments", body, headers={"X-Added": "1"})
    assert again.json()["id"] == first.json()["id"]
    other = deployment(function, sha256, idempotency_key=key(), description="another")
    assert problem(callers.call(stand, session, "POST", "/deployments", other)) in (
        (409, "session_used"),
        (409, "busy"),
    )
    wait(stand, session, first.json()["id"])
    assert problem(callers.call(stand, session, "POST", "/deployments", other)) == (409, "session_used")
