"""Facts: lines of the evidence, written with what they are about, until the sealer seals them.

guarantees.md#12-tampering-shows
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from sluicegate.deployment.durations import timestamp
from sluicegate.evidence.facts import Fact, refused
from sluicegate.evidence.sign_ins import BoundedFact
from sluicegate.store import keys
from sluicegate.store.codec import Item
from sluicegate.store.errors import StoreError
from sluicegate.store.table import Condition, Resolution, Table, Transaction

MOST_REFUSALS: Final = 10
"""Refusals of one caller in an hour, for one reason, that are lines of their own."""

MOST_OF_STRANGERS: Final = 100
"""The same of all callers of one issuer or account that no rule is for."""

_COUNT_TRIES: Final = 10
"""Refusals after those that each make sure that the hour's number will be sealed."""

_GRACE: Final = 120
"""Seconds after an hour in which a slow process may still count into it."""

_COUNT_KEPT: Final = 30 * 86_400
"""Seconds after which a number of refusals is forgotten, sealed or not."""


def add_fact(tx: Transaction, fact: Fact) -> None:
    """Write a fact with the transaction's other writes. It has no condition: theirs are enough."""
    tx.put(fact_item(fact))


def fact_item(fact: Fact) -> Item:
    """Return the item of a fact that is not sealed yet."""
    return {"pk": fact.pk, "sk": fact.sk, "line": fact.line, "unsealed": keys.UNSEALED, "at": fact.time}


class _EnoughLines(StoreError):
    """The hour has as many lines of the subject as it may have."""

    def __init__(self, subject: str) -> None:
        super().__init__()
        self.subject = subject


def commit_with(
    table: Table, write: Callable[[Transaction], None], bounded: Sequence[BoundedFact], now: float
) -> None:
    """Write what `write` adds, and each fact with it: as a line, or where there are enough as a number.

    Raises what a transaction does. `write` may be called again: an hour has had its lines by then.
    """
    counted: set[str] = set()
    while True:
        tx = table.transaction()
        write(tx)
        for one in bounded:
            _add_bounded(tx, one, now, as_line=one.subject not in counted)
        try:
            tx.commit()
        except _EnoughLines as enough:
            counted.add(enough.subject)
            continue
        return


def _add_bounded(tx: Transaction, bounded: BoundedFact, now: float, *, as_line: bool) -> None:
    """Count a fact, and add its line. The number's line is visible to the sealer once the hour is over."""
    hour, ends = _hour(now)
    key = keys.sign_ins(bounded.subject, hour)
    changes: dict[str, Any] = {"expires_at": int(ends) + _COUNT_KEPT}
    known, names = {":most": bounded.most}, {"#count": "count"}
    if as_line:
        room = Condition("attribute_not_exists(#count) OR #count < :most", known, names)
        full = _EnoughLines(bounded.subject)
        tx.update(key, changes, room, on_conflict=lambda: full, increment="count")
        add_fact(tx, bounded.fact)
        return
    changes |= {
        "unsealed": keys.UNSEALED,
        "at": timestamp(ends + _GRACE),
        "counts": bounded.number,
        "counted": {name: value for name, value in bounded.counted.items() if value is not None},
    }
    # A number that was sealed stays as it was: what a clock far behind counts then is in no line.
    enough = Condition("#count >= :most AND attribute_not_exists(seq)", known, names)
    tx.update(key, changes, enough, on_conflict=Resolution.DROP, increment="count")


class Facts:
    """Facts that nothing else is written with."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def refuse(
        self,
        subject: str,
        most: int,
        counted: Mapping[str, Any],
        now: float,
        fields: Callable[[], Mapping[str, Any]],
    ) -> None:
        """Note a refusal: the first of a subject in an hour as lines, those after `most` as a number.

        `counted` is what the number's line says; `fields` is called where a line is written. If the process
        dies between both writes, the hour has one refusal that is neither: less is lost than of a log.
        """
        hour, ends = _hour(now)
        key = keys.refusals(subject, hour)
        expires = {"expires_at": int(ends) + _COUNT_KEPT}
        number = self._table.increment(key, "count", expires)
        if number <= most:
            self._table.put(fact_item(refused(subject, number, hour, fields(), now)))
        elif number <= most + _COUNT_TRIES:
            visible = {"unsealed": keys.UNSEALED, "at": timestamp(ends + _GRACE), "counted": counted}
            self._table.set(key, visible)


def _hour(now: float) -> tuple[str, float]:
    """Return the hour as `2026-11-26T17`, and when it ends."""
    begins = int(now) // 3_600 * 3_600
    return datetime.fromtimestamp(begins, UTC).strftime("%Y-%m-%dT%H"), begins + 3_600.0
