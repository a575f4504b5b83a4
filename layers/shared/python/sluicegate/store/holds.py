"""Holds: stages that take no new deployments of some functions, by the word of a rule's callers."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

from sluicegate.evidence import facts
from sluicegate.evidence.basis import Basis
from sluicegate.store import keys
from sluicegate.store.codec import read
from sluicegate.store.errors import RequestKnown
from sluicegate.store.facts import add_fact
from sluicegate.store.keys import digest
from sluicegate.store.requests import REQUEST_KEPT
from sluicegate.store.table import ABSENT, Condition, Resolution, Table


@dataclass(frozen=True)
class Hold:
    """That a rule holds new deployments of these functions (patterns) to a stage.

    `id` is empty in holds of earlier releases: `name` is of every hold, and no two have the same.
    """

    stage: str
    rule: str
    functions: tuple[str, ...]
    reason: str
    since: str
    by: Mapping[str, str | None]
    id: str = ""

    @property
    def name(self) -> str:
        """The hold's own name: a later hold of the same rule has another one."""
        return self.id or digest("hold", self.stage, self.rule, self.since)[:26]


@dataclass(frozen=True)
class PlacedHold:
    """The hold that a request placed, and what was asked."""

    hold: str
    fingerprint: str


class Holds:
    """One hold per rule and stage."""

    def __init__(self, table: Table, clock: Callable[[], float]) -> None:
        self._table = table
        self._clock = clock

    def place(
        self,
        hold: Hold,
        request_key: str | None = None,
        fingerprint: str = "",
        basis: Basis | None = None,
    ) -> None:
        """Put a hold, in the place of an earlier one of the same rule, and the fact of it.

        With a `request_key` the request is remembered with it. Raises RequestKnown if it was before.
        """
        tx = self._table.transaction()
        if request_key is not None:
            placed = PlacedHold(hold.name, fingerprint)
            expires = int(self._clock()) + REQUEST_KEPT
            item = {**keys.request(request_key), **asdict(placed), "expires_at": expires}
            tx.put(item, ABSENT, on_conflict=RequestKnown)
        item = {**keys.hold(hold.stage, hold.rule), **asdict(hold)}
        # Indexes of deployments have the key `id`, which cannot be empty.
        tx.put({name: value for name, value in item.items() if name != "id" or value})
        add_fact(tx, self._fact("held", hold, basis))
        tx.commit()

    def placed(self, request_key: str) -> PlacedHold | None:
        """Return what this request has placed before, or None."""
        item = self._table.get(keys.request(request_key))
        return read(item, PlacedHold) if item else None

    def of_stage(self, stage: str) -> list[Hold]:
        """Return the holds of a stage, as they are now."""
        condition = Condition("pk = :pk", {":pk": keys.holds_partition(stage)})
        return [read(item, Hold) for item in self._table.query(condition, consistent=True)]

    def release(self, hold: Hold, basis: Basis | None = None) -> None:
        """Take exactly this hold away, with the fact of it; one that is gone, or replaced, is fine."""
        tx = self._table.transaction()
        same = Condition("since = :since", {":since": hold.since})
        if hold.id:
            same = Condition("id = :id", {":id": hold.id})
        tx.delete(keys.hold(hold.stage, hold.rule), same, on_conflict=Resolution.TOOK_EFFECT)
        add_fact(tx, self._fact("released", hold, basis))
        tx.commit()

    def _fact(self, kind: str, hold: Hold, basis: Basis | None) -> facts.Fact:
        return facts.held(kind, hold.stage, hold.name, hold.functions, hold.rule, basis, self._clock())
