"""Identifiers of deployments: ULIDs, so that sorting by id is sorting by time (https://github.com/ulid/spec)."""

import os
import re

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_ULID = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}", re.ASCII)


def new_id(now: float) -> str:
    """A ULID: 48 bits of milliseconds, then 80 bits from `os.urandom`.

    Not from `random`: a SnapStart snapshot would hand the same state to every copy.
    """
    return _text(int(now * 1000) << 80 | int.from_bytes(os.urandom(10), "big"))


def least_id(now: float) -> str:
    """The least id of that millisecond: a bound between those that were made before and after."""
    return _text(int(now * 1000) << 80)


def is_id(text: str) -> bool:
    """Whether the text has the form of an id; what has not is never looked up."""
    return _ULID.fullmatch(text) is not None


def created_at(an_id: str) -> float:
    """When an id was made, in epoch seconds."""
    milliseconds = 0
    for character in an_id[:10]:
        milliseconds = milliseconds << 5 | _ALPHABET.index(character)
    return milliseconds / 1_000


def _text(number: int) -> str:
    return "".join(_ALPHABET[number >> shift & 31] for shift in range(125, -1, -5))
