"""The page for what there is not. What the viewer may not see looks exactly the same."""

from sluicegate.board.context import BoardContext, page
from sluicegate.board.responses import BoardResponse
from sluicegate.board.visibility import Visibility


def missing(context: BoardContext, viewer: Visibility | None) -> BoardResponse:
    """Return 404 with nothing that tells the two apart. No viewer: no such page is anybody's."""
    return page(context, "missing.html", status=404, viewer=viewer)
