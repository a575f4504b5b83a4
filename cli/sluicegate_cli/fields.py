"""Choose fields of a document, as `--field id --field alias.current.version` does."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from sluicegate.deployment.ulid import is_id
from sluicegate.text import clean
from sluicegate_cli import field_shapes as shapes
from sluicegate_cli.field_shapes import Shape
from sluicegate_gatefile.diagnostics import did_you_mean

_OTHERS: Final[Mapping[str, Shape]] = {
    "trail": shapes.TRAIL,
    "hold": shapes.HOLDS,
    "versions": shapes.VERSIONS,
    "end": shapes.ENDED,
    "whoami": shapes.IDENTITY,
}
_DRIES: Final = ("deploy", "promote", "rollback")

READING: Final = frozenset({"status", "history", "versions", "whoami", "trail"})
"""Commands whose exit code has nothing else to say than whether there is such a value."""


def of_command(command: str, arguments: Mapping[str, Any]) -> Shape:
    """Return the shape of the document that a command prints; of a list, that of its items."""
    if command == "status":
        what = str(arguments.get("what") or "")
        of_function = shapes.FUNCTION if what else shapes.LISTED_FUNCTION
        return shapes.DEPLOYMENT if is_id(what) else of_function
    if command in _DRIES and getattr(arguments.get("request"), "dry_run", False):
        return shapes.DRY_RUN
    return _OTHERS.get(command, shapes.DEPLOYMENT)


def of_list(command: str, arguments: Mapping[str, Any]) -> Shape:
    """Return the shape of what a command says of its list as a whole."""
    return shapes.LIMITS if command == "history" and arguments.get("would_have") else {}


def wrong(command: str, names: Sequence[str], arguments: Mapping[str, Any]) -> str:
    """Return what is wrong with the names of fields, before anything is requested; empty if nothing is."""
    shape, whole = of_command(command, arguments), of_list(command, arguments)
    of_whole = [name for name in names if name.partition(".")[0] in whole]
    for name in names:
        if problem := _wrong({**shape, **whole}, name):
            return f"{problem}; --json shows all fields"
    if of_whole and len(of_whole) < len(names):
        return f"{of_whole[0]} is of the whole list, and the others are of each item: ask for them apart"
    return ""


def _wrong(shape: Shape, name: str) -> str:
    before = ""
    for part in name.split("."):
        known = [one for one in shape if one not in ("*", "0")]
        if part in known:
            shape = shape[part]
        elif "*" in shape and part:
            shape = shape["*"]
        elif "0" in shape and part.isdecimal():
            shape = shape["0"]
        else:
            there = f"{before}{part}"
            if "0" in shape:
                return f"there is no field {clean(there)}: {clean(before)}0 is the first of the list"
            return f"there is no field {clean(there)}{did_you_mean(part, known)}"
        before += f"{part}."
    return ""


def chosen(document: Mapping[str, Any], names: Sequence[str]) -> list[dict[str, Any]]:
    """Return the fields of each item, or of the document itself. Unknown ones are None."""
    return [{name: _value(one, name) for name in names} for one in _documents(document, names)]


def is_list(document: Mapping[str, Any], names: Sequence[str]) -> bool:
    """Return whether the fields are those of each of the document's `items`."""
    of_whole = all(name.partition(".")[0] in document for name in names)
    return isinstance(document.get("items"), list) and not of_whole


def unknown(document: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    """Return the names that no item has, for a message; empty if there is no item."""
    several = _documents(document, names)
    known = {name for one in several if isinstance(one, Mapping) for name in one}
    return [name for name in names if several and name.partition(".")[0] not in known]


def missing(document: Mapping[str, Any], names: Sequence[str], shape: Shape) -> list[str]:
    """Return the names that the shape leaves open, such as a claim's, and that no item has."""
    several = _documents(document, names)
    return [name for name in names if several and all(_lacks(one, name, shape) for one in several)]


def lines(values: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return one line for each item, its values separated by tabs. Every value is cleaned."""
    return ["\t".join(_plain(value) for value in one.values()) for one in values]


def _documents(document: Mapping[str, Any], names: Sequence[str]) -> list[Any]:
    return list(document["items"]) if is_list(document, names) else [document]


def _lacks(document: Any, name: str, shape: Shape) -> bool:
    """Return whether a part of the name that may be any is not there. What is null has no parts."""
    for part in name.split("."):
        if isinstance(document, Mapping):
            if part not in shape and "*" in shape and part not in document:
                return True
            document = document.get(part)
        elif isinstance(document, list) and part.isdecimal() and int(part) < len(document):
            document = document[int(part)]
        else:
            return False
        shape = shape.get(part) or shape.get("*") or shape.get("0") or {}
    return False


def _value(document: Any, name: str) -> Any:
    for part in name.split("."):
        if isinstance(document, list) and part.isdecimal() and int(part) < len(document):
            document = document[int(part)]
        elif isinstance(document, Mapping):
            document = document.get(part)
        else:
            return None
    return document


def _plain(value: Any) -> str:
    match value:
        case None:
            return ""
        case str():
            return clean(value, 4096)
        case _:
            return json.dumps(value)
