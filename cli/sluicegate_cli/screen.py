"""Write output: live on a terminal, plain lines in a log, one JSON document with `--json`.

All text from a server is cleaned here: a value must not be able to end a line and forge the next one, or to
move the cursor.
"""

import json
import os
import stat
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, TextIO, TypeVar

import click
from rich.console import Console, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from sluicegate.text import clean
from sluicegate_cli import fields
from sluicegate_cli.errors import ApiError
from sluicegate_cli.field_shapes import VALUE, Shape
from sluicegate_cli.hints import hint
from sluicegate_cli.layout import Column, dropped, indent_of, table, wrapped
from sluicegate_cli.times import ago

_STYLES: Final = {
    "succeeded": "bold green",
    "failed": "bold red",
    "rolled_back": "bold yellow",
    "rejected": "bold red",
    "aborted": "bold yellow",
}
_LOG_WIDTH: Final = 160  # columns of what rich itself lays out in a log


def status_style(status: str) -> str:
    """Return the style of a deployment's status."""
    return _STYLES.get(status, "cyan")


_View = TypeVar("_View", bound=RenderableType)


class _Console(Console):
    """A console that leaves a broken pipe to the command line's end, instead of exiting with 1."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def is_coloured(stream: TextIO, environment: Mapping[str, str]) -> bool:
    """Return whether to colour what is written to the stream.

    NO_COLOR (no-color.org) comes first, then FORCE_COLOR (force-color.org) and CLICOLOR_FORCE, TERM=dumb and
    CLICOLOR=0 (bixense.com/clicolors). Otherwise terminals get colours, and so does a GitLab job's log, which
    shows them (GitLab's documentation, "Job logs"), unless the output is a file.
    """
    if environment.get("NO_COLOR"):
        return False
    for name in ("FORCE_COLOR", "CLICOLOR_FORCE"):
        if value := environment.get(name):
            return value.lower() not in ("0", "false", "no")
    if environment.get("TERM") == "dumb" or environment.get("CLICOLOR") == "0":
        return False
    return stream.isatty() or (environment.get("GITLAB_CI") == "true" and not _is_file(stream))


def _is_file(stream: TextIO) -> bool:
    try:
        return stat.S_ISREG(os.fstat(stream.fileno()).st_mode)
    except (OSError, ValueError):  # a stream without a file descriptor
        return True


class Screen:
    """The output of a command. With `as_json`, stdout gets only the document, and stderr the rest.

    `fields`: of the document, which has the given shape, print only these. Without `as_json`, as plain lines.
    """

    def __init__(self, *, as_json: bool, fields: Sequence[str] = (), shape: Shape = VALUE) -> None:
        self.as_json = as_json or bool(fields)
        """Whether stdout is for the document, so that nothing else may be printed there."""
        self._fields = fields
        self._shape = shape
        self.missing: list[str] = []
        """Fields without a value where the document's shape leaves their names open, such as a claim's."""
        self._field_lines = bool(fields) and not as_json
        stream = sys.stderr if self.as_json else sys.stdout
        self._console = _console(stream)
        self._errors = _console(sys.stderr)
        self.is_live = stream.isatty() and os.environ.get("TERM") != "dumb"
        """Whether the output is a terminal that can show progress."""

    @property
    def width(self) -> int | None:
        """Return the terminal's width; None for a log, whose lines have no limit."""
        return self._console.width if self.is_live else None

    def line(self, text: str, style: str = "") -> None:
        """Print one line. Text from a server is cleaned, and never read as markup."""
        self.text(Text(clean(text, 1024), style=style))

    def text(self, text: Text) -> None:
        """Print one line of styled parts, which the caller has cleaned; wrapped at spaces on a terminal."""
        self._print(self._console, text)

    def _print(self, console: Console, text: Text) -> None:
        width = console.width if self.is_live else None
        for part in [text] if width is None else wrapped(text, width, indent_of(text.plain, width)):
            console.print(part, soft_wrap=True)

    def moment(self, timestamp: str | None, now: float) -> str:
        """Format a timestamp: how long ago on a terminal, else as it is; empty for None."""
        return "" if timestamp is None else ago(timestamp, now) if self.is_live else timestamp

    def linked(self, text: str, url: str | None, style: str = "") -> Text:
        """Return the text, on a terminal as a link (OSC 8). GitLab's log would show the sequence."""
        found = Text(clean(text), style=style)
        if url and self.is_live and url.isascii() and url.isprintable():
            found.stylize(f"link {url}")
        return found

    def note(self, text: str) -> None:
        """Print one line of secondary information to stderr."""
        self._print(self._errors, Text(clean(text, 1024), style="dim"))

    def document(self, document: Mapping[str, Any]) -> None:
        """With `--json` or `--field`, print the document or the fields, in ASCII, safe for any terminal."""
        if not self.as_json:
            return
        if not self._fields:
            click.echo(json.dumps(document, indent=2))
            return
        for name in fields.unknown(document, self._fields):
            self.note(f"there is no field {name}; --json shows all fields")
        self.missing = fields.missing(document, self._fields, self._shape)
        for name in self.missing:
            self.note(f"there is no value {name} here; --json shows all")
        found = fields.chosen(document, self._fields)
        if not self._field_lines:
            several = fields.is_list(document, self._fields)
            click.echo(json.dumps({"items": found} if several else found[0], indent=2))
            return
        for line in fields.lines(found):
            click.echo(line)

    def table(self, columns: Sequence[str | Column], rows: Iterable[Sequence[str | Text]]) -> None:
        """Print rows under headings: on a terminal as its width allows, in a log in full.

        A heading alone is a column that stays in full.
        """
        self._table(self._console, columns, list(rows))

    def _table(
        self, console: Console, columns: Sequence[str | Column], rows: Sequence[Sequence[str | Text]]
    ) -> None:
        named = [column if isinstance(column, Column) else Column(column) for column in columns]
        for line in table(named, rows, self.width):
            console.print(line, soft_wrap=True)
        if self.width and (left_out := dropped(named, rows, self.width)):
            self.note(f"no room for {', '.join(left_out)}: use a wider terminal, or --json")

    def error(self, error: ApiError) -> None:
        """Print an error and what to do about it to stderr; with `--json`, also the document."""
        document = error.document
        code = _text(document.get("code"))
        status = document.get("status")
        head = f"{code} ({status})" if isinstance(status, int) else code
        pointers = [item for item in _items(document, "errors") if isinstance(item, Mapping)]
        detail = "" if pointers else f"  {_text(document.get('detail'))}"
        self._print(
            self._errors,
            Text.assemble(("error: ", "bold red"), (_text(document.get("title")), "bold"), f" [{head}]"),
        )
        if detail:
            self._print(self._errors, Text(detail))
        if pointers:
            found = [(_text(i.get("pointer")), _text(i.get("detail"))) for i in pointers]
            self._table(self._errors, ("where", Column("what", least=20, wrap=True)), found)
        if nearest := list(_nearest(document)):
            columns = (
                Column("nearest rule", least=16, wrap=True),
                "failed claim",
                Column("this job has", least=16, wrap=True),
            )
            self._table(self._errors, columns, nearest)
        for label, text in (
            ("failed check", document.get("check")),
            ("running", document.get("deployment")),
            ("hint", hint(code, _text(document.get("cause")))),
            ("note", error.note),
            ("request id", document.get("request_id")),
        ):
            if text:
                self._print(self._errors, Text(f"  {label}: {_text(text)}", style="dim"))
        if self.as_json and not self._field_lines:
            click.echo(json.dumps(document, indent=2))

    @contextmanager
    def live(self, view: _View) -> Iterator[_View]:
        """Show the view at the bottom of a terminal, below other output; do nothing in a log."""
        if not self.is_live:
            yield view
            return
        with Live(view, console=self._console, refresh_per_second=10, transient=True):
            yield view


class Progress:
    """A spinner with a label and the elapsed time."""

    def __init__(self, label: str) -> None:
        self.label = label
        self._spinner = Spinner("dots", style="cyan")
        self._since = time.monotonic()

    def __rich__(self) -> RenderableType:
        elapsed = time.monotonic() - self._since
        self._spinner.update(text=Text(f"{clean(self.label)}  {elapsed:.1f} s", style="cyan"))
        return self._spinner


def stacked(parts: Iterable[str]) -> Text:
    """Return a table cell with one part per line."""
    return Text("\n".join(clean(part) for part in parts))


def format_size(count: int) -> str:
    """Format bytes: `812 B`, `4.2 MB`."""
    if count < 1000:
        return f"{count} B"
    return f"{count / 1000:.1f} kB" if count < 1_000_000 else f"{count / 1_000_000:.1f} MB"


def _console(stream: Any) -> Console:
    """Create a console for a stream: coloured if its reader can show colours, else plain."""
    coloured = is_coloured(stream, os.environ)
    return _Console(
        file=stream,
        force_terminal=coloured or stream.isatty(),
        color_system="auto" if stream.isatty() and coloured else "standard" if coloured else None,
        no_color=not coloured,
        width=None if stream.isatty() else _LOG_WIDTH,
        highlight=False,
        markup=False,
        emoji=False,
    )


def _text(value: object) -> str:
    return "" if value is None else clean(str(value), 1024)


def _items(document: Mapping[str, Any], name: str) -> Sequence[Any]:
    value = document.get(name)
    return value if isinstance(value, list) else []


def _nearest(document: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield one row per failed claim of each nearest rule."""
    for rule in _items(document, "nearest"):
        name = _text(rule.get("rule"))
        for failed in _items(rule, "failed"):
            value = failed.get("value")
            yield name, _text(failed.get("claim")), "(not in the token)" if value is None else _text(value)
            name = ""
