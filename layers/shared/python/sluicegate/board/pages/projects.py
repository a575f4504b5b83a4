"""A project's page: which functions serve what it deployed, and its deployments."""

from itertools import islice

from sluicegate.board import lists
from sluicegate.board.context import BoardContext, live_page
from sluicegate.board.pages.activity import PAGE, row
from sluicegate.board.pages.missing import missing
from sluicegate.board.pages.overview import EVERY, cell
from sluicegate.board.responses import BoardResponse
from sluicegate.board.visibility import Visibility
from sluicegate.gateway.http import GatewayRequest
from sluicegate.owner import Owner
from sluicegate.store.serving import place_of


def show(
    context: BoardContext, request: GatewayRequest, viewer: Visibility, issuer_name: str, project_id: str
) -> BoardResponse:
    """Return the page; a project of which the viewer sees nothing is the same 404 as none."""
    issuer = next((one for one in context.gate.issuers.values() if one.name == issuer_name), None)
    if issuer is None or not (project_id.isascii() and project_id.isdigit() and len(project_id) < 20):
        return missing(context, viewer)
    owner = Owner("project", issuer.url, project_id)
    serving = lists.serving_by(context.reads, viewer, owner)
    recent = list(islice(lists.newest_by(context.reads, viewer, owner, serves=bool(serving)), PAGE))
    if not serving and not recent:
        return missing(context, viewer)
    paths = [one.requester.project_path for one in recent] + [one.project_path for one in serving]
    path = next(filter(None, paths), project_id)
    return live_page(
        context,
        request,
        "project.html",
        "project_live.html",
        every=EVERY,
        viewer=viewer,
        here="",
        path=path,
        address=f"{issuer.instance.rstrip('/')}/{path}" if path != project_id else None,
        project_id=project_id,
        cells=[
            {"function": one.function, **cell(place_of(one), one, None, (), context.reads.drift())}
            for one in sorted(serving, key=lambda one: (one.function, one.stage))
        ],
        items=[row(one) for one in recent],
    )
