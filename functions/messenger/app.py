"""Lambda handler of the messenger: report deployments to channels and programs, from a queue of events."""

from functools import cache
from typing import Any, Final

from sluicegate.aws import clients
from sluicegate.delivery.consumer import QueueConsumer
from sluicegate.delivery.handling import DeliveryLog, respond
from sluicegate.delivery.secrets import CachedSecrets
from sluicegate.gate.codec import load
from sluicegate.gate.policy import Gate
from sluicegate.messages.destination import FORM
from sluicegate.messages.messenger import Messenger
from sluicegate.observability import metrics
from sluicegate.settings import MessengerSettings
from sluicegate.store.leases import Leases
from sluicegate.store.store import Store
from sluicegate.store.table import Table

LOG: Final = DeliveryLog("message")


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
        LOG.sent,
        settings.board,
    )
    sqs = clients.client("sqs")
    return QueueConsumer(
        messenger.sync, sqs, settings.queue, settings.dead_letters, LOG.delayed, LOG.rejected
    )


@metrics.log_metrics
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Process a batch from the queue; return the messages that must be delivered again."""
    return respond(consumer(), event)
