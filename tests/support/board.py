"""The board in one process: real pages over a table in memory, seen by people who have signed in."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from sluicegate.board import app
from sluicegate.board.context import BoardContext
from sluicegate.board.responses import BoardResponse, proxy_response
from sluicegate.board.viewers import SESSION_COOKIE
from sluicegate.deployment.durations import seconds, timestamp
from sluicegate.deployment.model import Deployment
from sluicegate.deployment.observations import Interval, LimitFinding, Observation, Tally, Verdict
from sluicegate.gateway.http import GatewayRequest, read_event
from sluicegate.gateway.sessions import person_of
from sluicegate.oidc.identity import Identity
from sluicegate.store.evidence_log import EvidenceLog
from sluicegate.store.sessions import Session
from sluicegate.store.store import Store
from support.gateway_simulation import OTHER, issuer, rule
from support.signing import ISSUER
from support.simulation import OWN
from support.template import ROOT

Json = dict[str, Any]

FILES: Final = ROOT / "layers" / "board"

MANAGERS: Final = rule(
    "release managers", "approve", "reject", "abort", "hold", "rollback", "promote", via="session"
) | {"claims": {"user_id": ["7", "8"]}}
"""A rule of people who have signed in: users 7 and 8, on all functions and stages."""


ISSUERS: Final = [
    issuer("corp", ISSUER) | {"sign_in": {"client_id": "5f1d", "secret": "sluicegate/sign-in/corp"}},
    issuer("other", OTHER),
]
"""Two GitLabs, one of which people sign in with."""


def person(user_id: str = "8", login: str = "grace", now: float = 0, **claims: Any) -> Identity:
    """A person who has signed in."""
    return Identity(
        via="session",
        issuer=ISSUER,
        claims={"user_id": user_id, "user_login": login, **claims},
        jti=None,
        issued_at=int(now),
        expires_at=int(now) + 28_800,
    )


@dataclass
class Board:
    """The board over a simulation's store, as `viewer` sees it: None before signing in."""

    gate: Any
    store: Store
    clock: Any
    viewer: Identity | None = None

    def __post_init__(self) -> None:
        self.notes: list[tuple[str, Json]] = []
        self.context = BoardContext(
            gate=self.gate,
            keys=None,  # type: ignore[arg-type]
            store=self.store,
            secrets=None,  # type: ignore[arg-type]
            own=OWN,
            files=FILES,
            log=lambda event, **facts: self.notes.append((event, facts)),
            clock=self.clock,
            evidence=EvidenceLog(self.store.deployments._table, "1", self.clock),
        )

        self.cookies = {"cookie": f"{SESSION_COOKIE}={self.signed_in()}"} if self.viewer else {}

    def signed_in(self) -> str:
        """The bearer of a session of the viewer's."""
        assert self.viewer
        now = int(self.clock())
        user_id = self.viewer.text("user_id") or ""
        claims = dict(self.viewer.claims)
        session = Session(self.viewer.issuer, user_id, claims, now, now, now, now + 28_800, "board")
        return self.store.sessions.create(session, person_of(self.gate, session))

    def get(self, path: str = "", **headers: str) -> BoardResponse:
        """Ask for a path after `/board`, with its query."""
        return app.respond(request("GET", path, **self.cookies, **headers), lambda: self.context)

    def text(self, path: str = "", **headers: str) -> str:
        """The page at a path, which must be one."""
        response = self.get(path, **headers)
        assert response.status == 200, response
        return response.body.decode()

    def proxied(self, path: str = "", method: str = "GET", **headers: str) -> Json:
        """The answer as API Gateway gets it."""
        asked = request(method, path, **self.cookies, **headers)
        return proxy_response(app.respond(asked, lambda: self.context))


def request(method: str, path: str = "", **headers: str) -> GatewayRequest:
    """A request as API Gateway hands it over."""
    parts = urlsplit(path)
    proxy = parts.path.strip("/")
    return read_event(
        event(method, proxy, parse_qs(parts.query), {k.replace("_", "-"): [v] for k, v in headers.items()})
    )


def event(method: str, proxy: str, query: Mapping[str, list[str]], headers: Mapping[str, list[str]]) -> Json:
    """An event of API Gateway's."""
    return {
        "httpMethod": method,
        "resource": "/board/{proxy+}" if proxy else "/board",
        "pathParameters": {"proxy": proxy} if proxy else None,
        "multiValueQueryStringParameters": dict(query) or None,
        "multiValueHeaders": dict(headers),
        "body": None,
        "isBase64Encoded": False,
        "requestContext": {"requestId": "request"},
    }


def looked_at(deployment: Deployment, looks: int = 12, every: float = 15) -> tuple[Observation, ...]:
    """Looks at a version that fails three times as often as the old one; the last is bad."""
    began = seconds(deployment.traffic_since or deployment.updated_at)
    found = []
    for index in range(1, looks + 1):
        share, spread = 3.1 * (1 - math.exp(-index / 4)), 8 / math.sqrt(60 * index)
        bad = index == looks
        errors = LimitFinding(
            limit="errors",
            rule="max_ratio",
            verdict=Verdict.BAD if bad else Verdict.UNCLEAR,
            message=f"errors: {share:.1f} % of {60 * index}, old 1.0 %; ×{share:.1f}, limit ×2",
            bound=2,
            tally=Tally(n=60 * index, x=2 * index, m=540 * index, y=5 * index),
            new=Interval(share, max(0.0, share * (1 - spread)), share * (1 + spread)),
            old=Interval(1.0, 1 - spread / 3, 1 + spread / 3),
            ratio=Interval(share, share * (1 - spread), share * (1 + spread)),
            needed=None if bad else 600,
        )
        verdict = errors.verdict
        found.append(Observation(timestamp(began + index * every), 0, 0.1, verdict, (errors,)))
    return tuple(found)
