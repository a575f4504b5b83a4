"""Draw a chart as SVG: static, without a script, an address or a style of its own.

The elements are made as a tree, so that text is escaped when it is written, wherever it is from. Colours and
fonts are the page's: each element has a class.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from sluicegate.plot.axes import tick_label, time_label, time_ticks, top, value_ticks
from sluicegate.plot.chart import Bound, Chart, Line, Marker, MarkerKind
from sluicegate.text import clean

_LEFT, _RIGHT, _ABOVE, _BELOW = 52, 14, 26, 44
"""Units around the plot: for the values, the last time's label, the steps, the verdicts and the times."""

_VERDICTS: Final = (MarkerKind.GOOD, MarkerKind.UNCLEAR, MarkerKind.BAD)
_TICK_WIDTH: Final = 70  # units for each label of a time
_LABEL: Final = 60  # characters of a label in the plot
_CHARACTER: Final = 6  # units of a label, about
_GLYPHS: Final = (1.2, 4.0)
"""Units, half of a verdict's width: at least and at most."""


def svg(chart: Chart, name: str, *, width: int = 720, height: int = 260) -> str:
    """Return the chart as an `svg` element. `name`: unique in the page, of letters, digits and `-`."""
    frame = _Frame(chart, width, height)
    root = Element(
        "svg",
        {
            "viewBox": f"0 0 {width} {height}",
            "role": "img",
            "aria-labelledby": f"{name}-title {name}-desc",
            "class": "plot",
        },
    )
    _text(SubElement(root, "title", {"id": f"{name}-title"}), chart.title)
    _text(SubElement(root, "desc", {"id": f"{name}-desc"}), chart.description, 4096)
    clip = SubElement(SubElement(root, "defs"), "clipPath", {"id": f"{name}-clip"})
    SubElement(clip, "rect", frame.box())
    _periods(root, frame)
    _axes(root, frame)
    inner = SubElement(root, "g", {"clip-path": f"url(#{name}-clip)"})
    for line in chart.lines:
        _interval(inner, frame, line)
    for bound in chart.bounds:
        _bound(inner, frame, bound)
    for line in chart.lines:
        _line(inner, frame, line)
    for mark in chart.marks:
        _mark(root, frame, mark)
    return ElementTree.tostring(root, encoding="unicode", short_empty_elements=False)


@dataclass(frozen=True)
class _Frame:
    """Where values and times are within the drawing, whose origin is at the top left."""

    chart: Chart
    width: int
    height: int

    @property
    def right(self) -> float:
        return self.width - _RIGHT

    @property
    def bottom(self) -> float:
        return self.height - _BELOW

    @property
    def length(self) -> float:
        return max(1.0, self.chart.end - self.chart.begin)

    @property
    def glyph(self) -> float:
        """Half of a verdict's width: smaller where there are many, so that they stay apart."""
        count = sum(mark.kind in _VERDICTS for mark in self.chart.marks)
        return max(_GLYPHS[0], min(_GLYPHS[1], (self.right - _LEFT) / max(1, count) * 0.45))

    def x(self, at: float) -> float:
        share = (at - self.chart.begin) / self.length
        return _LEFT + min(1.0, max(0.0, share)) * (self.right - _LEFT)

    def y(self, value: float) -> float:
        # What is far above the plot is cut off by the clip; a value without bound would make no valid number.
        share = min(3.0, max(0.0, value / top(self.chart)))
        return self.bottom - share * (self.bottom - _ABOVE)

    def box(self) -> dict[str, str]:
        return {
            "x": _n(_LEFT),
            "y": _n(_ABOVE),
            "width": _n(self.right - _LEFT),
            "height": _n(self.bottom - _ABOVE),
        }


def _periods(root: Element, frame: _Frame) -> None:
    for index, period in enumerate(frame.chart.periods):
        x, end = frame.x(period.begin), frame.x(period.end)
        if end <= x:
            continue
        area = {"x": _n(x), "y": _n(_ABOVE), "width": _n(end - x), "height": _n(frame.bottom - _ABOVE)}
        SubElement(root, "rect", {"class": f"period p{index % 2}", **area})
        for text in (period.name, period.short):
            if text and end - x >= _CHARACTER * len(text):
                _label(root, text, x + 4, _ABOVE - 8, "period")
                break


