"""The command line with AWS credentials: what it signs, where it gets them, what it says when it cannot."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import pytest
from botocore.exceptions import (
    ClientError,
    CredentialRetrievalError,
    EndpointConnectionError,
    SSOTokenLoadError,
    UnauthorizedSSOTokenError,
)

from sluicegate.documents import describe
from sluicegate_cli.api import ApiClient
from sluicegate_cli.auth import credentials as aws_credentials
from sluicegate_cli.auth.credentials import AwsCredentials, ChainCredentials, WebIdentityCredentials
from sluicegate_cli.auth.keys import generated_key
from sluicegate_cli.auth.region import region_of_url, signing_region
from sluicegate_cli.auth.signed import SignedRequests
from sluicegate_cli.auth.sts import session_name
from sluicegate_cli.errors import ApiError
from sluicegate_cli.exit_codes import ExitCode
from sluicegate_cli.hints import hint
from support.cli_running import Run
from support.cli_server import ID, TOKEN, Reply, Server, problem, publishing, shown, succeeded
from support.sigv4_model import IssuedKey, refusal, signed_headers

REGION = "eu-central-1"
KEY = "ASIACANARYOFTHEKEYID"
SECRET = "canary-of-the-secret-key"
SESSION = "canary-of-the-session-token"
ROLE = "arn:aws:iam::111111111111:role/sluicegate-caller"
STS_TOKEN = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJodHRwczovL2dpdGxhYi5leGFtcGxlLmNvbSIsImF1ZCI6Imh0dHBzOi8vc3RzLmV4YW1wbGUuY29tIiwic3ViIjoicHJvamVjdF9wYXRoOmFjbWUvb3JkZXJzIn0.canary-of-the-sts-token"  # noqa: E501
KEYS = {KEY: IssuedKey(SECRET, SESSION)}
SECRETS = (SECRET, SESSION, STS_TOKEN, TOKEN, "canary")


@pytest.fixture(autouse=True)
def no_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No credentials, profile, job or instance around the test."""
    for name in list(os.environ):
        if name.startswith(("AWS_", "CI_", "SLUICEGATE_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture
def signed_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_SESSION_TOKEN", SESSION)
    monkeypatch.setenv("AWS_REGION", REGION)


@pytest.fixture
def run(server: Server, run: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    """`sluicegate`, with the server as its endpoint, and no token in the environment."""
    monkeypatch.setenv("SLUICEGATE_URL", server.url)
    monkeypatch.delenv("SLUICEGATE_TOKEN", raising=False)
    return run


class Source:
    """Credentials in turn, and how long they were asked to last."""

    method = "test"

    def __init__(self, *several: AwsCredentials) -> None:
        self.several = list(several)
        self.lasting: list[float] = []
        self.renewed = 0

    def current(self, lasting: float) -> AwsCredentials:
        self.lasting.append(lasting)
        return self.several[0]

    def renew(self) -> bool:
        self.renewed += 1
        if len(self.several) > 1:
            self.several.pop(0)
            return True
        return False


FIRST = AwsCredentials(KEY, SECRET, SESSION, None)
SECOND = AwsCredentials("ASIASECONDKEYOFTHETEST", "second-secret", "second-session", None)


@pytest.fixture
def signing(server: Server) -> Iterator[Callable[..., ApiClient]]:
    clients: list[ApiClient] = []

    def made(source: Any = None, id_token: str = "") -> ApiClient:
        auth = SignedRequests(source or Source(FIRST), REGION, id_token)
        clients.append(ApiClient(server.url, auth, sleep=lambda _: None))
        return clients[-1]

    yield made
    for client in clients:
        client.__exit__(None, None, None)


# What is signed


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"release": "v1.4.0"},
        {"release": "a b", "function": "orders-api", "cursor": "a+b/c=="},
        {"release": "ä€*~'()!$&=%2F", "limit": 20},
    ],
)
def test_a_request_is_signed_as_aws_verifies_it(
    signing: Callable[..., ApiClient], server: Server, query: dict[str, Any]
) -> None:
    server.on("GET", "/iam/deployments", Reply(200, {}))

    signing().get("deployments", **query)

    [asked] = server.asked
    assert refusal(asked, KEYS, region=REGION, now=time.time()) is None


