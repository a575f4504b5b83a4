"""The notifier, with its queue behind the bus and a GitLab behind a network that fails like any other.

Sources: SQS developer guide, "Standard queues" (at least once, in any order) and "Visibility timeout"; Lambda
developer guide, "Using Lambda with Amazon SQS" (partial responses; what fails is seen again after its
visibility timeout). Read on 27 November 2026. GitLab's rules are `stand.gitlab_api`'s.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from email.message import Message as Headers
from typing import Any, Final

from simulation.gates import FEEDBACK, PROJECT
from simulation.invariants import CANARY, TOKEN
from simulation.ledger import Ledger
from simulation.processes import Process
from simulation.traffic import COMMITS
from simulation.world import World
from sluicegate.delivery.consumer import QueueConsumer
from sluicegate.delivery.secrets import CachedSecrets
from sluicegate.deployment.model import Deployment, Status
from sluicegate.http_client import MAX_BODY, FetchError, HttpResponse
from sluicegate.notifier.ledger import StatusLedger
from sluicegate.notifier.notifier import Notifier
from sluicegate.notifier.reporting import Reporting
from sluicegate.store.table import Table
from stand.gitlab_api import Api
from support.simulation import TABLE

Json = dict[str, Any]

MERGE_REQUEST: Final = 7

QUEUE: Final = "notifier"
DEAD_LETTERS: Final = "dead letters"
VISIBILITY: Final = 540.0
CONCURRENCY: Final = 5
MOST_RECEIVES: Final = 110
"""As in template.yaml: `NotifierQueue` and `NotifierFunction`."""

DELAYS: Final = (0.0, 0.1, 1.0, 8.0, 70.0)
"""Seconds that an event is under way."""

SLOW: Final = (0.1, 1.0, 4.0, 7.0)
"""Seconds until GitLab answers; its client waits for five."""

LATE: Final = (0.5, 2.0, 6.0, 9.5)
"""Seconds after which a request takes effect whose client has given up: GitLab waits ten for its own lock."""

OUTAGES: Final = (20, 120, 900)


@dataclass(eq=False)
class Message:
    """A message on the queue. `hidden_until` is when it is delivered again."""

    number: int
    body: str
    sent: float
    received: int = 0
    hidden_until: float = 0.0


class Queue:
    """The notifier's queue, with the rule before it and the function behind it: a message at a time."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._messages: dict[int, Message] = {}
        self._waiting: list[Message] = []
        self._numbers = 0
        self._busy = 0
        self.dead_letters: list[str] = []

    @property
    def is_empty(self) -> bool:
        """Whether all that was sent has been dealt with."""
        return not self._messages

    def send(self, entry: Json) -> None:
        """Take an event from the bus: after a while, and more than once maybe."""
        faults, choices = self._world.faults, self._world.choices
        twice = bool(faults.chances) and choices.chance(self._world.duplicates)
        for _ in range(1 + twice):
            body = json.dumps({"detail": json.loads(entry["Detail"])})
            message = Message(self._numbers, body, self._world.engine.now)
            self._numbers += 1
            self._messages[message.number] = message
            delay = choices.one_of(DELAYS) if faults.chances else DELAYS[0]
            self._world.engine.later(delay, lambda message=message: self._deliver(message))  # type: ignore[misc]

    def send_message(self, *, QueueUrl: str, MessageBody: str) -> None:
        """Set a message aside."""
        assert QueueUrl == DEAD_LETTERS
        self.dead_letters.append(MessageBody)

    def change_message_visibility(self, *, QueueUrl: str, ReceiptHandle: str, VisibilityTimeout: int) -> None:
        """Let a message be delivered again after so many seconds."""
        assert QueueUrl == QUEUE
        if message := self._messages.get(int(ReceiptHandle)):
            message.hidden_until = self._world.engine.now + VisibilityTimeout

    def _deliver(self, message: Message) -> None:
        if self._busy >= CONCURRENCY:
            self._waiting.append(message)
            return
        self._busy += 1
        message.received += 1
        assert message.received <= MOST_RECEIVES, f"17. a message was received {MOST_RECEIVES} times"
        message.hidden_until = self._world.engine.now + VISIBILITY
        task = self._world.invoke("notifier", {"Records": [_record(message)]})

        def watch() -> None:
            self._world.engine.wait(task.done)
            self._busy -= 1
            if self._waiting:
                self._deliver(self._waiting.pop(0))
            if task.killed or task.error is not None or task.result["batchItemFailures"]:
                left = max(0.0, message.hidden_until - self._world.engine.now)
                self._world.engine.later(left, lambda: self._deliver(message))
            else:
                self._messages.pop(message.number, None)

        self._world.engine.spawn("queue", watch)


