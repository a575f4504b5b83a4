"""Lambda handler of the board: translate the event for `sluicegate.board.app`."""

import time
from functools import cache
from pathlib import Path
from typing import Any

from sluicegate.aws import clients
from sluicegate.aws.secrets import Secrets
from sluicegate.board import app
from sluicegate.board.context import BoardContext
from sluicegate.board.responses import proxy_response
from sluicegate.gate.codec import load
from sluicegate.gateway import http
from sluicegate.observability import count, logger, metrics
from sluicegate.oidc.jwks import Keyring
from sluicegate.settings import BoardSettings
from sluicegate.store.evidence_log import EvidenceLog
from sluicegate.store.store import Store
from sluicegate.store.table import Table


@cache
def context() -> BoardContext:
    """Return the process's context, made at the first request. An error is not cached, and shows nothing."""
    settings = BoardSettings.from_environment()
    return BoardContext(
        gate=load(settings.gate, own_functions=settings.own_functions),
        keys=Keyring(),
        store=Store(clients.client("dynamodb"), settings.table),
        secrets=Secrets(lambda: clients.client("secretsmanager")),
        own=settings.own,
        files=Path(settings.files),
        log=log_event,
        evidence=EvidenceLog(Table(clients.client("dynamodb"), settings.table), settings.log, time.time),
    )


def log_event(event: str, **fields: Any) -> None:
    """Log and count one decision. No claim is a metric's dimension."""
    logger.info(event, extra=fields)
    count("".join(word.title() for word in event.split("_")))


@metrics.log_metrics
def handler(event: dict[str, Any], _: Any) -> dict[str, Any]:
    """Answer an API Gateway proxy event."""
    request = http.read_event(event)
    logger.append_keys(request_id=request.request_id)
    return proxy_response(app.respond(request, context))
