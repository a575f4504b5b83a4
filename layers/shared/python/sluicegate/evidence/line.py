"""Lines of the evidence: what was decided, as bytes that never change again.

A line is one canonical JSON object (docs/reference/evidence.md). It is written with the very change that it
is about, sealed into the chain, and kept where nobody can erase it. So it has ids, and no login, name or
e-mail address, and no text that a caller writes freely (security.md#evidence).
"""

import json
import secrets
from collections.abc import Mapping
from typing import Any, Final

from sluicegate.deployment.durations import timestamp

VERSION: Final = 1
"""Of the format of lines."""

MAX_LINE: Final = 16_384
"""Bytes of a line. What is not bounded by itself is cut, or left out."""

_MAX_TEXT: Final = 256
"""Characters of one value, but of a claim."""

_PRINTABLE: Final = 2 * _MAX_TEXT
"""Bytes of one value as JSON. Characters beyond ASCII take six or twelve."""


_ENCODER: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def canonical(value: Any) -> str:
    """Return the one JSON text of a value: names in order, no space, ASCII only.

    Every control character and line separator is escaped: nothing in a value can end its line.
    """
    return _ENCODER.encode(value)


def line(kind: str, at: float, fields: Mapping[str, Any]) -> str:
    """Return a line. `at` is in epoch seconds; fields that are None are left out.

    The salt keeps a hash from being tried against guesses, where an export shows the hash alone.
    """
    known = _bounded(fields)
    base = {"v": VERSION, "kind": kind, "time": timestamp(at), "salt": secrets.token_urlsafe(16)}
    text = canonical({**known, **base})
    if len(text) > MAX_LINE:
        # Never reached with what callers can send. Evidence must not stop a rollback.
        text = canonical({**{name: known[name] for name in _KEPT if name in known}, **base, "cut": True})
    return text


_KEPT: Final = ("action", "by", "code", "deployment", "function", "gate", "n", "revision", "rule", "stage")


def _bounded(value: Any) -> Any:
    """Return a value with every text in it cut, but for claims, which `basis` has bounded already."""
    match value:
        case str():
            return value if _fits(value) else _cut(value)
        case Mapping():
            return {
                name: item if name == "claims" else _bounded(item)
                for name, item in value.items()
                if item is not None
            }
        case list() | tuple():
            return [_bounded(item) for item in value]
        case _:
            return value


def _fits(text: str) -> bool:
    return len(text) <= _MAX_TEXT and len(canonical(text)) <= _PRINTABLE + 2


def _cut(text: str) -> str:
    text = text[:_MAX_TEXT]
    while not _fits(text):
        text = text[: len(text) * 3 // 4]
    return text
