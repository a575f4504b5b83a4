"""What the board's pages need to answer, made once per process."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sluicegate.aws.secrets import Secrets
from sluicegate.board.assets import Assets
from sluicegate.board.responses import BoardResponse
from sluicegate.deployment.plan import Target
from sluicegate.gate.policy import Gate
from sluicegate.gateway.context import EventLog
from sluicegate.oidc.jwks import KeySource
from sluicegate.store.store import Store

if TYPE_CHECKING:
    from sluicegate.board.rendering import Renderer

ROOT: Final = "/v1/board"
"""Where the board is. Every address of it begins so."""


@dataclass(frozen=True)
class BoardContext:
    """The gate file in force, the issuers' keys, the table, and the secrets of sign-in.

    `own` is the account and region of a stage without a target, `files` the directory with the board's
    templates and assets.
    """

    gate: Gate
    keys: KeySource
    store: Store
    secrets: Secrets
    own: Target
    files: Path
    log: EventLog
    clock: Callable[[], float] = time.time

    @cached_property
    def assets(self) -> Assets:
        """The files for browsers, read at the first request."""
        return Assets(self.files / "assets")

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
    cookies: tuple[str, ...] = (),
    form_targets: tuple[str, ...] = (),
    **values: Any,
) -> BoardResponse:
    """Return a page made from a template with these values."""
    body = context.renderer.render(template, {**shared(context), **values})
    return BoardResponse(status, body.encode(), cookies=cookies, form_targets=form_targets)


def shared(context: BoardContext) -> dict[str, Any]:
    """Return what every template may use."""
    return {"root": ROOT, "asset": context.assets.name, "viewer": None, "here": ""}
