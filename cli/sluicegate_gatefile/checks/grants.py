"""What the rules of gate.json grant on the patterns of `functions`."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from sluicegate.gate import patterns

Rules: TypeAlias = Sequence[Mapping[str, Any]]
"""gate.json's rules."""


def reaches(rule: Mapping[str, Any], pattern: str) -> bool:
    """Return whether the rule grants something on a function that the pattern matches."""
    return any(overlap(granted, pattern) for granted in rule["functions"])


def overlap(one: str, other: str) -> bool:
    """Return whether some function matches both patterns."""
    return patterns.overlap(patterns.compile(one), patterns.compile(other))