@pytest.mark.parametrize("identifier", [ID, "a b", "ä", "..", "a/b", "a%2Fb"])
def test_whatever_an_id_is_the_path_is_signed_as_it_is_sent(
    signing: Callable[..., ApiClient], server: Server, identifier: str
) -> None:
    with pytest.raises(ApiError):
        signing().get("deployments", identifier)

    [asked] = server.asked
    assert refusal(asked, KEYS, region=REGION, now=time.time()) is None


def test_the_signature_covers_host_time_session_type_and_id_token_and_the_body(
    signing: Callable[..., ApiClient], server: Server
) -> None:
    server.on("POST", "/iam/deployments", Reply(202, {}))

    signing(id_token=TOKEN).post("deployments", body={"function": "ä"})

    [asked] = server.asked
    assert refusal(asked, KEYS, region=REGION, now=time.time()) is None
    assert asked.headers["sluicegate-id-token"] == TOKEN
    covered = ["content-type", "host", "sluicegate-id-token", "x-amz-date", "x-amz-security-token"]
    assert signed_headers(asked) == covered
    assert "bearer" not in asked.headers["authorization"].lower()


def test_an_attempt_later_has_a_signature_of_its_own_and_the_same_key(
    signing: Callable[..., ApiClient], server: Server
) -> None:
    unavailable = Reply(503, problem(503, "unavailable", "not now"))
    server.on("POST", "/iam/deployments", unavailable, Reply(0, lost=True), Reply(202, {"id": ID}))

    signing().post("deployments", body={"function": "orders-api"})

    bodies = {asked.body for asked in server.asked}
    assert len(server.asked) == 3
    assert len(bodies) == 1
    key = server.asked[0].json["idempotency_key"]
    assert 16 <= len(key) <= 64
    assert "idempotency-key" not in server.asked[0].headers


def test_no_header_of_the_way_in_by_token_is_sent(signing: Callable[..., ApiClient], server: Server) -> None:
    server.on("POST", "/iam/deployments", Reply(202, {}))

    signing().post("deployments", body={}, key="a-key-of-my-own-")

    assert server.asked[0].json == {"idempotency_key": "a-key-of-my-own-"}


def test_a_job_that_runs_a_command_again_finds_its_request_and_a_person_makes_another() -> None:
    job = {"CI_SERVER_URL": "https://gitlab.example.com", "CI_PROJECT_ID": "4213", "CI_JOB_ID": "302"}
    body = {"function": "orders-api", "stage": "dev"}
    path = ("deployments",)

    assert generated_key(job, path, body) == generated_key(job, path, dict(reversed(body.items())))
    others = {
        generated_key(job | {"CI_JOB_ID": "303"}, path, body),
        generated_key(job, path, body | {"stage": "prod"}),
        generated_key(job, ("deployments", ID, "approve"), body),
        generated_key({}, path, body),
        generated_key({}, path, body),
    }
    assert len(others | {generated_key(job, path, body)}) == 6
    assert all(len(key) == 43 for key in others)


def test_only_a_request_for_a_deployment_or_a_hold_has_a_key(
    signing: Callable[..., ApiClient], server: Server
) -> None:
    api = signing()
    for path in (("artifacts",), ("deployments", ID, "approve"), ("stages", "prod", "hold")):
        server.on("POST", "/iam/" + "/".join(path), Reply(200, {}))
        api.post(*path, body={"reason": "x"})

    *decisions, hold = [asked.json for asked in server.asked]
    assert decisions == [{"reason": "x"}] * 2
    assert len(hold.pop("idempotency_key")) == 43
    assert hold == {"reason": "x"}


@pytest.mark.usefixtures("signed_in")
def test_a_signed_release_names_each_hold(run: Run, server: Server) -> None:
    by = {"user_login": None, "session_name": "ada@example.com"}
    hold = {"rule": "r", "functions": ["*"], "reason": "x", "since": "2026-11-26T10:00:00Z", "by": by}
    held = {"stage": "prod", "holds": [hold | {"id": "A" * 26}, hold | {"id": "B" * 26}]}
    server.on("GET", "/iam/stages/prod/hold", Reply(200, held))
    server.on("DELETE", "/iam/stages/prod/hold", Reply(200, {"stage": "prod", "holds": []}))

    assert run("hold", "prod", "--release", "--auth", "iam").code == 0
    released = [asked.query for asked in server.asked if asked.method == "DELETE"]
    assert released == [f"id={'A' * 26}", f"id={'B' * 26}"]


