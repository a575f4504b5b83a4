"""DynamoDB's reads, in memory and counted: enough of them for lists over tens of thousands of items.

moto goes through all items for each page of a query. What this does not know, it refuses.
Source: DynamoDB developer guide, "Querying tables" (`Limit`, `LastEvaluatedKey`), read on 2026-11-26.
"""

import re
from bisect import bisect_left, bisect_right, insort
from collections import defaultdict
from collections.abc import Mapping
from typing import Any, Final

Marshalled = dict[str, Any]

_CONDITION: Final = re.compile(
    r"(?P<key>pk|#key|unfinished|watching) = (?P<of>:\w+)"
    r"( AND ((?P<sort>sk|id|due) (?P<operator>[<>]|BETWEEN) (?P<low>:\w+)( AND (?P<high>:\w+))?"
    r"|begins_with\(sk, (?P<prefix>:\w+)\)))?"
)
_LAST: Final = "\U0010ffff"


class CountingTable:
    """A client of DynamoDB. `calls` and `items` count what was read since they were last reset."""

    def __init__(self, indexes: Mapping[str, str]) -> None:
        self.calls = 0
        self.items = 0
        self._indexes = {"": ("pk", "sk")} | {
            name: (key, "due" if name == "unfinished" else "id") for name, key in indexes.items()
        }
        self._found: dict[tuple[str, str, str], Marshalled] = {}
        self._sorted: dict[tuple[str, str], list[str]] = defaultdict(list)

    def add(self, item: Marshalled) -> None:
        """Put an item that is not there yet."""
        for index, (key, sort) in self._indexes.items():
            if key in item and sort in item:
                partition, place = item[key]["S"], item[sort]["S"]
                if index:  # several items of an index may have the same keys
                    place += f"\0{item['pk']['S']}\0{item['sk']['S']}"
                self._found[index, partition, place] = item
                insort(self._sorted[index, partition], place)

    def get_item(self, **given: Any) -> Any:
        self.calls += 1
        key = given["Key"]
        item = self._found.get(("", key["pk"]["S"], key["sk"]["S"]))
        self.items += item is not None
        return {"Item": item} if item else {}

    def batch_get_item(self, **given: Any) -> Any:
        self.calls += 1
        [(name, asked)] = given["RequestItems"].items()
        assert len(asked["Keys"]) <= 100
        found = [self._found.get(("", key["pk"]["S"], key["sk"]["S"])) for key in asked["Keys"]]
        there = [item for item in found if item]
        self.items += len(there)
        return {"Responses": {name: there}, "UnprocessedKeys": {}}

    def update_item(self, **given: Any) -> Any:
        assert given["ConditionExpression"] == "attribute_not_exists(pk)"
        names, values = given["ExpressionAttributeNames"], given["ExpressionAttributeValues"]
        self.add(given["Key"] | {names[f"#{name[1:]}"]: value for name, value in values.items()})

    def query(self, **given: Any) -> Any:
        self.calls += 1
        limit, condition = given["Limit"], given["KeyConditionExpression"]
        found = _CONDITION.fullmatch(condition)
        assert found, condition
        values = {name: value["S"] for name, value in given["ExpressionAttributeValues"].items()}
        index = given.get("IndexName", "")
        partition = values[found["of"]]
        places = self._sorted.get((index, partition), [])
        begin, end = self._range(found, values, places)
        chosen = places[begin:end] if given["ScanIndexForward"] else places[begin:end][::-1]
        if start := given.get("ExclusiveStartKey"):
            chosen = chosen[chosen.index(start["place"]["S"]) + 1 :]
        page = chosen[:limit]
        self.items += len(page)
        answer: dict[str, Any] = {"Items": [self._found[index, partition, place] for place in page]}
        # DynamoDB answers a key after a full page, even if nothing follows.
        return answer | ({"LastEvaluatedKey": {"place": {"S": page[-1]}}} if len(page) == limit else {})

    def _range(self, found: re.Match[str], values: Mapping[str, str], places: list[str]) -> tuple[int, int]:
        if found["prefix"]:
            prefix = values[found["prefix"]]
            return bisect_left(places, prefix), bisect_left(places, prefix + _LAST)
        match found["operator"]:
            case "<":
                return 0, bisect_left(places, values[found["low"]])
            case ">":
                return bisect_left(places, values[found["low"]] + "\1"), len(places)
            case "BETWEEN":
                return bisect_left(places, values[found["low"]]), bisect_right(places, values[found["high"]])
            case _:
                return 0, len(places)
