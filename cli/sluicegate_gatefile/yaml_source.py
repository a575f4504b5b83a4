"""YAML with one reading only, and each value's place in the text.

YAML turns `4213`, `on`, `1e10` and `2025-01-01` into things that are no strings, and readers do not agree on
which. So a scalar keeps its text and what an unquoted one could be taken for; `schema` says what may stand
where. Anchors, aliases, merge keys, tags, directives, equal keys and further documents are errors: each lets
a file mean something else than what a reviewer sees.

It reads the parser's events: libyaml's composer is C, and nothing makes it refuse any of these.
"""

import codecs
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import yaml
from yaml.resolver import Resolver

from sluicegate_gatefile.diagnostics import Findings, Mark, Severity
from sluicegate_gatefile.yaml_advice import UNSEEN, advice, unseen

Kind = Literal["string", "number", "boolean", "date", "null"]
Path: TypeAlias = tuple[str | int, ...]
# Takes severity, code, path and message of a finding.
Reporter: TypeAlias = Callable[[Severity, str, Path, str], None]

MAX_DEPTH = 16

# libyaml's parser is ten times faster, where it is installed.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_KINDS: dict[str, Kind] = {
    "tag:yaml.org,2002:null": "null",
    "tag:yaml.org,2002:bool": "boolean",
    "tag:yaml.org,2002:int": "number",
    "tag:yaml.org,2002:float": "number",
    "tag:yaml.org,2002:timestamp": "date",
}
# PyYAML reads YAML 1.1. These are numbers in YAML 1.2 only (its core schema, section 10.3.2).
_NUMBER_1_2 = re.compile(r"0o[0-7]+|[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
# Where YAML would read a space as part of its grammar, and takes these for text.
_UNSEEN_EDGE = re.compile(rf"(?:^-?|:)({UNSEEN.pattern})|({UNSEEN.pattern})$")
_LATIN_LETTERS = 0xA1  # below are control characters and the no-break space
_SURROGATE = re.compile(r"[\ud800-\udfff]")


@dataclass(frozen=True)
class Scalar:
    """A text; `kind` is what a reader could take it for, always "string" for a quoted one."""

    text: str
    kind: Kind

    @property
    def empty(self) -> bool:
        """Whether nothing at all is written here, as after `deny:`."""
        return self.kind == "null" and not self.text


@dataclass(frozen=True)
class Unusable:
    """Stands where an error has been reported already."""


Value: TypeAlias = "Scalar | Unusable | list[Value] | dict[str, Value]"


@dataclass(frozen=True)
class Place:
    """Where a value begins, and where its key does; what has no key is its own key."""

    key: Mark
    value: Mark
    scalar: bool


@dataclass(frozen=True)
class Source:
    """A document's values, with the place of each by its path."""

    value: Value
    places: Mapping[Path, Place]

    def at(self, path: Path) -> Place:
        """Return the place of the value at the path, or of the nearest one around it."""
        while path not in self.places:
            path = path[:-1]
        return self.places[path]

    def shown(self, path: Path) -> Mark:
        """Return where a finding about the value is shown: lists and mappings at their key."""
        place = self.at(path)
        return place.value if place.scalar else place.key


class _TooDeepError(Exception):
    """Nested deeper than MAX_DEPTH."""


def read(text: str, findings: Findings) -> Source | None:
    """Return the one document of a text, or None if it cannot be read. Errors go to `findings`."""
    text = text.removeprefix("\ufeff")  # which the two parsers count differently
    reader = _Reader(text, findings)
    try:
        return reader.document()
    except yaml.reader.ReaderError as error:
        place = text.find(chr(error.character))
        what = f"not YAML: {error.reason}: remove the character U+{error.character:04X}"
        findings.add("error", "syntax", _mark_at(text, max(place, 0)), what)
    except yaml.MarkedYAMLError as error:
        found = advice(text, error, _LOADER)
        findings.add("error", "syntax", found.mark, found.message)
    except _TooDeepError:
        findings.add("error", "depth", reader.mark, f"nested deeper than {MAX_DEPTH} levels")
    return None


def not_utf_8(error: UnicodeDecodeError) -> tuple[Mark, str]:
    """Return where a file is not UTF-8, and what to do."""
    if error.object.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return Mark(), "the file is UTF-16: save it as UTF-8"
    before, wrong = error.object[: error.start].decode("utf-8"), error.object[error.start]
    latin = f", in Latin-1 `{chr(wrong)}`" if wrong >= _LATIN_LETTERS else ""
    what = f"the file is not UTF-8: here is the byte {wrong:#04x}{latin}; save it as UTF-8"
    return _mark_at(before, len(before)), what


class _Reader:
    """Builds the values of one document from the parser's events."""

    def __init__(self, text: str, findings: Findings) -> None:
        self._events: Iterator[Any] = yaml.parse(text, Loader=_LOADER)
        self._text = text
        self._findings = findings
        self._places: dict[Path, Place] = {}
        self.mark = Mark()

    def document(self) -> Source | None:
        self._next()  # the stream's start
        start = self._next()
        if not isinstance(start, yaml.DocumentStartEvent):
            self._error("empty", "the file is empty")
            return None
        if start.version or start.tags:
            self._error("directive", "remove the %YAML or %TAG line")
        event = self._next()
        root = self._value(event, (), self.mark)
        self._next()  # the document's end
        if isinstance(self._next(), yaml.DocumentStartEvent):
            self._error("documents", "a second document begins here; a gate file has only one")
        return Source(root, self._places)

    def _value(self, event: Any, path: Path, key: Mark | None = None) -> Value:
        if len(path) == MAX_DEPTH:
            raise _TooDeepError
        scalar = isinstance(event, yaml.ScalarEvent)
        self._places[path] = Place(key or self.mark, self.mark, scalar)
        if isinstance(event, yaml.AliasEvent):
            self._error("anchor", f'this is an alias; a pattern needs quotes: "*{event.anchor}"')
            return Unusable()
        if event.anchor is not None:
            self._error("anchor", f"remove the anchor `&{event.anchor}`; write each value where it belongs")
        if event.tag is not None:
            self._error("tag", f"remove the tag `{event.tag}`; write strings in quotes")
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(path)
        if isinstance(event, yaml.SequenceStartEvent):
            return list(self._items(path))
        return self._scalar(event)

    def _items(self, path: Path) -> Iterator[Value]:
        i = 0
        while not isinstance(event := self._next(), yaml.SequenceEndEvent):
            yield self._value(event, (*path, i))
            i += 1

    def _mapping(self, path: Path) -> dict[str, Value]:
        members: dict[str, Value] = {}
        unnamed = 0  # paths of what has no usable key: numbers, which no key is
        while not isinstance(event := self._next(), yaml.MappingEndEvent):
            mark = self.mark
            key = self._key(event, (*path, unnamed))
            if key in members:
                self._error("duplicate_key", f"`{key}` occurs twice", mark)
                key = None
            given = self._next()
            if key and (glued := _glued(event, given)):
                self._error("syntax", f"a space is missing after `:`: write `{glued[1]}: {glued[2]}`", mark)
                members[glued[1]] = Unusable()
                continue
            if isinstance(given, yaml.AliasEvent) and _merges(event):
                continue  # what it stands for is reported with the key
            value = self._value(given, (*path, unnamed if key is None else key), mark)
            if key is None:
                unnamed += 1
            else:
                members[key] = value
        return members

    def _key(self, event: Any, path: Path) -> str | None:
        """Return a key's text; None for an error, which is reported."""
        mark = self.mark
        if _merges(event):
            self._error("merge_key", "write the keys out instead of merging them with `<<`")
            return None
        key = self._value(event, path)
        if isinstance(key, Scalar):
            if key.kind == "string":
                return key.text
            self._error("unquoted", f"a key is a string, but this is {described(key)}: {quoted(key)}", mark)
        elif not isinstance(key, Unusable):
            self._error("key", "a key must be a string, not a list or a mapping", mark)
        return None

    def _scalar(self, event: Any) -> Value:
        plain = event.implicit[0]
        written = self._text[event.start_mark.index : event.end_mark.index]
        if plain and (found := _UNSEEN_EDGE.search(written)):
            place = event.start_mark.index + found.start(found.lastindex or 0)
            self._error("syntax", unseen(self._text[place]), _mark_at(self._text, place))
            return Scalar(UNSEEN.sub(" ", event.value).strip(), "string")
        if _SURROGATE.search(event.value):
            self._error("text", "half of a surrogate pair is not a character; write the character itself")
            return Unusable()
        return Scalar(event.value, _kind(event.value) if plain else "string")

    def _next(self) -> Any:
        event = next(self._events)
        self.mark = _mark(event.start_mark)
        return event

    def _error(self, code: str, message: str, mark: Mark | None = None) -> None:
        self._findings.add("error", code, mark or self.mark, message)


def described(value: object) -> str:
    """Say what a value is, for a message."""
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, Scalar) and value.kind != "string":
        return "empty" if value.kind == "null" else f"a {value.kind}"
    return "a string"


