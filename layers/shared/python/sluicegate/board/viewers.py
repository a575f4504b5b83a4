"""The person whose session a browser's cookie has. security.md#sessions

Apart from `signing_in`, as every page needs it, and none needs what verifies an ID token.
"""

import hashlib
from dataclasses import dataclass
from typing import Final

from sluicegate.board.context import BoardContext
from sluicegate.gateway.http import GatewayRequest
from sluicegate.gateway.sessions import identity_of
from sluicegate.oidc.identity import Identity
from sluicegate.store.sessions import Session

SESSION_COOKIE: Final = "__Host-sg"


@dataclass(frozen=True)
class Viewer:
    """A person who is signed in on this browser: the session's bearer, the session, and its identity."""

    bearer: str
    session: Session
    identity: Identity

    @property
    def bearer_hash(self) -> str:
        """What names the session in a ticket, which must not have its secret."""
        return digest_of(self.bearer)


def viewer_of(context: BoardContext, request: GatewayRequest) -> Viewer | None:
    """Return the person whose session the browser's cookie has; None without one, or for a denied person."""
    bearer = cookie(request, SESSION_COOKIE)
    session = context.store.sessions.find(bearer) if bearer else None
    identity = identity_of(context.gate, session) if session else None
    if session is None or identity is None or context.gate.denied(identity):
        return None
    return Viewer(bearer, session, identity)


def cookie(request: GatewayRequest, name: str) -> str:
    """Return the value of a cookie; "" where there is none, or more than one of the name.

    No page of another host can set a cookie of ours: that is what the name's prefix `__Host-` says.
    """
    pairs = (
        pair.strip().partition("=") for line in request.headers.get("cookie", []) for pair in line.split(";")
    )
    values = [value for found, _, value in pairs if found == name]
    return values[0] if len(values) == 1 else ""


def digest_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
