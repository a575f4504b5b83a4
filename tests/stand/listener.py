"""Somebody who listens to Sluicegate's events: a rule on its bus, and a queue that the rule fills."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import uuid4

from stand import Stand

BUS: Final = "sluicegate"


@dataclass
class Listener:
    """What was heard so far, in the order in which it came."""

    sqs: Any
    queue: str
    events: list[dict[str, Any]] = field(default_factory=list)

    def of(self, deployment: str) -> list[dict[str, Any]]:
        """The events of one deployment."""
        self._receive()
        return [event for event in self.events if event["detail"]["id"] == deployment]

    def until(self, deployment: str, revision: int, patience: float = 30) -> list[dict[str, Any]]:
        """The events of one deployment once this revision was heard; what there is, where it never is."""
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            heard = self.of(deployment)
            if any(event["detail"]["revision"] == revision for event in heard):
                return heard
            time.sleep(0.1)
        return self.of(deployment)

    def _receive(self) -> None:
        while True:
            answer = self.sqs.receive_message(QueueUrl=self.queue, MaxNumberOfMessages=10)
            for message in answer.get("Messages", []):
                self.events.append(json.loads(message["Body"]))
                self.sqs.delete_message(QueueUrl=self.queue, ReceiptHandle=message["ReceiptHandle"])
            if not answer.get("Messages"):
                return


@contextmanager
def listening(stand: Stand, **pattern: Any) -> Iterator[Listener]:
    """Listen to what matches `detail`'s pattern, or to everything."""
    events, sqs, name = stand.client("events"), stand.client("sqs"), f"listener-{uuid4().hex[:8]}"
    queue = sqs.create_queue(QueueName=name)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    wanted = {"source": ["sluicegate"], **({"detail": pattern} if pattern else {})}
    events.put_rule(Name=name, EventBusName=BUS, EventPattern=json.dumps(wanted))
    events.put_targets(Rule=name, EventBusName=BUS, Targets=[{"Id": "queue", "Arn": arn}])
    try:
        yield Listener(sqs, queue)
    finally:
        events.remove_targets(Rule=name, EventBusName=BUS, Ids=["queue"])
        events.delete_rule(Name=name, EventBusName=BUS)
        sqs.delete_queue(QueueUrl=queue)
