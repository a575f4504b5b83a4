"""The stand stands in for GitLab and AWS; these are the ways in which it has to be like them."""

import threading
from collections.abc import Iterator

import httpx
import jwt
import pytest
from stand.claims import job_claims
from stand.gitlab import DISCOVERY, KEYS, GitLab, Handler, Server
from stand.issuer import Issuer
from stand.launch_emulator import alias_action, is_for_api, reports_failures

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
    told = httpx.get(gitlab.url + DISCOVERY).json()
    assert (told["issuer"], told["jwks_uri"]) == (gitlab.url, gitlab.url + KEYS)


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
    with gitlab.failing("down"), pytest.raises(httpx.RemoteProtocolError):
        httpx.get(gitlab.url + KEYS)
    with gitlab.failing("answer", status=503, path=KEYS):
        assert httpx.get(gitlab.url + KEYS).status_code == 503
        assert httpx.get(gitlab.url + DISCOVERY).status_code == 200
    assert httpx.get(gitlab.url + KEYS).status_code == 200
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
    ("method", "named", "action"),
    [
        ("GET", False, "ListAliases"),
        ("POST", False, "CreateAlias"),
        ("GET", True, "GetAlias"),
        ("PUT", True, "UpdateAlias"),
        ("DELETE", True, "DeleteAlias"),
        ("PATCH", True, None),
    ],
)
def test_alias_calls_are_authorised_as_what_they_are(method: str, named: bool, action: str | None) -> None:
    assert alias_action(method, named=named) == action


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


STREAMED = {"Records": [{"eventSource": "aws:dynamodb"}]}
FAILED = {"body": {"batchItemFailures": [{"itemIdentifier": "1"}]}}


@pytest.mark.parametrize(
    ("event", "result", "again"),
    [
        (STREAMED, FAILED, True),
        (STREAMED, {"body": {"batchItemFailures": []}}, False),
        (STREAMED, {"body": None}, False),
        ({"Records": [{"eventSource": "aws:sqs"}]}, FAILED, False),
        ({"Records": []}, FAILED, False),
        ({"id": "x"}, FAILED, False),
        (None, FAILED, False),
    ],
)
def test_what_a_function_reports_of_a_stream_comes_again(
    event: object, result: dict[str, object], again: bool
) -> None:
    assert reports_failures(event, result) is again