# Renewal


def gateway_says(error_type: str, message: str) -> Reply:
    """A 403 of API Gateway itself, as AWS sends it without a template of its own."""
    return Reply(403, {"message": message}, {"x-amzn-ErrorType": error_type})


EXPIRED = gateway_says("ExpiredTokenException", "The security token included in the request is expired")


def test_credentials_that_expire_during_a_long_follow_are_renewed(
    signing: Callable[..., ApiClient], server: Server
) -> None:
    source = Source(FIRST, SECOND)
    server.on("GET", "/iam/deployments", EXPIRED, Reply(200, {"id": ID}))

    assert signing(source).get("deployments") == {"id": ID}

    [first, second] = server.asked
    assert KEY in first.headers["authorization"]
    assert SECOND.access_key in second.headers["authorization"]


def test_without_others_the_error_says_what_to_do(signing: Callable[..., ApiClient], server: Server) -> None:
    server.on("GET", "/iam/deployments", EXPIRED)

    with pytest.raises(ApiError) as raised:
        signing().get("deployments")

    assert raised.value.exit is ExitCode.REFUSED
    assert raised.value.document["code"] == "expired_session"
    assert "aws sso login" in str(hint("expired_session"))


def test_no_renewal_turns_a_request_that_may_have_had_an_effect_into_another_one(
    signing: Callable[..., ApiClient], server: Server
) -> None:
    source = Source(FIRST, SECOND)
    server.on("POST", "/iam/deployments", Reply(0, lost=True), EXPIRED)

    with pytest.raises(ApiError):
        signing(source).post("deployments", body={})

    assert source.renewed == 0
    assert len(server.asked) == 2


def test_the_attempts_of_one_request_have_the_same_credentials(
    signing: Callable[..., ApiClient], server: Server
) -> None:
    source = Source(FIRST)
    unavailable = Reply(503, problem(503, "unavailable", "not now"))
    server.on("POST", "/iam/deployments", unavailable, Reply(202, {}))

    signing(source).post("deployments", body={})

    assert len(source.lasting) == 1
    assert source.lasting[0] >= 300


# Web identity


class Sts:
    """STS's answer to AssumeRoleWithWebIdentity, or its error."""

    def __init__(self, *failures: Exception | None, clock: Callable[[], float] = time.time) -> None:
        self.failures = list(failures)
        self.asked: list[dict[str, Any]] = []
        self.clock = clock

    def assume_role_with_web_identity(self, **parameters: Any) -> dict[str, Any]:
        self.asked.append(parameters)
        failure = self.failures.pop(0) if self.failures else None
        if failure is not None:
            raise failure
        expires = datetime.fromtimestamp(self.clock() + parameters["DurationSeconds"], UTC)
        return {
            "Credentials": {
                "AccessKeyId": f"ASIA{len(self.asked):016}",
                "SecretAccessKey": SECRET,
                "SessionToken": SESSION,
                "Expiration": expires,
            }
        }


def of_sts(code: str, message: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, "AssumeRoleWithWebIdentity")


def test_a_session_is_as_short_as_it_can_be_and_named_for_the_job() -> None:
    sts = Sts()
    job = {"CI_PROJECT_ID": "4213", "CI_JOB_ID": "302"}
    source = WebIdentityCredentials(ROLE, STS_TOKEN, REGION, environment=job, client=lambda: sts)

    source.current(0)

    [asked] = sts.asked
    assert asked == {
        "RoleArn": ROLE,
        "RoleSessionName": "project-4213-job-302",
        "WebIdentityToken": STS_TOKEN,
        "DurationSeconds": 900,
    }


@pytest.mark.parametrize(
    "job", [{}, {"CI_PROJECT_ID": "4213"}, {"CI_PROJECT_ID": "4213", "CI_JOB_ID": "3;x"}]
)
def test_a_session_name_is_one_that_sts_takes(job: dict[str, str]) -> None:
    assert session_name(job) == "sluicegate"


