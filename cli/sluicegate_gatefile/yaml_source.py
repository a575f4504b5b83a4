"""YAML that reads the same to everybody, with each value's place in the text.

YAML turns `4213`, `on`, `1e10` and `2025-01-01` into things that are no strings, and readers do not agree on
which. So a scalar keeps its text and what an unquoted one could be taken for; what may stand where is for
`gateshape` to say. Anchors, aliases, merge keys, tags, directives, equal keys and further documents are
errors: each lets a file mean something else than what a reviewer sees.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import yaml
from yaml.resolver import Resolver

from sluicegate_gatefile.diagnostics import Findings, Mark, Severity

Kind = Literal["string", "number", "boolean", "date", "null"]
Path: TypeAlias = tuple[str | int, ...]
# Takes severity, code, path and message of what is found.
Report: TypeAlias = Callable[[Severity, str, Path, str], None]

MAX_DEPTH = 16

_LOADER = getattr(
    yaml, "CSafeLoader", yaml.SafeLoader
)  # libyaml's parser is ten times faster where it is there
_KINDS: dict[str, Kind] = {
    "tag:yaml.org,2002:null": "null",
    "tag:yaml.org,2002:bool": "boolean",
    "tag:yaml.org,2002:int": "number",
    "tag:yaml.org,2002:float": "number",
    "tag:yaml.org,2002:timestamp": "date",
}
# PyYAML speaks YAML 1.1. These are numbers to YAML 1.2 only (its core schema, section 10.3.2).
_NUMBER_1_2 = re.compile(r"0o[0-7]+|[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_SURROGATE = re.compile(r"[\ud800-\udfff]")


@dataclass(frozen=True)
class Scalar:
    """A text; `kind` is what a reader could take it for, always "string" for a quoted one."""

    mark: Mark
    text: str
    kind: Kind

    @property
    def empty(self) -> bool:
        """Whether nothing at all is written here, as after `deny:`."""
        return self.kind == "null" and not self.text


@dataclass(frozen=True)
class Sequence:
    """A list."""

    mark: Mark
    items: tuple["Node", ...]


@dataclass(frozen=True)
class Member:
    """A key's place and its value."""

    mark: Mark
    value: "Node"


@dataclass(frozen=True)
class Mapping:
    """Keys and values, in the text's order."""

    mark: Mark
    members: dict[str, Member]


@dataclass(frozen=True)
class Unusable:
    """Stands where an error has been reported already."""

    mark: Mark


Node: TypeAlias = Scalar | Sequence | Mapping | Unusable


class _TooDeepError(Exception):
    """Nested deeper than MAX_DEPTH."""


def read(text: str, findings: Findings) -> Node | None:
    """The one document of a text, or None where nothing can be read. What is wrong goes to `findings`."""
    reader = _Reader(text, findings)
    try:
        return reader.document()
    except yaml.reader.ReaderError as error:
        findings.add("error", "syntax", _mark_at(text, error.position), f"not YAML: {error.reason}")
    except yaml.MarkedYAMLError as error:
        what = " ".join(part for part in (error.context, error.problem) if part)
        if "alias" in what:
            what += "; a pattern that begins with `*` needs quotes"
        findings.add("error", "syntax", _mark(error.problem_mark), f"not YAML: {what}")
    except _TooDeepError:
        findings.add("error", "depth", reader.mark, f"nested deeper than {MAX_DEPTH} levels")
    return None


def place(node: Node, path: Path) -> Mark:
    """Where the value at the path is, or what comes nearest. Lists and mappings are where their key is."""
    mark = node.mark
    for step in path:
        if isinstance(node, Mapping) and isinstance(step, str) and step in node.members:
            member = node.members[step]
            node = member.value
            mark = node.mark if isinstance(node, Scalar) else member.mark
        elif isinstance(node, Sequence) and isinstance(step, int) and step < len(node.items):
            node = node.items[step]
            mark = node.mark
        else:
            break
    return mark


