"""The charts of a deployment, drawn: what a page shows of each."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sluicegate.documents.charts import charts
from sluicegate.plot.axes import time_label
from sluicegate.plot.chart import Chart, MarkerKind
from sluicegate.plot.svg import svg

Size = tuple[int, int]
"""Width and height in pixels."""


@dataclass(frozen=True)
class Figure:
    """A chart as `svg` elements, with what is said beside it: its bounds, and what happened when.

    It is drawn twice, and the page shows the one that fits: text in a scaled one would be too small.
    """

    title: str
    wide: str
    narrow: str
    bounds: tuple[str, ...]
    marks: tuple[str, ...]


def figures(
    deployment: Mapping[str, Any], *, wide: Size, narrow: Size, markup: Callable[[str], str]
) -> list[Figure]:
    """Return the figures of a deployment. `markup` tells a template that an element is escaped already."""
    return [
        Figure(
            chart.title,
            markup(_drawn(chart, f"plot-{index}-wide", wide)),
            markup(_drawn(chart, f"plot-{index}-narrow", narrow)),
            tuple(bound.name for bound in chart.bounds),
            tuple(
                f"{time_label(mark.at - chart.begin)}: {mark.name}"
                for mark in chart.marks
                if mark.kind in (MarkerKind.ALARM, MarkerKind.EVENT)
            ),
        )
        for index, chart in enumerate(charts(deployment))
    ]


def _drawn(chart: Chart, name: str, size: Size) -> str:
    width, height = size
    return svg(chart, name, width=width, height=height)
