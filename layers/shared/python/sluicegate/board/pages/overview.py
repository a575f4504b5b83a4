"""The overview: what waits for the viewer, what is under way, and what each stage of each function serves."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any, Final

from sluicegate.board import lists
from sluicegate.board.context import BoardContext, live_page
from sluicegate.board.responses import BoardResponse
from sluicegate.board.visibility import Visibility, actions_for
from sluicegate.board.wording import TONES, deployed, gitlab_links, sentence, state_word, what, who
from sluicegate.deployment.drift import Drift
from sluicegate.deployment.model import Deployment
from sluicegate.gate import patterns
from sluicegate.gateway.http import GatewayRequest
from sluicegate.store.drift import DriftPlace
from sluicegate.store.holds import Hold
from sluicegate.store.serving import Serving, ServingPlace
from sluicegate.text import clean

PAGE: Final = 50
"""Functions on one page."""

MAX_UNDER_WAY: Final = 200
"""Deployments under way that are shown, the newest, but those that wait for a person before them."""

MAX_DRIFT: Final = 200
"""Characters that are shown of one finding."""

EVERY: Final = 15
"""Seconds between two looks for news."""


def show(context: BoardContext, request: GatewayRequest, viewer: Visibility) -> BoardResponse:
    """Return the overview, or a page of the functions that a search finds."""
    search = first(request, "search").strip()
    number = _number(first(request, "page"))
    now = context.clock()
    listed = lists.unfinished(context.reads, viewer)
    visible = context.reads.under_way(listed[:MAX_UNDER_WAY])
    waiting = [one for one in visible if "approve" in actions_for(viewer, one, now)]
    holds = lists.holds(context.reads, viewer)
    places = _places(context, viewer, visible)
    functions = [
        (name, list(found))
        for name, found in groupby(places, key=lambda place: place.function)
        if search.casefold() in name.casefold()
    ]
    pages = max(1, -(-len(functions) // PAGE))
    number = min(number, pages)
    chosen = functions[(number - 1) * PAGE : number * PAGE]
    names = {name for name, _ in chosen}
    marked = context.reads.under_way(one for one in listed if one.function in names)
    stages = [stage for stage in context.gate.stages if any(place.stage == stage for place in places)]
    return live_page(
        context,
        request,
        "overview.html",
        "overview_live.html",
        every=EVERY,
        viewer=viewer,
        here="overview",
        search=search,
        waiting=[card(one) for one in waiting],
        under_way=[card(one) for one in visible if one not in waiting],
        stages=stages,
        more=len(listed) - len(listed[:MAX_UNDER_WAY]),
        rows=_rows(context, chosen, marked, holds),
        count=len(functions),
        number=number,
        pages=pages,
        may_see_anything=bool(viewer.rules or places),
    )


def first(request: GatewayRequest, name: str) -> str:
    """Return a query's first value, of 128 characters at most."""
    return (request.query.get(name) or [""])[0][:128]


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and 0 < len(text) < 6 and int(text) else 1


def _places(context: BoardContext, viewer: Visibility, under_way: Iterable[Deployment]) -> list[ServingPlace]:
    """Return the aliases that the viewer sees, by function and stage: also those of a first deployment."""
    first_ones = {_place_of_deployment(one) for one in under_way}
    return in_order(lists.places(context.reads, viewer) | first_ones, context.gate.stages)


def in_order(places: Iterable[ServingPlace], stages: Iterable[str]) -> list[ServingPlace]:
    """Return the aliases by function, and by stage as the gate file has them."""
    order = {stage: index for index, stage in enumerate(stages)}
    return sorted(
        places, key=lambda one: (one.function, order.get(one.stage, len(order)), one.stage, one.region)
    )


def _rows(
    context: BoardContext,
    functions: Sequence[tuple[str, list[ServingPlace]]],
    under_way: Iterable[Deployment],
    holds: Sequence[Hold],
) -> list[dict[str, Any]]:
    if not functions:
        return []
    serving = context.reads.serving(place for _, places in functions for place in places)
    busy = {_place_of_deployment(one): one for one in under_way}
    drift = context.reads.drift()
    return [
        {
            "function": name,
            "cells": [cell(place, serving.get(place), busy.get(place), holds, drift) for place in places],
        }
        for name, places in functions
    ]


def cell(
    place: ServingPlace,
    serving: Serving | None,
    under_way: Deployment | None,
    holds: Sequence[Hold],
    drift: Mapping[DriftPlace, Drift],
) -> dict[str, Any]:
    """Return what a page shows of one alias: what it serves, since when and by whom, and its marks."""
    shown: dict[str, Any] = {
        "stage": place.stage,
        "alias": place.alias,
        "region": place.region,
        "serves": None,
    }
    if serving:
        by = serving.requester
        built = serving.built
        source = built.by if built else by
        links = gitlab_links(source)
        shown["serves"] = {
            "what": what(source, built.release if built else None),
            "version": serving.version,
            "commit": (source.sha or "")[:8],
            "commit_link": links.get("commit"),
            "since": serving.since,
            "who": who(by),
            "deployment": serving.deployment,
        }
    shown["busy"] = card(under_way) if under_way else None
    shown["held"] = is_held(place, holds)
    found = drift.get((place.account, place.region, place.function, place.alias))
    findings = found.of_deployment(serving.deployment) if found and serving else ()
    shown["drift"] = [clean(one.message, MAX_DRIFT) for one in findings]
    return shown


def is_held(place: ServingPlace, holds: Sequence[Hold]) -> bool:
    """Return whether new deployments of this alias are held."""
    return any(
        patterns.compile(text).matches(place.function)
        for hold in holds
        if hold.stage == place.stage
        for text in hold.functions
    )


def card(deployment: Deployment) -> Mapping[str, Any]:
    """Return what lists show of a deployment that is under way."""
    by = deployment.requested_by
    return {
        "id": deployment.id,
        "function": deployment.function,
        "stage": deployment.stage,
        "action": deployment.action,
        "what": deployed(deployment),
        "who": who(by),
        "status": state_word(deployment),
        "tone": TONES[deployment.status],
        "weight": deployment.weight,
        "version": deployment.version,
        "waits": deployment.status == "awaiting_approval" and deployment.approval is None,
        "created_at": deployment.created_at,
        "sentence": sentence(deployment),
    }


def _place_of_deployment(one: Deployment) -> ServingPlace:
    target = one.plan.target
    return ServingPlace(one.function, one.stage, target.account, target.region, one.plan.alias)
