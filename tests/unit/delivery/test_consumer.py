"""The queue's consumer retries with backoff what may succeed later, and sets aside what cannot."""

import json
from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest

from sluicegate.delivery.consumer import MAX_BACKOFF, MIN_BACKOFF, QueueConsumer
from sluicegate.delivery.errors import PermanentError
from sluicegate.deployment.model import Deployment, Origin
from sluicegate.gate.decoding import GateError
from sluicegate.notifier.notifier import Notifier
from sluicegate.relay.event import detail
from sluicegate.store.leases import LEASE_SECONDS
from support.notifier_simulation import JOB, NotifierSimulation, deployment

SENT = 1_790_000_000
"""When the message was sent, in epoch seconds."""


@dataclass
class FakeQueue:
    """The calls of SQS that the consumer makes."""

    hidden: list[int] = field(default_factory=list)
    dead: list[str] = field(default_factory=list)

    def change_message_visibility(self, *, QueueUrl: str, ReceiptHandle: str, VisibilityTimeout: int) -> None:
        assert (QueueUrl, ReceiptHandle) == ("queue", "handle")
        self.hidden.append(VisibilityTimeout)

    def send_message(self, *, QueueUrl: str, MessageBody: str) -> None:
        assert QueueUrl == "dead letters"
        self.dead.append(MessageBody)


@dataclass
class Consumed:
    """What the consumer did with its messages."""

    simulation: NotifierSimulation
    queue: FakeQueue = field(default_factory=FakeQueue)
    delayed: list[Any] = field(default_factory=list)
    rejected: list[Any] = field(default_factory=list)
    age: float = 0.0

    def process(self, body: str, times: int = 1) -> list[str]:
        consumer = QueueConsumer(
            self.simulation.notifier.sync,
            cast(Any, self.queue),
            "queue",
            "dead letters",
            lambda code, **fields: self.delayed.append((code, fields)),
            lambda code, **fields: self.rejected.append((code, fields)),
            clock=lambda: SENT + self.age,
            concerns=self.simulation.notifier.concerns,
        )
        message = {
            "messageId": "m",
            "receiptHandle": "handle",
            "body": body,
            "attributes": {"ApproximateReceiveCount": str(times), "SentTimestamp": str(SENT * 1_000)},
        }
        return consumer.process([message])


def event(one: Deployment) -> str:
    return json.dumps({"detail": {"id": one.id}})


def whole_event(one: Deployment) -> str:
    return json.dumps({"detail": detail(one, "https://deploy.example.com")})


OTHER = replace(JOB, issuer="https://gitlab.example.org")
PROMOTED = replace(deployment(by=OTHER), action="promote", built=Origin(JOB, "2026-11-26T17:00:00.000Z"))


@pytest.mark.parametrize(
    ("one", "reads"),
    [
        (deployment(), True),
        (deployment(by=OTHER), False),
        (
            replace(deployment(by=OTHER), action="promote", built=Origin(OTHER, "2026-11-26T17:00:00.000Z")),
            False,
        ),
        (PROMOTED, True),
    ],
)
def test_the_record_is_read_where_a_gitlab_of_the_event_receives_something(
    simulation: NotifierSimulation, one: Deployment, reads: bool
) -> None:
    read: list[str] = []
    simulation.records = cast(Any, Noting(read))
    consumed = Consumed(simulation)
    assert consumed.process(whole_event(one)) == []
    assert (read, consumed.delayed) == ([one.id] if reads else [], [])


class Noting(dict[str, Deployment]):
    """Records of which there are none. It notes which were looked for."""

    def __init__(self, read: list[str]) -> None:
        self._read = read

    def get(self, key: str, default: Any = None) -> Any:
        self._read.append(key)
        return default


@pytest.mark.parametrize("said", [{}, {"requested_by": "somebody"}, {"built": "x", "requested_by": None}])
def test_an_event_that_does_not_say_who_asked_is_looked_at(
    simulation: NotifierSimulation, said: dict[str, Any]
) -> None:
    assert simulation.notifier.concerns({"id": "1", **said})


