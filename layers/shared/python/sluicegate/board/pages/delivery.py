"""Delivery figures, by stage, with their definitions beside them."""

from typing import Any, Final

from sluicegate.board import lists
from sluicegate.board.context import BoardContext, page
from sluicegate.board.delivery import DeliveryFigures, commit_of, figures
from sluicegate.board.pages.overview import first
from sluicegate.board.reads import MAX_FIGURES
from sluicegate.board.responses import BoardResponse
from sluicegate.board.visibility import Visibility
from sluicegate.gateway.http import GatewayRequest

DAYS: Final = (7, 30, 90)


def show(context: BoardContext, request: GatewayRequest, viewer: Visibility) -> BoardResponse:
    """Return the figures of what the viewer sees, for all functions or one, over some days."""
    days = next((one for one in DAYS if str(one) == first(request, "days")), 30)
    function = first(request, "function")
    now = context.clock()
    seen, cut = lists.since(context.reads, viewer, days)
    found = [one for one in seen if function in ("", one.function)]
    committed = context.reads.commit_times(commit_of(one) for one in found if one.requested_by.sha)
    stages = [stage for stage in context.gate.stages if any(one.stage == stage for one in found)]
    return page(
        context,
        "delivery.html",
        viewer=viewer,
        here="delivery",
        figures=[_shown(figures(stage, found, committed, days=days, now=now)) for stage in stages],
        days=days,
        choices=DAYS,
        function=function,
        cut=cut and found,
        most=MAX_FIGURES,
    )


def _shown(of: DeliveryFigures) -> dict[str, Any]:
    most = max(of.per_day, default=0) or 1
    return {
        "stage": of.stage,
        "released": of.released,
        "reached": of.reached,
        "went_back": of.went_back,
        "frequency": _often(of),
        "share": None if of.share is None else f"{100 * of.share:.0f} %",
        "restore": None if of.restore is None else _long(of.restore),
        "through": None if of.through is None else _long(of.through),
        "lead": None if of.lead is None else _long(of.lead),
        "bars": [
            {"x": index, "height": round(30 * count / most, 1), "count": count}
            for index, count in enumerate(of.per_day)
        ],
    }


def _often(of: DeliveryFigures) -> str:
    if of.frequency >= 1:
        return f"{of.frequency:.1f} a day"
    return f"{7 * of.frequency:.1f} a week" if of.released else "none"


def _long(length: float) -> str:
    """Format a duration in its largest unit, and a half: `45 s`, `12 min`, `3.5 h`, `2.1 days`."""
    for size, unit in ((86_400, "days"), (3_600, "h"), (60, "min")):
        if length >= size:
            return f"{length / size:.1f} {unit}".replace(".0 ", " ")
    return f"{length:.0f} s"
