"""Activity: deployments, newest first, with filters that are in the address."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Final

from sluicegate.board import lists
from sluicegate.board.context import BoardContext, live_page
from sluicegate.board.pages.overview import first
from sluicegate.board.responses import BoardResponse
from sluicegate.board.visibility import Visibility
from sluicegate.board.wording import TONES, deployed, gitlab_links, status_word, who
from sluicegate.deployment.durations import timestamp
from sluicegate.deployment.model import Status
from sluicegate.deployment.ulid import is_id, least_id
from sluicegate.gateway.http import GatewayRequest
from sluicegate.store.deployments import DeploymentSummary

PAGE: Final = 50
"""Deployments on one page."""

EVERY: Final = 15

FILTERS: Final = ("function", "stage", "status", "actor", "person", "release", "from", "to", "zone")

ACTORS: Final = ("person", "agent", "pipeline")


MAX_ZONE: Final = 14 * 60
"""Minutes that a zone may be off UTC."""

DAY: Final = 86_400


@dataclass(frozen=True)
class Days:
    """When deployments were asked for, in epoch seconds: from `begin` on, and before `end`."""

    begin: float | None
    end: float | None


def show(context: BoardContext, request: GatewayRequest, viewer: Visibility) -> BoardResponse:
    """Return a page of the deployments that the viewer sees and the filters leave."""
    filters = {name: first(request, name) for name in FILTERS}
    days = _days(filters)
    before = first(request, "before")
    before = before if is_id(before) else ""
    items, ended = _page(context, viewer, filters, before, days)
    return live_page(
        context,
        request,
        "activity.html",
        "activity_live.html",
        every=None if before else EVERY,
        viewer=viewer,
        here="activity",
        filters=filters,
        filtered=any(value for name, value in filters.items() if name != "zone"),
        begin=None if days.begin is None else timestamp(days.begin),
        end=None if days.end is None else timestamp(days.end),
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
        # An agent is marked beside its name.
        "kind": "" if by.actor == "agent" else by.actor or "pipeline",
        "commit": (by.sha or "")[:8],
        "commit_link": gitlab_links(by).get("commit"),
        "status": status_word(one.status),
        "tone": TONES[one.status],
        "at": one.created_at,
        "reason": one.reason.message if one.reason else one.description or "",
    }


def _page(
    context: BoardContext, viewer: Visibility, filters: Mapping[str, str], before: str, days: Days
) -> tuple[list[DeploymentSummary], bool]:
    """Return a page, and whether nothing older is there to find."""
    # Ids begin with the time.
    since = "" if days.begin is None else least_id(days.begin)
    if days.end is not None:
        before = min(before or "Z", least_id(days.end))
    found: list[DeploymentSummary] = []
    for one in lists.newest(context.reads, viewer, filters["function"] or None, before):
        if one.id < since:
            break
        if _matches(one, filters):
            if len(found) == PAGE:
                return found, False
            found.append(one)
    return found, True


def _days(filters: dict[str, str]) -> Days:
    """Return the days of `from`, `to` and `zone`, minutes east of UTC. What is none is taken out of them."""
    zone = filters["zone"].removeprefix("-")
    east = int(filters["zone"]) if zone.isascii() and zone.isdigit() and len(zone) < 4 else 0
    if abs(east) > MAX_ZONE:
        east = 0
    filters["zone"] = str(east)
    found = []
    for name in ("from", "to"):
        midnight = _midnight(filters[name])
        if midnight is None:
            filters[name] = ""
        found.append(None if midnight is None else midnight - 60 * east)
    begin, end = found
    return Days(begin, None if end is None else end + DAY)


def _midnight(text: str) -> float | None:
    """Return when a day as `2026-11-25` begins in UTC, in epoch seconds; None for anything else."""
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return None
    known = day.isoformat() == text and 2000 <= day.year < 2200
    return datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp() if known else None


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