def test_a_processed_message_is_not_delivered_again(simulation: NotifierSimulation) -> None:
    simulation.save(one := deployment())
    consumed = Consumed(simulation)
    assert consumed.process(event(one)) == []
    assert (consumed.queue, consumed.delayed, consumed.rejected) == (FakeQueue(), [], [])


@pytest.mark.parametrize(
    ("times", "backoff"), [(1, 30), (2, 60), (3, 120), (5, 480), (6, 900), (7, 900), (99, 900)]
)
def test_a_gitlab_that_does_not_answer_is_retried_with_backoff(
    simulation: NotifierSimulation, times: int, backoff: int
) -> None:
    simulation.save(one := deployment())
    consumed = Consumed(simulation)
    simulation.faults = ["busy"]
    assert consumed.process(event(one), times) == ["m"]
    assert consumed.delayed == [("status 503", {"deployment": one.id, "seconds": backoff, "age": 0})]
    [hidden] = consumed.queue.hidden
    assert hidden in (backoff, backoff + 1)
    assert MIN_BACKOFF <= hidden <= MAX_BACKOFF


@pytest.mark.parametrize(("age", "whole"), [(0.4, 0), (1_830.0, 1_830), (-2.0, 0)])
def test_what_is_retried_says_how_old_it_is(simulation: NotifierSimulation, age: float, whole: int) -> None:
    """Clocks differ by seconds: a message from the future is new."""
    simulation.save(one := deployment())
    consumed = Consumed(simulation, age=age)
    simulation.faults = ["busy"]
    consumed.process(event(one), 7)
    assert consumed.delayed[0][1]["age"] == whole


def test_a_message_waits_until_the_lease_of_another_process_ends(simulation: NotifierSimulation) -> None:
    simulation.save(one := deployment())
    simulation.faults = ["unsent"]
    consumed = Consumed(simulation)
    consumed.process(event(one))
    simulation.clock.sleep(10)
    assert consumed.process(event(one)) == ["m"]
    assert consumed.queue.hidden[-1] == LEASE_SECONDS - 10 + 1
    assert len(consumed.delayed) == 1


def test_an_unusable_gate_file_delays(simulation: NotifierSimulation) -> None:
    def broken() -> Any:
        raise GateError("no")

    simulation.notifier = Notifier(replace(simulation.notifier.reporting, gate=broken))
    simulation.save(one := deployment())
    consumed = Consumed(simulation)
    assert consumed.process(event(one)) == ["m"]
    assert consumed.delayed[0][0] == "gate"


@pytest.mark.parametrize("body", ["", "{}", "[]", '{"detail": {}}', '{"detail": {"id": "../x"}}', "null"])
def test_a_malformed_event_is_set_aside(simulation: NotifierSimulation, body: str) -> None:
    consumed = Consumed(simulation)
    assert consumed.process(body) == []
    assert consumed.queue.dead == [body]
    assert consumed.rejected[0][0] in ("not_an_event", "no_such_deployment")


def test_what_gitlab_rejects_is_set_aside_at_once(simulation: NotifierSimulation) -> None:
    simulation.save(one := deployment(by=replace(JOB, project_id="9")))
    consumed = Consumed(simulation)
    assert consumed.process(event(one)) == []
    assert consumed.queue.dead == [event(one)]
    assert [(code, fields["detail"]) for code, fields in consumed.rejected] == [
        ("status 404", "404 Project Not Found")
    ]
    with pytest.raises(PermanentError):
        simulation.notifier.sync(one.id)  # and holds no lease: a replay is processed at once


def test_what_gitlab_can_never_show_is_no_dead_letter(simulation: NotifierSimulation) -> None:
    simulation.save(one := deployment(by=replace(JOB, sha="0" * 40)))
    consumed = Consumed(simulation)
    for _ in range(2):
        assert consumed.process(event(one)) == []
    assert (consumed.queue, consumed.delayed, consumed.rejected) == (FakeQueue(), [], [])
    facts = {"kind": "status", "deployment": one.id, "detail": "404 Commit Not Found"}
    assert simulation.dropped == [("status 404", facts)]  # once: the second message has nothing to send
    assert simulation.log == []
