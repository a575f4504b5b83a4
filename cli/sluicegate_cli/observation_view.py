"""Draw the newest observation on a terminal: old and new value with their intervals, limit and verdict.

Pure rendering: the input are documents of the API, the output is lines. Each limit has a line of text and, as
far as there is room, two rows that share a scale from 0:

    errors  unclear  ×3.1 (1.2–8.0), limit ×2
      new ··├───●──────┤···│  1.2 % of 1,204 (0.7–2.0 %)   ▁▂▄▆█
      old ├●┤·················  0.4 % of 10,812 (0.3–0.5 %)
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from rich.text import Text

from sluicegate.documents import observed
from sluicegate.text import clean

_STYLES: Final = {"bad": "bold red", "unclear": "yellow", "good": "green"}

_LEAST: Final = 64
"""Columns from which on there are rows with intervals, besides the text."""

_CELLS: Final = (16, 32)
"""Columns of an interval's row, at least and at most."""

_LOOKS: Final = 12
"""Looks whose values are shown as a series."""

_MOST: Final = 12
"""Limits that are named; of the others, their number."""

_ROWS: Final = 3
"""Lines of a limit that is drawn in full."""


def verdict_style(verdict: object) -> str:
    """Return the style of a verdict."""
    return _STYLES.get(str(verdict), "cyan")


@dataclass(frozen=True)
class _Glyphs:
    empty: str
    low: str
    between: str
    value: str
    high: str
    bound: str
    bars: str


_UNICODE: Final = _Glyphs("·", "├", "─", "●", "┤", "│", "▁▂▃▄▅▆▇█")
_ASCII: Final = _Glyphs(".", "[", "=", "o", "]", "|", "_.-=+*#@")


def observation_lines(
    observation: observed.LookDocument | None,
    looks: observed.Looks,
    *,
    width: int,
    height: int,
    ascii_only: bool = False,
) -> Iterator[Text]:
    """Yield the lines for a terminal with so many columns, and about `height` lines for them."""
    if not observation:
        return
    for alarm in observed.ringing(observation):
        yield _line(
            f"  alarm {observed.alarm(alarm)}", "bold red" if alarm.get("state") == "ALARM" else "yellow"
        )
    limits = list(observed.limits(observation).items())
    named, others = limits[:_MOST], limits[_MOST:]
    spare = height - len(named)
    for limit, findings in named:
        yield _head(limit, findings)
        drawn = next((one for one in findings if one.get("new")), None)
        if drawn is not None and width >= _LEAST and spare >= _ROWS - 1:
            spare -= _ROWS - 1
            yield from _rows(limit, drawn, findings, looks, width, _ASCII if ascii_only else _UNICODE)
    if others:
        yield _line(f"  and {len(others)} more limits", "dim")


def _head(limit: str, findings: list[observed.FindingDocument]) -> Text:
    """Format `errors  unclear  ×3.1 (1.2–8.0), limit ×2`: the worst finding's ratio, and all bounds."""
    worst = findings[0]
    if not worst.get("new") and worst.get("message"):  # a judge's answer, or nothing measured
        return _line(f"  {observed.message(worst)}", verdict_style(worst.get("verdict")))
    ratio = next((text for one in findings if (text := observed.ratio(one))), "")
    bounds = " and ".join(dict.fromkeys(observed.bound(one) for one in findings))
    shown = Text.assemble(
        f"  {clean(limit, 64)}  ",
        (observed.verdict(worst), verdict_style(worst.get("verdict"))),
        f"  {f'{ratio}, ' if ratio else ''}limit {bounds}",
        no_wrap=True,
        overflow="ellipsis",
    )
    if needed := observed.needed(worst):
        shown.append(f"; {needed}", "dim")
    return shown


def _rows(
    limit: str,
    drawn: observed.FindingDocument,
    findings: list[observed.FindingDocument],
    looks: observed.Looks,
    width: int,
    glyphs: _Glyphs,
) -> Iterator[Text]:
    unit = observed.unit(drawn)
    versions = [(name, drawn[name]) for name in ("new", "old") if drawn.get(name)]
    same = [one for one in findings if observed.unit(one) == unit]
    bounds = [found for one in same if (found := observed.bound_value(one)) is not None]
    values = {name: looks.values(limit, name)[-_LOOKS:] for name, _ in versions}
    most = max([*(_number(one, "high") for _, one in versions), *bounds, 0.0]) or 1.0
    labels = {name: observed.share(one, unit) for name, one in versions}
    longest = max(map(len, labels.values()))
    cells = max(_CELLS[0], min(_CELLS[1], width - longest - _LOOKS - 14))
    for name, measured in versions:
        style = "blue" if name == "old" else verdict_style(drawn.get("verdict"))
        row = _interval(measured, most, cells, bounds, glyphs)
        series = _series(values[name], [value for some in values.values() for value in some], glyphs)
        yield Text.assemble(
            f"    {name} ",
            (row, style),
            f"  {labels[name]:<{longest}}  ",
            (series, style),
            no_wrap=True,
            overflow="ellipsis",
        )


def _interval(
    measured: Mapping[str, Any], most: float, cells: int, bounds: list[float], glyphs: _Glyphs
) -> str:
    def cell(value: float) -> int:
        return min(cells - 1, max(0, math.floor(value / most * (cells - 1) + 0.5)))

    row = [glyphs.empty] * cells
    low, high = cell(_number(measured, "low")), cell(_number(measured, "high"))
    row[low : high + 1] = glyphs.between * (high + 1 - low)
    for bound in bounds:
        row[cell(bound)] = glyphs.bound
    row[low], row[high] = glyphs.low, glyphs.high
    row[cell(_number(measured, "value"))] = glyphs.value
    return "".join(row)


def _series(values: list[float], scale: list[float], glyphs: _Glyphs) -> str:
    """Format values as bars; empty for fewer than two, which are no series."""
    most = max(scale, default=0.0) or 1.0
    if len(values) < 2:
        return ""
    last = len(glyphs.bars) - 1
    return "".join(glyphs.bars[min(last, max(0, round(value / most * last)))] for value in values)


def _number(measured: Mapping[str, Any], name: str) -> float:
    """Return a value of an interval; without one, the estimate, so that the row is a point."""
    value = measured.get(name)
    if not isinstance(value, (int, float)) or not math.isfinite(value):
        value = measured.get("value")
    return float(value) if isinstance(value, (int, float)) and math.isfinite(value) else 0.0


def _line(text: str, style: str) -> Text:
    return Text(clean(text, 1024), style=style, no_wrap=True, overflow="ellipsis")
