"""What is said about a gate file, and where in it."""

from collections.abc import Collection
from dataclasses import dataclass, field
from difflib import get_close_matches
from itertools import islice
from typing import Literal

from sluicegate.text import clean

Severity = Literal["error", "warning"]


@dataclass(frozen=True, order=True)
class Mark:
    """A place in a text; line and column count from 1."""

    line: int = 1
    column: int = 1


@dataclass(frozen=True)
class Diagnostic:
    """One finding. `code` is for machines and stays the same; `message` says what is wrong and what to do."""

    file: str
    line: int
    column: int
    severity: Severity
    code: str
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.severity}: {self.message}"


@dataclass
class Findings:
    """Collects the diagnostics of one file."""

    file: str
    found: list[Diagnostic] = field(default_factory=list)

    def add(self, severity: Severity, code: str, mark: Mark, message: str) -> None:
        """Adds one; what the message quotes from the file is made safe to print."""
        self.found.append(
            Diagnostic(self.file, mark.line, mark.column, severity, code, clean(message, limit=1000))
        )

    def in_order(self) -> tuple[Diagnostic, ...]:
        """Each once, in the order of the file."""
        return tuple(sorted(dict.fromkeys(self.found), key=lambda found: (found.line, found.column)))


def did_you_mean(name: str, names: Collection[str]) -> str:
    """Return the end of a message about an unknown name; empty if no name is near."""
    near = nearest(name, names)
    return f"; did you mean `{near}`?" if near else ""


def nearest(name: str, names: Collection[str]) -> str | None:
    """Return the name that an unknown one is a misspelling of; None if no name is near.

    It looks at the first hundred names only: to compare all unknown names with all known ones takes too long.
    """
    names = tuple(islice((known for known in names if len(known) <= 2 * len(name) + 2), 100))
    near = get_close_matches(name.lower().replace("-", "_"), names, n=1) or get_close_matches(
        name, names, n=1
    )
    return near[0] if near else None


def listed(names: Collection[str]) -> str:
    """Return names for a message."""
    return ", ".join(f"`{name}`" for name in names)
