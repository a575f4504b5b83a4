"""The board as a browser sees it, with a GitLab to sign in with, in one process."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qs, urlencode, urlsplit

from sluicegate.board.api import ApiAnswer, Call
from sluicegate.board.app import dispatch
from sluicegate.board.context import BoardContext
from sluicegate.board.responses import BoardResponse
from sluicegate.gate.policy import Gate
from sluicegate.gateway import app as api_app
from sluicegate.gateway.http import GatewayRequest, GatewayResponse
from sluicegate.oidc.jwks import Keyring
from sluicegate.store.sessions import Session
from support import gateway_simulation
from support.gateway_simulation import GatewaySimulation, Json, gate_of
from support.gitlab_site import CLIENT, CLIENT_SECRET, Site, gitlab_site
from support.signing import ISSUER
from support.simulation import OWN, TABLE
from support.template import ROOT

DOMAIN: Final = "board.example.com"
ORIGIN: Final = f"https://{DOMAIN}"


class FakeSecrets:
    """Secrets Manager with the application's secret. It counts what was asked for."""

    def __init__(self, value: str = CLIENT_SECRET) -> None:
        self.value = value
        self.asked: list[str] = []

    def verifies(self, name: str, check: Callable[[str], bool]) -> bool:
        self.asked.append(name)
        return check(self.value)


