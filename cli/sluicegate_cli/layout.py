"""Lay out tables and long lines for a reader: nothing is broken within a word, and ids stay whole.

Where a table is wider than the terminal, columns are first dropped by importance, then shortened or wrapped
at spaces. A log gets every column in full, one line for each row, so that it can be searched.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from rich.text import Text

from sluicegate.text import clean

_GAP: Final = 2
_ELLIPSIS: Final = "…"


@dataclass(frozen=True)
class Column:
    """A column. `drop`: the highest is left out first where there is no room, 0 never.

    `least` is the width in cells down to which its text may be shortened or, with `wrap`, wrapped at spaces;
    None: it always stands in full.
    """

    name: str
    drop: int = 0
    least: int | None = None
    wrap: bool = False


Cell = str | Text


def table(columns: Sequence[Column], rows: Sequence[Sequence[Cell]], width: int | None) -> list[Text]:
    """Return the lines of a table, with a bold head unless all names are empty. `width` None: no limit."""
    cells = [[_text(cell) for cell in row] for row in rows]
    natural = [
        max([Text(column.name).cell_len, *(_cell_len(row[i]) for row in cells)])
        for i, column in enumerate(columns)
    ]
    shown, widths = _fit(columns, natural, width)
    lines = []
    if any(column.name for column in columns):
        lines.append(_row([Text(columns[i].name, style="bold") for i in shown], [widths[i] for i in shown]))
    for row in cells:
        lines += _lines([row[i] for i in shown], [columns[i] for i in shown], [widths[i] for i in shown])
    return lines


def dropped(columns: Sequence[Column], rows: Sequence[Sequence[Cell]], width: int | None) -> list[str]:
    """Return the names of the columns for which there is no room."""
    natural = [
        max([Text(column.name).cell_len, *(_cell_len(_text(row[i])) for row in rows)])
        for i, column in enumerate(columns)
    ]
    shown, _ = _fit(columns, natural, width)
    return [column.name for i, column in enumerate(columns) if i not in shown]


def _fit(columns: Sequence[Column], natural: Sequence[int], width: int | None) -> tuple[list[int], list[int]]:
    """Return which columns are shown, and the width of each."""
    shown, widths = list(range(len(columns))), list(natural)
    if width is None:
        return shown, widths
    least = [
        size if (least := columns[i].least) is None else min(size, least) for i, size in enumerate(natural)
    ]
    while sum(least[i] for i in shown) + _GAP * (len(shown) - 1) > width:
        droppable = [i for i in shown if columns[i].drop]
        if not droppable:
            break
        shown.remove(max(droppable, key=lambda i: columns[i].drop))
    while (over := sum(widths[i] for i in shown) + _GAP * (len(shown) - 1) - width) > 0:
        flexible = [i for i in shown if widths[i] > least[i]]
        if not flexible:
            break
        widest = max(flexible, key=lambda i: widths[i])
        widths[widest] = max(least[widest], widths[widest] - over)
    return shown, widths


def _lines(row: Sequence[Text], columns: Sequence[Column], widths: Sequence[int]) -> Iterator[Text]:
    """Yield the lines of one row: more than one where a cell has several, or is wrapped."""
    parts = [
        list(_fitted(cell, column, width)) for cell, column, width in zip(row, columns, widths, strict=True)
    ]
    for number in range(max(map(len, parts), default=0)):
        yield _row([cell[number] if number < len(cell) else Text() for cell in parts], widths)


def _fitted(cell: Text, column: Column, width: int) -> Iterator[Text]:
    for line in cell.split("\n", allow_blank=True) if cell.plain else [cell]:
        if line.cell_len <= width:
            yield line
        elif column.wrap:
            yield from wrapped(line, width, 0)
        elif column.least is not None:
            short = line.copy()
            short.truncate(max(1, width - 1))
            yield short + Text(_ELLIPSIS, style=line.style)
        else:
            yield line


def _row(cells: Sequence[Text], widths: Sequence[int]) -> Text:
    line = Text()
    for number, (cell, width) in enumerate(zip(cells, widths, strict=True)):
        line.append_text(cell)
        if number < len(cells) - 1:
            line.append(" " * (max(0, width - cell.cell_len) + _GAP))
    line.rstrip()
    return line


def wrapped(line: Text, width: int, indent: int) -> list[Text]:
    """Break a line at spaces; the lines after the first are indented. A longer word stays whole."""
    if line.cell_len <= width:
        return [line]
    breaks, start, last, room = [], 0, 0, width
    for word in re.finditer(r"\S+", line.plain):
        if Text(line.plain[start : word.end()]).cell_len > room and word.start() > start and last > start:
            breaks.append(word.start())
            start, room = word.start(), max(1, width - indent)
        last = word.end()
    parts = line.divide(breaks)
    for part in parts:
        part.rstrip()
    return [parts[0], *(Text(" " * indent).append_text(part) for part in parts[1:])]


def indent_of(plain: str, width: int) -> int:
    """Return where the text of a line begins, after its columns: where further lines of it begin, too."""
    found = [match.end() for match in re.finditer(r"(?:^|\S)\s{2,}(?=\S)", plain[: width // 2])]
    return found[-1] if found else 0


def _text(cell: Cell) -> Text:
    return cell if isinstance(cell, Text) else Text(clean(cell))


def _cell_len(cell: Text) -> int:
    return max((Text(line).cell_len for line in cell.plain.split("\n")), default=0)
