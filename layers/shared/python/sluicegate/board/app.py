"""The board's router: from an address to its page. An error of any kind shows nothing.

API Gateway matched `/board` or `/board/{proxy+}`; what follows is looked up here.
"""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Final

from botocore.exceptions import BotoCoreError, ClientError

from sluicegate.aws.errors import error_code, error_message
from sluicegate.board.context import BoardContext, page
from sluicegate.board.responses import BoardResponse
from sluicegate.board.viewers import viewer_of
from sluicegate.board.visibility import Visibility
from sluicegate.gate.decoding import GateError
from sluicegate.gateway.http import GatewayRequest
from sluicegate.observability import logger
from sluicegate.settings import MissingSetting

PLAIN: Final = "text/plain; charset=utf-8"

PAGES: Final[Mapping[tuple[str, ...], str]] = {
    (): "overview",
    ("deployments", ""): "deployments",
    ("activity",): "activity",
    ("holds",): "holds",
    ("delivery",): "delivery",
    ("evidence",): "evidence",
    ("functions", ""): "functions",
    ("projects", "", ""): "projects",
}
"""The module of each page; an empty part is handed to it."""


def respond(request: GatewayRequest, make_context: Callable[[], BoardContext]) -> BoardResponse:
    """Answer a request. An error becomes a page that says so, without what caused it."""
    try:
        return dispatch(make_context(), request)
    except GateError as error:
        logger.error("gate_file_unusable", extra={"error": str(error)})
        return _unavailable("The gate file is unusable, so the board shows nothing.")
    except MissingSetting as error:
        logger.error("setting_missing", extra={"error": str(error)})
        return _unavailable("The board is not set up.")
    except (ClientError, BotoCoreError) as error:
        _log(error)
        return _unavailable("An AWS service is temporarily unavailable. Load the page again.")
    except Exception as error:
        logger.error("unexpected_error", extra={"error": type(error).__name__})
        return _unavailable("An unexpected error occurred. Load the page again.")


def dispatch(context: BoardContext, request: GatewayRequest) -> BoardResponse:
    """Return the page, the file or the redirection that the request asks for."""
    parts = address(request)
    if request.method == "GET" and parts[:1] == ("assets",) and len(parts) == 2:
        gzipped = "gzip" in request.header("accept-encoding")
        found = context.assets.respond(parts[1], gzipped=gzipped)
        return found or BoardResponse(404, b"Not found\n", PLAIN)
    return _signing_in(context, request, parts) or _personal(context, request, parts)


def _signing_in(
    context: BoardContext, request: GatewayRequest, parts: tuple[str, ...]
) -> BoardResponse | None:
    """Return the answer of an address that is about signing in; None for any other."""
    match request.method, *parts:
        case "GET", "login":
            return _load("signing_in", "start")(context, request)
        case "GET", "callback", issuer:
            return _load("signing_in", "finish")(context, request, issuer)
        case "POST", "logout":
            return _load("signing_in", "sign_out")(context, request)
        case "GET", "bye":
            return _load("signing_in", "bye")(context, request)
        case "GET", "cli":
            return _load("terminals", "ask")(context, request)
        case "POST", "cli":
            return _load("terminals", "give")(context, request)
        case "POST", "session":
            return _load("terminals", "take")(context, request)
    return None


def _personal(context: BoardContext, request: GatewayRequest, parts: tuple[str, ...]) -> BoardResponse:
    """Return a page or an action's answer, as the person sees it who has signed in.

    What is neither is said not to be there before anybody's session is read: anybody can ask for it.
    """
    shown = _page(parts) if request.method == "GET" else None
    acts = len(parts) >= 3 and request.method in ("GET", "POST") and _is_action(parts)
    if shown is None and not acts:
        return _load("pages.missing", "missing")(context, None)
    person = viewer_of(context, request)
    viewer = Visibility(context.gate, person.identity) if person else None
    # Nothing is looked up for a person who has not signed in; a form's reason is kept for later.
    if acts and (person or request.method == "POST"):
        proposals = import_module("sluicegate.board.proposals")
        wanted = proposals.proposal(context, request, viewer, parts)
        if wanted is not None:
            act = _load("actions", "show" if request.method == "GET" else "press")
            return act(context, request, person, wanted)
    if viewer is None:
        return _load("pages.sign_in", "show")(context, request)
    return _seen(context, request, viewer, shown)


def _is_action(parts: tuple[str, ...]) -> bool:
    return bool(import_module("sluicegate.board.proposals").is_action(parts))


def _seen(
    context: BoardContext, request: GatewayRequest, viewer: Visibility, shown: tuple[str, list[str]] | None
) -> BoardResponse:
    try:
        if shown is None:
            return _load("pages.missing", "missing")(context, viewer)
        name, given = shown
        return _load(f"pages.{name}", "show")(context, request, viewer, *given)
    except (ClientError, BotoCoreError) as error:
        _log(error)
        return page(context, "failing.html", status=503, headers={"Retry-After": "5"}, viewer=viewer)


def _page(parts: tuple[str, ...]) -> tuple[str, list[str]] | None:
    """Return the page at an address, looked up by as many parts as it has, and the parts that it gets."""
    for pattern, name in PAGES.items():
        pairs = list(zip(pattern, parts, strict=False))
        if len(pattern) == len(parts) and all(one in ("", part) for one, part in pairs):
            return name, [part for one, part in pairs if not one]
    return None


def address(request: GatewayRequest) -> tuple[str, ...]:
    """Return the parts of the path after `/board`. API Gateway has decoded them."""
    return tuple(part for part in request.path.get("proxy", "").split("/") if part)


def _load(module: str, function: str) -> Callable[..., BoardResponse]:
    """Import a module at its first call: a cold start pays for the page that it needs."""
    loaded: Callable[..., BoardResponse] = getattr(import_module(f"sluicegate.board.{module}"), function)
    return loaded


def _log(error: ClientError | BotoCoreError) -> None:
    logger.error("aws_call_failed", extra={"error": error_code(error), "error_message": error_message(error)})


def _unavailable(text: str) -> BoardResponse:
    """Return 503 in plain text: templates may be what is missing."""
    return BoardResponse(503, f"{text}\n".encode(), PLAIN, {"Retry-After": "5"})
