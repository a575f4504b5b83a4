"""Lambda handler of the messenger: report deployments to channels and programs, from a queue of events."""

from functools import cache
from typing import Any

from sluicegate.aws import clients
from sluicegate.delivery.consumer import QueueConsumer
from sluicegate.delivery.secrets import CachedSecrets
from sluicegate.gate.codec import load
from sluicegate.gate.policy import Gate
from sluicegate.messages.destination import FORM
from sluicegate.messages.messenger import Messenger
from sluicegate.observability import count, logger, measure, metrics
from sluicegate.settings import MessengerSettings
from sluicegate.store.leases import Leases
from sluicegate.store.store import Store
from sluicegate.store.table import Table


@cache
def gate() -> Gate:
    """Return the gate file of this version of its layer. An error is not cached."""
    settings = MessengerSettings.from_environment()
    return load(settings.gate, own_functions=settings.own_functions)


@cache
def consumer() -> QueueConsumer:
    """Build the consumer at the first event."""
    settings = MessengerSettings.from_environment()
    table = clients.client("dynamodb")
    messenger = Messenger(
        Store(table, settings.table),
        Leases(Table(table, settings.table)),
        gate,
        CachedSecrets(clients.client("secretsmanager"), form=FORM),
        log,
        settings.board,
    )
    sqs = clients.client("sqs")
    return QueueConsumer(messenger.sync, sqs, settings.queue, settings.dead_letters, delayed, rejected)


def log(event: str, **fields: Any) -> None:
    """Log one message."""
    logger.info(event, extra=fields)


def delayed(code: str, *, age: float, **fields: Any) -> None:
    """Log and count a retry, and measure how old the event is: the alarm on a long delay reads that."""
    logger.warning("message_delayed", extra={"error": code, "age": age, **fields})
    count("MessageDelayed")
    measure("MessageAge", age)


def rejected(code: str, **fields: Any) -> None:
    """Log and count an event that was set aside. The alarm on the dead letters covers it."""
    logger.error("message_rejected", extra={"error": code, **fields})
    count("MessageRejected")


@metrics.log_metrics
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Process a batch from the queue; return the messages that must be delivered again."""
    failed = consumer().process(event["Records"])
    return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in failed]}
