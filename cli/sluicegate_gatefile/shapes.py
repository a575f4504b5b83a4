"""What to write where a mapping or a list is expected and something else is there.

It knows what people write instead: the command line's spelling of a strategy, a name without `: {}`, a value
without its key, one item without its list.
"""

import re
from collections.abc import Iterator
from functools import cache
from typing import Final

from sluicegate.deployment.durations import DURATION
from sluicegate_gatefile.diagnostics import listed
from sluicegate_gatefile.schema.base import Section
from sluicegate_gatefile.yaml_source import Path, Scalar

# Of the command line's strategies.
_SHARE: Final = rf"([1-9][0-9]?)%?:({DURATION.pattern})"
_STEP: Final = re.compile(rf"([1-9][0-9]{{0,2}})%?(?::({DURATION.pattern}))?")
_STRATEGY: Final = "{type: canary, percent: 10, bake: 10m}"
_SHOWN: Final = 5
_NAMED: Final = ("functions", "stages")
"""Mappings of names, each of which may have nothing of its own."""


def instead(path: Path, value: object, section: str | None) -> str:
    """Return what to write in place of a value that is no mapping, as the end of a message; empty if unknown.

    `section` is the name of the model whose keys belong there, None for a mapping of names.
    """
    key = path[-1] if path else ""
    if key == "strategy":
        found = strategy(value.text) if isinstance(value, Scalar) else None
        return f": write `strategy: {found}`" if found else f": write one such as `strategy: {_STRATEGY}`"
    if section is None:
        return _entries(value) if key in _NAMED else ""
    if isinstance(value, Scalar) and (glued := re.fullmatch(r"(\w+):(\S+)", value.text)):
        return f": a space is missing after `:`, write `{glued[1]}: {glued[2]}`"
    if len(path) == 2 and path[0] in _NAMED:
        return f": write `{key}: {{}}`, or its keys below it"
    return _section(key, value, section)


def in_list(path: Path, value: object) -> str:
    """Return what to write in place of a value that is no list, as the end of a message; empty if unknown."""
    if isinstance(value, dict):
        return ": begin its first key with `- `, and indent the others like it"
    if isinstance(value, Scalar) and value.kind == "string" and len(path) > 1:
        plain = re.fullmatch(r"[\w$./][^\"\[\]{}#:]*", value.text)
        return f": write `[{value.text}]`" if plain else f': write `["{value.text}"]`'
    return ""


def strategy(text: str) -> str | None:
    """Return the gate file's form of a strategy as the command line spells it; None if it is none."""
    kind, _, rest = text.partition(":")
    share = re.fullmatch(_SHARE, rest, re.ASCII)
    if text == "all-at-once":
        return "{type: all-at-once}"
    if kind in ("canary", "linear") and share:
        return f"{{type: {kind}, percent: {share[1]}, {'bake' if kind == 'canary' else 'every'}: {share[2]}}}"
    steps = [_STEP.fullmatch(step) for step in rest.split(",")]
    if kind == "steps" and all(steps):
        return f"{{type: steps, steps: [{', '.join(_step(step) for step in steps if step)}]}}"
    return None


def _step(step: re.Match[str]) -> str:
    return f"{{percent: {step[1]}{f', bake: {step[2]}' if step[2] else ''}}}"


def _entries(value: object) -> str:
    """What to write in place of names alone: each with nothing of its own."""
    texts = []
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, Scalar) and item.kind == "string":
            texts += item.text.split()
    return f": write {', '.join(f'`{text}: {{}}`' for text in texts[:_SHOWN])}" if texts else ""


def _section(key: object, value: object, section: str) -> str:
    """What to write in place of a value without its key, if that can be one only, or which keys there are."""
    model = _sections().get(section)
    fields = {field.alias or name: field for name, field in model.model_fields.items()} if model else {}
    needed = [name for name, field in fields.items() if field.is_required()]
    only = needed or list(fields)
    if len(only) == 1 and isinstance(key, str) and isinstance(value, Scalar):
        if value.kind == "string":
            return f": write `{key}: {{{only[0]}: {value.text}}}`"
        if value.text == "true" and not needed:
            return f": write `{key}: {{}}`"
    return f": its keys are {listed(fields)}" if fields else ""


@cache
def _sections() -> dict[str, type[Section]]:
    return {section.__name__: section for section in _below(Section)}


def _below(section: type[Section]) -> Iterator[type[Section]]:
    for each in section.__subclasses__():
        yield each
        yield from _below(each)
