"""Verify a signed request as API Gateway does, written from the specification and independent of botocore.

Sources: AWS IAM user guide, "Create a signed AWS API request" (canonical request; every service but S3
encodes the path twice); the texts of refusals: AWS re:Post, "How do I troubleshoot signature mismatch errors
when making SigV4 signed requests with IAM authentication to API Gateway?". Both read on 26 November 2026.
What API Gateway answers to a signature that does not match quotes the canonical request, with the session's
token and every other signed header: recorded in mhart/aws4#33 and aws/aws-sdk-js#2372 (both `execute-api`).
"""

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote, unquote

from support.cli_server import ReceivedRequest

_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<key>[A-Z0-9]+)/(?P<date>[0-9]{8})/(?P<region>[a-z0-9-]+)"
    r"/(?P<service>[a-z-]+)/aws4_request, SignedHeaders=(?P<headers>[a-z0-9;-]+), "
    r"Signature=(?P<sign>[0-9a-f]{64})"
)
_TOLERANCE = 300  # seconds


@dataclass(frozen=True)
class IssuedKey:
    """What AWS knows of an access key. `token`: of a session; `expires` in epoch seconds."""

    secret: str
    token: str = ""
    expires: float = float("inf")


def refusal(
    asked: ReceivedRequest, keys: Mapping[str, IssuedKey], *, region: str, now: float, base: str = "/v1"
) -> tuple[str, str] | None:
    """Return AWS's error type and text for a request, or None for one that is signed right."""
    given = asked.headers.get("authorization", "")
    if not given.startswith("AWS4-HMAC-SHA256 "):
        return "MissingAuthenticationTokenException", "Missing Authentication Token"
    found = _AUTHORIZATION.fullmatch(given)
    if found is None:
        return "IncompleteSignatureException", "Authorization header requires 'Credential' parameter."
    key = keys.get(found["key"])
    if key is None or key.token != asked.headers.get("x-amz-security-token", ""):
        return "UnrecognizedClientException", "The security token included in the request is invalid."
    if now >= key.expires:
        return "ExpiredTokenException", "The security token included in the request is expired"
    stamp = asked.headers["x-amz-date"]
    signed_at = datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    if abs(now - signed_at) > _TOLERANCE:
        return "InvalidSignatureException", f"Signature expired: {stamp} is now earlier than …"
    if (found["region"], found["service"]) != (region, "execute-api"):
        return "InvalidSignatureException", "Credential should be scoped to a valid region."
    names = found["headers"].split(";")
    must = {name for name in asked.headers if name.startswith("x-amz-")} | {"host", "x-amz-date"}
    if names != sorted(set(names)) or not must <= set(names) <= asked.headers.keys():
        return "InvalidSignatureException", "'Host' must be a 'SignedHeader' in the AWS Authorization."
    if found["date"] != stamp[:8]:
        return "InvalidSignatureException", "Date in Credential scope does not match YYYYMMDD from date."
    scope = f"{found['date']}/{region}/execute-api/aws4_request"
    canonical = _canonical(asked, names, base)
    text = "\n".join(("AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(canonical).hexdigest()))
    secret = f"AWS4{key.secret}".encode()
    for part in (found["date"], region, "execute-api", "aws4_request", text):
        secret = hmac.new(secret, part.encode(), hashlib.sha256).digest()
    if secret.hex() != found["sign"]:
        return "InvalidSignatureException", (
            "The request signature we calculated does not match the signature you provided. Check your AWS"
            " Secret Access Key and signing method. Consult the service documentation for details.\n\nThe"
            f" Canonical String for this request should have been\n'{canonical.decode()}'\n"
        )
    return None


def signed_headers(asked: ReceivedRequest) -> list[str]:
    """Return the names of the headers that the signature covers."""
    found = _AUTHORIZATION.fullmatch(asked.headers["authorization"])
    assert found is not None
    return found["headers"].split(";")


def _canonical(asked: ReceivedRequest, names: list[str], base: str) -> bytes:
    path = "/".join(quote(part, safe="-_.~") for part in f"{base}{asked.path}".split("/"))
    # API Gateway decodes the query and encodes it again: a plus is a space there.
    pairs = [pair.partition("=") for pair in asked.query.split("&") if pair]
    query = "&".join(sorted(f"{_encoded(name)}={_encoded(value)}" for name, _, value in pairs))
    headers = "".join(f"{name}:{' '.join(asked.headers[name].split())}\n" for name in names)
    digest = hashlib.sha256(asked.body).hexdigest()
    return "\n".join((asked.method, path, query, headers, ";".join(names), digest)).encode()


def _encoded(text: str) -> str:
    return quote(unquote(text.replace("+", " ")), safe="-_.~")
