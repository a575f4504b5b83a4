"""Holds: which stages take no new deployments of which functions, why, and by whose word."""

from typing import Final

from sluicegate.board import lists
from sluicegate.board.context import BoardContext, live_page
from sluicegate.board.responses import BoardResponse
from sluicegate.board.visibility import Visibility
from sluicegate.gateway.http import GatewayRequest

EVERY: Final = 15

_NAMES: Final = ("user_login", "session_name", "role")


def show(context: BoardContext, request: GatewayRequest, viewer: Visibility) -> BoardResponse:
    """Return the holds that the viewer sees, the newest first."""
    holds = sorted(lists.holds(context.reads, viewer), key=lambda hold: hold.since, reverse=True)
    return live_page(
        context,
        request,
        "holds.html",
        "holds_live.html",
        every=EVERY,
        viewer=viewer,
        here="holds",
        stages=[stage for stage in context.gate.stages if viewer.holding(stage)],
        holds=[
            {
                "stage": hold.stage,
                "functions": hold.functions,
                "reason": hold.reason,
                "rule": hold.rule,
                "since": hold.since,
                "release": hold.name if viewer.may_release(hold) else None,
                "who": next(filter(None, map(hold.by.get, _NAMES)), "unknown"),
            }
            for hold in holds
        ],
    )
