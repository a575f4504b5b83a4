"""Choose fields of a document, as `--field id --field alias.current.version` does."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from sluicegate.text import clean
from sluicegate_gatefile.diagnostics import did_you_mean

_DEPLOYMENT: Final = (
    *(
        "id",
        "status",
        "version",
        "reason",
        "abort_proposed",
        "alias",
        "links",
        "final",
        "revision",
        "action",
        "function",
        "stage",
    ),
    *("from", "release", "description", "target", "artifact", "built", "unusable", "weight", "rule", "gate"),
    *("steps", "step", "smoke", "watch", "approval", "requested_by", "created_at", "updated_at", "since"),
    *("until", "finished_at", "timeline", "observation", "observations", "fix_forward", "would_have"),
)
_DRY_RUN: Final = ("dry_run", "allowed", "plan", "busy", "deployment", "not_checked")
_DRIES: Final = ("deploy", "promote", "rollback")
_OTHERS: Final[Mapping[str, tuple[str, ...]]] = {
    "trail": (
        *("deployment", "target", "window", "role", "source_identity", "sessions", "calls", "others"),
        *("unexplained", "complete", "notes"),
    ),
    "hold": ("stage", "holds"),
    "status": (*_DEPLOYMENT, "function", "stages"),
    "end": ("ended",),
    "whoami": (
        *("via", "actor", "issuer", "project_id", "expires_at", "principal", "principal_id"),
        *("principal_type", "account", "org", "role", "session", "access_key", "claims", "rules"),
        *("credentials", "signed_in_at"),
    ),
}


def of_command(command: str) -> tuple[str, ...]:
    """Return the fields that the documents of a command can have (docs/reference/openapi.yaml)."""
    return _OTHERS.get(command) or (_DEPLOYMENT + _DRY_RUN if command in _DRIES else _DEPLOYMENT)


def wrong(command: str, names: Sequence[str]) -> str:
    """Return what is wrong with the names of fields, before anything is requested; empty if nothing is."""
    known = of_command(command)
    for name in names:
        first = name.partition(".")[0]
        if first not in known:
            return f"there is no field {clean(first)}{did_you_mean(first, known)}; --json shows all fields"
    return ""


def chosen(document: Mapping[str, Any], names: Sequence[str]) -> list[dict[str, Any]]:
    """Return the fields of each of `items`, or of the document itself. Unknown ones are None."""
    items = document.get("items")
    several = items if isinstance(items, list) else [document]
    return [{name: _value(one, name) for name in names} for one in several]


def unknown(document: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    """Return the names that no item has, for a message; empty if there is no item."""
    items = document.get("items")
    several = items if isinstance(items, list) else [document]
    known = {name for one in several if isinstance(one, Mapping) for name in one}
    return [name for name in names if several and name.partition(".")[0] not in known]


def lines(values: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return one line for each item, its values separated by tabs. Every value is cleaned."""
    return ["\t".join(_plain(value) for value in one.values()) for one in values]


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
