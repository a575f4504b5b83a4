"""One DynamoDB table: reads, single writes, and transactions that write all or nothing.

Whatever must be true together is written together. A transaction names, for each of its writes, what a failed
condition means; `commit` is the only place that reads DynamoDB's reasons, tries again, and recognises a write
that took effect although its answer was lost.
"""

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import ClientError

from sluicegate.store.codec import Item, marshal, unmarshal
from sluicegate.store.errors import Contended, StoreError
from sluicegate.store.keys import Key
from sluicegate.store.update_expression import update_expression

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

MAX_SENDS: Final = 6
"""How often a transaction is sent before it is given up as contended."""


@dataclass(frozen=True)
class Condition:
    """A condition expression, its values, and the attributes behind its `#names`."""

    expression: str
    values: Mapping[str, Any] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)


ABSENT: Final = Condition("attribute_not_exists(pk)")
PRESENT: Final = Condition("attribute_exists(pk)")


class Resolution(Enum):
    """What becomes of a transaction with a failed condition, where that is no error."""

    RETRY = auto()
    """Send it again, after a pause: what was in the way is gone."""

    DROP = auto()
    """Send it again without this write, at once. Writes that were added instead of it are sent too."""

    TOOK_EFFECT = auto()
    """An earlier attempt was written and its answer was lost: the transaction is done."""


OnConflict = Resolution | type[StoreError] | Callable[[], StoreError | Resolution]
"""What a failed condition means: an error to raise, a resolution, or a function that finds out which."""
_PASSING: Final = frozenset(
    {
        None,
        "None",
        "ConditionalCheckFailed",
        "ProvisionedThroughputExceeded",
        "ThrottlingError",
        "TransactionConflict",
    }
)
"""Reasons of a cancelled transaction that say something of a condition, or that pass.

DynamoDB API reference, TransactionCanceledException, read on 2026-11-26.
"""


_BATCH: Final = 100
"""Items of one BatchGetItem at most (DynamoDB API reference, read on 2026-11-26)."""


