"""A client of DynamoDB that counts its calls and their request units."""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from support import template
from support.simulation import TABLE


@dataclass
class Counted:
    """A client of DynamoDB that counts request units, by the sizes of the items that it reads and writes.

    DynamoDB developer guide, "Read and write operations" (units), and "Using global secondary indexes"
    (each index that has the item is written as well), read on 2026-11-26.
    """

    client: Any
    writes: float = 0
    reads: float = 0
    calls: Counter[str] = field(default_factory=Counter)
    indexes: tuple[Mapping[str, Any], ...] = tuple(template.properties("Table")["GlobalSecondaryIndexes"])

    def reset(self) -> None:
        """Count from zero again."""
        self.writes = self.reads = 0
        self.calls.clear()

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.client, name)
        counting = {
            "get_item": self._get,
            "batch_get_item": self._get_many,
            "query": self._query,
            "put_item": self._write,
            "update_item": self._write,
            "delete_item": self._write,
            "transact_write_items": self._transact,
        }
        if name in counting:
            self.calls[name] += 1
            return partial(counting[name], found)
        return found

    def _get(self, call: Any, **given: Any) -> Any:
        answer = call(**given)
        self.reads += units(answer.get("Item"), 4_096) * (1 if given.get("ConsistentRead") else 0.5)
        return answer

    def _get_many(self, call: Any, **given: Any) -> Any:
        """Each item counts by itself, also one that is not there (BatchGetItem, read on 2026-11-27)."""
        answer = call(**given)
        for name, asked in given["RequestItems"].items():
            there = answer["Responses"].get(name, [])
            read = sum(units(item, 4_096) for item in there) + len(asked["Keys"]) - len(there)
            self.reads += read * (1 if asked.get("ConsistentRead") else 0.5)
        return answer

    def _query(self, call: Any, **given: Any) -> Any:
        answer = call(**given)
        size = sum(map(_size, answer["Items"]))
        self.reads += max(1, math.ceil(size / 4_096)) * (1 if given.get("ConsistentRead") else 0.5)
        return answer

    def _write(self, call: Any, **given: Any) -> Any:
        key = _key(given)
        before = self._item(key)
        answer = call(**given)
        self._count(before, self._item(key), 1)
        return answer

    def _transact(self, call: Any, **given: Any) -> Any:
        keys = [_key(next(iter(each.values()))) for each in given["TransactItems"]]
        before = [self._item(key) for key in keys]
        answer = call(**given)
        for key, old in zip(keys, before, strict=True):
            self._count(old, self._item(key), 2)
        return answer

    def _count(self, old: Any, new: Any, each: int) -> None:
        self.writes += max(units(old, 1_024), units(new, 1_024)) * each
        self.writes += sum(_index_units(index, old or {}, new or {}) for index in self.indexes)

    def _item(self, key: Mapping[str, Any]) -> Any:
        return self.client.get_item(TableName=TABLE, Key=key).get("Item")


def _index_units(index: Mapping[str, Any], old: Mapping[str, Any], new: Mapping[str, Any]) -> int:
    """Return what a write costs in an index: nothing where it changes nothing there.

    Another key deletes the old item there and puts a new one ("Using global secondary indexes", "Write
    capacity units", read on 2026-11-26).
    """
    keys = [key["AttributeName"] for key in index["KeySchema"]]
    names = {"pk", "sk", *keys, *index["Projection"].get("NonKeyAttributes", ())}
    everything = index["Projection"]["ProjectionType"] == "ALL"

    def there(item: Mapping[str, Any]) -> Mapping[str, Any]:
        if not all(key in item for key in keys):
            return {}
        return {name: value for name, value in item.items() if everything or name in names}

    before, after = there(old), there(new)
    if before == after:
        return 0
    if [before.get(key) for key in keys] == [after.get(key) for key in keys]:
        return max(units(before, 1_024), units(after, 1_024))
    return sum(units(each, 1_024) for each in (before, after) if each)


def _key(given: Mapping[str, Any]) -> dict[str, Any]:
    found = given.get("Key") or given["Item"]
    return {name: found[name] for name in ("pk", "sk")}


def units(item: Mapping[str, Any] | None, unit: int) -> int:
    """Return the request units of an item, of so many bytes each."""
    return max(1, math.ceil(_size(item) / unit)) if item else 1


def _size(item: Mapping[str, Any] | None) -> int:
    return sum(len(name.encode()) + _value_size(value) for name, value in (item or {}).items())


def _value_size(value: Mapping[str, Any]) -> int:
    [(kind, content)] = value.items()
    match kind:
        case "S":
            return len(content.encode())
        case "N":
            return (len(content) + 1) // 2 + 1
        case "M":
            return 3 + len(content) + _size(content)
        case "L":
            return 3 + sum(1 + _value_size(each) for each in content)
        case _:
            return 1
