"""The frame of a handler with a queue: a batch and its answer, what is logged, and what is counted."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sluicegate.delivery.consumer import QueueConsumer
from sluicegate.observability import count, logger, measure


@dataclass(frozen=True)
class DeliveryLog:
    """Logs and counts what becomes of messages. `name` is that of one, such as `feedback`."""

    name: str

    def sent(self, event: str, **fields: Any) -> None:
        """Log what was sent."""
        logger.info(event, extra=fields)

    def delayed(self, code: str, *, age: float, **fields: Any) -> None:
        """Log and count a retry, and measure how old the message is: the alarm on a long delay reads that.

        SQS's own age of the oldest message leaves out those that were received three times.
        """
        logger.warning(f"{self.name}_delayed", extra={"error": code, "age": age, **fields})
        count(f"{self._metric}Delayed")
        measure(f"{self._metric}Age", age)

    def dropped(self, code: str, **fields: Any) -> None:
        """Log and count what can never be shown. Nobody can act on it, so no alarm watches it."""
        logger.warning(f"{self.name}_dropped", extra={"error": code, **fields})
        count(f"{self._metric}Dropped")

    def rejected(self, code: str, **fields: Any) -> None:
        """Log and count a message that was set aside. The alarm on the dead letters covers it."""
        logger.error(f"{self.name}_rejected", extra={"error": code, **fields})
        count(f"{self._metric}Rejected")

    @property
    def _metric(self) -> str:
        return self.name.capitalize()


def respond(consumer: QueueConsumer, event: Mapping[str, Any]) -> dict[str, Any]:
    """Process a batch from the queue; return the messages that must be delivered again."""
    failed = consumer.process(event["Records"])
    return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in failed]}
