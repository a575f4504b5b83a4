"""The update expressions that the table writes: attributes set, removed, counted, members of sets changed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple


@dataclass(frozen=True)
class With:
    """As the value of a set's attribute in an update: the set gets these members, and keeps any other."""

    members: frozenset[str]


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
    """Return the update that sets attributes, removes those of `remove`, and adds one to a counter.

    A value that is a `With` or `Without` changes members of a set, so that no writer undoes what another did.
    """
    names = {f"#{name}": name for name in remove}
    values: dict[str, Any] = {}
    clauses: dict[str, list[str]] = {"SET": [], "REMOVE": list(names), "ADD": [], "DELETE": []}
    for name, value in changes.items():
        match value:
            case With(members) | Without(members):
                if not members:  # DynamoDB knows no empty set
                    continue
                clauses["ADD" if isinstance(value, With) else "DELETE"].append(f"#{name} :{name}")
                values[f":{name}"] = members
            case _:
                clauses["SET"].append(f"#{name} = :{name}")
                values[f":{name}"] = value
        names[f"#{name}"] = name
    if increment is not None:
        clauses["ADD"].append("#counter :one")
        names, values = names | {"#counter": increment}, values | {":one": 1}
    written = (f"{verb} {', '.join(actions)}" for verb, actions in clauses.items() if actions)
    return UpdateExpression(" ".join(written), names, values)
