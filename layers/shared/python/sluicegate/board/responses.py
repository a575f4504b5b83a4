"""Responses of the board, and the headers that every one of them has."""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

HTML: Final = "text/html; charset=utf-8"

TEXTS: Final = ("text/html", "application/json", "application/problem+json")
"""Types that go through API Gateway as they are; the others as base64."""


@dataclass(frozen=True)
class BoardResponse:
    """A response to a browser, or to the command line's sign-in.

    `cookies` are values of `Set-Cookie`. `form_targets` are origins beside our own that a form of this page
    may lead to: Chromium checks redirects of forms too (CSP Level 3, 6.3.1).
    """

    status: int
    body: bytes = b""
    content_type: str = HTML
    headers: Mapping[str, str] = field(default_factory=dict)
    cookies: tuple[str, ...] = ()
    form_targets: tuple[str, ...] = ()


def redirect(location: str, *, cookies: tuple[str, ...] = ()) -> BoardResponse:
    """Return 303: the browser goes on with GET."""
    return BoardResponse(303, headers={"Location": location}, cookies=cookies)


def as_json(status: int, value: Any, headers: Mapping[str, str] | None = None) -> BoardResponse:
    """Return a value as JSON, for the command line."""
    body = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    kind = "application/problem+json" if status >= 400 else "application/json"
    return BoardResponse(status, body, kind, headers or {})


def content_security_policy(form_targets: tuple[str, ...] = ()) -> str:
    """Return the policy: nothing but our own, no inline script or style, in nobody's frame."""
    forms = " ".join(("'self'", *form_targets))
    return (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';"
        f" form-action {forms}; base-uri 'none'; frame-ancestors 'none'"
    )


SECURITY_HEADERS: Final[Mapping[str, str]] = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Not no-referrer: with it, a form's Origin is "null" (Fetch, "append a request Origin header").
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Strict-Transport-Security": "max-age=63072000",
    "X-Robots-Tag": "noindex",
}
"""Headers of every response, whatever it is."""


def proxy_response(response: BoardResponse) -> dict[str, Any]:
    """Return the response in API Gateway's form. Nothing is cached unless the response says so."""
    headers = {
        "Content-Type": response.content_type,
        "Cache-Control": "no-store",
        "Content-Security-Policy": content_security_policy(response.form_targets),
        **SECURITY_HEADERS,
        **response.headers,
    }
    text = response.content_type.partition(";")[0] in TEXTS
    binary = "Content-Encoding" in response.headers or not text
    proxied: dict[str, Any] = {
        "statusCode": response.status,
        "headers": headers,
        "body": base64.b64encode(response.body).decode() if binary else response.body.decode(),
        "isBase64Encoded": binary,
    }
    if response.cookies:
        proxied["multiValueHeaders"] = {"Set-Cookie": list(response.cookies)}
    return proxied