class Table:
    """A table by its name. `client` is a DynamoDB client."""

    def __init__(
        self, client: "DynamoDBClient", name: str, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._client = client
        self._name = name
        self._sleep = sleep

    def get(self, key: Key) -> Item | None:
        """Return the item as it is now (a consistent read), or None."""
        answer = self._client.get_item(TableName=self._name, Key=marshal(key), ConsistentRead=True)
        return unmarshal(answer["Item"]) if "Item" in answer else None

    def get_many(self, several: Sequence[Key], *, consistent: bool = False) -> Iterator[Item]:
        """Yield the items that there are of these, in any order; a moment old at most unless `consistent`.

        DynamoDB reads 100 in one call, and leaves some for another where it is busy. Each is read by itself:
        together they are no snapshot.
        """
        left = [marshal(key) for key in several]
        for attempt in range(MAX_SENDS):
            again: list[Any] = []
            for start in range(0, len(left), _BATCH):
                keys = left[start : start + _BATCH]
                asked: Any = {self._name: {"Keys": keys, "ConsistentRead": consistent}}
                answer = self._client.batch_get_item(RequestItems=asked)
                yield from map(unmarshal, answer["Responses"].get(self._name, ()))
                again += (answer.get("UnprocessedKeys") or {}).get(self._name, {"Keys": []})["Keys"]
            if not again:
                return
            left = again
            self.back_off(attempt)
        raise Contended

    def query(
        self,
        condition: Condition,
        *,
        index: str | None = None,
        names: Mapping[str, str] | None = None,
        consistent: bool = False,
        newest_first: bool = False,
        page: int | None = 100,
        attributes: Sequence[str] = (),
    ) -> Iterator[Item]:
        """Yield the items under a key condition, reading one page after another as they are needed.

        A page has so many items at most, and a megabyte. With None only that counts: for what is read to its
        end. With `attributes`, only these are read of each item; DynamoDB charges for all of it the same.
        """
        query: dict[str, Any] = {
            "TableName": self._name,
            "KeyConditionExpression": condition.expression,
            "ExpressionAttributeValues": marshal(condition.values),
            "ConsistentRead": consistent,
            "ScanIndexForward": not newest_first,
        }
        if page is not None:
            query["Limit"] = page
        if index is not None:
            query["IndexName"] = index
        if attributes:
            names = {**(names or {}), **{f"#p{i}": each for i, each in enumerate(attributes)}}
            query["ProjectionExpression"] = ", ".join(f"#p{i}" for i in range(len(attributes)))
        if names is not None:
            query["ExpressionAttributeNames"] = dict(names)
        while True:
            answer = self._client.query(**query)
            yield from map(unmarshal, answer["Items"])
            if "LastEvaluatedKey" not in answer:
                return
            query["ExclusiveStartKey"] = answer["LastEvaluatedKey"]

    def put(self, item: Item, condition: Condition | None = None) -> None:
        """Write an item, in the place of an earlier one. Raises ClientError where the condition fails."""
        self._client.put_item(**self.put_arguments(item, condition))

    def delete(self, key: Key) -> None:
        """Delete an item; one that is gone already is fine."""
        self._client.delete_item(TableName=self._name, Key=marshal(key))

    def update(self, key: Key, changes: Mapping[str, Any], condition: Condition) -> bool:
        """Set attributes of one item, and return True; return False where the condition failed."""
        try:
            self._client.update_item(**self.update_arguments(key, changes, condition))
        except ClientError as error:
            if error.response["Error"]["Code"] == "ConditionalCheckFailedException":
                return False
            raise
        return True

    def attempt(self, key: Key, change: str, condition: Condition) -> tuple[bool, Item]:
        """Run an update expression on one item. Return whether its condition held, and the item as it is."""
        try:
            answer = self._client.update_item(
                TableName=self._name,
                Key=marshal(key),
                UpdateExpression=change,
                ConditionExpression=condition.expression,
                ExpressionAttributeValues=marshal(condition.values),
                ReturnValues="ALL_NEW",
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                raise
            seen: Any = error.response.get("Item", {})
            return False, unmarshal(seen)
        return True, unmarshal(answer["Attributes"])

    def count(self, key: Key, amounts: Mapping[str, int], most: Mapping[str, int], expires: int) -> bool:
        """Add to the counters of an item, and return True; return False where one would exceed its limit."""
        names = {f"#{name}": name for name in amounts} | {"#expires": "expires_at"}
        values = {f":{name}": amount for name, amount in amounts.items()} | {":expires": expires}
        left = {f":left_{name}": most[name] - amount for name, amount in amounts.items()}
        added = ", ".join(f"#{name} :{name}" for name in amounts)
        within = [f"(attribute_not_exists(#{name}) OR #{name} <= :left_{name})" for name in amounts]
        if min(left.values()) < 0:
            return False
        try:
            self._client.update_item(
                TableName=self._name,
                Key=marshal(key),
                UpdateExpression=f"SET #expires = :expires ADD {added}",
                ConditionExpression=" AND ".join(within),
                ExpressionAttributeNames=names,
                ExpressionAttributeValues=marshal(values | left),
            )
        except ClientError as error:
            if error.response["Error"]["Code"] == "ConditionalCheckFailedException":
                return False
            raise
        return True

    def set(self, key: Key, changes: Mapping[str, Any]) -> None:
        """Set attributes of one item, whatever it has."""
        self._client.update_item(**self.update_arguments(key, changes))

    def increment(self, key: Key, counter: str, changes: Mapping[str, Any]) -> int:
        """Add one to a counter of an item, set the other attributes, and return the counter's new value."""
        arguments = self.update_arguments(key, changes, increment=counter)
        answer = self._client.update_item(**arguments, ReturnValues="UPDATED_NEW")
        return int(unmarshal(answer["Attributes"])[counter])

    def transaction(self) -> "Transaction":
        """Begin a transaction: nothing is written before its `commit`."""
        return Transaction(self)

    def transact(self, items: "list[TransactWriteItemTypeDef]") -> list[str | None] | None:
        """Write all items or none. Return None if they are written, else a reason code for each item.

        botocore sends one ClientRequestToken with all its own retries, so a retry of a transaction that took
        effect unseen is answered as a success (DynamoDB developer guide, TransactWriteItems).
        """
        try:
            self._client.transact_write_items(TransactItems=items)
        except ClientError as error:
            if error.response["Error"]["Code"] != "TransactionCanceledException":
                raise
            codes = [reason.get("Code") for reason in error.response["CancellationReasons"]]
            if not _PASSING.issuperset(codes):
                raise  # an item that is too large, for example: it would be cancelled every time
            return codes
        return None

    def back_off(self, attempt: int) -> None:
        """Pause before another attempt, for longer each time."""
        self._sleep(random.uniform(0, 0.02 * 2**attempt))  # noqa: S311 (jitter, not a secret)

    def put_arguments(self, item: Item, condition: Condition | None = None) -> Any:
        """Return the arguments of a Put, alone or in a transaction."""
        return self._conditional({"Item": marshal(item)}, condition)

    def update_arguments(
        self,
        key: Key,
        changes: Mapping[str, Any],
        condition: Condition | None = None,
        remove: Sequence[str] = (),
        increment: str | None = None,
    ) -> Any:
        """Return the arguments of an Update, alone or in a transaction.

        `remove` names attributes, `increment` a counter to which one is added.
        """
        expression, names, values = update_expression(changes, remove, increment)
        arguments = {
            "Key": marshal(key),
            "UpdateExpression": expression,
            "ExpressionAttributeNames": names,
        }
        return self._conditional(arguments, condition, values)

    def key_arguments(self, key: Key, condition: Condition | None) -> Any:
        """Return the arguments of a Delete or a ConditionCheck in a transaction."""
        return self._conditional({"Key": marshal(key)}, condition)

    def _conditional(
        self, arguments: dict[str, Any], condition: Condition | None, values: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Add table, condition and values; DynamoDB takes neither an empty expression nor empty values."""
        values = {**(values or {}), **(condition.values if condition else {})}
        if condition is not None:
            arguments["ConditionExpression"] = condition.expression
            if condition.names:
                arguments.setdefault("ExpressionAttributeNames", {}).update(condition.names)
        if values:
            arguments["ExpressionAttributeValues"] = marshal(values)
        return {"TableName": self._name, **arguments}


@dataclass(frozen=True, eq=False)
class _Write:
    """One write of a transaction, and what its failed condition means."""

    item: "TransactWriteItemTypeDef"
    on_conflict: OnConflict

    def resolve(self) -> Resolution:
        """Say what becomes of the transaction. Raises the StoreError that the conflict means."""
        if isinstance(self.on_conflict, Resolution):
            return self.on_conflict
        meaning = self.on_conflict()
        if isinstance(meaning, StoreError):
            raise meaning
        return meaning


class Transaction:
    """Writes that take effect together, or not at all.

    The order in which writes are added is their precedence: where several conditions failed at once, the
    first of them decides.
    """

    def __init__(self, table: Table) -> None:
        self._table = table
        self._writes: list[_Write] = []

    def put(
        self, item: Item, condition: Condition | None = None, *, on_conflict: OnConflict = Resolution.RETRY
    ) -> None:
        """Write an item."""
        self._writes.append(_Write({"Put": self._table.put_arguments(item, condition)}, on_conflict))

    def update(
        self,
        key: Key,
        changes: Mapping[str, Any],
        condition: Condition,
        *,
        on_conflict: OnConflict,
        remove: Sequence[str] = (),
        increment: str | None = None,
    ) -> None:
        """Set attributes of an item, remove others, and add one to a counter."""
        arguments = self._table.update_arguments(key, changes, condition, remove, increment)
        self._writes.append(_Write({"Update": arguments}, on_conflict))

    def delete(
        self, key: Key, condition: Condition | None = None, *, on_conflict: OnConflict = Resolution.RETRY
    ) -> None:
        """Delete an item; without a condition, one that is gone already is fine."""
        self._writes.append(_Write({"Delete": self._table.key_arguments(key, condition)}, on_conflict))

    def check(self, key: Key, condition: Condition, *, on_conflict: OnConflict) -> None:
        """Require a condition of an item that is not written."""
        arguments = self._table.key_arguments(key, condition)
        self._writes.append(_Write({"ConditionCheck": arguments}, on_conflict))

    def commit(self) -> None:
        """Write all or nothing. Raises the StoreError that a failed condition means, or Contended."""
        for attempt in range(MAX_SENDS):
            failed = self._send()
            if failed is None:
                return
            dropped = []
            for write in failed:
                match write.resolve():
                    case Resolution.TOOK_EFFECT:
                        return
                    case Resolution.DROP:
                        dropped.append(write)
                    case Resolution.RETRY:
                        pass
            self._writes = [write for write in self._writes if write not in dropped]
            if not dropped:
                self._table.back_off(attempt)
        raise Contended

    def _send(self) -> list[_Write] | None:
        """Return None if it was written, else the writes whose conditions failed.

        None of them failed where another transaction was at the same items.
        """
        codes = self._table.transact([write.item for write in self._writes])
        if codes is None:
            return None
        coded = zip(self._writes, codes, strict=False)
        return [write for write, code in coded if code == "ConditionalCheckFailed"]
