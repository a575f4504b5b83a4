"""The table's stream with the relay behind it, and the bus that the relay publishes to.

Sources: DynamoDB developer guide, "Change data capture for DynamoDB Streams"; Lambda developer guide, "Using
AWS Lambda with Amazon DynamoDB" (batches of one shard in order, partial responses); EventBridge API
reference, PutEvents (each entry fails on its own). Read on 27 November 2026.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from simulation.engine import Signal
from simulation.ledger import Ledger
from simulation.tables import Change
from simulation.world import World

BATCH: Final = 10
"""Records of one batch at most."""

PAUSE: Final = 0.2
"""Seconds before a batch is delivered again."""

STREAM: Final = "arn:aws:dynamodb:eu-central-1:111111111111:table/sluicegate/stream/2026"

Json = dict[str, Any]


class Bus:
    """The bus: the revisions of each deployment in the order in which they arrived, again and again maybe.

    `targets` get each event that was taken: what the bus' rules send them to.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self.revisions: dict[str, list[int]] = defaultdict(list)
        self.targets: list[Callable[[Json], None]] = []

    def put_events(self, *, Entries: list[Json]) -> Json:
        """Each entry is taken, or refused by itself."""
        faults, answers = self._world.faults.chances, []
        for entry in Entries:
            detail = json.loads(entry["Detail"])
            if faults and self._world.choices.chance(faults.get("throttled", 0.0)):
                answers.append({"ErrorCode": "ThrottlingException", "ErrorMessage": "simulated"})
                continue
            seen = self.revisions[detail["id"]]
            newest = max(seen, default=0)
            assert detail["revision"] <= newest + 1, (
                f"17. told_in_order: {detail['id']}: revision {detail['revision']} after {newest}"
            )
            seen.append(detail["revision"])
            for target in self.targets:
                target(entry)
            answers.append({"EventId": f"event-{len(seen)}"})
        return {"Entries": answers}


class Stream:
    """The stream of one shard. What the relay does not take is delivered again, and all after it."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.bus = Bus(world)
        self._records: list[Json] = []
        self._taken = 0
        self._news = Signal()

    @property
    def is_empty(self) -> bool:
        """Whether all that changed has been taken."""
        return self._taken == len(self._records)

    def add(self, changes: Iterable[Change]) -> None:
        """Add what a write has changed, as far as the relay's filter lets it through."""
        for change in changes:
            if change.key[1] == "record" and change.after is not None:
                image = {"NewImage": change.after} | ({"OldImage": change.before} if change.before else {})
                keys = {"pk": {"S": change.key[0]}, "sk": {"S": change.key[1]}}
                number = str(len(self._records))
                record = {"Keys": keys, "SequenceNumber": number, **image}
                self._records.append({"eventSourceARN": STREAM, "dynamodb": record})
                self._world.engine.set(self._news)

    def deliver(self) -> None:
        """Invoke the relay, batch by batch, for ever."""
        engine = self._world.engine
        while True:
            if self.is_empty:
                self._news = Signal()
                engine.wait(self._news)
            batch = self._records[self._taken : self._taken + BATCH]
            task = self._world.invoke("relay", {"Records": batch})
            engine.wait(task.done)
            if task.killed or task.error is not None:
                engine.sleep(PAUSE)
                continue
            failed = task.result["batchItemFailures"]
            self._taken = int(failed[0]["itemIdentifier"]) if failed else self._taken + len(batch)
            if failed:
                engine.sleep(PAUSE)


def told_in_order(bus: Bus, ledger: Ledger) -> Iterator[str]:
    """17. Each revision has arrived at the bus, in order, once at least."""
    for deployment, revisions in bus.revisions.items():
        story = ledger.of(deployment)
        if story is not None and set(revisions) != set(range(1, story.record.revision + 1)):
            yield f"{deployment} is at revision {story.record.revision}, and {sorted(set(revisions))} arrived"
