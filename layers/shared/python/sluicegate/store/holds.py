"""Holds: stages that take no new deployments of some functions, by the word of a rule's callers."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from sluicegate.store import keys
from sluicegate.store.codec import read
from sluicegate.store.table import Condition, Table


@dataclass(frozen=True)
class Hold:
    """That a rule holds new deployments of these functions (patterns) to a stage."""

    stage: str
    rule: str
    functions: tuple[str, ...]
    reason: str
    since: str
    by: Mapping[str, str | None]


class Holds:
    """One hold per rule and stage."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def place(self, hold: Hold) -> None:
        """Put a hold, in the place of an earlier one of the same rule."""
        self._table.put({**keys.hold(hold.stage, hold.rule), **asdict(hold)})

    def of_stage(self, stage: str) -> list[Hold]:
        """Return the holds of a stage, as they are now."""
        condition = Condition("pk = :pk", {":pk": keys.holds_partition(stage)})
        return [read(item, Hold) for item in self._table.query(condition, consistent=True)]

    def release(self, hold: Hold) -> None:
        """Take a hold away; one that is gone is fine."""
        self._table.delete(keys.hold(hold.stage, hold.rule))