def _record(message: Message) -> Json:
    attributes = {
        "ApproximateReceiveCount": str(message.received),
        "SentTimestamp": str(int(message.sent * 1_000)),
    }
    handle = str(message.number)
    return {"messageId": handle, "receiptHandle": handle, "body": message.body, "attributes": attributes}


@dataclass
class Reached:
    """What a notifier's process has: its consumer, and its way to GitLab."""

    consumer: QueueConsumer
    exchange: Callable[..., HttpResponse]


@dataclass
class Feedback:
    """A GitLab, and the notifier that reports to it. `outages` are times at which it does not answer."""

    world: World
    api: Api = field(default_factory=Api)
    outages: list[tuple[float, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.queue = Queue(self.world)
        self.api.discussed.open(PROJECT, MERGE_REQUEST, COMMITS[0])
        self.world.models |= {"sqs": self.queue, "secretsmanager": self}
        self.world.makers["notifier"] = self._notifier

    def get_secret_value(self, *, SecretId: str) -> dict[str, str]:
        """Secrets Manager's answer."""
        assert SecretId == FEEDBACK["secret"]
        return {"SecretString": self.api.tokens[0]}

    def fail(self) -> None:
        """Let GitLab be down for a while, and have its token replaced."""
        now, choices = self.world.engine.now, self.world.choices
        begins = now + choices.below(90)
        self.outages.append((begins, begins + choices.one_of(OUTAGES)))
        if choices.chance(0.3):
            self.world.engine.later(choices.below(120), self._rotate)

    def _rotate(self) -> None:
        self.api.rotate()

    def _notifier(self, process: Process) -> Reached:
        gate = self.world.gates[-1]
        table = Table(self.world.client(process, "dynamodb"), TABLE, process.sleep)
        reporting = Reporting(
            self.world.store(process),
            StatusLedger(table, process.clock),
            lambda: gate,
            CachedSecrets(self.world.client(process, "secretsmanager"), process.clock),
            lambda *_, **__: None,
            lambda *_, **__: None,
            process.clock,
            stack="5f1d",
        )
        notifier = Notifier(reporting)
        consumer = QueueConsumer(
            notifier.sync,
            self.world.client(process, "sqs"),
            QUEUE,
            DEAD_LETTERS,
            lambda *_, **__: None,
            lambda *_, **__: None,
            process.clock,
            notifier.concerns,
        )
        return Reached(consumer, _Network(self, process).exchange)

    def answer(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> HttpResponse:
        """Answer a request, which takes effect."""
        assert CANARY.encode() not in body, "12. a secret is sent to GitLab"
        assert TOKEN.encode() not in body, "12. a token is sent to GitLab"
        status, content = self.api.answer(method, target, headers, body)
        self.world.engine.note(f"GitLab: {method} {target[:60]} {body.decode()[:80]}: {status}")
        sent = Headers()
        for name, value in getattr(content, "headers", {}).items():
            sent[name] = value
        return HttpResponse(status, sent, json.dumps(content).encode())


@dataclass
class _Network:
    """A process' way to GitLab: each request may fail, before it takes effect or after."""

    feedback: Feedback
    process: Process

    def exchange(
        self,
        url: str,
        method: str = "GET",
        *,
        seconds: float,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        most: int = MAX_BODY,
    ) -> HttpResponse:
        """Send a request, as `http_client.exchange` does."""
        assert 0 < seconds <= 5
        engine, world = self.process.engine, self.feedback.world
        target = url[url.index("/api/") :]

        def act() -> HttpResponse:
            return self.feedback.answer(method, target, headers or {}, body or b"")

        engine.pause()
        if any(begins <= engine.now < ends for begins, ends in self.feedback.outages):
            engine.sleep(min(seconds, 0.1))
            raise FetchError("refused")
        kind, faults = "none", world.faults
        if faults.chances:
            kind = world.choices.weighted(faults.weights(faults.kills > 0))
        if kind != "none":
            engine.note(f"GitLab: {kind}")
        match kind:
            case "throttled":
                return HttpResponse(429, _retry_after(world.choices.one_of(("", "7"))), b"")
            case "failed":
                return HttpResponse(world.choices.one_of((503, 502)), Headers(), b"<html>")
            case "slow":
                engine.sleep(min(world.choices.one_of(SLOW), seconds))
            case "late":
                engine.spawn("late request", act, seconds + world.choices.one_of(LATE))
                engine.sleep(seconds)
                raise FetchError("deadline")
            case "killed before":
                faults.kills -= 1
                engine.die()
        answer = act()
        match kind:
            case "lost":
                engine.sleep(seconds)
                raise FetchError("deadline")
            case "killed after":
                faults.kills -= 1
                engine.die()
        assert len(answer.body) <= most
        engine.pause()
        return answer


def _retry_after(seconds: str) -> Headers:
    headers = Headers()
    if seconds:
        headers["Retry-After"] = seconds
    return headers


SHOWN: Final[Mapping[Status, str]] = {
    Status.SUCCEEDED: "success",
    Status.FAILED: "failed",
    Status.ROLLED_BACK: "failed",
    Status.REJECTED: "canceled",
    Status.ABORTED: "canceled",
}
"""The state in GitLab of a deployment that has ended."""


def gitlab_shows_it(at: Feedback, ledger: Ledger, before: Set[str]) -> Iterator[str]:
    """17. GitLab's last state is the record's, and GitLab has each deployment once. `before` it had none."""
    stories = [story.record for name, story in sorted(ledger.stories.items()) if name not in before]
    yield from _statuses(at.api, stories)
    yield from _deployments(at.api, stories)
    yield from _note(at.api, stories)
    if at.queue.dead_letters:
        yield f"set aside: {at.queue.dead_letters[0][:200]}"


def _statuses(api: Api, stories: list[Deployment]) -> Iterator[str]:
    """A commit's status shows the newest deployment of its pipeline, function and stage."""
    newest: dict[tuple[str, str], list[Deployment]] = defaultdict(list)
    for one in stories:
        newest[str(one.requested_by.pipeline_id), f"sluicegate/{one.function}:{one.stage}"].append(one)
    for (pipeline, name), of in newest.items():
        made = [one for one in api.statuses if (str(one["pipeline_id"]), one["name"]) == (pipeline, name)]
        shown = [one["status"] for one in made if not one["retried"]]
        states = [state for one in made for state in one["history"]]
        if shown != [SHOWN[of[-1].status]] or sum(map(_goes_back, states, states[1:])) >= len(of):
            yield f"{of[-1].id} is {of[-1].status}, and the commit's status was {states}"


def _goes_back(state: str, following: str) -> bool:
    """Return whether a state comes before the one that was shown. A final one may come again."""
    ranks = {"pending": 0, "running": 1}
    return ranks.get(following, 2) < ranks.get(state, 2) or (ranks.get(state, 2) == 2 and state != following)


def _deployments(api: Api, stories: list[Deployment]) -> Iterator[str]:
    """GitLab has one deployment for each whose commit is known."""
    expected: Counter[tuple[str, str, str]] = Counter()
    for one in stories:
        built = one.built.by if one.built else None
        source = one.requested_by if one.action == "deploy" else built
        if source is not None and source.sha is not None:
            expected[one.stage, source.sha, SHOWN[one.status]] += 1
    made = Counter((one["environment"], one["sha"], one["status"]) for one in api.deployments)
    if made != expected:
        yield f"GitLab's deployments: {dict(expected - made)} missing, {dict(made - expected)} too many"


def _note(api: Api, stories: list[Deployment]) -> Iterator[str]:
    """The note of the merge request has a row for each function and stage, of its newest deployment."""
    newest: dict[tuple[str, str], Deployment] = {}
    for one in stories:
        built = one.built.by if one.built else None
        source = one.requested_by if one.action == "deploy" else built
        if source is not None and source.sha == COMMITS[0]:
            newest[one.function, one.stage] = one
    notes = [one["body"] for one in api.discussed.notes]
    if len(notes) != (1 if newest else 0):
        yield f"the merge request has {len(notes)} notes"
    for one in newest.values():
        status = one.status.value.replace("_", " ")
        rows = [row for note in notes for row in note.splitlines() if one.id in row and f"`{status}" in row]
        if len(rows) != 1:
            yield f"the note does not say that {one.id} is {status}: {notes}"
