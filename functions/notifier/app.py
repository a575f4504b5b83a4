"""Lambda handler of the notifier: report deployments to GitLab, from the events on its queue."""

from functools import cache
from typing import Any, Final

from sluicegate.aws import clients
from sluicegate.delivery.consumer import QueueConsumer
from sluicegate.delivery.handling import DeliveryLog, respond
from sluicegate.delivery.secrets import CachedSecrets
from sluicegate.gate.codec import load
from sluicegate.gate.policy import Gate
from sluicegate.notifier.ledger import StatusLedger
from sluicegate.notifier.notifier import Notifier
from sluicegate.notifier.reporting import Reporting
from sluicegate.observability import metrics
from sluicegate.settings import NotifierSettings
from sluicegate.store.keys import digest
from sluicegate.store.store import Store
from sluicegate.store.table import Table

LOG: Final = DeliveryLog("feedback")


@cache
def gate() -> Gate:
    """Return the gate file of this version of its layer. An error is not cached."""
    settings = NotifierSettings.from_environment()
    return load(settings.gate, own_functions=settings.own_functions)


@cache
def consumer() -> QueueConsumer:
    """Build the consumer at the first event."""
    settings = NotifierSettings.from_environment()
    table = clients.client("dynamodb")
    reporting = Reporting(
        Store(table, settings.table),
        StatusLedger(Table(table, settings.table)),
        gate,
        CachedSecrets(clients.client("secretsmanager")),
        LOG.sent,
        LOG.dropped,
        stack=digest(settings.queue)[:8],
        board=settings.board,
    )
    notifier = Notifier(reporting)
    return QueueConsumer(
        notifier.sync,
        clients.client("sqs"),
        settings.queue,
        settings.dead_letters,
        LOG.delayed,
        LOG.rejected,
        concerns=notifier.concerns,
    )


@metrics.log_metrics
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Process a batch from the queue; return the messages that must be delivered again."""
    return respond(consumer(), event)
