"""The outbox's other end: from the table's stream to the bus, at least once and in order."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from sluicegate.aws import clients
from sluicegate.relay import event as events
from sluicegate.relay.event import Event


@dataclass(frozen=True)
class Relay:
    """Puts what the table's stream says on the bus.

    `client` is an EventBridge client; `trouble` is told of each record that did not get there, with an error
    code and what is known of the record.
    """

    client: Any
    bus: str
    trouble: Callable[..., None]

    def relay(self, records: Iterable[Mapping[str, Any]]) -> str | None:
        """The sequence number of the first record that has to come again, None where none has.

        Whatever comes before it is on the bus; it and all after it are to be given again, in the same order.
        Nothing is put past a record that failed, but for other deployments' in the very same call.
        """
        found: list[Event] = []
        unreadable = None
        for record in records:
            try:
                event = events.of_record(record)
            except Exception as error:
                # A record of a later release, or a mistake of ours: what comes before it can still be told.
                unreadable = str(record["dynamodb"]["SequenceNumber"])
                self.trouble(type(error).__name__, sequence=unreadable)
                break
            if event is not None:
                found.append(event)
        for call in events.calls(found):
            failed = self._put(call)
            if failed is not None:
                return failed
        return unreadable

    def _put(self, call: list[Event]) -> str | None:
        """The sequence number of the first event that EventBridge did not take."""
        try:
            answer = self.client.put_events(Entries=[event.entry(self.bus) for event in call])
        except (ClientError, BotoCoreError) as error:
            self._told(call[0], clients.error_code(error))
            return call[0].sequence
        failed = None
        for event, result in zip(call, answer["Entries"], strict=True):
            if not result.get("EventId"):
                self._told(event, str(result.get("ErrorCode", "Unknown")))
                failed = failed or event.sequence
        return failed

    def _told(self, event: Event, code: str) -> None:
        self.trouble(code, sequence=event.sequence, deployment=event.deployment, revision=event.revision)
