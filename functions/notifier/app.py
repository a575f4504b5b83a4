"""Lambda handler of the notifier: report deployments to GitLab, from the events on its queue."""

from functools import cache
from typing import Any

from sluicegate.aws import clients
from sluicegate.delivery.consumer import QueueConsumer
from sluicegate.delivery.secrets import CachedSecrets
from sluicegate.gate.codec import load
from sluicegate.gate.policy import Gate
from sluicegate.notifier.ledger import StatusLedger
from sluicegate.notifier.notifier import Notifier
from sluicegate.notifier.reporting import Reporting
from sluicegate.observability import count, logger, measure, metrics
from sluicegate.settings import NotifierSettings
from sluicegate.store.keys import digest
from sluicegate.store.store import Store
from sluicegate.store.table import Table


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
        log,
        dropped,
        stack=digest(settings.queue)[:8],
        board=settings.board,
    )
    return QueueConsumer(
        Notifier(reporting).sync,
        clients.client("sqs"),
        settings.queue,
        settings.dead_letters,
        delayed,
        rejected,
    )


def log(event: str, **fields: Any) -> None:
    """Log one report."""
    logger.info(event, extra=fields)


def delayed(code: str, *, age: float, **fields: Any) -> None:
    """Log and count a retry, and measure how old the message is: the alarm on a long delay reads that.

    SQS's own age of the oldest message leaves out those that were received three times.
    """
    logger.warning("feedback_delayed", extra={"error": code, "age": age, **fields})
    count("FeedbackDelayed")
    measure("FeedbackAge", age)


def dropped(code: str, **fields: Any) -> None:
    """Log and count a report that GitLab can never show. Nobody can act on it, so no alarm watches it."""
    logger.warning("feedback_dropped", extra={"error": code, **fields})
    count("FeedbackDropped")


def rejected(code: str, **fields: Any) -> None:
    """Log and count a message that was set aside. The alarm on the dead letters covers it."""
    logger.error("feedback_rejected", extra={"error": code, **fields})
    count("FeedbackRejected")


@metrics.log_metrics
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Process a batch from the queue; return the messages that must be delivered again."""
    failed = consumer().process(event["Records"])
    return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in failed]}
