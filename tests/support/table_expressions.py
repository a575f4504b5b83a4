"""DynamoDB's expressions as far as the store writes them: conditions, updates, key conditions, projections.

Attributes are of the top level. What is not here is refused, not guessed.
Sources: DynamoDB developer guide, "Condition and filter expressions, operators, and functions", "Using update
expressions", "Reserved words", read on 2026-11-27.
"""

import importlib.util
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

Value = Mapping[str, Any]
"""A value in DynamoDB's JSON, such as `{"S": "text"}`."""

Attributes = Mapping[str, Value]

_TOKEN: Final = re.compile(r"\s*([#:]?\w+|<=|>=|[=<>(),+-])")
_FUNCTIONS: Final = ("attribute_exists", "attribute_not_exists", "begins_with", "contains", "if_not_exists")
_ORDERED: Final = ("S", "N", "B")


class Malformed(ValueError):
    """The expression is refused: DynamoDB's ValidationException."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What an expression refers to."""

    item: Attributes
    names: Mapping[str, str]
    values: Attributes


Term = Callable[[Scope], Any]


@dataclass(frozen=True)
class Condition:
    """A condition that was parsed. `uses` has its `#names` and `:values`."""

    holds: Term
    uses: frozenset[str]


@dataclass(frozen=True)
class Update:
    """An update that was parsed: what it does to each attribute, by name or placeholder."""

    actions: tuple[tuple[str, str, Term], ...]
    uses: frozenset[str]


@dataclass(frozen=True)
class KeyCondition:
    """The partition, and a range of the sort key: an operator and its bounds."""

    partition: str
    value: str
    sort: str | None
    operator: str
    bounds: tuple[str, ...]
    uses: frozenset[str]


@dataclass(frozen=True)
class Projection:
    """The attributes that are shown, by name or placeholder."""

    attributes: tuple[str, ...]
    uses: frozenset[str]


def kind_of(value: Value) -> tuple[str, Any]:
    """Return a value's type, and what is equal where DynamoDB finds it equal."""
    [(kind, content)] = value.items()
    match kind:
        case "N":
            return kind, Decimal(content)
        case "SS" | "BS":
            return kind, frozenset(content)
        case "NS":
            return kind, frozenset(map(Decimal, content))
        case "L":
            return kind, [kind_of(each) for each in content]
        case "M":
            return kind, {name: kind_of(each) for name, each in content.items()}
        case _:
            return kind, content


@lru_cache(maxsize=1_000)
def condition(text: str) -> Condition:
    """Parse a condition expression."""
    parser = _Parser(text)
    term = parser.alternatives()
    parser.end()
    return Condition(term, parser.uses())


@lru_cache(maxsize=1_000)
def update(text: str) -> Update:
    """Parse an update expression."""
    parser = _Parser(text)
    actions: list[tuple[str, str, Term]] = []
    while verb := parser.next():
        if verb not in ("SET", "REMOVE", "ADD", "DELETE"):
            raise Malformed(f"Syntax error: {verb}")
        while True:
            actions.append(parser.action(verb))
            if not parser.take(","):
                break
    changed = [name for _, name, _ in actions]
    if len(set(changed)) < len(changed):
        raise Malformed("Two document paths overlap with each other")
    return Update(tuple(actions), parser.uses())


_KEYED: Final = re.compile(
    r"(?P<partition>#?\w+) = (?P<value>:\w+)"
    r"(?: AND (?:(?P<sort>#?\w+) (?P<operator>=|<|>|<=|>=|BETWEEN) (?P<low>:\w+)(?: AND (?P<high>:\w+))?"
    r"|begins_with\((?P<prefixed>#?\w+), (?P<prefix>:\w+)\)))?"
)


@lru_cache(maxsize=1_000)
def key_condition(text: str) -> KeyCondition:
    """Parse a key condition expression."""
    found = _KEYED.fullmatch(text)
    if found is None or (found["operator"] == "BETWEEN") != bool(found["high"]):
        raise Malformed(f"Invalid KeyConditionExpression: {text}")
    sort = found["sort"] or found["prefixed"]
    bounds = tuple(filter(None, (found["low"], found["high"], found["prefix"])))
    operator = "begins_with" if found["prefix"] else found["operator"] or ""
    uses = [one for one in (found["partition"], found["value"], sort, *bounds) if one]
    _check_names(uses)
    return KeyCondition(found["partition"], found["value"], sort, operator, bounds, _placeholders(uses))


@lru_cache(maxsize=1_000)
def projection(text: str) -> Projection:
    """Parse a projection expression."""
    names = tuple(name.strip() for name in text.split(","))
    if not all(re.fullmatch(r"#?\w+", name) for name in names):
        raise Malformed(f"Invalid ProjectionExpression: {text}")
    _check_names(names)
    return Projection(names, _placeholders(names))


def named(name: str, names: Mapping[str, str]) -> str:
    """Return the attribute behind a name or placeholder."""
    if not name.startswith("#"):
        return name
    if name not in names:
        raise Malformed(f"An expression attribute name used in the document path is not defined: {name}")
    return names[name]


def value_of(name: str, values: Attributes) -> Value:
    """Return the value behind a placeholder."""
    if name not in values:
        raise Malformed(f"An expression attribute value used in expression is not defined: {name}")
    return values[name]


