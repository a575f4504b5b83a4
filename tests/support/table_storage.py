"""Items of one DynamoDB table with its indexes, sizes and earlier states, in memory.

An item is never changed where it is: another takes its place. So a copy of a table shares its items, and an
earlier state is a few references.
Sources: DynamoDB developer guide, "Item sizes and formats", "Read consistency", "Global secondary indexes",
read on 2026-11-27.
"""

import math
from bisect import bisect_left, insort
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any, Final

MAX_ITEM: Final = 409_600
MAX_PAGE: Final = 1_048_576
"""Bytes that one page of a query reads at most."""

TABLE: Final = ""
"""The name of the table itself among its indexes."""

Item = dict[str, Any]
Key = tuple[str, str]
Place = tuple[str, str, str]
"""Where an item stands in a partition: its sort key there, then its own key, as several may have one."""


class Invalid(ValueError):
    """A value is refused: DynamoDB's ValidationException."""


@dataclass(frozen=True, slots=True)
class StoredItem:
    """An item, and the bytes of each attribute with its name."""

    item: Item
    sizes: Mapping[str, int]

    @property
    def size(self) -> int:
        return sum(self.sizes.values())

    def with_changes(self, changes: Mapping[str, Any]) -> "StoredItem":
        """Return the item with these attributes; those that are None are removed."""
        item, sizes = dict(self.item), dict(self.sizes)
        for name, value in changes.items():
            if value is None:
                item.pop(name, None)
                sizes.pop(name, None)
            else:
                item[name], size = _stored(value)
                sizes[name] = size + len(name.encode())
        return StoredItem(item, sizes)


EMPTY: Final = StoredItem({}, {})


def _stored(value: Mapping[str, Any]) -> tuple[Any, int]:
    """Return a copy of a value as DynamoDB keeps it, and its size in bytes."""
    if len(value) != 1:
        raise Invalid("Supplied AttributeValue has more than one datatypes set")
    [(kind, content)] = value.items()
    match kind:
        case "S":
            return {kind: content}, len(content.encode())
        case "N":
            number, size = _number(content)
            return {kind: number}, size
        case "BOOL" | "NULL":
            return {kind: content}, 1
        case "B":
            return {kind: content}, len(content)
        case "L":
            kept = [_stored(each) for each in content]
            return {kind: [each for each, _ in kept]}, 3 + sum(size + 1 for _, size in kept)
        case "M":
            members = {name: _stored(each) for name, each in content.items()}
            size = 3 + sum(size + 1 + len(name.encode()) for name, (_, size) in members.items())
            return {kind: {name: each for name, (each, _) in members.items()}}, size
        case "SS" | "NS" | "BS":
            return _set(kind, content)
        case _:
            raise Invalid(f"no type: {kind}")


def _set(kind: str, content: Sequence[Any]) -> tuple[Any, int]:
    if not content:
        raise Invalid("One or more parameter values were invalid: An set may not be empty")
    kept = [_stored({kind[0]: each}) for each in content]
    members = sorted(each[kind[0]] for each, _ in kept)
    if len(set(members)) < len(members):
        raise Invalid(f"One or more parameter values were invalid: Input collection {members} has duplicates")
    return {kind: members}, sum(size for _, size in kept)


def _number(text: str) -> tuple[str, int]:
    """Return a number as it is read again, without zeros that say nothing, and its size."""
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise Invalid("The parameter cannot be converted to a numeric value") from None
    digits = "".join(map(str, number.as_tuple().digits)).strip("0")
    if not number.is_finite() or len(digits) > 38:
        raise Invalid("Attempting to store more than 38 significant digits in a Number")
    whole = number == number.to_integral_value()
    return format(number.quantize(Decimal(1)) if whole else number.normalize(), "f"), 1 + (
        len(digits) + 1
    ) // 2


