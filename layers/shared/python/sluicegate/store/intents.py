"""Intents: what a person was shown and may press once. Stored by the hash of a secret that only the form has.

DynamoDB deletes an expired item days late: every read compares the time itself.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Final

from sluicegate.store.codec import read
from sluicegate.store.table import ABSENT, Condition, Resolution, Table
from sluicegate.store.tickets import key

INTENT_SECONDS: Final = 60 * 60
"""Seconds in which a form may be pressed. What it would do is looked at again then."""

REASON_SECONDS: Final = 12 * 60 * 60
"""Seconds after that in which what was typed can be kept: longer than a session lasts."""


@dataclass(frozen=True)
class Intent:
    """One form: the `session` (a hash) and `user` (a digest) that it was made for, and what it would do.

    `address` names the action and what it is about; `revision`, `version` and `digest` are the rehearsal's.
    `reason` is the one that it was pressed with, or what was typed when the session had ended. `outcome` is
    the answer, "" until then.
    """

    session: str
    user: str
    address: str
    revision: int
    digest: str
    until: int
    version: str | None = None
    reason: str = ""
    pressed: bool = False
    outcome: str = ""


class Intents:
    """Forms that were shown."""

    def __init__(self, table: Table, clock: Callable[[], float]) -> None:
        self._table = table
        self._clock = clock

    def issue(self, secret: str, intent: Intent) -> None:
        """Write an intent. Its secret is new, so there is none."""
        tx = self._table.transaction()
        item = {**asdict(intent), **key("intent", secret), "expires_at": intent.until + REASON_SECONDS}
        tx.put(item, ABSENT, on_conflict=Resolution.RETRY)
        tx.commit()

    def find(self, secret: str) -> Intent | None:
        """Return the intent of a form, which may be too old to be pressed; None if there is none."""
        item = self._table.get(key("intent", secret))
        intent = read(item, Intent) if item else None
        return intent if intent and self._clock() < intent.until + REASON_SECONDS else None

    def press(self, secret: str, reason: str) -> Intent | None:
        """Press it with a reason, unless it was pressed before. Return the intent as it is then."""
        unpressed = Condition("pressed = :no", {":no": False})
        self._table.update(key("intent", secret), {"pressed": True, "reason": reason}, unpressed)
        return self.find(secret)

    def keep(self, secret: str, reason: str) -> None:
        """Keep what was typed into a form that was not pressed, for the same user's next form."""
        self._table.update(
            key("intent", secret), {"reason": reason}, Condition("pressed = :no", {":no": False})
        )

    def conclude(self, secret: str, outcome: str) -> None:
        """Note the answer, for the next time that it is pressed. The first one counts."""
        self._table.update(
            key("intent", secret), {"outcome": outcome}, Condition("outcome = :none", {":none": ""})
        )
