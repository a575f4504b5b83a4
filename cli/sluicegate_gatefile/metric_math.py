"""Metric math, as far as one limit can use it: an expression over named metrics that gives one time series.

CloudWatch evaluates it (GetMetricData). What it would refuse, or answer with another number of series, is
refused here, when the gate file is checked. Source: CloudWatch user guide, "Metric math syntax and
functions", and API reference, MetricDataQuery (read on 2026-11-26).

Left out: `METRICS` and `SEARCH` reach metrics that the limit does not name, and anomaly bands, insight rules,
quotas and `LAMBDA` need permissions of their own.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

MAX_EXPRESSION: Final = 1_024
"""Characters. CloudWatch takes 2,048; the names in it become a little longer when it is asked."""

MAX_DEPTH: Final = 32
"""Levels of parentheses, brackets and functions."""

ID: Final = r"[a-z][A-Za-z0-9_]{0,63}"
"""A metric's id: letters, digits and `_`, of which the first is a lower-case letter (MetricDataQuery)."""

Operand = Literal["number", "series", "list"]
"""What a part of an expression is: a number, one time series, or a list of them."""

_EACH: Final = ("ABS", "CEIL", "DIFF", "DIFF_TIME", "FLOOR", "LOG", "LOG10", "RATE", "RUNNING_SUM")
"""These change each point of a series. Of a list, they return a list."""

_REDUCE: Final = ("AVG", "DATAPOINT_COUNT", "MAX", "MIN", "STDDEV", "SUM")
"""These make a number of a series, and a series of a list."""

_TO_NUMBER: Final = ("PERIOD",)
_TIMES: Final = ("DAY", "HOUR", "MINUTE", "MONTH", "YEAR", "DATE", "EPOCH")
"""These return a series for a series."""

FUNCTIONS: Final = tuple(sorted((*_EACH, *_REDUCE, *_TO_NUMBER, *_TIMES, "FILL", "IF", "TIME_SERIES")))

_FILLERS: Final = ("REPEAT", "LINEAR")
_TOKEN: Final = re.compile(
    r"\s*(?:(?P<number>\d+(?:\.\d+)?)|(?P<name>[A-Za-z][A-Za-z0-9_]*)|(?P<sign>==|!=|<=|>=|&&|\|\||[-+*/^<>(),\[\]]))"
)
_LEVELS: Final = (
    ("OR", "||"),
    ("AND", "&&"),
    ("==", "!=", "<", "<=", ">", ">="),
    ("+", "-"),
    ("*", "/"),
    ("^",),
)
"""Operators by how loosely they bind. All of them take the same kinds, so nothing else depends on it."""


class MetricMathError(ValueError):
    """Not an expression that gives one time series; the message says why."""


def names(expression: str) -> tuple[str, ...]:
    """Return the ids that an expression uses, each once. Raises MetricMathError."""
    tokens = _tokens(expression)
    return tuple(dict.fromkeys(token.text for token in tokens if token.is_id))


def check(expression: str, ids: Collection[str]) -> None:
    """Raise MetricMathError unless it gives one time series, of all the metrics with these ids."""
    if len(expression) > MAX_EXPRESSION:
        raise MetricMathError(f"is longer than {MAX_EXPRESSION} characters")
    parser = _Parser(tuple(_tokens(expression)), ids)
    kind = parser.parse()
    unused = [name for name in ids if name not in parser.used]
    if unused:
        raise MetricMathError(f"does not use the metric `{unused[0]}`")
    if kind == "number":
        raise MetricMathError("gives one number, not a time series: a limit is about each minute's value")
    if kind == "list":
        raise MetricMathError("gives several time series: combine them, for example with `SUM`")


class _Token(NamedTuple):
    kind: str
    text: str

    @property
    def is_id(self) -> bool:
        return self.kind == "name" and self.text[0].islower()


def _tokens(expression: str) -> Iterator[_Token]:
    position, text = 0, expression.rstrip()
    while position < len(text):
        found = _TOKEN.match(text, position)
        if found is None:
            rest = text[position:].lstrip()
            hint = ": ids and functions need no quotes" if rest[0] in "'\"" else ""
            raise MetricMathError(f"has `{rest[0]}`, which metric math has not{hint}")
        position = found.end()
        kind = found.lastgroup or ""
        yield _Token(kind, found[kind])


