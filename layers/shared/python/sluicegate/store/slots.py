"""Slots: how many deployments a rule may start in an hour and in a day.

Each limit has as many slots as it allows deployments. A slot has the time at which it was taken, and is free
again once the window has passed. The acceptance takes one slot of each limit in its own transaction, on the
condition that it is still free: two deployments with one slot are always a whole window apart, so no window,
wherever it begins, has more deployments than there are slots. Racing requests pick at random, so no item is
hot.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sluicegate.store import keys
from sluicegate.store.errors import LimitReached, SlotTaken
from sluicegate.store.table import Condition, Table, Transaction

HOUR: Final = 3_600
DAY: Final = 86_400

_SYSTEM: Final = random.SystemRandom()
"""Not the module's own state, which a SnapStart snapshot hands to every process: all would pick alike."""

_KEPT: Final = 3_600
"""Seconds that a free slot is kept, in case two clocks differ."""


@dataclass(frozen=True)
class Allowance:
    """At most `most` deployments by `rule` for `subject`, a project or a principal, in any `seconds`."""

    rule: str
    subject: tuple[str, ...]
    seconds: int
    most: int

    @property
    def partition(self) -> str:
        """The partition key of its slots."""
        return keys.limit_partition(self.rule, self.subject, self.seconds)


@dataclass(frozen=True)
class Slot:
    """A slot that was free at `at` (epoch milliseconds)."""

    allowance: Allowance
    number: int
    at: int


class Slots:
    """The slots of all limits."""

    def __init__(self, table: Table, choose: Callable[[int], int] = _SYSTEM.randrange) -> None:
        self._table = table
        self._choose = choose

    def pick(self, allowance: Allowance, at: int) -> Slot:
        """Return a slot that is free at `at` (epoch milliseconds). Raises LimitReached if there is none.

        Of the free slots, only as many count as the limit has left. So a limit that was lowered is exact at
        once: slots above the new number are still read, and never taken.
        """
        partition = Condition("pk = :pk", {":pk": allowance.partition})
        items = self._table.query(partition, consistent=True, page=1_000)
        taken = {int(item["sk"]): int(item["taken_at"]) for item in items}
        since = at - allowance.seconds * 1_000
        live = {number: taken_at for number, taken_at in taken.items() if taken_at > since}
        left = allowance.most - len(live)
        if left <= 0:
            oldest = sorted(live.values())[-left]
            raise LimitReached(allowance.seconds, allowance.most, oldest + allowance.seconds * 1_000)
        free = [number for number in range(allowance.most) if number not in live][:left]
        return Slot(allowance, free[self._choose(len(free))], at)

    def take(self, tx: Transaction, slot: Slot, deployment_id: str) -> None:
        """Take a slot. A conflict means SlotTaken."""
        allowance = slot.allowance
        item = {
            "pk": allowance.partition,
            "sk": str(slot.number),
            "taken_at": slot.at,
            "deployment": deployment_id,
            "expires_at": slot.at // 1_000 + allowance.seconds + _KEPT,
        }
        since = slot.at - allowance.seconds * 1_000
        free = Condition("attribute_not_exists(pk) OR taken_at <= :since", {":since": since})
        tx.put(item, free, on_conflict=SlotTaken)
