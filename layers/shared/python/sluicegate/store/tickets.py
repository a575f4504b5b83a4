"""Tickets: what one browser or terminal may do once, and soon. Stored by the hash of a secret that it holds.

DynamoDB deletes an expired item days late: every read compares the time itself.
"""

import hashlib
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

from sluicegate.store import keys
from sluicegate.store.codec import Item
from sluicegate.store.errors import StoreError
from sluicegate.store.keys import Key
from sluicegate.store.table import ABSENT, Condition, Table

TicketKind = Literal["login", "grant", "intent"]

KEPT: Final = 3_600
"""Seconds for which an expired ticket may stay in the table: a clock may be late."""


class TicketTaken(StoreError):
    """There is a ticket of this secret already, or this one was used or has expired."""


class Tickets:
    """Items that are used once: a sign-in that has begun, a session for a terminal, an action."""

    def __init__(self, table: Table, clock: Callable[[], float]) -> None:
        self._table = table
        self._clock = clock

    def issue(self, kind: TicketKind, secret: str, content: Mapping[str, Any], seconds: int) -> None:
        """Write a ticket that is valid for so many seconds. Raises TicketTaken if the secret has one."""
        until = int(self._clock()) + seconds
        item = {**key(kind, secret), "content": content, "until": until, "expires_at": until + KEPT}
        tx = self._table.transaction()
        tx.put(item, ABSENT, on_conflict=TicketTaken)
        tx.commit()

    def find(self, kind: TicketKind, secret: str) -> Mapping[str, Any] | None:
        """Return what the ticket says, and leave it; None if there is none that is valid."""
        item = self._table.get(key(kind, secret))
        return item["content"] if item and self._is_valid(item) else None

    def redeem(self, kind: TicketKind, secret: str) -> Mapping[str, Any] | None:
        """Return what the ticket says, to one caller only, and delete it; None to every other.

        If the answer is lost after the delete, nobody gets it: the person begins again.
        """
        found = key(kind, secret)
        item = self._table.get(found)
        if item is None or not self._is_valid(item):
            return None
        tx = self._table.transaction()
        same = Condition("#until = :until", {":until": item["until"]}, {"#until": "until"})
        tx.delete(found, same, on_conflict=TicketTaken)
        try:
            tx.commit()
        except TicketTaken:
            return None
        content: Mapping[str, Any] = item["content"]
        return content

    def _is_valid(self, item: Item) -> bool:
        return bool(self._clock() < item["until"])


def key(kind: TicketKind, secret: str) -> Key:
    """Return the key of a ticket. The table never has the secret itself."""
    return keys.ticket(kind, hashlib.sha256(secret.encode()).hexdigest())
