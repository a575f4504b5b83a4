"""What the stand prints: plain lines, in colour on a terminal only."""

import os
import sys
from typing import Final, NoReturn

_CODES: Final = {
    "bold": "1",
    "dim": "2",
    "red": "31",
    "green": "32",
    "yellow": "33",
    "blue": "34",
    "cyan": "36",
}


class StandError(Exception):
    """Something the person at the keyboard can do something about; its text says what."""


def in_colour() -> bool:
    """Whether standard output is a terminal that takes colours (NO_COLOR turns them off)."""
    return sys.stdout.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"


def paint(text: str, *styles: str) -> str:
    """The text in the given styles, or as it is where there are no colours."""
    if not in_colour():
        return text
    return f"\x1b[{';'.join(_CODES[style] for style in styles)}m{text}\x1b[0m"


def say(text: str = "") -> None:
    print(text, flush=True)


def progress(text: str) -> None:
    """A line about what is being done: to standard error, so that output stays clean."""
    print(text, file=sys.stderr, flush=True)


def fail(text: str) -> NoReturn:
    print(f"error: {text}", file=sys.stderr, flush=True)
    raise SystemExit(1)
