"""Shapes that a gate file's parts can have; one declaration both reads a file and makes its JSON Schema.

`read` gives plain values (str, int, bool, list, dict) and reports everything else with its place. What it
could not read is None or left out: its answer is for use only where no error but "unsupported" was found.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from math import isfinite
from typing import Any, Protocol

from sluicegate.deployment.durations import DURATION, duration, parse_duration
from sluicegate_gatefile import yaml_source
from sluicegate_gatefile.diagnostics import Findings
from sluicegate_gatefile.yaml_source import Node, Scalar, described, quoted

UNSUPPORTED = "unsupported"
NONE = "none"

# JSON's spellings (RFC 8259), of numbers that every reader takes.
_JSON = re.compile(r"true|false|null|-?(0|[1-9][0-9]{0,17})(\.[0-9]{1,18})?([eE][-+]?[0-9]{1,3})?")


class Shape(Protocol):
    """What a value can be. `about` is its description for editors."""

    @property
    def about(self) -> str: ...

    def read(self, node: Node, findings: Findings) -> Any:
        """The value as plain data; None where it is not of this shape, which is reported."""

    def schema(self) -> dict[str, Any]:
        """The same as JSON Schema (draft 2020-12)."""


@dataclass(frozen=True)
class Text:
    """A string whose whole is of a form. `complaint` says what else is wrong with one, for the message."""

    about: str
    form: str = r"[\s\S]+"
    wants: str = "a text that is not empty"
    complaint: Callable[[str], str | None] | None = None

    def read(self, node: Node, findings: Findings) -> str | None:
        text = _text(node, findings)
        if text is None:
            return None
        problem = self.complaint(text) if self.complaint else None
        if not problem and not re.fullmatch(self.form, text):
            problem = f"is not {self.wants}"
        if problem:
            findings.add("error", "value", node.mark, f"`{text}` {problem}")
            return None
        return text

    def schema(self) -> dict[str, Any]:
        return {"description": self.about, "type": "string", "pattern": f"^(?:{self.form})$"}


@dataclass(frozen=True)
class Choice:
    """One of several words; `later` are words that a later version will know."""

    about: str
    words: tuple[str, ...]
    later: tuple[str, ...] = ()

    def read(self, node: Node, findings: Findings) -> str | None:
        text = _text(node, findings)
        if text in self.later:
            findings.add(
                "error", UNSUPPORTED, node.mark, f"`{text}` is not supported yet: use {self._words()}"
            )
        elif text is not None and text not in self.words:
            hint = did_you_mean(text, self.words)
            findings.add("error", "value", node.mark, f"`{text}` is not one of {self._words()}{hint}")
        return text if text in self.words else None

    def _words(self) -> str:
        return ", ".join(f"`{word}`" for word in self.words)

    def schema(self) -> dict[str, Any]:
        return {"description": self.about, "enum": list(self.words)}


@dataclass(frozen=True)
class Flag:
    """true or false, without quotes."""

    about: str

    def read(self, node: Node, findings: Findings) -> bool | None:
        if isinstance(node, Scalar) and node.kind == "boolean" and node.text in ("true", "false"):
            return node.text == "true"
        _refuse(node, findings, "write true or false here, without quotes")
        return None

    def schema(self) -> dict[str, Any]:
        return {"description": self.about, "type": "boolean"}


@dataclass(frozen=True)
class Version:
    """One whole number, without quotes."""

    about: str
    number: int

    def read(self, node: Node, findings: Findings) -> int | None:
        if isinstance(node, Scalar) and node.kind == "number" and node.text == str(self.number):
            return self.number
        _refuse(node, findings, f"write {self.number} here, without quotes; there is no other version")
        return None

    def schema(self) -> dict[str, Any]:
        return {"description": self.about, "const": self.number}


@dataclass(frozen=True)
class Number:
    """A number from `least` to `most`, without quotes: whole and read as int, else with up to three decimals
    and read as float."""

    about: str
    least: float
    most: float
    whole: bool = True

    def read(self, node: Node, findings: Findings) -> int | float | None:
        form = r"0|[1-9][0-9]{0,8}" if self.whole else r"(0|[1-9][0-9]{0,8})(\.[0-9]{1,3})?"
        wants = f"{self._kind()} from {self.least:g} to {self.most:.0f}"
        if not (isinstance(node, Scalar) and node.kind == "number" and re.fullmatch(form, node.text)):
            _refuse(node, findings, f"write {wants} here, without quotes")
            return None
        value = int(node.text) if self.whole else float(node.text)
        if not self.least <= value <= self.most:
            findings.add("error", "value", node.mark, f"`{node.text}` is not {wants}")
            return None
        return value

    def _kind(self) -> str:
        return "a whole number" if self.whole else "a number with at most three decimals,"

    def schema(self) -> dict[str, Any]:
        kind = "integer" if self.whole else "number"
        return {"description": self.about, "type": kind, "minimum": self.least, "maximum": self.most}


@dataclass(frozen=True)
class Json:
    """Any value that JSON has, read as compact JSON text of at most `longest` characters, all ASCII.

    Numbers, true, false and null are themselves without quotes, spelled as JSON spells them.
    """

    about: str
    longest: int

    def read(self, node: Node, findings: Findings) -> str | None:
        before = len(findings.found)
        value = self._value(node, findings)
        if len(findings.found) > before:
            return None
        text = json.dumps(value, separators=(",", ":"))
        if len(text) > self.longest:
            what = f"this is {len(text)} characters of JSON, and {self.longest} is the most"
            findings.add("error", "value", node.mark, what)
            return None
        return text

    def _value(self, node: Node, findings: Findings) -> Any:
        if isinstance(node, yaml_source.Mapping):
            return {name: self._value(member.value, findings) for name, member in node.members.items()}
        if isinstance(node, yaml_source.Sequence):
            return [self._value(item, findings) for item in node.items]
        if isinstance(node, Scalar) and node.kind == "string":
            return node.text
        if isinstance(node, Scalar) and _JSON.fullmatch(node.text):
            value = json.loads(node.text)
            if not isinstance(value, float) or isfinite(value):
                return value
        if isinstance(node, Scalar) and node.kind != "null":
            what = f"JSON has no {node.kind} that is spelled like this: {quoted(node)}"
            findings.add("error", "unquoted", node.mark, what)
        else:
            _refuse(node, findings, "nothing is written here: write null, or what belongs here")
        return None

    def schema(self) -> dict[str, Any]:
        return {"description": self.about}


@dataclass(frozen=True)
class OrNone:
    """What a shape takes, or the word `none`, which takes away what else would be there: read as NONE."""

    shape: Shape

    @property
    def about(self) -> str:
        return f"{self.shape.about} Or `none`."

    def read(self, node: Node, findings: Findings) -> Any:
        if isinstance(node, Scalar) and node.kind == "string" and node.text == NONE:
            return NONE
        return self.shape.read(node, findings)

    def schema(self) -> dict[str, Any]:
        return {"description": self.about, "anyOf": [{"const": NONE}, self.shape.schema()]}


@dataclass(frozen=True)
class Span:
    """A duration such as "300s", "5m", "1h" or "2d"; read as seconds, from `least` to `most` of them."""

    about: str
    least: int = 1
    most: int = 31 * 86_400

    def read(self, node: Node, findings: Findings) -> int | None:
        text = _text(node, findings, example="5m")
        if text is None:
            return None
        seconds = parse_duration(text) or 0
        if not self.least <= seconds <= self.most:
            limits = f"from {duration(self.least)} to {duration(self.most)}"
            wants = f'a duration such as "300s", "5m", "1h" or "2d", {limits}'
            findings.add("error", "duration", node.mark, f"`{text}` is not {wants}")
            return None
        return seconds

    def schema(self) -> dict[str, Any]:
        return {"description": self.about, "type": "string", "pattern": f"^{DURATION.pattern}$"}


@dataclass(frozen=True)
class Items:
    """A list. `single` also takes one item without the list; `least` and `most` are how many it may have."""

    about: str
    item: Shape
    single: bool = False
    least: int = 0
    most: int | None = None

    def read(self, node: Node, findings: Findings) -> list[Any] | None:
        if self.least == 0 and _empty(node):
            return []
        if self.single and isinstance(node, Scalar):
            return [self.item.read(node, findings)]
        if not isinstance(node, yaml_source.Sequence):
            _refuse(node, findings, f"a list belongs here, not {described(node)}")
            return None
        if len(node.items) < self.least:
            findings.add("error", "value", node.mark, "the list is empty; name at least one")
        if self.most is not None and len(node.items) > self.most:
            findings.add(
                "error", "value", node.mark, f"the list has {len(node.items)}; name at most {self.most}"
            )
        return [self.item.read(item, findings) for item in node.items]

    def schema(self) -> dict[str, Any]:
        items = {"type": "array", "items": self.item.schema(), "minItems": self.least}
        if self.most is not None:
            items["maxItems"] = self.most
        if self.single:
            return {"description": self.about, "anyOf": [self.item.schema(), items]}
        return {"description": self.about, **items, "type": _or_null("array", self.least == 0)}


@dataclass(frozen=True)
class Names:
    """A mapping whose keys are names that the user chooses."""

    about: str
    key: Text
    item: Shape
    least: int = 0

    def read(self, node: Node, findings: Findings) -> dict[str, Any] | None:
        if self.least == 0 and _empty(node):
            return {}
        if not isinstance(node, yaml_source.Mapping):
            _refuse(node, findings, f"a mapping belongs here, not {described(node)}")
            return None
        if len(node.members) < self.least:
            findings.add("error", "value", node.mark, "the mapping is empty; name at least one")
        for name, member in node.members.items():
            self.key.read(Scalar(member.mark, name, "string"), findings)
        return {name: self.item.read(member.value, findings) for name, member in node.members.items()}

    def schema(self) -> dict[str, Any]:
        return {
            "description": self.about,
            "type": _or_null("object", self.least == 0),
            "propertyNames": self.key.schema(),
            "additionalProperties": self.item.schema(),
            "minProperties": self.least,
        }


@dataclass(frozen=True)
class Record:
    """A mapping with keys of ours. `refused` says of keys that do not belong here why not."""

    about: str
    members: Mapping[str, Shape]
    required: tuple[str, ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)

    def read(self, node: Node, findings: Findings) -> dict[str, Any] | None:
        if not self.required and _empty(node):
            return {}
        if not isinstance(node, yaml_source.Mapping):
            _refuse(node, findings, f"a mapping belongs here, not {described(node)}")
            return None
        values: dict[str, Any] = {}
        for name, member in node.members.items():
            if name in self.members:
                values[name] = self.members[name].read(member.value, findings)
            elif name in self.refused:
                findings.add("error", "key", member.mark, f"`{name}` {self.refused[name]}")
            else:
                hint = did_you_mean(name, self.members) or f"; known here: {', '.join(self.members)}"
                findings.add("error", "unknown_key", member.mark, f"there is no key `{name}` here{hint}")
        for name in self.required:
            if name not in node.members:
                findings.add("error", "missing_key", node.mark, f"the key `{name}` is missing here")
        return values

    def schema(self) -> dict[str, Any]:
        schema: dict[str, Any] = {
            "description": self.about,
            "type": _or_null("object", not self.required),
            "properties": {name: shape.schema() for name, shape in self.members.items()},
            "additionalProperties": False,
        }
        return {**schema, "required": list(self.required)} if self.required else schema


@dataclass(frozen=True)
class Later:
    """A key that a later version brings to life: an error until then. A `section` may be there if empty."""

    key: str
    about: str
    section: bool = False

    def read(self, node: Node, findings: Findings) -> None:
        if self.section and (_empty(node) or (isinstance(node, yaml_source.Mapping) and not node.members)):
            return
        findings.add("error", UNSUPPORTED, node.mark, f"`{self.key}` is not supported yet: take it out")

    def schema(self) -> dict[str, Any]:
        about = f"{self.about} Not supported yet."
        if self.section:
            return {"description": about, "type": ["object", "null"], "maxProperties": 0}
        return {"description": about, "not": {}}


def did_you_mean(name: str, names: Mapping[str, object] | tuple[str, ...]) -> str:
    """The end of a message about a name that is not known; empty where none comes near."""
    near = get_close_matches(name.lower().replace("-", "_"), names, n=1) or get_close_matches(
        name, names, n=1
    )
    return f"; did you mean `{near[0]}`?" if near else ""


def _text(node: Node, findings: Findings, example: str | None = None) -> str | None:
    if isinstance(node, Scalar) and node.kind == "string":
        return node.text
    if isinstance(node, Scalar) and example:
        _refuse(node, findings, f'a duration is a text with its unit, such as "{example}"')
    elif isinstance(node, Scalar) and node.kind != "null":
        what = f"a text belongs here, and unquoted this is {described(node)}: {quoted(node)}"
        findings.add("error", "unquoted", node.mark, what)
    else:
        _refuse(node, findings, f"a text belongs here, and this is {described(node)}", "unquoted")
    return None


def _refuse(node: Node, findings: Findings, message: str, code: str = "type") -> None:
    if not isinstance(node, yaml_source.Unusable):  # has been reported
        findings.add("error", code, node.mark, message)


def _empty(node: Node) -> bool:
    return isinstance(node, Scalar) and node.empty


def _or_null(kind: str, null: bool) -> str | list[str]:
    return [kind, "null"] if null else kind
