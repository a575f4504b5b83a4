"""The budget of calls to Lambda: nothing begins without its calls, and nobody in line is passed (10, 11).

guarantees.md#13-a-burst-waits-its-turn
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any, Final

from simulation.invariants import records
from simulation.ledger import Ledger
from simulation.world import Step, World
from sluicegate.deployment.call_budget import BURST, LATE, MAX_RATE, OVERDRAFT, CallBucket
from sluicegate.deployment.model import Deployment, Status
from sluicegate.store import keys
from sluicegate.store.codec import marshal
from support.simulation import OWN, TABLE

CALLS: Final[Mapping[str, int]] = {"deploy": 3, "promote": 2}
"""Calls that a deployment must have taken when it begins. Rollbacks take theirs without a wait."""

CROWD: Final = 20
"""Functions of a crowd, each released once."""

SLOW_RATE: Final = 2.0
"""Calls a second where others have been throttled a moment ago."""

MOST_PASSED: Final = 10
"""Later ones of its class and project that may begin before one in line, which looks when it is due."""

SKEW: Final = 8.0
"""Seconds by which two processes' clocks differ at most."""


class Budget:
    """Reads the writes to the bucket and the line. `taken` counts calls, at least those that were taken."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.taken = self.begun = 0.0
        self.crowd = [f"orders-crowd-{number}" for number in range(CROWD)]
        self._began: set[str] = set()
        self._line: dict[str, Mapping[str, Any]] = {}
        self._passed: dict[str, int] = defaultdict(int)

    def slow_down(self) -> None:
        """Let Lambda have throttled others just now, and make functions that are released at once."""
        now = int(self.world.engine.now * 1_000)
        bucket = CallBucket(spent_until=now, rate=SLOW_RATE, throttled_at=now)
        item = marshal({**keys.call_bucket(OWN), **asdict(bucket)})
        self.world.table.client.put_item(TableName=TABLE, Item=item)
        self.world.table.take()
        for name in self.crowd:
            self.world.lambdas.add(name, name.encode())

    def check(self, step: Step, ledger: Ledger) -> None:
        """Raise AssertionError for what begins too early."""
        for wrong in self._wrong(step, ledger):
            raise AssertionError(wrong)

    def _wrong(self, step: Step, ledger: Ledger) -> Iterator[str]:
        now = int(self.world.engine.now * 1_000)
        for change in step.changes:
            if not change.key[0].startswith("budget#"):
                continue
            if change.key[1] == "bucket":
                yield from self._bucket(change.old, change.new, step.arguments, now)
            elif change.after is not None:
                self._line[change.new["id"]] = change.new
        for before, after in records(ledger, step):
            if before is not None and _begins(before, after) and after.id not in self._began:
                self._began.add(after.id)
                self.begun += CALLS.get(after.action, 0)
                if self.taken < self.begun - 0.5:
                    yield (
                        f"10. calls_are_taken: {after.id} begins, and {self.taken:.1f} calls were taken for"
                        f" {self.begun:.0f}"
                    )
                if not self.world.skewed:
                    yield from self._passes(after, now)
            if after.action == "rollback" and after.in_line:
                yield f"11. rollbacks_never_wait: {after.id} is in line"
        for change in step.changes:
            if change.key[0].startswith("budget#") and change.after is None:
                self._line.pop(change.key[1].removeprefix("wait#"), None)

    def _bucket(
        self, old: Mapping[str, Any], new: Mapping[str, Any], arguments: Mapping[str, Any], now: int
    ) -> Iterator[str]:
        before, after = int(old.get("spent_until", 0)), int(new.get("spent_until", 0))
        values = arguments.get("ExpressionAttributeValues", {})
        written = int(values[":now"]["N"]) if ":now" in values else before
        rate = MAX_RATE if self.world.skewed else CallBucket(rate=new.get("rate", MAX_RATE)).rate
        if "throttled_at" in new:
            rate = min(MAX_RATE, CallBucket(0, new["rate"], new["throttled_at"]).rate_at(now))
        if self.world.skewed:
            rate = MAX_RATE
        self.taken += (after - max(before, written)) * rate / 1_000 if after != before else 0
        most = now + BURST + OVERDRAFT + 5_000 + SKEW * 1_000
        if after > most:
            yield f"10. within_the_burst: calls were taken until {after - now} ms from now"

    def _passes(self, begins: Deployment, now: int) -> Iterator[str]:
        """Count whom this one passes: those of its class and owner that joined before it and are not late."""
        mine = self._line.get(begins.id)
        joined = int(mine["since"]) if mine else now
        for name, waiter in self._line.items():
            earlier = waiter["since"] < joined and waiter["next_look"] + LATE >= now
            if name != begins.id and earlier and CALLS.get(begins.action) == waiter["calls"]:
                self._passed[name] += 1
                if self._passed[name] > MOST_PASSED:
                    yield f"11. nobody_is_passed: {begins.id} is the {self._passed[name]}th before {name}"

    def left(self) -> Iterator[str]:
        """15. Nobody is in line when all is over."""
        for pk, sk in self.world.table.items:
            if pk.startswith("budget#") and sk != "bucket":
                yield f"15. nobody_in_line: {sk} is left in line"


def _begins(before: Deployment, after: Deployment) -> bool:
    waited = before.status in (Status.ACCEPTED, Status.QUEUED, Status.AWAITING_APPROVAL)
    return waited and after.status in (Status.PUBLISHING, Status.VERIFYING, Status.SHIFTING)
