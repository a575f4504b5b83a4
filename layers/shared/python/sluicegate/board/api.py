"""Calls of the API as any client makes them: over HTTPS, with the person's own session.

security.md#actions-on-the-board

The board's role can do nothing that a person asks for. So a fault of the board's can do no more than the
person could.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol
from urllib.parse import quote, urlencode

from sluicegate import http_client
from sluicegate.http_client import FetchError

CALL_SECONDS: Final = 8.0
"""Seconds for one call. A page makes two at most."""

_MOST: Final = 6 * 1024 * 1024
"""Bytes of a response: as many as Lambda's own limit."""


@dataclass(frozen=True)
class Call:
    """A request of the API: its path below `/v1` as parts, its query and its body."""

    method: str
    path: tuple[str, ...]
    body: Mapping[str, Any] | None = None
    query: Mapping[str, str] = field(default_factory=dict)

    @property
    def address(self) -> str:
        """The path and query below the API's stage."""
        path = "/".join(quote(part, safe="") for part in self.path)
        return f"/{path}" + (f"?{urlencode(self.query)}" if self.query else "")


@dataclass(frozen=True)
class ApiAnswer:
    """The API's answer: JSON of any status. Status 0: it is not known whether the call had an effect."""

    status: int
    value: Mapping[str, Any]

    @property
    def is_lasting(self) -> bool:
        """Whether the same call again would be answered the same."""
        return 200 <= self.status < 300 or self.status in (400, 403, 404, 409, 412, 422)

    @property
    def detail(self) -> str:
        """A refusal in words."""
        return str(self.value.get("detail") or self.value.get("title") or "the API did not answer")


class ApiCaller(Protocol):
    """Calls the API of an origin with a session's bearer."""

    def __call__(self, origin: str, bearer: str, call: Call) -> ApiAnswer: ...


def send(origin: str, bearer: str, call: Call) -> ApiAnswer:
    """Call the API over HTTPS. An answer that is lost or no JSON has status 0."""
    headers = {"Authorization": f"Bearer {bearer}", "Content-Type": "application/json"}
    body = None if call.body is None else json.dumps(call.body).encode()
    try:
        response = http_client.exchange(
            f"{origin}/v1{call.address}",
            call.method,
            seconds=CALL_SECONDS,
            headers=headers,
            body=body,
            most=_MOST,
        )
        value = json.loads(response.body)
    except (FetchError, ValueError):
        return ApiAnswer(0, {})
    return ApiAnswer(response.status, value) if isinstance(value, dict) else ApiAnswer(0, {})
