"""Handler of the notifier: what the bus says, to GitLab."""

from functools import cache
from typing import Any

from sluicegate.aws import clients
from sluicegate.gate.policy import Gate, load
from sluicegate.notifier.gitlab_api import Tokens
from sluicegate.notifier.ledger import StatusLedger
from sluicegate.notifier.notifier import Inbox, Notifier
from sluicegate.observability import count, logger, metrics
from sluicegate.settings import Config
from sluicegate.store.store import Store


@cache
def gate() -> Gate:
    """The gate file of this version of its layer; an error is not kept."""
    config = Config.from_environment()
    return load(config.gate, own_functions=config.own_functions)


@cache
def service() -> Inbox:
    """Made at the first event."""
    config = Config.from_environment()
    table = clients.client("dynamodb")
    notifier = Notifier(
        Store(table, config.table),
        StatusLedger(table, config.table),
        gate,
        Tokens(clients.client("secretsmanager")),
        note,
    )
    return Inbox(notifier, clients.client("sqs"), config.queue, config.dead_letters, delayed, refused)


def note(event: str, **facts: Any) -> None:
    """One thing said, one event."""
    logger.info(event, extra=facts)


def delayed(code: str, **facts: Any) -> None:
    """It comes again; how late it is, the alarm on the queue's oldest message tells."""
    logger.warning("not told yet", extra={"error": code, **facts})
    count("AnswersDelayed")


def refused(code: str, **facts: Any) -> None:
    """It is set aside until somebody acts; the alarm on the dead letters tells."""
    logger.error("refused", extra={"error": code, **facts})
    count("AnswersRefused")


@metrics.log_metrics
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Of a batch of the queue; the answer says which messages come again."""
    return {"batchItemFailures": [{"itemIdentifier": one} for one in service().hear(event["Records"])]}
