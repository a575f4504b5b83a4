"""The router: from a request to its endpoint, and from errors to problem details.

Answers come from the gateway's own table, never from a target (guarantees.md#8-least-privilege). The order of
refusals is the same for every call: 413 and 415, 401, 400, 403, idempotency, 422 and 412, 409.
"""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Final, TypeAlias

from botocore.exceptions import BotoCoreError, ClientError

from sluicegate.aws.errors import ErrorKind, classify, error_code, error_message
from sluicegate.gate.decoding import GateError
from sluicegate.gateway.authentication import authenticate, authenticate_signer
from sluicegate.gateway.context import Context
from sluicegate.gateway.evidence import record_refusal
from sluicegate.gateway.http import IAM, GatewayRequest, GatewayResponse
from sluicegate.gateway.problems import Problem, not_found, problem_response, unavailable
from sluicegate.gateway.requests.envelope import check_size_and_type
from sluicegate.observability import logger
from sluicegate.oidc.identity import Identity
from sluicegate.settings import MissingSetting

Route: TypeAlias = tuple[str, str]
"""A method, and a resource as API Gateway names it."""

Endpoint: TypeAlias = Callable[[Context, GatewayRequest, Identity], GatewayResponse]

HEALTH: Final[Route] = ("GET", "/health")
WEBHOOK: Final[Route] = ("POST", "/webhooks/gitlab/{name}")
"""The one call besides `HEALTH` that may come without a token or signature: its entry names the scheme."""

SESSION: Final[Route] = ("DELETE", "/session")
"""The call that ends the session of its own bearer. Under `IAM` there is none."""

ENDPOINTS: Final[Mapping[Route, str]] = {
    ("POST", "/artifacts"): "artifacts.create",
    ("POST", "/deployments"): "deployments.create",
    ("GET", "/deployments"): "deployments.list_",
    ("GET", "/deployments/{id}"): "deployments.read",
    ("POST", "/deployments/{id}/approve"): "approvals.decide",
    ("POST", "/deployments/{id}/reject"): "approvals.decide",
    ("POST", "/deployments/{id}/abort"): "approvals.decide",
    ("GET", "/stages/{stage}/hold"): "holds.read",
    ("POST", "/stages/{stage}/hold"): "holds.create",
    ("DELETE", "/stages/{stage}/hold"): "holds.delete",
    ("GET", "/functions"): "functions.list_",
    ("GET", "/functions/{name}"): "functions.read",
    ("GET", "/whoami"): "whoami.read",
    ("DELETE", "/sessions/{user}"): "sessions.end_all",
}
"""Module and function of each call that needs a caller's identity. `endpoint` imports the module.

Each is there twice: as it is, for a caller with an ID token, and under `IAM`, for one that signs.
"""


def respond(request: GatewayRequest, make_context: Callable[[], Context]) -> GatewayResponse:
    """Answer a request. Every error becomes problem details, and denies.

    `make_context` is not called for `GET /health`, which answers even if the gate file is unusable.
    """
    try:
        if (request.method, request.resource) == HEALTH:
            return _load("health.read")()
        return _respond(request, make_context)
    except Problem as problem:
        logger.info("request_failed", extra={"status": problem.status, "code": problem.code})
        return problem_response(problem, request.request_id)


def _respond(request: GatewayRequest, make_context: Callable[[], Context]) -> GatewayResponse:
    """Raise a Problem for every error."""
    try:
        return dispatch(make_context(), request)
    except GateError as error:
        logger.error("gate_file_unusable", extra={"error": str(error)})
        raise unavailable("The gate file is unusable: every request is denied.", 60) from None
    except MissingSetting as error:
        logger.error("setting_missing", extra={"error": str(error)})
        raise unavailable("Sluicegate is not set up: every request is denied.", 60) from None
    except (ClientError, BotoCoreError) as error:
        logger.error(
            "aws_call_failed", extra={"error": error_code(error), "error_message": error_message(error)}
        )
        if classify(error) in (ErrorKind.PERMANENT, ErrorKind.NOT_FOUND):
            raise unavailable(
                "AWS refused a call that Sluicegate made, and a retry does not help. The gateway's log has"
                " AWS's own words, under aws_call_failed.",
                60,
            ) from None
        raise unavailable("An AWS service is temporarily unavailable. Retry the request.") from None
    except Problem:
        raise
    except Exception as error:
        logger.error("unexpected_error", extra={"error": type(error).__name__})
        raise unavailable(
            "An unexpected error occurred. Retry the request: if it was accepted, you get what it started."
        ) from error


def dispatch(context: Context, request: GatewayRequest) -> GatewayResponse:
    """Authenticate the caller and call the endpoint. Raises a Problem, or an error of AWS.

    Only the resource that API Gateway matched says which way the caller came in, never the path or a header.
    """
    if (request.method, request.resource) == WEBHOOK:
        return _load("webhooks.receive")(context, request)
    if (request.method, request.resource) == SESSION:
        return _load("sessions.end_own")(context, request)
    route = (request.method, request.resource.removeprefix(IAM) if request.is_signed else request.resource)
    if route not in ENDPOINTS:
        raise not_found()
    if request.method == "POST":
        check_size_and_type(request)
    identity = None
    try:
        identity = (authenticate_signer if request.is_signed else authenticate)(context, request)
        return endpoint(route)(context, request, identity)
    except Problem as problem:
        if verified := identity or problem.identity:
            record_refusal(context, request, verified, problem)
        raise


def endpoint(route: Route) -> Endpoint:
    """Return the endpoint of a route in `ENDPOINTS`."""
    return _load(ENDPOINTS[route])


def _load(name: str) -> Callable[..., GatewayResponse]:
    """Import an endpoint at its first call: a cold start pays for the one that it needs."""
    module, _, function = name.partition(".")
    loaded: Callable[..., GatewayResponse] = getattr(
        import_module(f"sluicegate.gateway.endpoints.{module}"), function
    )
    return loaded