@dataclass
class _Parser:
    """Reads an expression and returns its kind. Raises MetricMathError."""

    tokens: tuple[_Token, ...]
    ids: Collection[str]
    used: set[str] = field(default_factory=set)
    position: int = 0
    depth: int = 0

    def parse(self) -> Operand:
        if not self.tokens:
            raise MetricMathError("is empty")
        kind = self._level(0)
        if self.position < len(self.tokens):
            raise MetricMathError(f"has `{self.tokens[self.position].text}` where it should end")
        return kind

    def _level(self, level: int) -> Operand:
        """Read what binds at least as tightly as this level's operators."""
        if level == len(_LEVELS):
            return self._sign()
        kind = self._level(level + 1)
        while self._next() in _LEVELS[level]:
            operator = self._take()
            kind = _both(kind, self._level(level + 1), operator)
        return kind

    def _sign(self) -> Operand:
        if self._next() == "-":
            self._take()
        return self._value()

    def _value(self) -> Operand:
        if self.position >= len(self.tokens):
            raise MetricMathError("ends too early")
        token = self.tokens[self.position]
        self.position += 1
        if token.kind == "number":
            return "number"
        if token.text == "(":
            kind = self._nested()
            self._expect(")")
            return kind
        if token.text == "[":
            self._list()
            return "list"
        if token.is_id:
            if token.text not in self.ids:
                raise MetricMathError(f"names `{token.text}`, which is none of the metrics")
            self.used.add(token.text)
            return "series"
        if token.kind == "name":
            return self._function(token.text)
        raise MetricMathError(f"has `{token.text}` where a value should be")

    def _nested(self) -> Operand:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise MetricMathError(f"is nested deeper than {MAX_DEPTH} levels")
        kind = self._level(0)
        self.depth -= 1
        return kind

    def _list(self) -> None:
        """Read the rest of `[m1, m2]`."""
        while True:
            if self._nested() != "series":
                raise MetricMathError("has a list of something else than time series")
            if self._next() != ",":
                break
            self._take()
        self._expect("]")

    def _function(self, name: str) -> Operand:
        if name not in FUNCTIONS:
            known = ", ".join(FUNCTIONS)
            raise MetricMathError(f"uses `{name}`; functions that a limit can use: {known}")
        self._expect("(")
        arguments = [self._argument(name, 0)]
        while self._next() == ",":
            self._take()
            arguments.append(self._argument(name, len(arguments)))
        self._expect(")")
        return _result(name, arguments)

    def _argument(self, name: str, index: int) -> Operand:
        if name == "FILL" and index == 1 and self._next() in _FILLERS:
            self._take()
            return "number"
        return self._nested()

    def _next(self) -> str | None:
        return self.tokens[self.position].text if self.position < len(self.tokens) else None

    def _take(self) -> str:
        self.position += 1
        return self.tokens[self.position - 1].text

    def _expect(self, sign: str) -> None:
        if self._next() != sign:
            found = self._next()
            where = f"before `{found}`" if found else "at the end"
            raise MetricMathError(f"lacks `{sign}` {where}")
        self._take()


def _both(one: Operand, other: Operand, operator: str) -> Operand:
    """Return the kind of two operands together: a list wins over a series, and that over a number."""
    kinds = {one, other}
    if "list" in kinds and operator not in ("+", "-", "*", "/", "^"):
        raise MetricMathError(f"compares a list of time series with `{operator}`")
    return "list" if "list" in kinds else "series" if "series" in kinds else "number"


_ARGUMENTS: Final[Mapping[str, int]] = {"FILL": 2, "IF": 3}


def _result(name: str, arguments: list[Operand]) -> Operand:
    """Return the kind of a function's result. Raises MetricMathError for arguments that it does not take."""
    wants = _ARGUMENTS.get(name, 1)
    if len(arguments) != wants and not (name == "IF" and len(arguments) == 2):
        raise MetricMathError(f"gives `{name}` {len(arguments)} arguments; it takes {wants}")
    first = arguments[0]
    if name == "TIME_SERIES":
        if first != "number":
            raise MetricMathError("gives `TIME_SERIES` a time series; it takes a number")
        return "series"
    if name == "IF":
        if "list" in arguments:
            raise MetricMathError("gives `IF` a list of time series")
        if "series" not in arguments:
            raise MetricMathError("gives `IF` numbers alone")
        return "series"
    if first == "number":
        raise MetricMathError(f"gives `{name}` a number; it takes a time series")
    if name in _REDUCE:
        return "series" if first == "list" else "number"
    if first == "list" and name in (*_TO_NUMBER, *_TIMES):
        raise MetricMathError(f"gives `{name}` a list; it takes one time series")
    return "number" if name in _TO_NUMBER else first
