"""Evidence: how far the signed log reaches, and what is not in it yet."""

from sluicegate.board.context import BoardContext, page
from sluicegate.board.responses import BoardResponse
from sluicegate.board.visibility import Visibility
from sluicegate.gateway.http import GatewayRequest


def show(context: BoardContext, _: GatewayRequest, viewer: Visibility) -> BoardResponse:
    """Return the page."""
    return page(context, "evidence.html", viewer=viewer, here="evidence", head=None)