@dataclass
class StoredTable:
    """Items, their order in each index, and what readers may not see yet.

    `indexes` has the partition key and the sort key of each index, and of the table as TABLE. Readers that
    accept a moment's delay may miss the newest writes, in the order of all writes. On AWS, writes of two
    items may also come in another order.
    """

    name: str
    indexes: dict[str, tuple[str, str]]
    projected: dict[str, frozenset[str]] = field(default_factory=dict)
    """The attributes of an index that has not all of them."""

    items: dict[Key, StoredItem] = field(default_factory=dict)
    busy: set[Key] = field(default_factory=set)
    """Items at which another transaction is at work."""

    _sorted: dict[tuple[str, str], list[Place]] = field(default_factory=lambda: defaultdict(list))
    _recent: deque[tuple[float, Key, StoredItem | None]] = field(default_factory=deque)

    def copy(self) -> "StoredTable":
        """Return a table with the same items, in which a write does not show here."""
        places: dict[tuple[str, str], list[Place]] = defaultdict(list)
        places.update({partition: list(kept) for partition, kept in self._sorted.items()})
        copied = StoredTable(
            self.name, self.indexes, self.projected, dict(self.items), set(self.busy), places
        )
        copied._recent = deque(self._recent)
        return copied

    def key(self, item: Mapping[str, Any]) -> Key:
        """Return an item's key."""
        return self._key_part(item, 0), self._key_part(item, 1)

    def _key_part(self, item: Mapping[str, Any], which: int) -> str:
        name = self.indexes[TABLE][which]
        if name not in item:
            raise Invalid(f"One or more parameter values were invalid: Missing the key {name} in the item")
        if not isinstance(value := item[name].get("S"), str) or not value:
            raise Invalid(f"One or more parameter values are not valid: {name}")
        return value

    def check(self, stored: StoredItem | None) -> None:
        """Raise Invalid where an item is too large, or an index's key is no text."""
        if stored is None:
            return
        if stored.size > MAX_ITEM:
            raise Invalid("Item size has exceeded the maximum allowed size")
        for name in {name for keys in self.indexes.values() for name in keys if name in stored.item}:
            if not stored.item[name].get("S"):
                raise Invalid(
                    f"One or more parameter values were invalid: Type mismatch for Index Key {name}"
                )

    def place(self, index: str, stored: StoredItem | None) -> tuple[str, Place] | None:
        """Return an item's partition and place in an index, or None where it is not in there."""
        partition, sort = self.indexes[index]
        if stored is None or partition not in stored.item or sort not in stored.item:
            return None
        item = stored.item
        return item[partition]["S"], (item[sort]["S"], *self.key(item))

    def view(self, index: str, stored: StoredItem) -> StoredItem:
        """Return what an index has of an item."""
        if index not in self.projected:
            return stored
        kept = self.projected[index] & stored.item.keys()
        return StoredItem(
            {name: stored.item[name] for name in kept}, {name: stored.sizes[name] for name in kept}
        )

    def write(self, key: Key, after: StoredItem | None, now: float | None = None) -> int:
        """Put an item in the place of an earlier one, or delete it. Return the write units of the indexes.

        With a time, the earlier state is remembered for readers that do not see the write yet.
        """
        before, units = self.items.get(key), 0
        if now is not None:
            self._recent.append((now, key, before))
        for index in self.indexes:
            old, new = self.place(index, before), self.place(index, after)
            if old != new:
                if old is not None:
                    places = self._sorted[index, old[0]]
                    del places[bisect_left(places, old[1])]
                if new is not None:
                    insort(self._sorted[index, new[0]], new[1])
            if index != TABLE:
                units += self._index_units(
                    old and before and self.view(index, before),
                    new and after and self.view(index, after),
                    old != new,
                )
        if after is None:
            self.items.pop(key, None)
        else:
            self.items[key] = after
        return units

    def _index_units(self, old: StoredItem | None, new: StoredItem | None, moved: bool) -> int:
        """Return the write units of an index's entry: one that moves is deleted and written."""
        if old == new and not moved:
            return 0
        return ((old is not None) + (new is not None) if moved else 1) * units_of(1_024, old, new)

    def read(self, key: Key, missed: Callable[[int], int] | None, since: float) -> StoredItem | None:
        """Return an item. `missed` says how many of its writes since then are not seen; None: consistent."""
        found = self.items.get(key)
        if missed is None:
            return found
        earlier = [before for _, written, before in self._newest(since) if written == key]
        hidden = missed(len(earlier)) if earlier else 0
        return earlier[hidden - 1] if hidden else found

    def partition(
        self, index: str, value: str, missed: Callable[[int], int] | None, since: float
    ) -> Iterator[tuple[Place, StoredItem]]:
        """Yield a partition in order of its sort key, with `missed` as in `read`."""
        places = self._sorted.get((index, value), [])
        if missed is None or not self._recent:
            yield from ((place, self.items[place[1], place[2]]) for place in places)
            return
        touching = [
            (key, before)
            for _, key, before in self._newest(since)
            if any(
                where is not None and where[0] == value
                for where in (self.place(index, before), self.place(index, self.items.get(key)))
            )
        ]
        hidden = missed(len(touching)) if touching else 0
        view = {place[1:]: (place, self.items[place[1], place[2]]) for place in places}
        for key, before in touching[:hidden]:
            view.pop(key, None)
            where = self.place(index, before)
            if before is not None and where is not None and where[0] == value:
                view[key] = where[1], before
        yield from sorted(view.values(), key=lambda each: each[0])

    def _newest(self, since: float) -> Iterator[tuple[float, Key, StoredItem | None]]:
        while self._recent and self._recent[0][0] < since:
            self._recent.popleft()
        return reversed(self._recent)


def units_of(unit: int, *stored: StoredItem | None) -> int:
    """Return the capacity units of the largest of these, one at least."""
    return max(1, *(math.ceil(each.size / unit) for each in stored if each is not None), 1)
