"""Handler of the relay: what the table's stream says, onto the bus."""

from functools import cache
from typing import Any

from sluicegate.aws import clients
from sluicegate.observability import count, logger, metrics
from sluicegate.relay.relay import Relay
from sluicegate.settings import Config


@cache
def service() -> Relay:
    """Made at the first event."""
    return Relay(clients.client("events"), Config.from_environment().bus, trouble)


def trouble(code: str, **facts: Any) -> None:
    """It comes again; how long for, the alarm on the iterator's age tells."""
    logger.warning("not on the bus yet", extra={"error": code, **facts})
    count("EventsDelayed")


@metrics.log_metrics
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Of a batch of the stream; the answer says from which record on it has to come again."""
    failed = service().relay(event["Records"])
    return {"batchItemFailures": [] if failed is None else [{"itemIdentifier": failed}]}
