"""The stand stands in for GitLab and AWS; these are the ways in which it has to be like them."""

import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx2
import jwt
import pytest

from sluicegate.oidc.identity import Issuer as TrustedIssuer
from sluicegate.oidc.jwks import Keyring
from sluicegate.oidc.token import verify
from stand.claims import job_claims, retried
from stand.emulator_versions import qualifier_of
from stand.gitlab import DISCOVERY, KEYS, BucketHandler, GitLab, Handler, Server
from stand.issuer import Issuer
from stand.launch_emulator import (
    closed_token,
    failed_records,
    is_for_api,
    is_timeout,
    lambda_call,
    wrong_weights,
)
from stand.webhooks import Hook

AUDIENCE = "https://deploy.example.com"


@pytest.fixture
def gitlab() -> Iterator[Issuer]:
    with Server(("127.0.0.1", 0), Handler) as server:
        url = f"http://127.0.0.1:{server.server_address[1]}"
        server.RequestHandlerClass = type("Instance", (Handler,), {"gitlab": GitLab(url, AUDIENCE)})
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield Issuer(url)
        server.shutdown()


def verified(gitlab: Issuer, token: str) -> dict[str, object]:
    """The claims, if a key that is published by its `kid` signed them."""
    key = jwt.PyJWKClient(gitlab.url + KEYS).get_signing_key_from_jwt(token)
    claims: dict[str, object] = jwt.decode(token, key.key, algorithms=["RS256"], audience=AUDIENCE)
    return claims


def test_discovery_names_the_issuer_and_its_keys(gitlab: Issuer) -> None:
    discovery = httpx2.get(gitlab.url + DISCOVERY).json()
    assert (discovery["issuer"], discovery["jwks_uri"]) == (gitlab.url, gitlab.url + KEYS)


def test_a_token_is_signed_by_a_published_key(gitlab: Issuer) -> None:
    claims = verified(gitlab, gitlab.token({"ref": "v1.2.3"}))
    assert claims["sub"] == "project_path:acme/orders:ref_type:tag:ref:v1.2.3"


def test_a_token_of_an_older_key_verifies_until_the_key_is_gone(gitlab: Issuer) -> None:
    before = gitlab.token({})
    gitlab.rotate()
    assert verified(gitlab, before)
    assert verified(gitlab, gitlab.token({}))
    gitlab.rotate(keep=0)
    with pytest.raises(jwt.PyJWKClientError):
        verified(gitlab, before)


def test_a_payload_is_signed_byte_for_byte(gitlab: Issuer) -> None:
    token = gitlab.sign('{"ref": "a", "ref": "b", "exp": 1e9}')
    assert jwt.utils.base64url_decode(token.split(".")[1]) == b'{"ref": "a", "ref": "b", "exp": 1e9}'


def test_a_failing_gitlab_is_well_again_afterwards(gitlab: Issuer) -> None:
    with gitlab.failing("down"), pytest.raises(httpx2.RemoteProtocolError):
        httpx2.get(gitlab.url + KEYS)
    with gitlab.failing("answer", status=503, path=KEYS):
        assert httpx2.get(gitlab.url + KEYS).status_code == 503
        assert httpx2.get(gitlab.url + DISCOVERY).status_code == 200
    assert httpx2.get(gitlab.url + KEYS).status_code == 200
    assert gitlab.requests() == {KEYS: 3, DISCOVERY: 1}


def test_ids_are_strings_but_the_runners() -> None:
    claims = job_claims("https://gitlab.example.com", AUDIENCE, {})
    ids = {name: value for name, value in claims.items() if name.endswith("_id")}
    assert {name for name, value in ids.items() if not isinstance(value, str)} == {"runner_id"}