class _Reader:
    """Builds the nodes of one document from the parser's events."""

    def __init__(self, text: str, findings: Findings) -> None:
        self._events: Iterator[Any] = yaml.parse(text, Loader=_LOADER)
        self._findings = findings
        self.mark = Mark()

    def document(self) -> Node | None:
        self._next()  # the stream's start
        start = self._next()
        if not isinstance(start, yaml.DocumentStartEvent):
            self._error("empty", "the file is empty")
            return None
        if start.version or start.tags:
            self._error("directive", "take the %YAML or %TAG line out")
        root = self._node(self._next(), MAX_DEPTH)
        self._next()  # the document's end
        if isinstance(self._next(), yaml.DocumentStartEvent):
            self._error("documents", "a second document begins here; a gate file has one")
        return root

    def _node(self, event: Any, levels: int) -> Node:
        if levels == 0:
            raise _TooDeepError
        mark = self.mark
        if isinstance(event, yaml.AliasEvent):
            self._error("anchor", f'this is an alias; a pattern needs quotes: "*{event.anchor}"')
            return Unusable(mark)
        if event.anchor is not None:
            self._error("anchor", f"take the anchor `&{event.anchor}` out; write each value where it belongs")
        if event.tag is not None:
            self._error("tag", f"take the tag `{event.tag}` out; write texts in quotes")
        if isinstance(event, yaml.MappingStartEvent):
            return Mapping(mark, self._members(levels - 1))
        if isinstance(event, yaml.SequenceStartEvent):
            return Sequence(mark, tuple(self._items(levels - 1)))
        return self._scalar(event)

    def _items(self, levels: int) -> Iterator[Node]:
        while not isinstance(event := self._next(), yaml.SequenceEndEvent):
            yield self._node(event, levels)

    def _members(self, levels: int) -> dict[str, Member]:
        members: dict[str, Member] = {}
        while not isinstance(event := self._next(), yaml.MappingEndEvent):
            mark = self.mark
            key = self._key(event, levels)
            if key in members:
                self._error("duplicate_key", f"`{key}` is here for the second time", mark)
                key = None
            value = self._node(self._next(), levels)
            if key is not None:
                members[key] = Member(mark, value)
        return members

    def _key(self, event: Any, levels: int) -> str | None:
        """A key's text; None where it is an error, which is reported."""
        mark = self.mark
        if isinstance(event, yaml.ScalarEvent) and event.implicit[0] and event.value == "<<":
            self._error("merge_key", "write the keys out instead of merging them with `<<`")
            return None
        node = self._node(event, levels)
        if isinstance(node, Scalar):
            if node.kind == "string":
                return node.text
            self._error("unquoted", f"a key is a text, and this is {described(node)}: {quoted(node)}", mark)
        elif not isinstance(node, Unusable):
            self._error("key", "a key is a text, not a list or a mapping", mark)
        return None

    def _scalar(self, event: yaml.ScalarEvent) -> Node:
        if _SURROGATE.search(event.value):
            self._error("text", "half of a surrogate pair is no character; write the character itself")
            return Unusable(self.mark)
        return Scalar(self.mark, event.value, _kind(event.value) if event.implicit[0] else "string")

    def _next(self) -> Any:
        event = next(self._events)
        self.mark = _mark(event.start_mark)
        return event

    def _error(self, code: str, message: str, mark: Mark | None = None) -> None:
        self._findings.add("error", code, mark or self.mark, message)


def described(node: Node) -> str:
    """What a node is, in words for a message."""
    if isinstance(node, Mapping):
        return "a mapping"
    if isinstance(node, Sequence):
        return "a list"
    if isinstance(node, Scalar) and node.kind != "string":
        return "empty" if node.kind == "null" else f"a {node.kind}"
    return "a text"


def quoted(node: Scalar) -> str:
    """What to do about an unquoted scalar that should be a text."""
    return "write a text" if node.kind == "null" else f'write "{node.text}"'


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
