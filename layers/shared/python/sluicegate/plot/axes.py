"""Axes: which values a plot covers, and where its ticks are."""

import math
from collections.abc import Iterator
from typing import Final

from sluicegate.plot.chart import Chart
from sluicegate.text import plain_number

_STEPS: Final = (1.0, 2.0, 5.0, 10.0)
_TIMES: Final = (5, 10, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 14_400, 21_600, 43_200, 86_400)
_HEADROOM: Final = 1.15
_NEAR: Final = 4.0
"""How many times the largest measured value a limit may be, and still be in the plot."""


def top(chart: Chart) -> float:
    """Return the largest value that the plot covers; above 0.

    Estimates fit in, and limits that are not far above them. An interval of the first few requests, which can
    reach from 0 to 100 percent, would leave no room for everything after it: only the last one of each line
    fits in for certain.
    """
    values = [point.value for line in chart.lines for point in line.points]
    values += [line.points[-1].high for line in chart.lines if line.points]
    measured = max(0.0, *filter(math.isfinite, values), 0.0)
    limits = [value for bound in chart.bounds for _, value in bound.points if math.isfinite(value)]
    near = [value for value in limits if value <= _NEAR * measured or not measured]
    return (max([measured, *near]) * _HEADROOM) or 1.0


def value_ticks(most: float, about: int) -> list[float]:
    """Return round values from 0 to `most`, about so many."""
    raw = most / max(1, about)
    size = 10.0 ** math.floor(math.log10(raw))
    step = next(size * factor for factor in _STEPS if size * factor >= raw * 0.999)
    return [index * step for index in range(int(most / step + 1e-9) + 1)]


def time_ticks(length: float, about: int) -> list[float]:
    """Return round times from 0 to `length` seconds, at most about so many."""
    raw = length / max(1, about)
    step = next((float(step) for step in _TIMES if step >= raw), 86_400.0 * math.ceil(raw / 86_400))
    return [index * step for index in range(int(length / step + 1e-9) + 1)]


def time_label(seconds: float) -> str:
    """Format a time since the start: `0`, `30s`, `5m`, `1h30m`, `2d`."""
    return "".join(_units(round(seconds))) or "0"


def tick_label(value: float) -> str:
    """Format a round value: `0`, `0.04`, `2`, `2.5`, `1,000`."""
    return f"{value:,.0f}" if value >= 10 or value == round(value) else plain_number(value)


def _units(left: int) -> Iterator[str]:
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)):
        if left >= size:
            yield f"{left // size}{unit}"
            left %= size