def quoted(scalar: Scalar) -> str:
    """Say how to make a text of an unquoted scalar."""
    return "write a string" if scalar.kind == "null" else f'write "{scalar.text}"'


def _merges(key: Any) -> bool:
    return isinstance(key, yaml.ScalarEvent) and key.implicit[0] and key.value == "<<"


def _glued(key: Any, value: Any) -> re.Match[str] | None:
    """Return the two parts of what YAML takes for a key without a value, as `ref:main` in `{ref:main}`."""
    empty = isinstance(value, yaml.ScalarEvent) and value.implicit[0] and not value.value
    plain = key.implicit[0]
    return re.fullmatch(r"([^:\s]+):(\S[\s\S]*)", key.value) if empty and plain else None


def _kind(text: str) -> Kind:
    for tag, form in Resolver.yaml_implicit_resolvers.get(text[:1], ()):
        if tag in _KINDS and form.match(text):
            return _KINDS[tag]
    return "number" if _NUMBER_1_2.fullmatch(text) else "string"


def _mark(mark: Any) -> Mark:
    return Mark() if mark is None else Mark(mark.line + 1, mark.column + 1)


def _mark_at(text: str, position: int) -> Mark:
    before = text[:position]
    return Mark(before.count("\n") + 1, position - before.rfind("\n"))