def test_a_session_is_renewed_before_it_ends_and_not_for_each_request() -> None:
    now = [1_790_000_000.0]
    sts = Sts(clock=lambda: now[0])
    source = WebIdentityCredentials(
        ROLE, STS_TOKEN, REGION, environment={}, client=lambda: sts, clock=lambda: now[0]
    )

    for passed in (0, 300, 500):
        now[0] = 1_790_000_000.0 + passed
        source.current(300)
    assert len(sts.asked) == 1

    now[0] += 150  # 250 s are left: less than a request with its retries may take
    source.current(300)

    assert len(sts.asked) == 2


STS_CASES = [
    (
        "AccessDenied",
        "Not authorized to perform sts:AssumeRoleWithWebIdentity",
        "role_refused",
        ExitCode.REFUSED,
    ),
    ("InvalidIdentityToken", "Incorrect token audience", "sts_token_refused", ExitCode.REFUSED),
    (
        "InvalidIdentityToken",
        "No OpenIDConnect provider found in your account for https://gitlab.example.com",
        "sts_token_refused",
        ExitCode.REFUSED,
    ),
    ("ExpiredTokenException", "Token expired: current date/time …", "sts_token_refused", ExitCode.REFUSED),
    ("IDPCommunicationError", "IDP is unreachable", "sts_unavailable", ExitCode.UNAVAILABLE),
    ("RegionDisabledException", "STS is not activated", "role_refused", ExitCode.REFUSED),
    ("ValidationError", "DurationSeconds exceeds the MaxSessionDuration", "role_refused", ExitCode.REFUSED),
]


@pytest.mark.parametrize(("code", "message", "expected", "exit_code"), STS_CASES)
def test_what_sts_refuses_is_said_with_what_the_token_has(
    code: str, message: str, expected: str, exit_code: ExitCode
) -> None:
    source = WebIdentityCredentials(
        ROLE, STS_TOKEN, REGION, environment={}, client=lambda: Sts(of_sts(code, message))
    )

    with pytest.raises(ApiError) as raised:
        source.current(0)

    document = raised.value.document
    assert (document["code"], raised.value.exit) == (expected, exit_code)
    assert hint(expected)
    if expected == "sts_token_refused" or code == "AccessDenied":
        said = "iss https://gitlab.example.com, aud https://sts.example.com, sub project_path:acme/orders"
        assert said in document["detail"]
    assert "canary" not in json.dumps(document)


