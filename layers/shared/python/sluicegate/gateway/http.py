"""Between API Gateway's proxy events and the gateway's own values."""

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sluicegate.gateway.problems import Problem


@dataclass(frozen=True)
class Call:
    """A request as it arrived. Header names are in lower case; every value that was sent is there."""

    method: str
    resource: str
    path: Mapping[str, str]
    query: Mapping[str, list[str]]
    headers: Mapping[str, list[str]]
    body: bytes
    request_id: str

    def header(self, name: str) -> str:
        """The header's only or first value, empty where it was not sent."""
        return (self.headers.get(name) or [""])[0]

    @property
    def wants_text(self) -> bool:
        """Whether `Accept` asks for text/plain: the first of the two that it names decides."""
        for part in ",".join(self.headers.get("accept", [])).lower().split(","):
            match part.split(";")[0].strip():
                case "text/plain" | "text/*":
                    return True
                case "application/json" | "application/*" | "*/*":
                    return False
        return False


@dataclass(frozen=True)
class Answer:
    """A response in both forms: `value` for JSON, `lines` for shells."""

    status: int
    value: Any
    lines: tuple[str, ...]
    headers: Mapping[str, str] = field(default_factory=dict)


def call(event: Mapping[str, Any]) -> Call:
    """Of a REST API's proxy event (format 1.0). A body that is not base64 where it claims to be is empty."""
    headers: dict[str, list[str]] = {}
    for name, values in (event.get("multiValueHeaders") or {}).items():
        headers.setdefault(name.lower(), []).extend(values)
    return Call(
        method=event["httpMethod"],
        resource=event["resource"],
        path=event.get("pathParameters") or {},
        query=event.get("multiValueQueryStringParameters") or {},
        headers=headers,
        body=_body(event),
        request_id=str((event.get("requestContext") or {}).get("requestId", "")),
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


def response(answer: Answer, *, text: bool) -> dict[str, Any]:
    """The proxy response. Nothing is cached, nothing is sniffed."""
    if text:
        kind, body = "text/plain; charset=utf-8", "".join(f"{line}\n" for line in answer.lines)
    else:
        problem = answer.status >= 400
        kind = "application/problem+json" if problem else "application/json"
        body = json.dumps(answer.value, ensure_ascii=False, separators=(",", ":"))
    headers = {
        "Content-Type": kind,
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
        **answer.headers,
    }
    return {"statusCode": answer.status, "headers": headers, "body": body, "isBase64Encoded": False}


def problem(error: Problem, request_id: str) -> Answer:
    """A problem in both forms."""
    lines = [f"{error.code}: {error.detail}"]
    lines += [f"{item['pointer']}: {item['detail']}" for item in error.members.get("errors", ())]
    for rule in error.members.get("nearest", ()):
        failed = ", ".join(f"{item['claim']}={item['value']}" for item in rule["failed"])
        why = f"does not match {failed}" if failed else "matches, but does not grant this"
        lines.append(f"rule {rule['rule']!r} {why}")
    return Answer(error.status, error.body(request_id), tuple(lines), error.headers)
