"""Handler of the gateways and the watchers: translate the event for `sluicegate.gateway.app`."""

from functools import cache
from typing import Any

from sluicegate.aws import clients
from sluicegate.aws.s3 import Artifacts
from sluicegate.aws.secrets import Secrets
from sluicegate.aws.stepfunctions import Executions
from sluicegate.gate.codec import load
from sluicegate.gate.policy import Gate
from sluicegate.gateway import app, http
from sluicegate.gateway.context import Context
from sluicegate.gateway.http import GatewayRequest
from sluicegate.gateway.problems import not_found
from sluicegate.observability import count, logger, metrics
from sluicegate.oidc.jwks import Keyring
from sluicegate.settings import GatewaySettings
from sluicegate.store.store import Store


@cache
def keyring() -> Keyring:
    """Return the process's keys. Nothing is fetched before a request needs it."""
    return Keyring()


@cache
def settings() -> GatewaySettings:
    """Return the process's settings. An error is not cached, and denies every time."""
    return GatewaySettings.from_environment()


@cache
def gate() -> Gate:
    """Return the gate file of this version of its layer. An error is not cached, and denies every time."""
    return load(settings().gate, own_functions=settings().own_functions)


@cache
def context() -> Context:
    """Return the process's context, made at the first request: a snapshot has no connections and no keys."""
    given = settings()
    return Context(
        gate=gate(),
        keys=keyring(),
        store=Store(clients.client("dynamodb"), given.table, poll_pool=given.poll_pool),
        artifacts=Artifacts(clients.client("s3"), given.bucket),
        executions=Executions(clients.client("stepfunctions"), given.state_machine),
        secrets=Secrets(lambda: clients.client("secretsmanager")),
        own=given.own,
        log=log_event,
        waits=given.waits,
    )


def context_for(request: GatewayRequest) -> Context:
    """Return the process's context, if the call is one of this function's. Raises a Problem: 404.

    Where API Gateway names the caller, the event is trusted: only two functions answer such calls, and
    nothing else (security.md#roles).
    """
    if request.is_signed is not settings().signed:
        raise not_found()
    return context()


def log_event(event: str, **fields: Any) -> None:
    """Log and count one decision. No claim is a metric's dimension: the caller chooses its claims."""
    logger.info(event, extra=fields)
    count("".join(word.title() for word in event.split("_")))


@metrics.log_metrics
def handler(event: dict[str, Any], _: Any) -> dict[str, Any]:
    """Answer an API Gateway proxy event."""
    request = http.read_event(event)
    logger.append_keys(request_id=request.request_id)
    return http.proxy_response(app.respond(request, lambda: context_for(request)), text=request.wants_text)