def test_sts_is_asked_in_the_api_s_region_with_no_signature(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_STS_REGIONAL_ENDPOINTS", "legacy")

    client = aws_credentials._sts_client("us-east-1")

    assert client.meta.endpoint_url == "https://sts.us-east-1.amazonaws.com"
    assert client._request_signer._credentials is None


# The chain


class Session:
    """A botocore session with prepared credentials, or an error."""

    def __init__(self, found: Any) -> None:
        self.found = found

    def get_credentials(self) -> Any:
        if isinstance(self.found, Exception):
            raise self.found
        return self.found


class Held:
    """Credentials that botocore has found. `failure` is what getting them raises."""

    method = "sso"

    def __init__(self, failure: Exception | None = None, expiry: datetime | None = None) -> None:
        self.failure = failure
        self._expiry_time = expiry

    def get_frozen_credentials(self) -> Any:
        if self.failure:
            raise self.failure
        return AwsCredentialsOfBotocore(KEY, SECRET, SESSION)


class AwsCredentialsOfBotocore:
    def __init__(self, access_key: str, secret_key: str, token: str) -> None:
        self.access_key, self.secret_key, self.token = access_key, secret_key, token


CHAIN_CASES: list[tuple[Exception, str]] = [
    (SSOTokenLoadError(error_msg="Token for canary does not exist"), "sign_in_expired"),
    (UnauthorizedSSOTokenError(), "sign_in_expired"),
    (of_sts("ExpiredTokenException", "canary"), "sign_in_expired"),
    (
        CredentialRetrievalError(provider="custom-process", error_msg="canary printed by a program"),
        "credentials_unavailable",
    ),
    (EndpointConnectionError(endpoint_url="https://sts.example.com/canary"), "credentials_unavailable"),
    (RuntimeError("Credentials were refreshed, but …"), "expired_session"),
]


@pytest.mark.parametrize(("failure", "code"), CHAIN_CASES)
def test_an_error_of_the_chain_says_what_to_do_and_repeats_nothing(failure: Exception, code: str) -> None:
    for session in (Session(Held(failure)), Session(failure)):
        if isinstance(failure, RuntimeError) and session.found is failure:
            continue
        with pytest.raises(ApiError) as raised:
            ChainCredentials(lambda session=session: session).current(0)  # type: ignore[misc]

        assert raised.value.document["code"] == code
        assert hint(code)
        assert "canary" not in json.dumps(raised.value.document)


def test_credentials_that_are_over_are_not_sent() -> None:
    over = datetime.fromtimestamp(time.time() - 1, UTC)

    with pytest.raises(ApiError) as raised:
        ChainCredentials(lambda: Session(Held(expiry=over))).current(0)  # type: ignore[arg-type,return-value]

    assert raised.value.document["code"] == "expired_session"


def test_the_expiry_is_what_botocore_knows() -> None:
    """botocore has no public name for it: this fails if the private one changes."""
    from botocore.credentials import RefreshableCredentials

    expiry = datetime(2030, 1, 1, tzinfo=UTC)
    found = RefreshableCredentials(KEY, SECRET, SESSION, expiry, dict, "sso")

    source = ChainCredentials(lambda: Session(found))  # type: ignore[arg-type,return-value]

    assert source.current(0).expires_at == expiry.timestamp()
    assert source.method == "sso"


def test_the_chain_is_walked_again_for_newer_ones() -> None:
    class Newer(Held):
        def get_frozen_credentials(self) -> Any:
            return AwsCredentialsOfBotocore("ASIANEWER", SECRET, SESSION)

    several = [Held(), Newer(), Newer()]
    source = ChainCredentials(lambda: Session(several.pop(0)))  # type: ignore[arg-type,return-value]

    assert source.renew()
    assert not source.renew()


def test_nothing_shows_a_secret_in_its_repr() -> None:
    assert "canary" not in repr(AwsCredentials("x", SECRET, SESSION, None))
    from sluicegate_cli.auth.authorization import BearerToken

    assert "canary" not in repr(BearerToken(TOKEN))


# The region


@pytest.mark.parametrize(
    ("url", "region"),
    [
        ("https://abcdefghij.execute-api.eu-central-1.amazonaws.com/v1", "eu-central-1"),
        ("https://abcdefghij.execute-api.us-gov-west-1.amazonaws.com/v1", "us-gov-west-1"),
        ("https://abcdefghij.execute-api.cn-north-1.amazonaws.com.cn/v1", "cn-north-1"),
        ("https://abcdefghij.execute-api.eu-west-1.api.aws/v1", "eu-west-1"),
        ("https://abcdefghij-vpce-0123.execute-api.eu-west-1.amazonaws.com/v1", "eu-west-1"),
        ("https://vpce-0123-abc.execute-api.eu-west-1.vpce.amazonaws.com/v1", "eu-west-1"),
        ("https://deploy.example.com/v1", None),
        ("https://execute-api.eu-central-1.amazonaws.com.example.com/v1", None),
        ("http://127.0.0.1:4566/restapis/abc/v1/_user_request_", None),
    ],
)
def test_the_region_of_an_address(url: str, region: str | None) -> None:
    assert region_of_url(url) == region


def test_the_region_of_the_address_counts_and_another_one_is_an_error() -> None:
    url = "https://abcdefghij.execute-api.eu-central-1.amazonaws.com/v1"

    assert signing_region(url, None, "us-east-1") == "eu-central-1"
    assert signing_region("https://deploy.example.com", "eu-west-1", "us-east-1") == "eu-west-1"
    with pytest.raises(click.BadParameter, match="eu-central-1"):
        signing_region(url, "us-east-1", None)
    with pytest.raises(click.BadParameter, match="does not look like a region"):
        signing_region("https://deploy.example.com", "eu_central_1", None)
    with pytest.raises(click.UsageError, match="--region"):
        signing_region("https://deploy.example.com", None, None)


# The commands


@pytest.mark.usefixtures("signed_in")
def test_a_command_with_credentials_of_the_environment(run: Run, server: Server) -> None:
    server.on("GET", f"/iam/deployments/{ID}", shown(succeeded()))

    ended = run("status", ID, "--auth", "iam")

    assert ended.code == 0, ended.err
    [asked] = server.asked
    assert refusal(asked, KEYS, region=REGION, now=time.time()) is None


@pytest.mark.usefixtures("signed_in")
def test_the_address_may_be_the_stack_s_output_for_signed_calls(
    run: Run, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLUICEGATE_URL", f"{server.url}/iam/")
    server.on("GET", f"/iam/deployments/{ID}", shown(succeeded()))

    assert run("status", ID, "--auth", "iam").code == 0


@pytest.mark.usefixtures("signed_in")
def test_the_way_can_be_chosen_by_the_environment(
    run: Run, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLUICEGATE_AUTH", "iam+token")
    monkeypatch.setenv("SLUICEGATE_ID_TOKEN", TOKEN)
    server.on("GET", f"/iam/deployments/{ID}", shown(succeeded()))

    assert run("status", ID).code == 0

    [asked] = server.asked
    assert asked.headers["sluicegate-id-token"] == TOKEN


def test_both_names_of_the_token_s_variable_are_read(
    run: Run, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.on("GET", f"/deployments/{ID}", shown(succeeded()))
    for name in ("SLUICEGATE_TOKEN", "SLUICEGATE_ID_TOKEN"):
        monkeypatch.setenv(name, TOKEN)
        assert run("status", ID).code == 0
        monkeypatch.delenv(name)

    assert {asked.headers["authorization"] for asked in server.asked} == {f"Bearer {TOKEN}"}


@pytest.mark.parametrize(
    ("file", "given", "earlier", "wins"),
    [
        ("of-a-file", "of-the-job", "of-earlier", "of-a-file"),
        (None, "of-the-job", "of-earlier", "of-the-job"),
        (None, "", "of-earlier", "of-earlier"),
    ],
)
def test_the_token_comes_from_a_file_then_its_variable_then_the_earlier_name(
    run: Run,
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    file: str | None,
    given: str,
    earlier: str,
    wins: str,
) -> None:
    server.on("GET", f"/deployments/{ID}", shown(succeeded()))
    monkeypatch.setenv("SLUICEGATE_ID_TOKEN", given)
    monkeypatch.setenv("SLUICEGATE_TOKEN", earlier)
    if file:
        (tmp_path / "token").write_text(file)

    assert run("status", ID, *(["--token-file", str(tmp_path / "token")] if file else [])).code == 0

    [asked] = server.asked
    assert asked.headers["authorization"] == f"Bearer {wins}"


USAGE: list[tuple[dict[str, str], tuple[str, ...], str]] = [
    ({}, ("--auth", "iam", "--region", REGION), "no AWS credentials"),
    ({"AWS_ACCESS_KEY_ID": KEY}, ("--auth", "iam", "--region", REGION), "incomplete"),
    ({"AWS_PROFILE": "nobody"}, ("--auth", "iam", "--region", REGION), "no profile"),
    ({"AWS_PROFILE": "nobody"}, ("--auth", "iam"), "no profile"),
    ({}, ("--auth", "iam"), "add --region"),
    ({"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}, ("--auth", "iam+token"), "no ID token"),
    ({}, ("--auth", "iam", "--role-arn", ROLE), "SLUICEGATE_STS_TOKEN"),
    ({"SLUICEGATE_STS_TOKEN": STS_TOKEN}, ("--auth", "iam"), "SLUICEGATE_ROLE_ARN"),
    (
        {"SLUICEGATE_STS_TOKEN": "two words", "SLUICEGATE_ROLE_ARN": ROLE},
        ("--auth", "iam", "--region", REGION),
        "is not one",
    ),
    (
        {"SLUICEGATE_STS_TOKEN": STS_TOKEN},
        ("--auth", "iam", "--role-arn", "caller"),
        "not the ARN",
    ),
    ({}, ("--auth", "iam", "--token-file", "-"), "--token-file is for"),
    ({"SLUICEGATE_AUTH": "sigv4"}, (), "'sigv4' is not one of"),
]


@pytest.mark.parametrize(("environment", "arguments", "said"), USAGE)
def test_what_is_missing_is_said_before_anything_is_sent(
    run: Run,
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
    arguments: tuple[str, ...],
    said: str,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    ended = run("whoami", *arguments)

    assert ended.code == 2, ended.err
    assert said in " ".join(ended.err.split())
    assert not server.asked
    assert not any(secret in ended.err + ended.out for secret in SECRETS)


GATEWAY = [
    ("MissingAuthenticationTokenException", "Missing Authentication Token", "not_signed"),
    (
        "InvalidSignatureException",
        "The request signature we calculated does not match the signature you provided. Check your AWS Secret"
        " Access Key and signing method. The Canonical String for this request should have been 'GET\n/v1'",
        "invalid_signature",
    ),
    (
        "IncompleteSignatureException",
        "Authorization header requires …",
        "invalid_signature",
    ),
    ("ExpiredTokenException", "The security token included in the request is expired", "expired_session"),
    (
        "UnrecognizedClientException",
        "The security token included in the request is invalid.",
        "credentials_unknown",
    ),
    (
        "AccessDeniedException",
        "User: arn:aws:sts::111111111111:assumed-role/x/y is not authorized to perform: execute-api:Invoke on"
        " resource: arn:aws:execute-api:eu-central-1:********1111:abcdefghij/v1/POST/iam/deployments",
        "access_denied",
    ),
    # A stage that is not there (OWASP/Serverless-Goat issue 14, October 2019).
    ("ForbiddenException", "Forbidden", "nothing_there"),
]


@pytest.mark.usefixtures("signed_in")
@pytest.mark.parametrize("by_header", [True, False])
@pytest.mark.parametrize(("error_type", "message", "code"), GATEWAY)
def test_what_api_gateway_refuses_is_said_in_our_words(
    run: Run, server: Server, error_type: str, message: str, code: str, by_header: bool
) -> None:
    if error_type == "IncompleteSignatureException" and not by_header:
        pytest.skip("its texts are many")
    headers = {"x-amzn-ErrorType": error_type} if by_header else {}
    server.on("GET", "/iam/whoami", Reply(403, {"message": message}, headers))

    ended = run("whoami", "--auth", "iam", "--json")

    assert ended.code == 3
    document = json.loads(ended.out)
    assert document["code"] == code
    assert str(hint(code)) in " ".join(ended.err.split())
    assert "Canonical String" not in ended.out + ended.err
    assert not any(secret in ended.err + ended.out for secret in SECRETS)


@pytest.mark.usefixtures("signed_in")
@pytest.mark.parametrize(("ahead", "word"), [(900, "behind"), (-900, "ahead of")])
def test_a_wrong_clock_is_told_from_a_wrong_key(run: Run, server: Server, ahead: float, word: str) -> None:
    server.clock = lambda: time.time() + ahead
    message = "Signature expired: 20260101T000000Z is now earlier than 20260101T001000Z"
    server.on("GET", "/iam/whoami", gateway_says("InvalidSignatureException", message))

    ended = run("whoami", "--auth", "iam", "--json")

    document = json.loads(ended.out)
    assert document["code"] == "clock_wrong"
    assert f"15 min {word} the API's" in document["detail"]
    assert "NTP" in ended.err


@pytest.mark.usefixtures("signed_in")
@pytest.mark.parametrize("code", ["session_used", "person_unknown"])
def test_refusals_of_signed_callers_have_advice(run: Run, server: Server, code: str) -> None:
    status = 409 if code == "session_used" else 403
    server.on("GET", "/iam/whoami", Reply(status, problem(status, code, "as the API says it")))

    ended = run("whoami", "--auth", "iam")

    assert ended.code == (4 if status == 409 else 3)
    assert "hint: " in ended.err


@pytest.mark.usefixtures("signed_in")
def test_a_key_of_a_deployment_is_one_that_the_body_may_have(run: Run, server: Server) -> None:
    server.on("POST", "/iam/deployments", shown(publishing(), 202))
    deploy = ("deploy", "orders-api", "dev", "--artifact", "ab" * 32, "--no-wait", "--auth", "iam")

    assert run(*deploy, "--idempotency-key", "too short").code == 2
    assert not server.asked

    assert run(*deploy, "--idempotency-key", "release-v1.4.0-dev").code == 2  # a dot
    assert run(*deploy, "--idempotency-key", "release-v1-4-0-dev").code == 0
    assert server.asked[0].json["idempotency_key"] == "release-v1-4-0-dev"


def test_help_and_the_way_by_token_import_no_boto3() -> None:
    """The command line must stay quick without it."""
    code = (
        "import sys\n"
        "from sluicegate_cli.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print(sorted(n for n in sys.modules if n in ('boto3', 'botocore')))"
    )
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path)}
    environment |= {"SLUICEGATE_URL": "http://deploy.example.com/v1", "SLUICEGATE_ID_TOKEN": TOKEN}

    for arguments in (("whoami", "--help"), ("whoami", "--auth", "token", "--token-file", "/nowhere")):
        ended = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        assert ended.stdout.splitlines()[-1] == "[]"


# whoami

PRINCIPAL = {
    "account": "111111111111",
    "principal_id": "AROACALLER11111111111",
    "principal_type": "role",
    "role": "sluicegate-caller",
    "session_name": "project-4213-job-302",
}
SIGNED: dict[str, Any] = {
    "via": "iam",
    "actor": "pipeline",
    "issuer": "",
    "project_id": None,
    "expires_at": None,
    "principal": "arn:aws:sts::111111111111:assumed-role/sluicegate-caller/project-4213-job-302",
    "claims": PRINCIPAL,
    "rules": [],
}


@pytest.mark.usefixtures("signed_in")
def test_whoami_confirms_who_signed_and_until_when(
    run: Run, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(
        "AWS_CREDENTIAL_EXPIRATION", datetime.fromtimestamp(time.time() + 1800, UTC).isoformat()
    )
    server.on("GET", "/iam/whoami", Reply(200, SIGNED))

    ended = run("whoami", "--auth", "iam")

    assert ended.code == 0, ended.err
    head, validity, signed_as, *rest = ended.out.splitlines()
    assert signed_as == f"signed as {SIGNED['principal']}"
    assert head == "role sluicegate-caller/project-4213-job-302 of 111111111111"
    assert validity == "by iam, as a pipeline; the credentials (from env) are valid for 30 min"
    assert [line.split()[0] for line in rest[2:7]] == list(PRINCIPAL)

    document = json.loads(run("whoami", "--auth", "iam", "--json").out)
    assert document["credentials"]["source"] == "env"
    assert document["expires_at"] == document["credentials"]["expires_at"] != None  # noqa: E711


@pytest.mark.usefixtures("signed_in")
@pytest.mark.parametrize("expires_at", [None, "1970-01-01T00:00:00.000Z"])
def test_an_expiry_that_nobody_knows_is_called_that(run: Run, server: Server, expires_at: str | None) -> None:
    server.on("GET", "/iam/whoami", Reply(200, SIGNED | {"expires_at": expires_at}))

    ended = run("whoami", "--auth", "iam")
    document = json.loads(run("whoami", "--auth", "iam", "--json").out)

    assert "when the credentials (from env) expire is not known here" in ended.out
    assert document["expires_at"] is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"principal_type": "sso", "session_name": "ada@example.com"},
            "ada@example.com (Identity Center) of 111111111111",
        ),
        (
            {"principal_type": "user", "arn": "arn:aws:iam::111111111111:user/x/bob"},
            "user bob of 111111111111",
        ),
        ({"session_name": None}, "role sluicegate-caller of 111111111111"),
        ({"role": None}, "role AROACALLER11111111111/project-4213-job-302 of 111111111111"),
        ({"project_id": "4213", "project_path": "acme/orders", "user_login": "ada"}, "ada, acme/orders"),
    ],
)
def test_a_requester_with_credentials_is_described(changes: dict[str, Any], said: str) -> None:
    assert describe.requester(PRINCIPAL | changes) == said


def test_a_person_who_has_signed_in_is_described() -> None:
    grace = {"via": "session", "user_login": "grace", "user_id": "8", "project_id": None, "job_id": None}
    assert describe.requester(grace) == "grace, signed in"
    assert describe.requester(grace | {"user_login": None}) == "user 8, signed in"


@pytest.mark.usefixtures("signed_in")
def test_the_template_s_own_texts_are_kept_and_a_denial_before_the_rules_is_told_from_theirs(
    run: Run, server: Server
) -> None:
    for code, detail, expected in (
        ("invalid_signature", "sign exactly what is sent", "invalid_signature"),
        ("not_allowed", "refused before Sluicegate was asked: the API's …", "access_denied"),
        ("not_allowed", "refused before Sluicegate was asked, by the API's web ACL", "not_allowed"),
        ("not_allowed", "no rule allows deploy", "not_allowed"),
    ):
        server.on("GET", "/iam/whoami", Reply(403, problem(403, code, detail)))

        document = json.loads(run("whoami", "--auth", "iam", "--json").out)

        assert (document["code"], document["detail"]) == (expected, detail)
