"""DynamoDB as AWS answers it, in memory: the calls of `sluicegate.store.table`, and those of the tests.

A call takes microseconds; a transaction copies what it changes and nothing else. Unless a test says so,
nothing is late, partial or in the way.
Sources: DynamoDB API reference (each call, and its errors) and botocore's model of DynamoDB 2012-08-10;
developer guide, "Capacity unit consumption" and "Transactions: how it works"; read on 2026-11-27.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import wraps
from types import SimpleNamespace
from typing import Any, Final

from botocore.exceptions import ClientError
from botocore.hooks import HierarchicalEmitter

from support import table_expressions as expressions
from support import table_rules as rules
from support.refusals import refused
from support.table_expressions import Malformed, Scope
from support.table_storage import (
    EMPTY,
    MAX_PAGE,
    TABLE,
    Invalid,
    Item,
    Key,
    StoredItem,
    StoredTable,
    units_of,
)

TOKEN_KEPT: Final = 600
"""Seconds for which a ClientRequestToken is known (TransactWriteItems)."""

MAX_BATCH: Final = 100
MAX_BATCH_BYTES: Final = 16 * MAX_PAGE
MAX_TRANSACTION_BYTES: Final = 4 * MAX_PAGE
_CONDITION_FAILED: Final = "The conditional request failed"
_CONFLICT: Final = "Transaction is ongoing for the item"

Method = Callable[["DynamoDbModel", Mapping[str, Any]], Any]


def _call(name: str, required: str = "", optional: str = "") -> Callable[[Method], Callable[..., Any]]:
    """Make a method a call of the client, with these arguments.

    Listeners come before it and after it, also after a refusal, as in botocore.
    """
    needed, known = set(required.split()), {*required.split(), *optional.split(), "ReturnConsumedCapacity"}
    before, after = f"before-call.dynamodb.{name}", f"after-call.dynamodb.{name}"
    model = SimpleNamespace(name=name)

    def decorate(method: Method) -> Callable[..., Any]:
        @wraps(method)
        def called(self: "DynamoDbModel", **given: Any) -> Any:
            assert not known or needed <= set(given) <= known, f"{name} does not take {set(given)}"
            emit = self.meta.events.emit
            emit(before, model=model, params=given)
            try:
                with self.one_at_a_time:
                    answer = method(self, given)
            except (Invalid, Malformed) as reason:
                error = refused("ValidationException", str(reason), 400, name)
                emit(after, model=model, parsed=error.response)
                raise error from reason
            except ClientError as error:
                emit(after, model=model, parsed=error.response)
                raise ClientError(error.response, name) from None
            emit(after, model=model, parsed=answer)
            return answer

        return called

    return decorate


def cancelled(reasons: Sequence[Mapping[str, Any]]) -> ClientError:
    """Return the error of a transaction that was cancelled for these reasons, one for each of its writes."""
    codes = ", ".join(str(reason["Code"]) for reason in reasons)
    message = f"Transaction cancelled, please refer cancellation reasons for specific reasons [{codes}]"
    more = {"CancellationReasons": list(reasons)}
    return refused("TransactionCanceledException", message, 400, "TransactWriteItems", **more)


@dataclass(frozen=True)
class PreparedWrite:
    """One write, as it will be if its condition holds and nothing else is in the way."""

    table: StoredTable
    key: Key
    before: StoredItem | None
    after: StoredItem | None
    allowed: bool
    changed: frozenset[str]
    only_checks: bool
    shows_old: bool
    """Whether a failed condition answers the item."""

    @property
    def shown(self) -> Item:
        return {"Item": dict(self.before.item)} if self.shows_old and self.before else {}


@dataclass
class DynamoDbModel:
    """A client. `read_units` and `write_units` grow with each call.

    `choose` decides what is left to chance, between 0, as a quiet table answers, and a number n. For `delay`
    seconds after a write, reads that are not consistent, and all reads of an index, may not see it:
    `choose("stale", n)` says how many of the newest n writes they miss. `choose("unprocessed", n)` says how
    many keys a BatchGetItem leaves for another call.
    """

    clock: Callable[[], float] = time.time
    choose: Callable[[str, int], int] | None = None
    delay: float = 0
    tables: dict[str, StoredTable] = field(default_factory=dict)
    on_write: Callable[[Item | None, Item | None], None] | None = None
    """Hears of each item that was changed, before and after: the table's stream."""

    read_units: float = 0
    write_units: float = 0

    def __post_init__(self) -> None:
        self.meta: Any = SimpleNamespace(events=HierarchicalEmitter(), region_name="eu-central-1")
        self.one_at_a_time = threading.RLock()
        self._tokens: dict[str, tuple[float, Any]] = {}

    def copy_tables(self) -> dict[str, StoredTable]:
        """Return the tables as they are: writes from now on do not show in them."""
        return {name: table.copy() for name, table in self.tables.items()}

    def create_table(self, **given: Any) -> None:
        """Create a table, whose keys are text."""
        schemas, projected = {TABLE: given["KeySchema"]}, {}
        for index in given.get("GlobalSecondaryIndexes", ()):
            schemas[index["IndexName"]] = index["KeySchema"]
            if index["Projection"]["ProjectionType"] != "ALL":
                more = index["Projection"].get("NonKeyAttributes", ())
                keys = [each["AttributeName"] for each in (*given["KeySchema"], *index["KeySchema"])]
                projected[index["IndexName"]] = frozenset((*keys, *more))
        indexes = {
            name: (schema[0]["AttributeName"], schema[1]["AttributeName"]) for name, schema in schemas.items()
        }
        self.tables[given["TableName"]] = StoredTable(given["TableName"], indexes, projected)

    def get_waiter(self, _: str) -> Any:
        """Return what waits for a table: it is there at once."""
        return SimpleNamespace(wait=lambda **_: None)

    def get_paginator(self, name: str) -> Any:
        """Return what pages through a scan, of which one page is all."""
        assert name == "scan"
        return SimpleNamespace(paginate=lambda **given: iter([self.scan(**given)]))

    # Reads

    @_call("GetItem", "TableName Key", "ConsistentRead ProjectionExpression ExpressionAttributeNames")
    def get_item(self, given: Mapping[str, Any]) -> Any:
        table, show = self._table(given), rules.shown(given)
        consistent = given.get("ConsistentRead", False)
        found = table.read(rules.exact_key(table, given["Key"]), *self._seen(consistent))
        units = self._read(consistent, units_of(4_096, found))
        return rules.answer(table, units, given) | ({"Item": show(found)} if found else {})

    @_call("BatchGetItem", "RequestItems")
    def batch_get_item(self, given: Mapping[str, Any]) -> Any:
        """Answer in an order of its own: by key, and not as asked."""
        [(name, asked)] = given["RequestItems"].items()
        table, show, consistent = (
            self._table({"TableName": name}),
            rules.shown(asked),
            asked.get("ConsistentRead", False),
        )
        if not 1 <= len(asked["Keys"]) <= MAX_BATCH:
            raise Invalid("Too many items requested for the BatchGetItem call")
        keys = {rules.exact_key(table, key): key for key in asked["Keys"]}
        if len(keys) < len(asked["Keys"]):
            raise Invalid("Provided list of item keys contains duplicates")
        kept = len(keys) - self._choose("unprocessed", len(keys) - 1)
        found, units, size = {}, 0.0, 0
        for key in list(keys)[:kept]:
            one = table.read(key, *self._seen(consistent))
            size += one.size if one else 0
            if size > MAX_BATCH_BYTES:
                break
            del keys[key]
            units += self._read(consistent, units_of(4_096, one))
            if one:
                found[key] = show(one)
        left = {name: {**asked, "Keys": list(keys.values())}} if keys else {}
        answer = rules.answer(table, units, given, several=True)
        return answer | {"Responses": {name: [found[key] for key in sorted(found)]}, "UnprocessedKeys": left}

    @_call(
        "Query",
        "TableName KeyConditionExpression ExpressionAttributeValues",
        "IndexName ExpressionAttributeNames ProjectionExpression ConsistentRead ScanIndexForward Limit"
        " ExclusiveStartKey",
    )
    def query(self, given: Mapping[str, Any]) -> Any:
        table, index, show = self._table(given), given.get("IndexName", TABLE), rules.shown(given)
        consistent, forward = given.get("ConsistentRead", False), given.get("ScanIndexForward", True)
        if index not in table.indexes:
            raise Invalid(f"The table does not have the specified index: {index}")
        if index != TABLE and consistent:
            raise Invalid("Consistent reads are not supported on global secondary indexes")
        rules.check_projection(table, index, given)
        value, within = rules.key_range(table.indexes[index], given)
        entries = [
            each for each in table.partition(index, value, *self._seen(consistent)) if within(each[0][0])
        ]
        if not forward:
            entries.reverse()
        if start := given.get("ExclusiveStartKey"):
            after = (start[table.indexes[index][1]]["S"], *table.key(start))
            entries = [each for each in entries if (each[0] > after if forward else each[0] < after)]
        page: list[StoredItem] = []
        size = 0
        for _, stored in entries[: given.get("Limit")]:
            each = table.view(index, stored)
            page.append(each)
            size += each.size
            if size >= MAX_PAGE:
                break
        answer = rules.answer(table, self._read(consistent, max(1, -(-size // 4_096))), given)
        answer |= {"Items": [show(each) for each in page], "Count": len(page), "ScannedCount": len(page)}
        if page and (len(page) == given.get("Limit") or size >= MAX_PAGE):
            keys = dict.fromkeys((*table.indexes[TABLE], *table.indexes[index]))
            answer["LastEvaluatedKey"] = {name: page[-1].item[name] for name in keys}
        return answer

    @_call("Scan", "TableName")
    def scan(self, given: Mapping[str, Any]) -> Any:
        """Return all items in one page, for tests: the product never scans."""
        items = [dict(each.item) for each in self._table(given).items.values()]
        return {"Items": items, "Count": len(items), "ResponseMetadata": rules.RESULT}

    # Writes

    @_call("PutItem", "TableName Item", f"{rules.CONDITIONAL} ReturnValues")
    def put_item(self, given: Mapping[str, Any]) -> Any:
        return self._write_alone("Put", given)

    @_call("UpdateItem", "TableName Key UpdateExpression", f"{rules.CONDITIONAL} ReturnValues")
    def update_item(self, given: Mapping[str, Any]) -> Any:
        return self._write_alone("Update", given)

    @_call("DeleteItem", "TableName Key", f"{rules.CONDITIONAL} ReturnValues")
    def delete_item(self, given: Mapping[str, Any]) -> Any:
        return self._write_alone("Delete", given)

    @_call("TransactWriteItems", "TransactItems", "ClientRequestToken")
    def transact_write_items(self, given: Mapping[str, Any]) -> Any:
        """Write all or nothing. boto3 adds a token that no other call has; none at all is the same."""
        now, token, items = self.clock(), given.get("ClientRequestToken"), given["TransactItems"]
        if token in self._tokens and now - self._tokens[token][0] < TOKEN_KEPT:
            if self._tokens[token][1] != items:
                raise refused("IdempotentParameterMismatchException", "The token has other parameters")
            return {"ResponseMetadata": rules.RESULT}
        if not 1 <= len(items) <= MAX_BATCH:
            raise Invalid("Member must have length less than or equal to 100")
        writes = [self._prepared(*rules.transactional(item)) for item in items]
        if len({(write.table.name, write.key) for write in writes}) < len(writes):
            raise Invalid("Transaction request cannot include multiple operations on one item")
        if sum(write.after.size for write in writes if write.after) > MAX_TRANSACTION_BYTES:
            raise Invalid("Transaction request cannot exceed 4 MB")
        reasons = [self._reason(write) for write in writes]
        if any(reason["Code"] != "None" for reason in reasons):
            self.write_units += sum(2 * units_of(1_024, write.before, write.after) for write in writes)
            raise cancelled(reasons)
        units = sum(self._write(write, transactional=True) for write in writes)
        if token is not None:
            self._tokens[token] = now, items
        return rules.answer(writes[0].table, units, given, several=True)

    def _write_alone(self, verb: str, given: Mapping[str, Any]) -> Any:
        write = self._prepared(verb, given)
        if write.key in write.table.busy:
            raise refused("TransactionConflictException", _CONFLICT)
        if not write.allowed:
            self.write_units += units_of(1_024, write.before)
            raise refused("ConditionalCheckFailedException", _CONDITION_FAILED, **write.shown)
        write.table.check(write.after)
        answer = rules.answer(write.table, self._write(write, transactional=False), given)
        if given.get("ReturnValues", "NONE") != "NONE":
            answer["Attributes"] = rules.returned(
                given["ReturnValues"], write.before, write.after, write.changed
            )
        return answer

    def _prepared(self, verb: str, given: Mapping[str, Any]) -> PreparedWrite:
        """Read what the write is about. Raises Invalid or Malformed."""
        table = self._table(given)
        key = table.key(given["Item"]) if verb == "Put" else rules.exact_key(table, given["Key"])
        before = table.items.get(key)
        scope = Scope(before.item if before else {}, *rules.placeholders(given))
        allowed = True
        if text := given.get("ConditionExpression"):
            allowed = expressions.condition(text).holds(scope)
        after, changes = before if verb == "ConditionCheck" else None, {}
        if verb == "Put":
            after = EMPTY.with_changes(given["Item"])
        elif verb == "Update":
            changes = rules.changes(table, given["UpdateExpression"], scope) if allowed else {}
            after = (before or EMPTY.with_changes(given["Key"])).with_changes(changes)
        rules.check_uses(given)
        shows_old = given.get("ReturnValuesOnConditionCheckFailure") == "ALL_OLD"
        checks = verb == "ConditionCheck"
        return PreparedWrite(table, key, before, after, allowed, frozenset(changes), checks, shows_old)

    def _reason(self, write: PreparedWrite) -> dict[str, Any]:
        """Return why a transaction with this write is cancelled, or that it is not because of this one."""
        if write.key in write.table.busy:
            return {"Code": "TransactionConflict", "Message": _CONFLICT}
        if not write.allowed:
            return {"Code": "ConditionalCheckFailed", "Message": _CONDITION_FAILED, **write.shown}
        try:
            write.table.check(None if write.only_checks else write.after)
        except Invalid as reason:
            return {"Code": "ValidationError", "Message": str(reason)}
        return {"Code": "None"}

    def _write(self, write: PreparedWrite, *, transactional: bool) -> float:
        """Take effect, and return the write units: an item of a transaction costs twice, also a checked one.

        Assumed: an index costs once, as it is written after the transaction.
        """
        units = float(units_of(1_024, write.before, write.after)) * (2 if transactional else 1)
        if not write.only_checks:
            units += write.table.write(write.key, write.after, self.clock() if self.delay else None)
            if self.on_write is not None and write.before != write.after:
                before, after = (dict(one.item) if one else None for one in (write.before, write.after))
                self.on_write(before, after)
        self.write_units += units
        return units

    # What calls share

    def _table(self, given: Mapping[str, Any]) -> StoredTable:
        if given["TableName"] not in self.tables:
            raise refused("ResourceNotFoundException", "Requested resource not found")
        return self.tables[given["TableName"]]

    def _choose(self, what: str, most: int) -> int:
        return self.choose(what, most) if self.choose is not None and most > 0 else 0

    def _seen(self, consistent: bool) -> tuple[Callable[[int], int] | None, float]:
        """Return what a read may miss, and since when."""
        if consistent or not self.delay:
            return None, 0
        return lambda most: self._choose("stale", most), self.clock() - self.delay

    def _read(self, consistent: bool, units: int) -> float:
        charged = float(units) if consistent else units / 2
        self.read_units += charged
        return charged
