"""Places for long polls: how many calls may wait at once, and how many of one owner.

A call that waits occupies one of a fixed number of places, an item with a lease. An owner may use three
quarters of them, chosen by its name, and so cannot occupy all. A call without a place is answered at once.
"""

import os
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sluicegate.owner import Owner
from sluicegate.store import keys
from sluicegate.store.keys import digest
from sluicegate.store.table import Condition, Table

ATTEMPTS: Final = 3
"""Places that one call tries: more would make a busy system busier."""

_SPARE: Final = 2
"""Seconds for which a place stays taken after the longest wait of a process that died."""


@dataclass(frozen=True)
class PollPlace:
    """A place that a call has taken; `poller` is its own random name."""

    number: int
    poller: str


class Polls:
    """The places of all long polls. Functions with the same `pool` share theirs."""

    def __init__(self, table: Table, clock: Callable[[], float], pool: str) -> None:
        self._table = table
        self._clock = clock
        self._pool = pool

    def take(self, owner: Owner, concurrency: int, seconds: int) -> PollPlace | None:
        """Take one of the owner's places for at most so many seconds; None where those tried are taken."""
        now = int(self._clock())
        poller = os.urandom(8).hex()
        lease = now + seconds + _SPARE
        for number in _shuffled(places_of(owner, concurrency))[:ATTEMPTS]:
            free = Condition("attribute_not_exists(pk) OR lease < :now", {":now": now})
            changes = {"lease": lease, "poller": poller, "expires_at": lease + 3_600}
            if self._table.update(keys.poll(self._pool, number), changes, free):
                return PollPlace(number, poller)
        return None

    def free(self, place: PollPlace) -> None:
        """Free a place, unless its lease ran out and another call has taken it."""
        mine = Condition("poller = :me", {":me": place.poller})
        self._table.update(keys.poll(self._pool, place.number), {"lease": 0}, mine)


def places_of(owner: Owner, concurrency: int) -> list[int]:
    """Return the numbers of the places that an owner may use: always the same three quarters of all.

    `concurrency` is how many calls can run at once. A fifth of it is left to calls that do not wait.
    """
    places = concurrency - concurrency // 5
    share = max(1, places - (places + 3) // 4)
    return sorted(range(places), key=lambda number: digest(owner.kind, owner.realm, owner.id, str(number)))[
        :share
    ]


def _shuffled(numbers: list[int]) -> list[int]:
    return random.sample(numbers, len(numbers))
