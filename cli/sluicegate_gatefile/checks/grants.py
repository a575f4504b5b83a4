"""What the rules of gate.json grant on the entries of `functions`."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

from sluicegate.gate import patterns

Rules: TypeAlias = Sequence[Mapping[str, Any]]
"""gate.json's rules."""

MAX_STEPS: Final = 5_000_000
"""Comparisons of characters, about two seconds. A thousand rules for a thousand functions take a million."""


class TooManySteps(Exception):
    """The file names more patterns than can be compared with each other in a reasonable time."""


class Entries:
    """The entries of `functions`, and which of them patterns overlap: the bits of one integer, in order."""

    def __init__(self, texts: Sequence[str]) -> None:
        self.steps = 0
        self._bits = {text: 1 << i for i, text in enumerate(texts)}
        self._compiled = tuple(map(patterns.compile, texts))
        self._known: dict[str, int] = {}

    def bit(self, entry: str) -> int:
        """Return the bit of one entry."""
        return self._bits[entry]

    def reached_by(self, rule: Mapping[str, Any]) -> int:
        """Return the entries on which the rule grants something. Raises TooManySteps."""
        reached = 0
        for text in rule["functions"]:
            reached |= self.overlapping(text)
        return reached

    def overlapping(self, text: str) -> int:
        """Return the entries that share a function's name with the pattern. Raises TooManySteps."""
        if text not in self._known:
            pattern = patterns.compile(text)
            self._known[text] = sum(
                1 << i for i, entry in enumerate(self._compiled) if self._overlap(pattern, entry)
            )
        return self._known[text]

    def _overlap(self, pattern: patterns.Pattern, entry: patterns.Pattern) -> bool:
        alike = patterns.may_begin_alike(pattern, entry)
        self.steps += len(pattern.text) if alike else 1
        if self.steps > MAX_STEPS:
            raise TooManySteps
        return alike and patterns.overlap(pattern, entry)


class Grants:
    """By stage and entry of `functions`, the actions that rules grant on a function of the entry."""

    def __init__(self, entries: Entries, rules: Rules) -> None:
        self._entries = entries
        self._granted: dict[tuple[str, str], int] = defaultdict(int)
        for rule in rules:
            reached = entries.reached_by(rule)
            for stage in rule["stages"]:
                for action in rule["actions"]:
                    self._granted[stage, action] |= reached

    def on(self, entry: str) -> Iterator[tuple[str, str]]:
        """Yield the stages and actions that some rule grants on the entry."""
        bit = self._entries.bit(entry)
        return (granted for granted, entries in self._granted.items() if entries & bit)