def _axes(root: Element, frame: _Frame) -> None:
    axis = SubElement(root, "g", {"class": "axis"})
    for value in value_ticks(top(frame.chart), 4):
        y = frame.y(value)
        SubElement(axis, "path", {"class": "grid", "d": f"M{_n(_LEFT)} {_n(y)}H{_n(frame.right)}"})
        _label(
            axis, tick_label(value) + (frame.chart.unit if value else ""), _LEFT - 6, y + 4, "value", "end"
        )
    for seconds in time_ticks(frame.length, int((frame.right - _LEFT) / _TICK_WIDTH)):
        x = frame.x(frame.chart.begin + seconds)
        SubElement(axis, "path", {"class": "tick", "d": f"M{_n(x)} {_n(frame.bottom)}v4"})
        _label(axis, time_label(seconds), x, frame.height - 6, "time", "middle")


def _interval(root: Element, frame: _Frame, line: Line) -> None:
    if not line.points:
        return
    there = [(frame.x(point.at), frame.y(point.high)) for point in line.points]
    back = [(frame.x(point.at), frame.y(point.low)) for point in reversed(line.points)]
    if len(line.points) == 1:  # an area without a width would not be seen
        x = there[0][0]
        SubElement(
            root, "path", {"class": f"whisker {line.kind}", "d": _path([(x, there[0][1]), (x, back[0][1])])}
        )
        return
    SubElement(root, "path", {"class": f"interval {line.kind}", "d": _path([*there, *back]) + "Z"})


def _bound(root: Element, frame: _Frame, bound: Bound) -> None:
    """Draw a limit with its name; of one far above what was measured, the name with an arrow."""
    if not bound.points:
        return
    SubElement(root, "path", {"class": "bound", "d": _path(_stairs(frame, bound.points))})
    value = bound.points[-1][1]
    if value > top(frame.chart):
        _label(root, f"{bound.name} ↑", frame.right - 4, _ABOVE + 12, "bound", "end")
    else:
        _label(root, bound.name, frame.right - 4, frame.y(value) - 4, "bound", "end")


def _line(root: Element, frame: _Frame, line: Line) -> None:
    points = [(frame.x(point.at), frame.y(point.value)) for point in line.points]
    if len(points) > 1:
        SubElement(root, "path", {"class": f"line {line.kind}", "d": _path(points)})
    for x, y in points[-1:]:
        SubElement(root, "circle", {"class": f"point {line.kind}", "cx": _n(x), "cy": _n(y), "r": "3"})


def _stairs(frame: _Frame, points: Sequence[tuple[float, float]]) -> Iterator[tuple[float, float]]:
    for index, (at, value) in enumerate(points):
        yield frame.x(at), frame.y(value)
        after = points[index + 1][0] if index + 1 < len(points) else frame.chart.end
        yield frame.x(after), frame.y(value)


def _mark(root: Element, frame: _Frame, mark: Marker) -> None:
    group = SubElement(root, "g", {"class": f"mark {mark.kind.value}"})
    _text(SubElement(group, "title"), mark.name)
    x = frame.x(mark.at)
    if mark.kind not in _VERDICTS:
        SubElement(group, "path", {"d": f"M{_n(x)} {_n(_ABOVE)}V{_n(frame.bottom)}"})
        return
    y, r = frame.bottom + 14, frame.glyph
    if mark.kind is MarkerKind.BAD:
        strokes = ([(x - r, y - r), (x + r, y + r)], [(x + r, y - r), (x - r, y + r)])
        SubElement(group, "path", {"d": "".join(map(_path, strokes))})
    elif mark.kind is MarkerKind.GOOD:
        SubElement(group, "circle", {"cx": _n(x), "cy": _n(y), "r": _n(r)})
    else:
        shape = f"M{_n(x)} {_n(y - r)}L{_n(x + r)} {_n(y)}L{_n(x)} {_n(y + r)}L{_n(x - r)} {_n(y)}Z"
        SubElement(group, "path", {"d": shape})


def _label(root: Element, text: str, x: float, y: float, kind: str, anchor: str = "start") -> None:
    _text(
        SubElement(root, "text", {"class": kind, "x": _n(x), "y": _n(y), "text-anchor": anchor}), text, _LABEL
    )


def _path(points: Sequence[tuple[float, float]] | Iterator[tuple[float, float]]) -> str:
    return "".join(f"{'L' if index else 'M'}{_n(x)} {_n(y)}" for index, (x, y) in enumerate(points))


def _text(element: Element, text: str, most: int = 256) -> None:
    element.text = clean(text, most)


def _n(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
