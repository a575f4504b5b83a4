"""What the readers of gate.json share: its one error, and names that must be known or unique."""

from collections.abc import Collection, Iterable, Mapping
from types import MappingProxyType
from typing import TypeVar

from sluicegate.gate import patterns
from sluicegate.gate.patterns import Pattern

_T = TypeVar("_T")


class GateError(Exception):
    """There is no usable gate.json: nothing can be decided, so everything is denied. The message says why."""


def pattern(text: str, *, fold: bool = False) -> Pattern:
    """Return the pattern. Raises GateError where it is none."""
    try:
        return patterns.compile(text, fold=fold)
    except patterns.PatternError as error:
        raise GateError(f"gate.json: the pattern {text[:64]!r} {error}") from error


def known(what: str, name: str, names: Collection[str]) -> str:
    """Return the name. Raises GateError where it is not one of the names."""
    if name not in names:
        raise GateError(f"gate.json: there is no {what} {name!r}")
    return name


def unique(what: str, pairs: Iterable[tuple[str, _T]]) -> Mapping[str, _T]:
    """Return a mapping of the pairs. Raises GateError where two have one name."""
    found: dict[str, _T] = {}
    for name, item in pairs:
        if name in found:
            raise GateError(f"gate.json: {what} {name!r} occurs twice")
        found[name] = item
    return MappingProxyType(found)
