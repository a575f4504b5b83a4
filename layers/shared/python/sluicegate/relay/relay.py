"""The far end of the outbox: publish the table's stream to the event bus, at least once and in order."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from sluicegate.aws.errors import error_code, error_message
from sluicegate.relay.event import DeploymentEvent, batches, from_record

if TYPE_CHECKING:
    from mypy_boto3_events import EventBridgeClient


@dataclass(frozen=True)
class Relay:
    """Publishes the records of the table's stream to a bus. `board` is the address of the board.

    `delayed` gets an error code and the known fields of each record that could not be published.
    """

    client: "EventBridgeClient"
    bus: str
    board: str
    delayed: Callable[..., None]

    def relay(self, records: Iterable[Mapping[str, Any]]) -> str | None:
        """Publish the records; return the sequence number of the first that must be retried, or None.

        All before it are on the bus; it and all after it must be delivered again, in the same order. Nothing
        is published past a failed record, except other deployments' events in the very same call.
        """
        events: list[DeploymentEvent] = []
        unreadable = None
        for record in records:
            try:
                event = from_record(record, self.board)
            except Exception as error:
                # A record of a later release, or a bug here: what comes before it can still be published.
                unreadable = str(record["dynamodb"]["SequenceNumber"])
                self.delayed(type(error).__name__, sequence=unreadable)
                break
            if event is not None:
                events.append(event)
        for batch in batches(events):
            failed = self._publish(batch)
            if failed is not None:
                return failed
        return unreadable

    def _publish(self, batch: list[DeploymentEvent]) -> str | None:
        """Return the sequence number of the first event that EventBridge did not accept, or None."""
        try:
            answer = self.client.put_events(Entries=[event.entry(self.bus) for event in batch])
        except (ClientError, BotoCoreError) as error:
            self._report(batch[0], error_code(error), error_message=error_message(error))
            return batch[0].sequence
        failed = None
        for event, result in zip(batch, answer["Entries"], strict=True):
            if not result.get("EventId"):
                self._report(event, str(result.get("ErrorCode", "Unknown")))
                failed = failed or event.sequence
        return failed

    def _report(self, event: DeploymentEvent, code: str, **more: str) -> None:
        fields = {"sequence": event.sequence, "deployment": event.deployment, "revision": event.revision}
        self.delayed(code, **fields, **more)
