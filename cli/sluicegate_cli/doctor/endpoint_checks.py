"""Check the API from outside, and each GitLab from the gateway's side.

The gateway itself is asked whether it reaches a GitLab: a made-up token that names the issuer, signed by
nobody, is refused in one of two ways. 401 with the check `kid` means that the gateway has just fetched the
issuer's keys and that this one is not among them; 503 means that it could not fetch them (security.md#keys).
No real token is involved, nothing is allowed or stored, and one call causes at most one fetch.
"""

import base64
import json
import secrets
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import urlsplit

import httpx2

from sluicegate.gate.policy import Gate
from sluicegate.oidc.identity import Issuer
from sluicegate_cli.api import ApiClient, http_client, is_loopback
from sluicegate_cli.doctor import api_checks
from sluicegate_cli.doctor.aws_calls import CouldNotCheck
from sluicegate_cli.doctor.findings import API, CheckVerdict, Finding
from sluicegate_cli.errors import ApiError

REACHED: Final = "the gateway reaches GitLab"
GATEWAY_RESPONSES: Final = "API Gateway's own responses are problem details"

_TIMEOUT: Final = httpx2.Timeout(connect=5, read=32, write=10, pool=5)
_PROBLEM: Final = "application/problem+json"


def of_health(url: str) -> tuple[Finding, float]:
    """Check that Sluicegate answers there; return the finding and the API's clock in epoch seconds."""
    with ApiClient(url, "", attempts=1) as api:
        try:
            return api_checks.of_health(api.get("health"), url), api.now()
        except ApiError as error:
            finding = api_checks.of_health_error(error.document, url)
            if finding.check != API:
                finding = Finding(API, finding.verdict, finding.seen, finding.change)
            return finding, api.now()


def of_output(output: str, url: str) -> Iterator[Finding]:
    """Compare the address that was given with the stack's own."""
    if url.rstrip("/") != output.rstrip("/"):
        seen = f"checked at {url}, and not at the stack's output `Endpoint`, {output}"
        yield Finding(
            API, CheckVerdict.WARNING, seen, "That is right for a custom domain, and wrong otherwise."
        )


def of_gateway_responses(url: str) -> Iterator[Finding]:
    """Read how API Gateway itself answers where no method exists: what type, and which status."""
    with http_client(url, _TIMEOUT) as http:
        try:
            answer = http.get(f"{url}/no-such-path")
        except httpx2.HTTPError as error:
            seen = f"could not check: {type(error).__name__}"
            yield Finding(GATEWAY_RESPONSES, CheckVerdict.UNKNOWN, seen)
            return
    kind = answer.headers.get("content-type", "none")
    seen = f"an unknown path is answered with {answer.status_code} and content type {kind}"
    if answer.status_code == 403 and kind.partition(";")[0].strip().lower() == _PROBLEM:
        yield Finding(GATEWAY_RESPONSES, CheckVerdict.OK, seen)
    else:
        change = f"403 and {_PROBLEM} were expected. Clients work; please report it."
        yield Finding(GATEWAY_RESPONSES, CheckVerdict.WARNING, seen, change)


def of_issuers(url: str, gate: Gate, now: float) -> Iterator[Finding]:
    """Ask the gateway for each issuer of the deployed gate file; `now` is by the API's clock."""
    for issuer in gate.issuers.values():
        if issuer.jwks is not None:
            seen = f"{issuer.url}: its keys are in the gate file, nothing is fetched"
            yield Finding(REACHED, CheckVerdict.OK, seen)
        else:
            yield _of_issuer(url, issuer, now)


def _of_issuer(url: str, issuer: Issuer, now: float) -> Finding:
    with ApiClient(url, _made_up(issuer, now), attempts=1) as api:
        try:
            api.get("whoami")
        except ApiError as error:
            return _of_refusal(issuer.url, error.document)
    # Impossible, unless the address is not the gateway's: the token is signed by nobody.
    return Finding(REACHED, CheckVerdict.WRONG, f"{url} accepts a token that nobody signed", api_checks.REACH)


def _of_refusal(issuer: str, document: Any) -> Finding:
    code, check = document.get("code"), document.get("check")
    if code == "invalid_token" and check == "kid":
        return Finding(REACHED, CheckVerdict.OK, f"it fetched the keys of {issuer}")
    if code == "unavailable":
        change = (
            "Open that GitLab's /.well-known/openid-configuration and /oauth/discovery/keys to AWS, or add"
            " its keys to the gate file (`jwks: FILE`). The gateway's log has the reason: `keys of … not"
            " fetched`."
        )
        seen = f"the gateway cannot fetch the keys of {issuer}: {document.get('detail')}"
        return Finding(REACHED, CheckVerdict.WRONG, seen, change)
    seen = f"could not check {issuer}: the API answered {code} {check or ''}".rstrip()
    return Finding(REACHED, CheckVerdict.UNKNOWN, seen)


def _made_up(issuer: Issuer, now: float) -> str:
    """Return a token that passes every check before the signature, with a key id that no GitLab has."""
    claims = {
        "iss": issuer.url,
        "aud": issuer.audience,
        "iat": int(now) - 1,
        "nbf": int(now) - 6,
        "exp": int(now) + 60,
        "jti": f"sluicegate-doctor-{secrets.token_hex(8)}",
        "sub": "sluicegate-doctor",
        "ref": "sluicegate-doctor",
        "ref_type": "branch",
        "pipeline_source": "api",
        "project_id": "0",
        "pipeline_id": "0",
        "job_id": "0",
    }
    header = {"alg": "RS256", "typ": "JWT", "kid": f"sluicegate-doctor-{secrets.token_hex(8)}"}
    parts = [json.dumps(one, separators=(",", ":")).encode() for one in (header, claims)]
    return ".".join(_base64url(part) for part in (*parts, secrets.token_bytes(256)))


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def download(url: str, most: int) -> bytes:
    """Return what a presigned URL of AWS leads to, at most so many bytes. Raises CouldNotCheck."""
    if urlsplit(url).scheme != "https" and not is_loopback(url):
        raise CouldNotCheck("the layer's address is not https")
    data = bytearray()
    try:
        with (
            http_client(url, _TIMEOUT) as http,
            http.stream("GET", url) as answer,
        ):
            if not answer.is_success:
                raise CouldNotCheck(f"the layer's download was answered with {answer.status_code}")
            for chunk in answer.iter_bytes():
                data += chunk
                if len(data) > most:
                    raise CouldNotCheck("the layer of the gate file is larger than a gate file's")
    except httpx2.HTTPError as error:
        # Its text would have the presigned URL.
        raise CouldNotCheck(f"the layer could not be downloaded: {type(error).__name__}") from None
    return bytes(data)
