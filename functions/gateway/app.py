"""Handler of the gateway and the watcher: parse, ask `sluicegate.gateway.app`, serialise."""

from functools import cache
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from sluicegate.aws import clients
from sluicegate.aws.s3 import Artifacts
from sluicegate.aws.secrets import Secrets
from sluicegate.aws.stepfunctions import Executions
from sluicegate.gate.codec import GateError, load
from sluicegate.gate.policy import Gate
from sluicegate.gateway import app, http
from sluicegate.gateway.problems import Problem, unavailable
from sluicegate.observability import count, logger, metrics
from sluicegate.oidc.jwks import Keyring
from sluicegate.settings import GatewaySettings, MissingSetting
from sluicegate.store.store import Store


@cache
def keyring() -> Keyring:
    """Keys outlive a request; nothing is fetched before one needs it."""
    return Keyring()


@cache
def gate() -> Gate:
    """The gate file of this version of its layer; an error is not kept, and denies every time."""
    settings = GatewaySettings.from_environment()
    return load(settings.gate, own_functions=settings.own_functions)


@cache
def service() -> app.Gateway:
    """Made at the first request, so that a snapshot holds neither connections nor keys."""
    settings = GatewaySettings.from_environment()
    return app.Gateway(
        gate=gate(),
        keys=keyring(),
        store=Store(clients.client("dynamodb"), settings.table),
        artifacts=Artifacts(clients.client("s3"), settings.bucket),
        executions=Executions(clients.client("stepfunctions"), settings.state_machine),
        secrets=Secrets(lambda: clients.client("secretsmanager")),
        own=settings.own,
        note=note,
    )


def note(event: str, **facts: Any) -> None:
    """One decision, one event. No claim is a metric's dimension: claims are the caller's to choose."""
    logger.info(event, extra=facts)
    count(event.title().replace(" ", ""))


@metrics.log_metrics
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Of API Gateway's proxy events. Whatever goes wrong is an answer, and denies."""
    call = http.call(event)
    logger.append_keys(request_id=call.request_id)
    try:
        answer = _answer(call)
    except Problem as problem:
        answer = http.problem(problem, call.request_id)
        logger.info("answered", extra={"status": problem.status, "code": problem.code})
    return http.response(answer, text=call.wants_text)


def _answer(call: http.Call) -> http.Answer:
    if (call.method, call.resource) == ("GET", "/health"):
        return app.health()
    try:
        return service().answer(call)
    except GateError as error:
        logger.error("gate file unusable: everything is denied", extra={"error": str(error)})
        raise unavailable("the gate file cannot be used: everything is denied", 60) from None
    except MissingSetting as error:
        logger.error("setting missing: everything is denied", extra={"error": str(error)})
        raise unavailable("Sluicegate is not set up: everything is denied", 60) from None
    except (ClientError, BotoCoreError) as error:
        logger.error(
            "AWS call failed",
            extra={"error": clients.error_code(error), "message_": clients.error_message(error)},
        )
        raise unavailable("AWS did not answer as it should: send the same request again") from None
    except Problem:
        raise
    except Exception as error:
        logger.error("unforeseen error", extra={"error": type(error).__name__})
        raise unavailable(
            "an unforeseen error: nothing was accepted, or the same request finds it"
        ) from error
