"""The update expressions that the table writes: attributes set, removed and counted, members taken away."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple


@dataclass(frozen=True)
class Without:
    """As the value of a set's attribute in an update: the set loses these members, and keeps any other."""

    members: frozenset[str]


class UpdateExpression(NamedTuple):
    """An expression, the attributes behind its `#names`, and its `:values`."""

    expression: str
    names: dict[str, str]
    values: dict[str, Any]


def update_expression(
    changes: Mapping[str, Any], remove: Sequence[str] = (), increment: str | None = None
) -> UpdateExpression:
    """Return the update that sets attributes, removes those of `remove`, and adds one to a counter."""
    assigned = {name: value for name, value in changes.items() if not isinstance(value, Without)}
    lost = {
        name: value.members
        for name, value in changes.items()
        if isinstance(value, Without) and value.members  # DynamoDB knows no empty set
    }
    clauses = {
        "SET": [f"#{name} = :{name}" for name in assigned],
        "REMOVE": [f"#{name}" for name in remove],
        "DELETE": [f"#{name} :{name}" for name in lost],
        "ADD": ["#counter :one"] if increment is not None else [],
    }
    names = {f"#{name}": name for name in (*assigned, *remove, *lost)}
    values = {f":{name}": value for name, value in (assigned | lost).items()}
    if increment is not None:
        names, values = names | {"#counter": increment}, values | {":one": 1}
    written = (f"{verb} {', '.join(actions)}" for verb, actions in clauses.items() if actions)
    return UpdateExpression(" ".join(written), names, values)