class _Parser:
    """A recursive descent: OR binds looser than AND, and AND looser than NOT."""

    def __init__(self, text: str) -> None:
        self._tokens = _TOKEN.findall(text)
        if "".join(self._tokens) != re.sub(r"\s", "", text) or not self._tokens:
            raise Malformed(f"Syntax error: {text}")
        self._at = 0
        self._used: list[str] = []
        self._groups: dict[int, int] = {}

    def next(self) -> str:
        self._at += 1
        return self._tokens[self._at - 1] if self._at <= len(self._tokens) else ""

    def peek(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def take(self, token: str) -> bool:
        taken = self.peek().upper() == token
        self._at += taken
        return taken

    def need(self, token: str) -> None:
        if not self.take(token):
            raise Malformed(f"Syntax error: {token} is missing before {self.peek()!r}")

    def end(self) -> None:
        if self.peek():
            raise Malformed(f"Syntax error: {self.peek()}")

    def uses(self) -> frozenset[str]:
        return _placeholders(self._used)

    # Conditions

    def alternatives(self) -> Term:
        terms = [self._together()]
        while self.take("OR"):
            terms.append(self._together())
        return terms[0] if len(terms) == 1 else lambda scope: any(term(scope) for term in terms)

    def _together(self) -> Term:
        terms = [self._single()]
        while self.take("AND"):
            terms.append(self._single())
        return terms[0] if len(terms) == 1 else lambda scope: all(term(scope) for term in terms)

    def _single(self) -> Term:
        if self.take("NOT"):
            negated = self._single()
            return lambda scope: not negated(scope)
        if self.take("("):
            return self._group()
        if self.peek() in _FUNCTIONS:
            return self._function(self.next())
        left = self.operand()
        if self.take("BETWEEN"):
            low = self.operand()
            self.need("AND")
            high = self.operand()
            return lambda scope: (
                _compare(">=", left(scope), low(scope)) and _compare("<=", left(scope), high(scope))
            )
        operator = self.next()
        if operator not in ("=", "<", "<=", ">", ">="):
            raise Malformed(f"Syntax error or an operator that this does not know: {operator}")
        right = self.operand()
        return lambda scope: _compare(operator, left(scope), right(scope))

    def _group(self) -> Term:
        begin = self._at
        inner = self.alternatives()
        if self._groups.get(begin) == self._at:
            raise Malformed("The expression has redundant parentheses")
        self.need(")")
        self._groups[begin - 1] = self._at
        return inner

    def _function(self, name: str) -> Term:
        self.need("(")
        subject = self.operand()
        if name in ("attribute_exists", "attribute_not_exists"):
            self.need(")")
            return lambda scope: (subject(scope) is not None) == (name == "attribute_exists")
        self.need(",")
        other = self.operand()
        self.need(")")
        if name == "if_not_exists":
            return lambda scope: subject(scope) or other(scope)
        test = _begins_with if name == "begins_with" else _contains
        return lambda scope: test(subject(scope), other(scope))

    def operand(self) -> Term:
        """Parse an attribute or a value. An attribute that the item does not have is None."""
        token = self.next()
        if not re.fullmatch(r"[#:]?\w+", token):
            raise Malformed(f"Syntax error: {token!r}")
        self._used.append(token)
        if token.startswith(":"):
            return lambda scope: value_of(token, scope.values)
        _check_names([token])
        return lambda scope: scope.item.get(named(token, scope.names))

    # Updates

    def action(self, verb: str) -> tuple[str, str, Term]:
        """Parse one action of a clause."""
        name = self.next()
        self._at -= 1
        self.operand()
        match verb:
            case "REMOVE":
                return verb, name, lambda _: None
            case "SET":
                self.need("=")
                return verb, name, self._sum()
            case _:
                return verb, name, self.operand()

    def _sum(self) -> Term:
        left = self._summand()
        if self.peek() not in ("+", "-"):
            return left
        sign = 1 if self.next() == "+" else -1
        right = self._summand()
        return lambda scope: added(left(scope), right(scope), sign)

    def _summand(self) -> Term:
        return self._function(self.next()) if self.peek() == "if_not_exists" else self.operand()


def added(left: Value | None, right: Value | None, sign: int) -> Value:
    """Return the sum or difference of two numbers."""
    if left is None or right is None:
        raise Malformed("The provided expression refers to an attribute that does not exist in the item")
    if "N" not in left or "N" not in right:
        raise Malformed("An operand in the update expression has an incorrect data type")
    return {"N": str(Decimal(left["N"]) + sign * Decimal(right["N"]))}


def _compare(operator: str, left: Value | None, right: Value | None) -> bool:
    """Values of two types are neither equal nor ordered; nor is an attribute that is missing."""
    if left is None or right is None:
        return False
    (kind, a), (other, b) = kind_of(left), kind_of(right)
    if kind != other:
        return False
    if operator == "=":
        return bool(a == b)
    if kind not in _ORDERED:
        raise Malformed(f"Invalid operand type for operator {operator}: {kind}")
    return bool({"<": a < b, "<=": a <= b, ">": a > b, ">=": a >= b}[operator])


def _begins_with(subject: Value | None, prefix: Value) -> bool:
    return subject is not None and "S" in subject and str(subject["S"]).startswith(prefix["S"])


def _contains(subject: Value | None, part: Value) -> bool:
    if subject is None:
        return False
    (kind, content), (other, sought) = kind_of(subject), kind_of(part)
    return sought in content if kind in (other, other + "S") and kind in ("S", "SS", "NS", "BS") else False


def _placeholders(names: Any) -> frozenset[str]:
    return frozenset(name for name in names if name[0] in "#:")


def _check_names(names: Any) -> None:
    for name in names:
        if name[0] not in "#:" and name.upper() in _reserved():
            raise Malformed(f"Attribute name is a reserved keyword; reserved keyword: {name}")


@lru_cache(maxsize=1)
def _reserved() -> frozenset[str]:
    """Return AWS's reserved words: the list that moto has of them, without its code."""
    found = importlib.util.find_spec("moto")
    assert found is not None
    assert found.origin is not None
    words = Path(found.origin).parent / "dynamodb" / "parsing" / "reserved_keywords.txt"
    return frozenset(words.read_text().split())
