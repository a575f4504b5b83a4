"""YAML with one reading only, and each value's place in the text.

YAML turns `4213`, `on`, `1e10` and `2025-01-01` into things that are no strings, and readers do not agree on
which. So a scalar keeps its text and what an unquoted one could be taken for; `schema` says what may stand
where. Anchors, aliases, merge keys, tags, directives, equal keys and further documents are errors: each lets
a file mean something else than what a reviewer sees.

It reads the parser's events: libyaml's composer is C, and nothing makes it refuse any of these.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import yaml
from yaml.resolver import Resolver

from sluicegate_gatefile.diagnostics import Findings, Mark, Severity

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
    reader = _Reader(text, findings)
    try:
        return reader.document()
    except yaml.reader.ReaderError as error:
        findings.add("error", "syntax", _mark_at(text, error.position), f"not YAML: {error.reason}")
    except yaml.MarkedYAMLError as error:
        problem = " ".join(part for part in (error.context, error.problem) if part)
        mark = _mark(error.problem_mark)
        if tab := _indenting_tab(text, mark.line):
            mark, problem = tab, "a tab indents this line; replace it with spaces, as YAML has no others"
        if "alias" in problem:
            problem += "; a pattern that begins with `*` needs quotes"
        findings.add("error", "syntax", mark, f"not YAML: {problem}")
    except _TooDeepError:
        findings.add("error", "depth", reader.mark, f"nested deeper than {MAX_DEPTH} levels")
    return None


def _indenting_tab(text: str, until: int) -> Mark | None:
    """Return the first tab in the indentation of a line, up to the line after `until`; None if there is none.

    The parser says "found character that cannot start any token", or complains of a later line.
    """
    for number, line in enumerate(text.splitlines()[: until + 1], 1):
        indentation = line[: len(line) - len(line.lstrip())]
        if "\t" in indentation and line.strip():
            return Mark(number, indentation.index("\t") + 1)
    return None


class _Reader:
    """Builds the values of one document from the parser's events."""

    def __init__(self, text: str, findings: Findings) -> None:
        self._events: Iterator[Any] = yaml.parse(text, Loader=_LOADER)
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
            value = self._value(self._next(), (*path, unnamed if key is None else key), mark)
            if key is None:
                unnamed += 1
            else:
                members[key] = value
        return members

    def _key(self, event: Any, path: Path) -> str | None:
        """Return a key's text; None for an error, which is reported."""
        mark = self.mark
        if isinstance(event, yaml.ScalarEvent) and event.implicit[0] and event.value == "<<":
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

    def _scalar(self, event: yaml.ScalarEvent) -> Value:
        if _SURROGATE.search(event.value):
            self._error("text", "half of a surrogate pair is not a character; write the character itself")
            return Unusable()
        return Scalar(event.value, _kind(event.value) if event.implicit[0] else "string")

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
