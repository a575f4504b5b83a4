"""What the board's pages need to answer, made once per process."""

import json
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlencode

import sluicegate
from sluicegate.aws.secrets import Secrets
from sluicegate.board.api import ApiCaller, send
from sluicegate.board.assets import Assets
from sluicegate.board.reads import Reads
from sluicegate.board.responses import BoardResponse
from sluicegate.deployment.plan import Target
from sluicegate.gate.policy import Gate
from sluicegate.gateway.context import EventLog
from sluicegate.gateway.http import GatewayRequest
from sluicegate.oidc.jwks import KeySource
from sluicegate.store.evidence_log import EvidenceLog
from sluicegate.store.store import Store

if TYPE_CHECKING:
    from sluicegate.board.rendering import Renderer

ROOT: Final = "/v1/board"
"""Where the board is. Every address of it begins so."""


@dataclass(frozen=True)
class BoardContext:
    """The gate file in force, the issuers' keys, the table, and the secrets of sign-in.

    `own` is the account and region of a stage without a target, `files` the directory with the board's
    templates and assets. `api` calls the API as the person who has signed in. `evidence` is the log of
    evidence, None where the process has none.
    """

    gate: Gate
    keys: KeySource
    store: Store
    secrets: Secrets
    own: Target
    files: Path
    log: EventLog
    clock: Callable[[], float] = time.time
    api: ApiCaller = send
    evidence: EvidenceLog | None = None

    @cached_property
    def assets(self) -> Assets:
        """The files for browsers, read at the first request."""
        return Assets(self.files / "assets")

    @cached_property
    def reads(self) -> Reads:
        """What was read of the table, held for seconds."""
        return Reads(self.store, tuple(self.gate.stages), self.clock, self.evidence)

    @cached_property
    def renderer(self) -> "Renderer":
        """The templates. The first page imports Jinja2; assets and redirects need none."""
        from sluicegate.board.rendering import Renderer

        return Renderer(self.files / "templates")


def page(
    context: BoardContext,
    template: str,
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    cookies: tuple[str, ...] = (),
    form_targets: tuple[str, ...] = (),
    **values: Any,
) -> BoardResponse:
    """Return a page made from a template with these values."""
    body = context.renderer.render(template, {**shared(context), **values})
    return BoardResponse(
        status, body.encode(), headers=headers or {}, cookies=cookies, form_targets=form_targets
    )


def live_page(
    context: BoardContext,
    request: GatewayRequest,
    template: str,
    region: str,
    *,
    every: int | None,
    **values: Any,
) -> BoardResponse:
    """Return a page with a region that asks for its own news every so many seconds; None: never.

    The region alone where htmx asks for it, and 304 where the browser has it already. Its template must not
    write how long ago something was: the same state gives the same bytes.
    """
    values = {**shared(context), **values}
    body = context.renderer.render(region, values)
    etag = f'"{sha256(body.encode()).hexdigest()[:24]}"'
    headers = {"ETag": etag, "Vary": "Cookie"}
    if request.header("hx-request") and request.header("if-none-match") == etag:
        return BoardResponse(304, headers=headers)
    live = context.renderer.live(
        body, address=_address(request), headers=json.dumps({"If-None-Match": etag}), every=_jittered(every)
    )
    if request.header("hx-request"):
        return BoardResponse(200, live.encode(), headers=headers)
    whole = context.renderer.render(template, {**values, "live": live})
    return BoardResponse(200, whole.encode(), headers={"Vary": "Cookie"})


def shared(context: BoardContext) -> dict[str, Any]:
    """Return what every template may use."""
    return {
        "root": ROOT,
        "asset": context.assets.name,
        "viewer": None,
        "here": "",
        "gate": context.gate.digest[:12],
        "version": sluicegate.__version__,
    }


def _address(request: GatewayRequest) -> str:
    """Return the request's own address: its path after the board's, and its query."""
    path = quote(request.path.get("proxy", ""))
    query = urlencode([(name, value) for name, values in request.query.items() for value in values])
    return f"{ROOT}{'/' if path else ''}{path}{'?' if query else ''}{query}"


def _jittered(every: int | None) -> int | None:
    """Return milliseconds, a little off, so that pages that were opened at once do not ask at once."""
    return every and int(every * random.uniform(900, 1_100))  # noqa: S311 (jitter, not a secret)
