"""Translate between API Gateway's proxy events and the gateway's own requests and responses."""

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

IAM: Final = "/iam"
"""How the resources begin that API Gateway authorizes by an AWS signature (`AWS_IAM`)."""


@dataclass(frozen=True)
class GatewayRequest:
    """A request as it arrived. Header names are in lower case; every value that was sent is there.

    `request_context` is API Gateway's own, which no caller writes.
    """

    method: str
    resource: str
    path: Mapping[str, str]
    query: Mapping[str, list[str]]
    headers: Mapping[str, list[str]]
    body: bytes
    request_id: str
    request_context: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def is_signed(self) -> bool:
        """Whether API Gateway authorized it by an AWS signature: the resource that it matched says so."""
        return self.resource.startswith(f"{IAM}/")

    @property
    def base(self) -> str:
        """The path of the API by the caller's way in, without the host."""
        return f"/v1{IAM}" if self.is_signed else "/v1"

    def header(self, name: str) -> str:
        """Return the header's first value, or "" if it was not sent."""
        return (self.headers.get(name) or [""])[0]

    @property
    def wants_text(self) -> bool:
        """Whether `Accept` asks for text/plain: the first of the two types that it names decides."""
        for part in ",".join(self.headers.get("accept", [])).lower().split(","):
            match part.split(";")[0].strip():
                case "text/plain" | "text/*":
                    return True
                case "application/json" | "application/*" | "*/*":
                    return False
        return False


@dataclass(frozen=True)
class GatewayResponse:
    """A response in both forms: `value` for JSON, `lines` for shells."""

    status: int
    value: Any
    lines: tuple[str, ...]
    headers: Mapping[str, str] = field(default_factory=dict)


def read_event(event: Mapping[str, Any]) -> GatewayRequest:
    """Return the request in a REST API's proxy event (format 1.0).

    A body that is declared base64 and is not is read as empty.
    """
    headers: dict[str, list[str]] = {}
    for name, values in (event.get("multiValueHeaders") or {}).items():
        headers.setdefault(name.lower(), []).extend(values)
    request_context = event.get("requestContext") or {}
    return GatewayRequest(
        method=event["httpMethod"],
        resource=event["resource"],
        path=event.get("pathParameters") or {},
        query=event.get("multiValueQueryStringParameters") or {},
        headers=headers,
        body=_body(event),
        request_id=str(request_context.get("requestId", "")),
        request_context=request_context,
    )


def _body(event: Mapping[str, Any]) -> bytes:
    body = event.get("body") or ""
    if not event.get("isBase64Encoded"):
        # A lone surrogate survives here so that the strict parser refuses it.
        return str(body).encode("utf-8", "surrogatepass")
    try:
        return base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError):
        return b""


def proxy_response(response: GatewayResponse, *, text: bool) -> dict[str, Any]:
    """Return the proxy response. Nothing is cached, and no content type is guessed."""
    if text:
        kind, body = "text/plain; charset=utf-8", "".join(f"{line}\n" for line in response.lines)
    else:
        kind = "application/problem+json" if response.status >= 400 else "application/json"
        body = json.dumps(response.value, ensure_ascii=False, separators=(",", ":"))
    headers = {
        "Content-Type": kind,
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
        **response.headers,
    }
    return {"statusCode": response.status, "headers": headers, "body": body, "isBase64Encoded": False}
