"""Whether policies allow to invoke a function. Pure: documents in.

Policies are read, not simulated: a condition of an Allow counts as met, and one of a Deny as not met.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, Final

PolicyDocument = Mapping[str, Any]

_INVOKE: Final = "lambda:invokefunction"


def statements_of(policies: Sequence[PolicyDocument]) -> Iterator[PolicyDocument]:
    """Yield the statements of all policies."""
    for policy in policies:
        yield from listed(policy.get("Statement"))


def may_invoke(policies: Sequence[PolicyDocument], *arns: str) -> bool:
    """Return whether the policies allow to invoke a function with these ARNs, or one of them."""
    matching = [
        one
        for one in statements_of(policies)
        if names_invoke(one) and any(_names_resource(one, arn) for arn in arns)
    ]
    denied = any(one.get("Effect") == "Deny" and not one.get("Condition") for one in matching)
    return not denied and any(one.get("Effect") == "Allow" for one in matching)


def names_invoke(statement: PolicyDocument) -> bool:
    """Return whether a statement is about invoking functions."""
    if "NotAction" in statement:
        return not any(_matches(one.lower(), _INVOKE) for one in listed(statement["NotAction"]))
    return any(_matches(one.lower(), _INVOKE) for one in listed(statement.get("Action")))


def _names_resource(statement: PolicyDocument, arn: str) -> bool:
    if "NotResource" in statement:
        return not any(_matches(one, arn) for one in listed(statement["NotResource"]))
    return any(_matches(one, arn) for one in listed(statement.get("Resource", "*")))


@cache
def _pattern(pattern: str) -> re.Pattern[str]:
    return re.compile(re.escape(pattern).replace(r"\*", ".*").replace(r"\?", "."), re.DOTALL)


def _matches(pattern: str, value: str) -> bool:
    """Return whether an IAM pattern matches the whole value: `*` is any run of characters, `?` one."""
    return _pattern(pattern).fullmatch(value) is not None


def listed(value: Any) -> list[Any]:
    """Return the members of an element that may be one value or a list of them."""
    if value is None:
        return []
    return list(value) if isinstance(value, (list, tuple)) else [value]
