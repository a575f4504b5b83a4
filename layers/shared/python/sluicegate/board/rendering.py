"""Pages from templates. Everything that a template writes is cleaned and escaped.

The build compiles the templates with `python -m sluicegate.board.rendering SOURCES OUT`, so that no cold
start does. Jinja2 is in the board's own layer: import this module where a page is rendered, and nowhere else.
"""

import sys
from pathlib import Path
from typing import Any, Final

from jinja2 import BaseLoader, Environment, FileSystemLoader, ModuleLoader, StrictUndefined
from markupsafe import Markup

from sluicegate.text import clean

_TEXT: Final = 2_000
"""Characters of one value on a page; more is cut."""


def environment(loader: BaseLoader) -> Environment:
    """Return the environment, the same for the build and for requests."""
    made = Environment(
        loader=loader,
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.filters["moment"] = _moment
    return made


class Renderer:
    """Renders the templates of a directory: compiled ones, or sources where there are none."""

    def __init__(self, directory: Path) -> None:
        compiled = any(directory.glob("tmpl_*.py"))
        self._environment = environment(ModuleLoader(directory) if compiled else FileSystemLoader(directory))

    def render(self, template: str, values: dict[str, Any]) -> str:
        """Return the page. A name that a template does not find in `values` is an error."""
        return self._environment.get_template(template).render(values)

    def live(self, body: str, *, address: str, headers: str, every: int | None) -> Markup:
        """Return a region around a rendered body: it asks for its address every so many milliseconds."""
        values = {
            "body": Markup(body),  # noqa: S704 (rendered by `render`, which escapes)
            "address": address,
            "headers": headers,
            "every": every,
        }
        return Markup(self.render("live.html", values))  # noqa: S704 (the same)


def compile_all(sources: Path, out: Path) -> None:
    """Compile each template to a Python module. Raises jinja2.TemplateError."""
    environment(FileSystemLoader(sources)).compile_templates(
        str(out), zip=None, ignore_errors=False, extensions=["html"]
    )


def _finalize(value: object) -> object:
    """Clean what a template writes: control characters, and those that show text in another order."""
    if isinstance(value, Markup):
        return value
    return "" if value is None else clean(str(value), _TEXT)


def _moment(timestamp: object) -> str:
    """Format a timestamp, which is in UTC: `2026-11-26 14:23:44`."""
    return str(timestamp)[:19].replace("T", " ")


if __name__ == "__main__":
    compile_all(Path(sys.argv[1]), Path(sys.argv[2]))