@dataclass
class Browser:
    """A browser: cookies, and the headers that browsers send."""

    at: "BoardSite"
    cookies: dict[str, str] = field(default_factory=dict)

    def get(self, address: str, **headers: str) -> BoardResponse:
        return self.send("GET", address, headers=headers)

    def post(self, address: str, form: Mapping[str, str], **headers: str) -> BoardResponse:
        own = {"origin": ORIGIN, "sec-fetch-site": "same-origin"}
        sent = own | {"content-type": "application/x-www-form-urlencoded"} | headers
        return self.send("POST", address, urlencode(form).encode(), sent)

    def send(
        self, method: str, address: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> BoardResponse:
        """Send a request for an address below `/v1/board/`; a header of "" is left out."""
        at = urlsplit(address)
        sent = {name: [value] for name, value in (headers or {}).items() if value}
        if self.cookies:
            sent["cookie"] = ["; ".join(f"{name}={value}" for name, value in self.cookies.items())]
        request = GatewayRequest(
            method,
            "/board/{proxy+}" if at.path else "/board",
            {"proxy": at.path} if at.path else {},
            parse_qs(at.query, keep_blank_values=True),
            {"host": ["evil.example.net"], **sent},
            body,
            "request",
            {"domainName": DOMAIN, "stage": "v1"},
        )
        response = dispatch(self.at.context, request)
        for line in response.cookies:
            pair, *attributes = line.split("; ")
            name, _, value = pair.partition("=")
            if "Max-Age=0" in attributes:
                self.cookies.pop(name, None)
            else:
                self.cookies[name] = value
        return response

    def sign_in(self, username: str = "ada", back: str = "") -> BoardResponse:
        """Sign in with GitLab; the answer that sets the session."""
        begun = self.get(f"login?{urlencode({'issuer': 'corp', 'return': back})}")
        brought = self.at.site.back(begun.headers["Location"], username)
        return self.get(f"callback/corp?{urlencode(brought)}")

    @property
    def bearer(self) -> str:
        return self.cookies.get("__Host-sg", "")

    @property
    def session(self) -> Session | None:
        return self.at.gateway.store.sessions.find(self.bearer)


@dataclass
class BoardSite:
    """The board, its gateway with one gate file and table, and the GitLab."""

    gateway: GatewaySimulation
    site: Site
    secrets: FakeSecrets = field(default_factory=FakeSecrets)
    notes: list[tuple[str, Json]] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    origin: str = ORIGIN
    before_call: Callable[[Call], None] | None = None
    lost: bool = False

    @property
    def context(self) -> BoardContext:
        return BoardContext(
            gate=self.gateway.gate,
            keys=Keyring(clock=self.gateway.clock),
            store=self.gateway.store,
            secrets=self.secrets,  # type: ignore[arg-type]
            own=OWN,
            files=ROOT / "layers" / "board",
            log=lambda event, **fields: self.notes.append((event, fields)),
            clock=self.gateway.clock,
            api=self.call,
        )

    def call(self, origin: str, bearer: str, call: Call) -> ApiAnswer:
        """The API as the board calls it. `lost`: the next answer does not arrive."""
        assert origin == self.origin
        self.calls.append(call)
        self.gateway.clock.now += 0.002
        resource, path = _resource(call.path)
        query = {name: [value] for name, value in call.query.items()}
        headers = {"authorization": [f"Bearer {bearer}"], "content-type": ["application/json"]}
        body = b"" if call.body is None else json.dumps(call.body).encode()
        request = GatewayRequest(call.method, resource, path, query, headers, body, "request")
        if self.before_call:
            self.before_call(call)
        answer = api_app.respond(request, lambda: self.gateway.context)
        if self.lost:
            self.lost = False
            return ApiAnswer(0, {})
        return ApiAnswer(answer.status, json.loads(json.dumps(answer.value)))

    def browser(self) -> Browser:
        return Browser(self)

    def api(
        self,
        bearer: str,
        method: str,
        resource: str,
        body: Any = None,
        key: str | None = None,
        query: Mapping[str, str] | None = None,
        **path: str,
    ) -> GatewayResponse:
        """Call the API with a session's bearer. Ids sort by time, so no two are of one millisecond."""
        self.gateway.clock.now += 0.002
        headers = {"authorization": [f"Bearer {bearer}"], "content-type": ["application/json"]}
        if key:
            headers["idempotency-key"] = [key]
        data = json.dumps(body if body is not None else {}).encode()
        asked = {name: [value] for name, value in (query or {}).items()}
        request = GatewayRequest(method, resource, path, asked, headers, data, "request")
        return api_app.dispatch(self.gateway.context, request)

    def lines(self, *kinds: str) -> list[Json]:
        """The lines of the evidence about sessions, of these kinds, by time."""
        pages = self.gateway.client.get_paginator("scan").paginate(TableName=TABLE)
        texts = [item["line"]["S"] for page in pages for item in page["Items"] if "line" in item]
        found = [line for line in map(json.loads, texts) if line["kind"] in kinds]
        return sorted(found, key=lambda line: str(line["time"]))

    def refused(self) -> list[str]:
        """The checks by which sign-ins were refused."""
        return [str(fields["check"]) for event, fields in self.notes if event == "sign_in_refused"]


def _resource(path: tuple[str, ...]) -> tuple[str, dict[str, str]]:
    """The resource that API Gateway matches, and its parameters."""
    match path:
        case "deployments", deployment, action:
            return f"/deployments/{{id}}/{action}", {"id": deployment}
        case "stages", stage, "hold":
            return "/stages/{stage}/hold", {"stage": stage}
        case _:
            return "/" + "/".join(path), {}


def session_rule(name: str, *actions: str, **changes: Any) -> Json:
    """A rule for release managers who have signed in, on all functions and stages."""
    return {
        "name": name,
        "issuer": ISSUER,
        "via": "session",
        "claims": changes.pop("claims", {"groups_direct": ["acme/release-managers"]}),
        "actions": list(actions),
        "functions": ["orders*"],
        "stages": ["dev", "prod"],
        "limits": None,
    } | changes


@contextmanager
def board_site(**gate: Any) -> Iterator[BoardSite]:
    """A board whose people sign in with the issuer `corp`, and whose jobs' tokens are of the same one."""
    with gitlab_site() as site, gateway_simulation.gateway_simulation() as gateway:
        made = BoardSite(gateway, site)
        site.gitlab.oauth._clock = gateway.clock
        gateway.gate = made_gate(site, **gate)
        yield made


def made_gate(site: Site, **more: Any) -> Gate:
    """The gate file: `corp` is the GitLab on loopback, whose job tokens have another issuer."""
    return gate_of(**{"issuers": _issuers(site)} | more)


def _issuers(site: Site) -> list[Json]:
    keys = json.loads(gateway_simulation.keys())["keys"] + [site.gitlab.signing_key().jwk()]
    corp = gateway_simulation.issuer("corp", ISSUER) | {
        "gitlab_url": site.issuer.url,
        "jwks": json.dumps({"keys": keys}),
        "sign_in": {"client_id": CLIENT, "secret": "sluicegate/sign-in/corp"},
        "groups": "trusted",
    }
    return [corp, gateway_simulation.issuer("other", gateway_simulation.OTHER)]


def without_sign_in(site: Site) -> Gate:
    """A gate file with whose GitLab nobody can sign in any more."""
    return made_gate(site, issuers=[gateway_simulation.issuer("corp", ISSUER)])


def two_issuers(site: Site, **more: Any) -> Gate:
    """A gate file in which `other` is the same GitLab as `corp`, by an older issuer of its tokens."""
    corp, other = (dict(one) for one in _issuers(site))
    same = {name: corp[name] for name in ("gitlab_url", "jwks", "sign_in")}
    return made_gate(site, issuers=[corp, other | same], **more)
