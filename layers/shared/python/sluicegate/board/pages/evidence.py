"""Evidence: how far the sealed log reaches, and what is not in it yet."""

from typing import Any, Final

from sluicegate.board.context import BoardContext, live_page
from sluicegate.board.reads import EvidenceState
from sluicegate.board.responses import BoardResponse
from sluicegate.board.visibility import Visibility
from sluicegate.deployment.durations import timestamp
from sluicegate.gateway.http import GatewayRequest
from sluicegate.store.evidence_log import MAX_FACTS

EVERY: Final = 15


def show(context: BoardContext, request: GatewayRequest, viewer: Visibility) -> BoardResponse:
    """Return the page. It shows numbers alone, and to a person whom some rule names."""
    found = context.reads.evidence() if viewer.rules else None
    return live_page(
        context,
        request,
        "evidence.html",
        "evidence_live.html",
        every=EVERY,
        viewer=viewer,
        here="evidence",
        evidence=found and _shown(found),
    )


def _shown(found: EvidenceState) -> dict[str, Any]:
    log = found.log
    return {
        "fork": log.fork,
        "size": log.chain.size,
        "head": log.chain.head,
        "published": log.published,
        "signed": f"{log.signed_hour}:00:00Z" if log.signed_hour else None,
        "waiting": f"{found.waiting} or more" if found.waiting >= MAX_FACTS else str(found.waiting),
        "since": None if found.since is None else timestamp(found.since),
    }