def test_claims_follow_from_those_that_are_given() -> None:
    given = {"ref": "main", "ref_type": "branch", "project_path": "acme/other", "iat": 1_800_000_000}
    claims = job_claims("https://gitlab.example.com", AUDIENCE, given)
    assert claims["ref_path"] == "refs/heads/main"
    assert claims["sub"] == "project_path:acme/other:ref_type:branch:ref:main"
    assert claims["ci_config_ref_uri"] == "gitlab.example.com/acme/other//.gitlab-ci.yml@refs/heads/main"
    assert (claims["nbf"], claims["exp"]) == (1_799_999_995, 1_800_003_600)


def test_a_claim_given_as_null_is_left_out() -> None:
    assert "jti" not in job_claims("https://gitlab.example.com", AUDIENCE, {"jti": None})


@pytest.mark.parametrize(
    ("method", "path", "action"),
    [
        ("GET", "orders/aliases", "ListAliases"),
        ("POST", "orders/aliases", "CreateAlias"),
        ("GET", "orders/aliases/prod", "GetAlias"),
        ("PUT", "orders/aliases/prod", "UpdateAlias"),
        ("DELETE", "orders/aliases/prod", "DeleteAlias"),
        ("PATCH", "orders/aliases/prod", None),
        ("GET", "orders/provisioned-concurrency", "GetProvisionedConcurrencyConfig"),
        ("PUT", "orders/provisioned-concurrency", "PutProvisionedConcurrencyConfig"),
        ("DELETE", "orders/provisioned-concurrency", "DeleteProvisionedConcurrencyConfig"),
        ("GET", "orders/concurrency", "GetFunctionConcurrency"),
        ("GET", "orders/event-invoke-config/list", "ListFunctionEventInvokeConfigs"),
        ("GET", "orders/durable-executions", "ListDurableExecutionsByFunction"),
        ("GET", "aliases", None),
        ("PUT", "orders/code", None),
    ],
)
def test_lambda_calls_are_authorised_as_what_they_are(method: str, path: str, action: str | None) -> None:
    assert lambda_call(method, f"/2015-03-31/functions/{path}") == action


@pytest.mark.parametrize(
    ("method", "path", "query", "qualifier"),
    [
        ("DELETE", "orders", {"Qualifier": ["7"]}, "7"),
        ("DELETE", "orders", {"Qualifier": "$LATEST"}, "$LATEST"),
        ("DELETE", "orders", {}, ""),
        ("GET", "orders/policy", {"Qualifier": "7"}, "7"),
        ("GET", "orders", {"Qualifier": "7"}, ""),
        ("DELETE", "orders/aliases/prod", {"Qualifier": "7"}, ""),
    ],
)
def test_calls_about_one_version_are_authorised_on_it(
    method: str, path: str, query: dict[str, Any], qualifier: str
) -> None:
    assert qualifier_of(method, f"/2015-03-31/functions/{path}", query) == qualifier


@pytest.mark.parametrize(
    ("version", "weights", "possible"),
    [
        ("1", {}, True),
        ("$LATEST", {}, True),
        ("1", {"2": 0.1}, True),
        ("1", {"2": 1.0}, True),
        ("1", {"2": 1.1}, False),
        ("1", {"1": 0.1}, False),
        ("1", {"2": 0.1, "3": 0.1}, False),
        ("$LATEST", {"2": 0.1}, False),
        ("1", {"$LATEST": 0.1}, False),
    ],
)
def test_an_alias_takes_one_other_version(version: str, weights: dict[str, float], possible: bool) -> None:
    assert (wrong_weights(version, weights) is None) is possible


@pytest.mark.parametrize(
    ("seconds", "is_one"),
    [(1, True), (5.0, True), (99_999_999, True), (0, False), (1.5, False), (True, False), ("5", False)],
)
def test_a_timeout_is_a_whole_number_of_seconds(seconds: object, is_one: bool) -> None:
    assert is_timeout(seconds) is is_one


@pytest.mark.parametrize(
    ("token", "code"),
    [("3dd33907-f05a-4405-8cfe-cde3fc006f26", "TaskTimedOut"), ("AQBTtoken", "InvalidToken")],
)
def test_a_token_that_nobody_waits_for_is_refused_as_what_it_is(token: str, code: str) -> None:
    assert closed_token(token)[0] == code


