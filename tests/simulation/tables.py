"""The table, and each change of it: for the checks, and for what follows the table's stream."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sluicegate.store.codec import unmarshal
from support.simulation import create_table
from support.table_model import DynamoDbModel

ItemKey = tuple[str, str]
"""The partition key and the sort key of an item."""


@dataclass(frozen=True)
class Change:
    """One item before and after a write, as DynamoDB answers it; None where there is none."""

    key: ItemKey
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None

    @property
    def old(self) -> dict[str, Any]:
        """The item before, as plain values."""
        return unmarshal(self.before) if self.before else {}

    @property
    def new(self) -> dict[str, Any]:
        """The item after, as plain values."""
        return unmarshal(self.after) if self.after else {}


@dataclass
class WatchedTable:
    """The table of one stack. `changes` are those that nobody has taken yet."""

    client: DynamoDbModel
    items: dict[ItemKey, Mapping[str, Any]] = field(default_factory=dict)
    changes: list[Change] = field(default_factory=list)

    def __post_init__(self) -> None:
        create_table(self.client)
        self.client.on_write = self._written

    def take(self) -> list[Change]:
        """Return the changes since the last call."""
        taken, self.changes = self.changes, []
        return taken

    def _written(self, before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> None:
        item = after or before or {}
        key = item["pk"]["S"], item["sk"]["S"]
        if after is None:
            self.items.pop(key, None)
        else:
            self.items[key] = after
        if before != after:
            self.changes.append(Change(key, before, after))


def table(clock: Callable[[], float]) -> WatchedTable:
    """Return an empty table."""
    return WatchedTable(DynamoDbModel(clock=clock))
