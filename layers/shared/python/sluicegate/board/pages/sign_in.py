"""The page for a viewer without a session: one button for each GitLab."""

from urllib.parse import urlsplit

from sluicegate.board.addresses import here
from sluicegate.board.context import BoardContext, page
from sluicegate.board.responses import BoardResponse
from sluicegate.gateway.http import GatewayRequest


def show(context: BoardContext, request: GatewayRequest) -> BoardResponse:
    """Ask the viewer to sign in; afterwards the page that was asked for is shown.

    The board's own address answers 200, any other one 401: a region that asks for news is not replaced.
    """
    issuers = [
        {"name": issuer.name, "host": urlsplit(issuer.instance).netloc}
        for issuer in context.gate.issuers.values()
        if issuer.sign_in
    ]
    back = here(request)
    return page(context, "sign_in.html", status=401 if back else 200, issuers=issuers, back=back)