@pytest.mark.parametrize(
    ("body", "failed"),
    [
        ({"batchItemFailures": [{"itemIdentifier": "1"}]}, True),
        ('{"batchItemFailures": [{"itemIdentifier": "1"}]}', True),
        ({"batchItemFailures": []}, False),
        (None, False),
        ("no JSON", False),
        ([], False),
    ],
)
def test_failed_records_are_those_that_the_function_names(body: object, failed: bool) -> None:
    assert failed_records({"body": body}) is failed


@pytest.mark.parametrize(
    ("path", "authorization", "expected"),
    [
        ("/v1/health", None, True),
        ("/v1/deployments", b"Bearer e30.e30.e30", True),
        ("/v1/deployments", b"AWS4-HMAC-SHA256 Credential=A/20260101/x/execute-api/aws4_request", True),
        ("/v1/apis", b"AWS4-HMAC-SHA256 Credential=A/20260101/x/appsync/aws4_request", False),
        ("/v10/health", None, False),
        ("/2015-03-31/functions", None, False),
    ],
)
def test_what_is_meant_for_the_api_reaches_it(path: str, authorization: bytes | None, expected: bool) -> None:
    headers = [] if authorization is None else [(b"authorization", authorization)]
    assert is_for_api({"path": path, "headers": headers}) is expected


def test_a_gitlab_may_sign_with_the_address_of_a_bucket() -> None:
    """Setting `ci_id_tokens_issuer_url`: keys are in the bucket, and nothing else is."""
    with Server(("127.0.0.1", 0), BucketHandler) as server:
        bucket = f"http://127.0.0.1:{server.server_address[1]}"
        made = GitLab(bucket, AUDIENCE, "https://gitlab.internal.example.com")
        server.RequestHandlerClass = type("Bucket", (BucketHandler,), {"gitlab": made})
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        answer = httpx2.get(bucket + KEYS)
        assert answer.headers["content-type"] == "binary/octet-stream"
        assert httpx2.get(f"{bucket}/api/v4/projects").status_code == 403
        corp = TrustedIssuer("corp", bucket, AUDIENCE, gitlab_url=made.address)
        bearer = [f"Bearer {made.token({})}"]
        identity = verify(bearer, issuers={bucket: corp}, keys=Keyring(), now=time.time())
        assert (identity.issuer, corp.instance) == (bucket, "https://gitlab.internal.example.com")
        server.shutdown()


def test_a_retried_job_keeps_what_its_pipeline_knew_of_the_ref() -> None:
    first = job_claims("https://gitlab.example.com", AUDIENCE, {"ref_protected": "false"})
    again = retried(first)
    kept = ("pipeline_id", "ref", "sha", "ref_protected", "pipeline_source")
    assert {name: again[name] for name in kept} == {name: first[name] for name in kept}
    assert again["job_id"] != first["job_id"]
    assert "jti" not in again


def test_a_hook_that_fails_is_backed_off_from_and_disabled_at_last() -> None:
    hook, now, waits = Hook(), 1000.0, []
    for failure in range(1, 41):
        assert hook.is_enabled(now)
        hook.record(503 if failure % 2 else 400, now)
        waits.append(round(hook.disabled_until - now) if failure > 3 else 0)
        assert hook.is_enabled(now) is (failure < 4)
        now = max(now, hook.disabled_until) + 1
    assert waits[:8] == [0, 0, 0, 60, 120, 240, 480, 960]
    assert waits[-1] == 86_400
    assert not hook.is_enabled(now)


def test_a_hook_that_answers_well_is_forgiven() -> None:
    hook = Hook()
    for status in (500, 0, 404, 200, 503, 503, 503):
        hook.record(status, 1000.0)
    assert (hook.failures, hook.is_enabled(1000.0)) == (3, True)
