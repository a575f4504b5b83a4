"""Items that one process at a time may act on: the exclusive right has an end, as a process can die."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from sluicegate.store.keys import Key
from sluicegate.store.table import Condition, Table

LEASE_SECONDS: Final = 30
"""How long a lease lasts."""

STILL_PROCESSED: Final = 10
"""Seconds before the end of a lease after which its holder sends nothing.

GitLab waits up to ten seconds for its own lock, even after the client gave up: what was sent last has taken
effect before somebody else looks whether it did.
"""

RETENTION_SECONDS: Final = 32 * 86_400
"""How long an entry is kept; no event waits for that long."""


@dataclass(frozen=True)
class LedgerEntry:
    """What an item says. `leases` counts the leases so far, as the entry's revision.

    `leased_until` is in epoch seconds; 0 or the past means that nobody holds the lease.
    """

    values: Mapping[str, Any] = field(default_factory=dict)
    leases: int = 0
    leased_until: float = 0


@dataclass(frozen=True)
class Lease:
    """The exclusive right to send what an item is about, until a time in epoch seconds."""

    key: Key
    number: int
    until: float

    @property
    def sends_until(self) -> float:
        """When a client of the holder gives up at the latest."""
        return self.until - STILL_PROCESSED


class LeaseHeld(Exception):
    """Another process holds the lease. Retry after so many seconds."""

    def __init__(self, retry_after: float) -> None:
        super().__init__(retry_after)
        self.retry_after = retry_after


class Leases:
    """Leased items of a table. `clock` returns epoch seconds."""

    def __init__(self, table: Table, clock: Callable[[], float] = time.time) -> None:
        self._table = table
        self._clock = clock

    def entry(self, key: Key) -> LedgerEntry:
        """Return the entry under a key, empty if there is none."""
        item = self._table.get(key)
        if item is None:
            return LedgerEntry()
        return LedgerEntry(item, int(item.get("leases", 0)), float(item.get("leased_until", 0)))

    def acquire(self, key: Key, entry: LedgerEntry) -> Lease:
        """Lease an item, unless another process has since the entry was read. Raises LeaseHeld."""
        now = self._clock()
        if entry.leased_until > now:
            raise LeaseHeld(entry.leased_until - now)
        lease = Lease(key, entry.leases + 1, now + LEASE_SECONDS)
        changes = {"leases": lease.number, "leased_until": lease.until}
        if not self._update(key, entry.leases, changes):
            raise LeaseHeld(LEASE_SECONDS)
        return lease

    def release(self, lease: Lease, values: Mapping[str, Any] | None = None, *, until: float = 0) -> None:
        """Set the item's `values`, and end the lease now, or at `until`.

        Changes nothing if the lease ran out and another process has taken it.
        """
        self._update(lease.key, lease.number, {"leased_until": until, **(values or {})})

    def _update(self, key: Key, leases: int, values: Mapping[str, Any]) -> bool:
        """Set the values; return False if the entry has been leased since it had so many leases."""
        never = Condition("attribute_not_exists(leases)")
        unchanged = Condition("leases = :expected", {":expected": leases}) if leases else never
        return self._table.update(key, {**values, **self._expiry()}, unchanged)

    def _expiry(self) -> dict[str, int]:
        return {"expires_at": int(self._clock()) + RETENTION_SECONDS}
