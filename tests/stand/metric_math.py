"""Metric math as CloudWatch evaluates it, for the stand's emulator and for the model of the unit tests.

A series is a mapping of time to value. Sources, read on 2026-11-26: CloudWatch user guide, "Metric math
syntax and functions" ("Missing values in a time series are treated as 0. If the value of a data point causes
a function to attempt to divide by zero, the data point is dropped."), and for the words of errors the tests
of Grafana's CloudWatch data source ("ValidationError: Error in expression 'query': Invalid syntax"), and what
CloudWatch answered others ("Error in expression 'e1': Function 'ANOMALY_DETECTOR' not found").
"""

import ast
import operator
import re
import statistics
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

Series = Mapping[Any, float]
Value = float | Series | Sequence[Series]


class ExpressionError(Exception):
    """CloudWatch's message of a ValidationError."""


ARITHMETIC: Mapping[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}
COMPARISONS: Mapping[type[ast.cmpop], Callable[[float, float], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
REDUCTIONS: Mapping[str, Callable[[Sequence[float]], float]] = {
    "SUM": sum,
    "MAX": max,
    "MIN": min,
    "AVG": statistics.fmean,
    "STDDEV": statistics.pstdev,
}


def evaluate(expression: str, identifier: str, series: Mapping[str, Series], period: int = 60) -> Series:
    """Return the time series that an expression gives. Raises ExpressionError."""
    text = expression.replace("^", "**").replace("&&", " and ").replace("||", " or ")
    text = re.sub(r"\bAND\b", "and", re.sub(r"\bOR\b", "or", text)).strip()
    try:
        tree = ast.parse(text, mode="eval").body
    except SyntaxError:
        raise ExpressionError(f"Error in expression '{identifier}': Invalid syntax") from None
    value = Evaluation(identifier, series, period).value(tree)
    if not isinstance(value, Mapping):
        what = (
            "Metrics expression that return multi time series" if isinstance(value, Sequence) else "Scalars"
        )
        raise ExpressionError(f"Error in expression '{identifier}': {what} are not allowed")
    return value


class Evaluation:
    def __init__(self, identifier: str, series: Mapping[str, Series], period: int) -> None:
        self.identifier = identifier
        self.series = series
        self.period = period

    def value(self, node: ast.expr) -> Value:
        match node:
            case ast.Constant(value=int() | float() as number):
                return float(number)
            case ast.Name(id=name) if name in self.series:
                return self.series[name]
            case ast.List(elts=elements):
                return [self._series(self.value(element)) for element in elements]
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return pointwise(lambda one, _: -one, self.value(operand), 0.0)
            case ast.BinOp(left=left, op=op, right=right) if type(op) in ARITHMETIC:
                return pointwise(ARITHMETIC[type(op)], self.value(left), self.value(right))
            case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in COMPARISONS:
                compare = COMPARISONS[type(op)]
                return pointwise(lambda a, b: float(compare(a, b)), self.value(left), self.value(right))
            case ast.BoolOp(op=op, values=values):
                both = isinstance(op, ast.And)
                result = self.value(values[0])
                for each in values[1:]:
                    result = pointwise(
                        lambda a, b: float(bool(a) and bool(b) if both else bool(a) or bool(b)),
                        result,
                        self.value(each),
                    )
                return result
            case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]):
                return self._call(name, arguments)
        raise self._error("Invalid syntax")

    def _call(self, name: str, arguments: list[ast.expr]) -> Value:
        if name == "FILL":
            return self._fill(self.value(arguments[0]), arguments[1])
        values = [self.value(argument) for argument in arguments]
        match name, values:
            case (("SUM" | "MAX" | "MIN" | "AVG" | "STDDEV"), [Mapping() as one]):
                return REDUCTIONS[name](list(one.values()) or [0.0])
            case (("SUM" | "MAX" | "MIN" | "AVG" | "STDDEV"), [list() as many]):
                times = sorted({at for one in many for at in one})
                return {at: REDUCTIONS[name]([one.get(at, 0.0) for one in many]) for at in times}
            case "PERIOD", [Mapping()]:
                return float(self.period)
            case (("ABS" | "DIFF" | "RATE" | "RUNNING_SUM"), [Mapping() as one]):
                return self._series_function(name, one)
            case "IF", [condition, chosen, *otherwise]:
                return self._if(condition, chosen, otherwise[0] if otherwise else {})
        raise self._error(f"Function '{name}' not found")

    def _series_function(self, name: str, one: Series) -> Series:
        times = sorted(one)
        pairs = list(pairwise(times))
        match name:
            case "ABS":
                return {at: abs(one[at]) for at in times}
            case "DIFF":
                return {later: one[later] - one[before] for before, later in pairs}
            case "RATE":
                return {later: (one[later] - one[before]) / (later - before) for before, later in pairs}
        return {at: sum(one[each] for each in times if each <= at) for at in times}

    def _fill(self, value: Value, filler: ast.expr) -> Series:
        """Fill between the first and the last time of all metrics: the range that they have data in."""
        one = self._series(value)
        number = self.value(filler)
        if not isinstance(number, float):
            raise self._error("FILL takes a number here")
        times = {at for each in self.series.values() for at in each}
        return {at: one.get(at, number) for at in sorted(times | set(one))}

    def _if(self, condition: Value, chosen: Value, otherwise: Value) -> Series:
        if isinstance(condition, float):
            raise self._error("IF takes a time series here")
        result = {}
        for at, holds in self._series(condition).items():
            branch = chosen if holds else otherwise
            if isinstance(branch, float):
                result[at] = branch
            elif at in self._series(branch):
                result[at] = self._series(branch)[at]
            elif holds:
                result[at] = 0.0
        return result

    def _series(self, value: Value) -> Series:
        if not isinstance(value, Mapping):
            raise self._error("Unsupported operand type")
        return value

    def _error(self, what: str) -> ExpressionError:
        return ExpressionError(f"Error in expression '{self.identifier}': {what}")


def pointwise(function: Callable[[float, float], float], one: Value, other: Value) -> Value:
    """Apply a function of two numbers to each time that either series has."""
    if isinstance(one, list) or isinstance(other, list):
        length = len(one if isinstance(one, list) else other)  # type: ignore[arg-type]
        ones = one if isinstance(one, list) else [one] * length
        others = other if isinstance(other, list) else [other] * length
        return [pointwise(function, a, b) for a, b in zip(ones, others, strict=True)]  # type: ignore[misc]
    if isinstance(one, float) and isinstance(other, float):
        return function(one, other)
    times = {at for each in (one, other) if isinstance(each, Mapping) for at in each}
    found = {}
    for at in sorted(times):
        a, b = (each.get(at, 0.0) if isinstance(each, Mapping) else float(each) for each in (one, other))  # type: ignore[arg-type]
        try:
            found[at] = function(a, b)
        except (ZeroDivisionError, OverflowError):
            continue
    return found
