"""gate.json's smallest parts, read back: each is exactly as it must be, or GateError is raised."""

from collections.abc import Collection, Iterable, Mapping
from types import MappingProxyType
from typing import TypeVar

from sluicegate.gate import patterns
from sluicegate.gate.patterns import Pattern
from sluicegate.strict_json import JsonValue

_T = TypeVar("_T")


class GateError(Exception):
    """There is no usable gate.json: nothing can be decided, so everything is denied. The message says why."""


def members(value: JsonValue) -> dict[str, JsonValue]:
    """An object, whatever its members."""
    if not isinstance(value, dict):
        raise GateError("gate.json: an object is missing")
    return value


def record(value: JsonValue, *names: str) -> dict[str, JsonValue]:
    """An object with exactly these members."""
    item = members(value)
    if item.keys() != set(names):
        raise GateError(f"gate.json: an object has not exactly the members {', '.join(names)}")
    return item


def items(value: JsonValue) -> list[JsonValue]:
    """A list, which may be empty."""
    if not isinstance(value, list):
        raise GateError("gate.json: a list is missing")
    return value


def text(value: JsonValue) -> str:
    """A text that is not empty."""
    if not isinstance(value, str) or not value:
        raise GateError("gate.json: a text is missing")
    return value


def texts(value: JsonValue) -> tuple[str, ...]:
    """A list of texts, at least one."""
    if not (found := items(value)):
        raise GateError("gate.json: a list is empty")
    return tuple(map(text, found))


def flag(value: JsonValue, name: str) -> bool:
    """true or false."""
    if not isinstance(value, bool):
        raise GateError(f"gate.json: {name} is true or false")
    return value


def whole(value: JsonValue, least: int, most: int) -> int:
    """A whole number from `least` to `most`."""
    if type(value) is not int or not least <= value <= most:  # `type`: true is an int
        raise GateError(f"gate.json: a whole number from {least} to {most} is missing")
    return value


def number(value: JsonValue, least: float, most: float) -> float:
    """A number from `least` to `most`."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise GateError(f"gate.json: a number from {least:g} to {most:g} is missing")
    return float(value)


def positive(value: JsonValue) -> int:
    """A number of seconds."""
    if type(value) is not int or value < 1:
        raise GateError("gate.json: a number of seconds is missing")
    return value


def seconds(value: JsonValue) -> int | None:
    """A number of seconds, or null where there is no limit."""
    return None if value is None else positive(value)


def pattern(value: JsonValue, *, fold: bool = False) -> Pattern:
    """A pattern that compiles."""
    form = text(value)
    try:
        return patterns.compile(form, fold=fold)
    except patterns.PatternError as error:
        raise GateError(f"gate.json: the pattern {form[:64]!r} {error}") from error


def known(what: str, name: str, names: Collection[str]) -> str:
    """One of the names that there are."""
    if name not in names:
        raise GateError(f"gate.json: there is no {what} {name!r}")
    return name


def unique(what: str, pairs: Iterable[tuple[str, _T]]) -> Mapping[str, _T]:
    """A mapping of pairs of which no two have one name."""
    found: dict[str, _T] = {}
    for name, item in pairs:
        if name in found:
            raise GateError(f"gate.json: {what} {name!r} occurs twice")
        found[name] = item
    return MappingProxyType(found)
