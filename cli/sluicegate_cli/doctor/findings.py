"""The result of a check, safe to print: without tokens, control characters and line breaks."""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from sluicegate.text import clean

FORM: Final = "the token is a job's ID token"
ISSUER: Final = "issuer matches exactly"
AUDIENCE: Final = "audience is restricted"
ROTATION: Final = "keys and tokens rotate"
GATE: Final = "one gate file"
API: Final = "the API responds"
RULES: Final = "a rule allows it"
REQUEST: Final = "the request is accepted"
DEPLOYED: Final = "the deployment succeeds"

_MAX_TEXT: Final = 600  # characters of a sentence

# Everything that looks like a token, complete or truncated: JSON in base64url starts with eyJ; GitLab's own.
_TOKENS: Final = re.compile(
    r"eyJ[A-Za-z0-9_-]{5,}(?:\.[A-Za-z0-9_=-]*)*"
    r"|gl(?:pat|cbt|dt|rt|rtr|ft|ptt|oas|agent|imt|soat|ffct)-[A-Za-z0-9_.-]{8,}"
)


class CheckVerdict(StrEnum):
    """The verdict of a check. `UNKNOWN`: it could not be checked from here."""

    OK = "ok"
    WARNING = "warning"
    WRONG = "wrong"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Finding:
    """The result of one check: what was seen, and what to change (empty if nothing), as sentences.

    Both are sanitized here, wherever they come from. `compared`: the verdict is based on the local gate file,
    which may differ from the one that the API runs.
    """

    check: str
    verdict: CheckVerdict
    seen: str
    change: str = ""
    compared: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "seen", sanitize(self.seen))
        object.__setattr__(self, "change", sanitize(self.change))


@dataclass(frozen=True)
class Answer:
    """What AWS answered to a question that its documentation leaves open; safe to print."""

    question: str
    answer: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "answer", sanitize(self.answer))


def sanitize(text: str) -> str:
    """Return the text safe to print and store: limited, on one line, and without anything like a token."""
    return _TOKENS.sub("(a token)", clean(text, _MAX_TEXT))


def format_age(seconds: float) -> str:
    """Format a duration: `40 s`, `12 min`, `3.5 h`, `4 days`."""
    seconds = abs(seconds)
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5_400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3_600:.1f} h" if seconds < 172_800 else f"{seconds / 86_400:.0f} days"
