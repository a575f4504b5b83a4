"""Holds: stages that take no new deployments of some functions, by the word of a rule's callers.

Each has an item of its own. An acceptance reads their list instead, one item for each stage, which is written
with each hold and each release. A process compares the list with the holds first, and every few minutes: an
earlier release, which runs beside this one during an update, writes none.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Final

from sluicegate.evidence import facts
from sluicegate.evidence.basis import Basis
from sluicegate.store import keys
from sluicegate.store.codec import Item, read
from sluicegate.store.errors import Contended, RequestKnown, StaleRevision
from sluicegate.store.facts import add_fact
from sluicegate.store.keys import digest
from sluicegate.store.requests import REQUEST_KEPT
from sluicegate.store.table import ABSENT, MAX_SENDS, Condition, Resolution, Table, Transaction

COMPARED_EVERY: Final = 300
"""Seconds for which a process trusts a list that it has compared with the holds."""


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
        self._compared: dict[str, float] = {}

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

        def write(tx: Transaction) -> None:
            if request_key is not None:
                placed = PlacedHold(hold.name, fingerprint)
                expires = int(self._clock()) + REQUEST_KEPT
                item = {**keys.request(request_key), **asdict(placed), "expires_at": expires}
                tx.put(item, ABSENT, on_conflict=RequestKnown)
            item = {**keys.hold(hold.stage, hold.rule), **asdict(hold)}
            # Indexes of deployments have the key `id`, which cannot be empty.
            tx.put({name: value for name, value in item.items() if name != "id" or value})
            add_fact(tx, self._fact("held", hold, basis))

        self._change(hold.stage, lambda others: [*others, hold], hold.rule, write)

    def placed(self, request_key: str) -> PlacedHold | None:
        """Return what this request has placed before, or None."""
        item = self._table.get(keys.request(request_key))
        return read(item, PlacedHold) if item else None

    def of_stage(self, stage: str) -> list[Hold]:
        """Return the holds of a stage, as they are now."""
        condition = Condition("pk = :pk", {":pk": keys.holds_partition(stage)})
        return [read(item, Hold) for item in self._table.query(condition, consistent=True)]

    def listed(self, stage: str, item: Item | None) -> list[Hold]:
        """Return the holds of a stage from its list, as it was read now; None if there is none yet."""
        if item is not None and self._clock() < self._compared.get(stage, 0.0) + COMPARED_EVERY:
            return [read(each, Hold) for each in item["holds"]]
        holds = self.of_stage(stage)
        if item is None or _list(holds) != item["holds"]:
            # A hold that came since the list was read has changed its revision.
            self._table.update(keys.hold_list(stage), _listed(holds, item), _unchanged(item))
        self._compared[stage] = self._clock()
        return holds

    def release(self, hold: Hold, basis: Basis | None = None) -> None:
        """Take exactly this hold away, with the fact of it; one that is gone, or replaced, is fine."""

        def write(tx: Transaction) -> None:
            same = Condition("since = :since", {":since": hold.since})
            if hold.id:
                same = Condition("id = :id", {":id": hold.id})
            tx.delete(keys.hold(hold.stage, hold.rule), same, on_conflict=Resolution.TOOK_EFFECT)
            add_fact(tx, self._fact("released", hold, basis))

        self._change(hold.stage, lambda others: others, hold.rule, write)

    def _change(
        self,
        stage: str,
        after: Callable[[list[Hold]], list[Hold]],
        rule: str,
        write: Callable[[Transaction], None],
    ) -> None:
        """Write a change of one rule's hold, and with it the list: `after` makes it of the other holds."""
        for attempt in range(MAX_SENDS):
            item = self._table.get(keys.hold_list(stage))
            others = [one for one in self.of_stage(stage) if one.rule != rule]
            tx = self._table.transaction()
            write(tx)
            changes = _listed(after(others), item)
            tx.put({**keys.hold_list(stage), **changes}, _unchanged(item), on_conflict=StaleRevision)
            try:
                tx.commit()
            except StaleRevision:
                self._table.back_off(attempt)
                continue
            return
        raise Contended

    def _fact(self, kind: str, hold: Hold, basis: Basis | None) -> facts.Fact:
        return facts.held(kind, hold.stage, hold.name, hold.functions, hold.rule, basis, self._clock())


def _list(holds: Iterable[Hold]) -> list[Item]:
    """Return the list, in the order of rules, in which a query finds them."""
    return [_plain(asdict(hold)) for hold in sorted(holds, key=lambda hold: hold.rule.encode())]


def _plain(item: Item) -> Item:
    """Return it as it is read again."""
    return {**item, "functions": list(item["functions"]), "by": dict(item["by"])}


def _listed(holds: Iterable[Hold], before: Item | None) -> Item:
    return {"holds": _list(holds), "revision": before["revision"] + 1 if before else 1}


def _unchanged(item: Item | None) -> Condition:
    """The list is still as it was read."""
    return Condition("revision = :known", {":known": item["revision"]}) if item else ABSENT
