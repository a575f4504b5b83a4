"""What a check found, in words that can be shown: no token, no control character, no end of a line."""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from sluicegate.text import clean

FORM: Final = "the token is a job's"
ISSUER: Final = "issuer matches exactly"
AUDIENCE: Final = "audience is restricted"
ROTATION: Final = "keys and tokens rotate"
GATE: Final = "one gate file"
API: Final = "the API answers"
RULES: Final = "a rule allows it"
REQUEST: Final = "the request can be done"
DEPLOYED: Final = "the deployment succeeds"

_MOST: Final = 600  # characters of a sentence

# Whatever looks like a token, whole or cut: JSON in base64url, which begins like this, and GitLab's own.
_TOKENS: Final = re.compile(
    r"eyJ[A-Za-z0-9_-]{5,}(?:\.[A-Za-z0-9_=-]*)*"
    r"|gl(?:pat|cbt|dt|rt|rtr|ft|ptt|oas|agent|imt|soat|ffct)-[A-Za-z0-9_.-]{8,}"
)


class Verdict(StrEnum):
    """How a check came out; `UNKNOWN` could not be looked at from here."""

    OK = "ok"
    WARNING = "warning"
    WRONG = "wrong"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Finding:
    """One check: what was seen, in a sentence, and what to change, empty where there is nothing to.

    Both are made fit to be shown here, wherever they come from. `compared`: the verdict is one
    of the gate file that is here, which need not be the one that the API runs.
    """

    check: str
    verdict: Verdict
    seen: str
    change: str = ""
    compared: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "seen", shown(self.seen))
        object.__setattr__(self, "change", shown(self.change))


def shown(text: str) -> str:
    """The text as it may be printed and kept: bounded, one line, and without anything like a token."""
    return _TOKENS.sub("(a token)", clean(text, _MOST))


def ago(seconds: float) -> str:
    """Seconds for people: `40 s`, `12 min`, `3.5 h`, `4 days`."""
    seconds = abs(seconds)
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5_400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3_600:.1f} h" if seconds < 172_800 else f"{seconds / 86_400:.0f} days"
