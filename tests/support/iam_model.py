"""What IAM decides about one request, from resolved policy documents: deny first, then any allow.

It knows what our policies use; anything else raises. A key that the request lacks fails an operator that is
not negated, and meets one that is; several keys and operators must all hold, one of several values suffices
(IAM user guide, "Policy evaluation logic", "IAM JSON policy elements: Condition operators"; November 2026).
"""

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any, Final

from support.template import listed

Context = Mapping[str, str | tuple[str, ...]]
"""What a request has of each key: several values of one that has several."""

_NEGATED: Final = {"StringNotEquals": "StringEquals", "StringNotLike": "StringLike"}


def allowed(
    documents: Iterable[Mapping[str, Any]],
    action: str,
    resource: str,
    context: Context | None = None,
    *,
    principal: str | None = None,
) -> bool:
    """Whether the documents together allow the request. `principal`: of policies that name principals."""
    found = [
        statement["Effect"]
        for document in documents
        for statement in document["Statement"]
        if _is_about(statement, action, resource, context or {}, principal)
    ]
    return "Deny" not in found and "Allow" in found


def _is_about(
    statement: Mapping[str, Any], action: str, resource: str, context: Context, principal: str | None
) -> bool:
    unknown = set(statement) - {"Sid", "Effect", "Action", "NotAction", "Resource", "Condition", "Principal"}
    assert not unknown, unknown
    return (
        _names_action(statement, action)
        and any(_like(resource, wanted) for wanted in listed(statement.get("Resource", "*")))
        and (principal is None or _names(statement["Principal"], principal))
        and all(
            _holds(operator, listed(values), _value(context, key))
            for operator, keys in statement.get("Condition", {}).items()
            for key, values in keys.items()
        )
    )


def _names_action(statement: Mapping[str, Any], action: str) -> bool:
    """NotAction matches everything but what it lists (IAM user guide, "NotAction"; November 2026)."""
    wanted = listed(statement["NotAction"] if "NotAction" in statement else statement["Action"])
    found = any(_like(action.lower(), one.lower()) for one in wanted)
    return found is not ("NotAction" in statement)


def _names(principal: Any, arn: str) -> bool:
    if principal == "*":
        return True
    names = listed(principal.get("AWS", principal.get("Service")))
    return arn in names or arn.split(":")[4:5] in ([name] for name in names)


def _value(context: Context, key: str) -> str | tuple[str, ...] | None:
    return {name.lower(): value for name, value in context.items()}.get(key.lower())


def _holds(operator: str, values: list[Any], actual: str | tuple[str, ...] | None) -> bool:
    if isinstance(actual, tuple):
        assert operator.startswith("ForAllValues:"), operator
        return all(_holds(operator, values, one) for one in actual)
    operator = operator.removeprefix("ForAllValues:") if actual is not None else operator
    if operator.startswith("ForAllValues:"):
        return True
    if operator == "Null":
        return str(values[0]).lower() == str(actual is None).lower()
    if operator in _NEGATED:
        return not _holds(_NEGATED[operator], values, actual)
    if actual is None:
        return False
    match operator:
        case "StringEquals" | "ArnEquals":
            return actual in values
        case "StringLike":
            return any(_like(actual, value) for value in values)
        case "Bool":
            return actual.lower() in [str(value).lower() for value in values]
    raise AssertionError(f"{operator} is not known")


def _like(value: str, pattern: str) -> bool:
    return fnmatchcase(value, pattern.replace("[", "[[]"))
