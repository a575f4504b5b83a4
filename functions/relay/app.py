"""Lambda handler of the relay: publish changes of deployments, from the table's stream to the event bus."""

from functools import cache
from typing import Any

from sluicegate.aws import clients
from sluicegate.observability import count, logger, metrics
from sluicegate.relay.relay import Relay
from sluicegate.settings import RelaySettings


@cache
def relay() -> Relay:
    """Build the relay at the first event."""
    settings = RelaySettings.from_environment()
    return Relay(clients.client("events"), settings.bus, settings.board, delayed)


def delayed(code: str, **fields: Any) -> None:
    """Log and count a record that must be sent again. The alarm on the iterator's age covers a long delay."""
    logger.warning("event_delayed", extra={"error": code, **fields})
    count("EventsDelayed")


@metrics.log_metrics
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Relay a batch of the stream; return the record from which it must be delivered again."""
    failed = relay().relay(event["Records"])
    return {"batchItemFailures": [] if failed is None else [{"itemIdentifier": failed}]}
