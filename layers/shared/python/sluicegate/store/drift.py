"""Drift: one item for each alias that somebody else has changed, and how far the look has come."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field

from sluicegate.deployment.drift import Drift
from sluicegate.deployment.plan import Target
from sluicegate.store import keys
from sluicegate.store.codec import Item, read
from sluicegate.store.errors import StaleRevision
from sluicegate.store.table import ABSENT, Condition, Table

DriftPlace = tuple[str, str, str, str]
"""Account, region, function and alias."""


@dataclass(frozen=True)
class DriftPass:
    """How far a look at all aliases has come.

    `after` is the function that was looked at last, "" where the next look begins with the first. `denied`
    has by `ACCOUNT#REGION` the calls that were refused in this pass, each with AWS's code.
    """

    after: str = ""
    denied: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


class Drifts:
    """What is known of the aliases' drift. The items of those that have ended stay for a while."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def get(self, target: Target, function: str, alias: str) -> Drift | None:
        """Return what is or was known of an alias's drift (a consistent read), or None."""
        item = self._table.get(keys.drift(target, function, alias))
        return drift_of(item) if item else None

    def current(self, first: str = "", last: str = "~") -> dict[DriftPlace, Drift]:
        """Return the drift that has not ended, of the functions from `first` to `last`, by name."""
        found = (one for one in self._between(first, last) if one.ended_at is None)
        return {(one.account, one.region, one.function, one.alias): one for one in found}

    def save(self, before: Drift | None, after: Drift) -> None:
        """Write a change. Raises StaleRevision where somebody else has written one since `before`."""
        tx = self._table.transaction()
        unchanged = ABSENT
        if before is not None:
            values = {":id": before.id, ":revision": before.revision}
            unchanged = Condition("id = :id AND revision = :revision", values)
        tx.put(_item(after), unchanged, on_conflict=StaleRevision)
        tx.commit()

    def position(self) -> DriftPass:
        """Return how far the last look came."""
        item = self._table.get(keys.drift_pass())
        return read(item, DriftPass) if item else DriftPass()

    def note_position(self, reached: DriftPass) -> None:
        """Note how far this look has come."""
        self._table.put({**keys.drift_pass(), **asdict(reached)})

    def _between(self, first: str, last: str) -> Iterator[Drift]:
        values = {":pk": keys.DRIFT, ":low": f"{first}#", ":high": f"{last}$"}  # "$" is after "#"
        condition = Condition("pk = :pk AND sk BETWEEN :low AND :high", values)
        yield from map(drift_of, self._table.query(condition, consistent=True))


def drift_of(item: Item) -> Drift:
    """Return the drift in an item."""
    return read({**item, "function": item["name"]}, Drift)


def _item(drift: Drift) -> Item:
    item = {name: value for name, value in asdict(drift).items() if value is not None}
    # `function` is the key of an index of deployments; this must not appear there.
    item["name"] = item.pop("function")
    return {**keys.drift(Target(drift.account, drift.region), drift.function, drift.alias), **item}
