"""Activity: deployments, newest first, with filters that are in the address."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from sluicegate.board.context import BoardContext, live_page
from sluicegate.board.pages.overview import first
from sluicegate.board.responses import BoardResponse
from sluicegate.board.visibility import Visibility
from sluicegate.board.wording import TONES, deployed, gitlab_links, status_word, who
from sluicegate.deployment.model import Status
from sluicegate.deployment.ulid import is_id
from sluicegate.gateway.http import GatewayRequest
from sluicegate.store.deployments import DeploymentSummary

PAGE: Final = 50
"""Deployments on one page."""

MAX_EXAMINED: Final = 1_000
"""Deployments that one page reads at most, visible or not."""

EVERY: Final = 15

FILTERS: Final = ("function", "stage", "status", "actor", "person", "release")

ACTORS: Final = ("person", "agent", "pipeline")


def show(context: BoardContext, request: GatewayRequest, viewer: Visibility) -> BoardResponse:
    """Return a page of the deployments that the viewer sees and the filters leave."""
    filters = {name: first(request, name) for name in FILTERS}
    before = first(request, "before")
    before = before if is_id(before) else ""
    items, ended = _page(context, viewer, filters, before)
    return live_page(
        context,
        request,
        "activity.html",
        "activity_live.html",
        every=None if before else EVERY,
        viewer=viewer,
        here="activity",
        filters=filters,
        filtered=any(filters.values()),
        items=[row(one) for one in items],
        after=items[-1].id if items and not ended else None,
        ended=ended,
        first_page=not before,
        stages=list(context.gate.stages),
        statuses=[(status.value, status_word(status)) for status in Status],
        actors=ACTORS,
    )


def row(one: DeploymentSummary) -> Mapping[str, Any]:
    """Return what a list shows of a deployment."""
    by = one.requested_by
    return {
        "id": one.id,
        "function": one.function,
        "stage": one.stage,
        "action": one.action,
        "from": one.promoted_from,
        "what": deployed(one),
        "version": one.version,
        "who": who(by),
        "commit": (by.sha or "")[:8],
        "commit_link": gitlab_links(by).get("commit"),
        "status": status_word(one.status),
        "tone": TONES[one.status],
        "at": one.created_at,
        "reason": one.reason.message if one.reason else "",
    }


def pages_of(
    read: Callable[[str | None], list[DeploymentSummary]], before: str | None
) -> Iterator[DeploymentSummary]:
    """Yield deployments, reading one held chunk after another, `MAX_EXAMINED` at most."""
    examined = 0
    while examined < MAX_EXAMINED and (chunk := read(before or None)):
        yield from chunk
        examined += len(chunk)
        before = chunk[-1].id


def _page(
    context: BoardContext, viewer: Visibility, filters: Mapping[str, str], before: str
) -> tuple[list[DeploymentSummary], bool]:
    """Return a page, and whether nothing older is there to find."""
    function = filters["function"]

    def read(earlier: str | None) -> list[DeploymentSummary]:
        return context.reads.newest_of(function, earlier) if function else context.reads.newest(earlier)

    found: list[DeploymentSummary] = []
    for one in pages_of(read, before):
        if _matches(one, filters) and viewer.sees(one):
            if len(found) == PAGE:
                return found, False
            found.append(one)
    return found, True


def _matches(one: DeploymentSummary, filters: Mapping[str, str]) -> bool:
    by = one.requested_by
    return (
        filters["function"] in ("", one.function)
        and filters["stage"] in ("", one.stage)
        and filters["status"] in ("", one.status.value)
        # Records of earlier releases do not say: there were only pipelines then.
        and filters["actor"] in ("", by.actor or "pipeline")
        and filters["person"].casefold() in ("", (by.user_login or by.session_name or "").casefold())
        and filters["release"] in ("", one.release)
    )
