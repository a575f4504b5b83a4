"""A function's page: what each of its stages serves, and its deployments."""

import re
from collections.abc import Mapping
from itertools import islice
from typing import Final
from urllib.parse import urlencode

from sluicegate.board import lists
from sluicegate.board.context import BoardContext, live_page
from sluicegate.board.pages.activity import PAGE, row
from sluicegate.board.pages.missing import missing
from sluicegate.board.pages.overview import cell, in_order
from sluicegate.board.responses import BoardResponse
from sluicegate.board.visibility import Visibility
from sluicegate.gateway.http import GatewayRequest
from sluicegate.store.serving import Serving, ServingPlace

EVERY: Final = 15
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
"""Lambda's names of functions."""


def show(context: BoardContext, request: GatewayRequest, viewer: Visibility, name: str) -> BoardResponse:
    """Return the page; a function of which the viewer sees nothing is the same 404 as none."""
    if not _NAME.fullmatch(name):
        return missing(context, viewer)
    listed = lists.unfinished(context.reads, viewer)
    under_way = context.reads.under_way(one for one in listed if one.function == name)
    places = {place for place in lists.places(context.reads, viewer) if place.function == name}
    busy = {
        ServingPlace(name, one.stage, one.plan.target.account, one.plan.target.region, one.plan.alias): one
        for one in under_way
    }
    places |= busy.keys()
    recent = [row(one) for one in islice(lists.newest(context.reads, viewer, name), PAGE)]
    if not places and not recent:
        return missing(context, viewer)
    serving = context.reads.serving(places)
    holds = lists.holds(context.reads, viewer)
    drift = context.reads.drift()
    return live_page(
        context,
        request,
        "function.html",
        "function_live.html",
        every=EVERY,
        viewer=viewer,
        here="",
        name=name,
        cells=[
            {
                **cell(place, serving.get(place), busy.get(place), holds, drift),
                "offers": _offers(viewer, place, serving),
            }
            for place in in_order(places, context.gate.stages)
        ],
        items=recent,
    )


def _offers(
    viewer: Visibility, place: ServingPlace, serving: Mapping[ServingPlace, Serving]
) -> list[dict[str, str]]:
    """Return the actions that the viewer may ask for in a stage: their words and addresses."""
    here = serving.get(place)
    stages = list(viewer.gate.stages)
    before = stages[: stages.index(place.stage)] if place.stage in stages else []
    offers = []
    for other, source in serving.items():
        same = other.stage not in before or (here is not None and here.sha256 == source.sha256)
        if not same and viewer.sees(source) and viewer.may("promote", place.function, place.stage):
            query = urlencode({"from": other.stage, "version": source.version})
            address = f"functions/{place.function}/promote/{place.stage}?{query}"
            offers.append({"word": f"Promote from {other.stage}", "address": address})
    if here is not None and viewer.may("rollback", place.function, place.stage):
        address = f"functions/{place.function}/rollback/{place.stage}"
        offers.append({"word": "Roll back", "address": address})
    return offers
