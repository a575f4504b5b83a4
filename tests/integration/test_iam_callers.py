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

from stand import Stand, callers
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


def problem(answer: httpx2.Response) -> tuple[int, str]:
    return answer.status_code, answer.json().get("code", answer.text)


def denied(stand: Stand, role: CallerRole, token: str | None = None) -> str:
    """The code of STS's refusal."""
    with pytest.raises(ClientError) as raised:
        callers.assume(stand, role, token)
    return str(raised.value.response["Error"]["Code"])


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
        assert "502" not in answer.text
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


def test_another_accounts_role_of_the_same_name_needs_both_policies(stand: Stand) -> None:
    """Without an `Allow` in the API's resource policy, its own permission is not enough (table B)."""
    guest = callers.existing(stand, callers.JOB, OTHER_ACCOUNT)
    assert guest
    session = callers.assume(stand, guest)
    assert problem(callers.call(stand, session, "GET", "/whoami")) == (403, "not_allowed")


def test_a_strangers_account_is_refused(stand: Stand, role: Callable[..., CallerRole]) -> None:
    session = callers.assume(stand, role(callers.JOB, STRANGER))
    assert problem(callers.call(stand, session, "GET", "/whoami")) == (403, "not_allowed")
