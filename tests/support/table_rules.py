"""What a single DynamoDB request means: its arguments, keys, changes and answers. See `table_model`."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from support import table_expressions as expressions
from support.table_expressions import Attributes, Malformed, Scope
from support.table_storage import Invalid, Item, Key, StoredItem, StoredTable

RESULT: Final = {"HTTPStatusCode": 200, "RetryAttempts": 0}
CONDITIONAL: Final = (
    "ConditionExpression ExpressionAttributeNames ExpressionAttributeValues"
    " ReturnValuesOnConditionCheckFailure"
)
"""Arguments of everything that has a condition."""

_IN_TRANSACTIONS: Final = {
    "Put": {"TableName", "Item"},
    "Update": {"TableName", "Key", "UpdateExpression"},
    "Delete": {"TableName", "Key"},
    "ConditionCheck": {"TableName", "Key", "ConditionExpression"},
}
_PARSERS: Final[Mapping[str, Callable[[str], Any]]] = {
    "ConditionExpression": expressions.condition,
    "UpdateExpression": expressions.update,
    "KeyConditionExpression": expressions.key_condition,
    "ProjectionExpression": expressions.projection,
}


def transactional(item: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """Return the verb and the arguments of one write of a transaction."""
    [(verb, given)] = item.items()
    required = _IN_TRANSACTIONS[verb]
    assert required <= set(given) <= required | set(CONDITIONAL.split()), f"{verb} does not take {set(given)}"
    return verb, given


def exact_key(table: StoredTable, key: Item) -> Key:
    """Return the key that a request names. Raises Invalid where it has other attributes."""
    if len(key) != 2:
        raise Invalid("The number of conditions on the keys is invalid")
    return table.key(key)


def placeholders(given: Mapping[str, Any]) -> tuple[Mapping[str, str], Attributes]:
    """Return the names and the values of a request. Raises Invalid where it gives none of a kind."""
    for name in ("ExpressionAttributeNames", "ExpressionAttributeValues"):
        if name in given and not given[name]:
            raise Invalid(f"{name} must not be empty")
    return given.get("ExpressionAttributeNames", {}), given.get("ExpressionAttributeValues", {})


def check_uses(given: Mapping[str, Any]) -> None:
    """Raise Invalid where a placeholder is not defined, or is defined and not used."""
    names, values = placeholders(given)
    uses: set[str] = set()
    for argument, parse in _PARSERS.items():
        if argument in given:
            uses |= parse(given[argument]).uses
    if unused := {*names, *values} - uses:
        raise Invalid(f"Value provided in ExpressionAttributeNames or Values unused in expressions: {unused}")
    if missing := uses - {*names, *values}:
        raise Invalid(f"An expression attribute name or value used in expression is not defined: {missing}")


def changes(table: StoredTable, text: str, scope: Scope) -> dict[str, Any]:
    """Return the attributes that an update sets, and None for those that it removes."""
    found: dict[str, Any] = {}
    for verb, name, term in expressions.update(text).actions:
        attribute = expressions.named(name, scope.names)
        if attribute in table.indexes[""]:
            raise Invalid(f"Cannot update attribute {attribute}. This attribute is part of the key")
        if attribute in found:
            raise Malformed("Two document paths overlap with each other")
        found[attribute] = _changed(verb, scope.item.get(attribute), term(scope))
    return found


def _changed(verb: str, old: Any, value: Any) -> Any:
    if verb == "REMOVE":
        return None
    if verb == "SET":
        if value is None:
            raise Malformed("The provided expression refers to an attribute that does not exist in the item")
        return value
    [(kind, content)] = value.items()
    if old is not None and kind not in old:
        raise Malformed("An operand in the update expression has an incorrect data type")
    if (verb, kind) == ("ADD", "N"):
        return expressions.added(old or {"N": "0"}, value, 1)
    if kind not in ("SS", "NS", "BS"):
        raise Malformed(f"Incorrect operand type for {verb}: {kind}")
    members = old[kind] if old else []
    if verb == "ADD":
        return {kind: list(dict.fromkeys([*members, *content]))}
    left = [each for each in members if each not in content]
    return {kind: left} if left else None


def returned(
    wanted: str, before: StoredItem | None, after: StoredItem | None, changed: frozenset[str]
) -> Item:
    """Return the attributes that a write answers."""
    item = (before if wanted.endswith("_OLD") else after) or StoredItem({}, {})
    return {name: value for name, value in item.item.items() if wanted.startswith("ALL") or name in changed}


def shown(given: Mapping[str, Any]) -> Callable[[StoredItem], Item]:
    """Return what a read shows of an item."""
    if "ProjectionExpression" not in given:
        return lambda stored: dict(stored.item)
    attributes = _attributes(given)
    return lambda stored: {name: stored.item[name] for name in attributes if name in stored.item}


def check_projection(table: StoredTable, index: str, given: Mapping[str, Any]) -> None:
    """Raise Invalid where a query asks for what its index does not have."""
    asked = set(_attributes(given)) if "ProjectionExpression" in given else set()
    if missing := asked - table.projected.get(index, asked):
        raise Invalid(f"Global secondary index {index} does not project {missing}")


def _attributes(given: Mapping[str, Any]) -> list[str]:
    names, _ = placeholders(given)
    return [
        expressions.named(name, names)
        for name in expressions.projection(given["ProjectionExpression"]).attributes
    ]


def key_range(keys: tuple[str, str], given: Mapping[str, Any]) -> tuple[str, Callable[[str], bool]]:
    """Return a query's partition, and whether a sort key is in its range."""
    check_uses(given)
    names, values = placeholders(given)
    condition = expressions.key_condition(given["KeyConditionExpression"])
    sort = condition.sort and expressions.named(condition.sort, names)
    if expressions.named(condition.partition, names) != keys[0] or sort not in (None, keys[1]):
        raise Invalid(f"Query condition missed key schema element: {keys}")
    value, *bounds = (values[name].get("S") for name in (condition.value, *condition.bounds))
    if not value or None in bounds:
        raise Invalid("One or more parameter values were invalid: Condition parameter type does not match")
    match condition.operator, bounds:
        case "begins_with", [str(prefix)]:
            return value, lambda at: at.startswith(prefix)
        case "BETWEEN", [str(low), str(high)]:
            if low > high:
                raise Invalid(
                    "The BETWEEN operator requires upper bound to be greater than or equal to lower bound"
                )
            return value, lambda at: low <= at <= high
        case operator, [str(bound)]:
            tests = {"=": str.__eq__, "<": str.__lt__, "<=": str.__le__, ">": str.__gt__, ">=": str.__ge__}
            test = tests[operator]
            return value, lambda at: test(at, bound)
    return value, lambda _: True


def answer(
    table: StoredTable, units: float, given: Mapping[str, Any], several: bool = False
) -> dict[str, Any]:
    """Return what every answer has."""
    if given.get("ReturnConsumedCapacity", "NONE") == "NONE":
        return {"ResponseMetadata": RESULT}
    consumed = {"TableName": table.name, "CapacityUnits": units}
    return {"ResponseMetadata": RESULT, "ConsumedCapacity": [consumed] if several else consumed}
