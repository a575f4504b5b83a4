"""`sluicegate report`: one HTML page of a deployment, for the review of an incident."""

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from sluicegate.deployment.ulid import is_id
from sluicegate.documents.links import with_links
from sluicegate_cli.exit_codes import ExitCode
from sluicegate_cli.follow import ending
from sluicegate_cli.options import api_command
from sluicegate_cli.screen import Screen

if TYPE_CHECKING:
    from sluicegate_cli.api import ApiClient

_STDOUT: Final = "-"


@click.command("report")
@click.argument("deployment", metavar="ID")
@click.option(
    "--output",
    metavar="FILE",
    help="Write to this file (`-`: standard output). Default: sluicegate-ID.html in this directory.",
)
@click.option("--force", is_flag=True, help="Replace the file if it exists.")
@api_command
def command(
    api: "ApiClient", screen: Screen, deployment: str, output: str | None, *, force: bool
) -> ExitCode:
    """Write deployment ID as one HTML page: who, by which rule, what happened, plots, findings, alarms.

    The page is one file that needs nothing else: no script, nothing that it loads. It can be attached to an
    issue, printed, and read on a phone. With --json, print the document with all observations instead, and
    write a page only to --output.

    \b
      sluicegate report 01KAQ3ZV6N8T4R1F0C2H7M5XWE
      sluicegate report 01KAQ3ZV6N8T4R1F0C2H7M5XWE --output incident-77.html --force
    """
    if output is None and not is_id(deployment):  # it would become a file's name
        raise click.BadParameter(f"{deployment!r} is not a deployment's id", param_hint="ID")
    path = output or ("" if screen.as_json else f"sluicegate-{deployment}.html")
    if path == _STDOUT and screen.as_json:
        raise click.UsageError("--json prints the document to standard output: give --output a file")
    if path not in ("", _STDOUT):
        _check(path, force=force)
    record = api.get("deployments", deployment, observations="all")
    screen.document(with_links(record))
    if path:
        from sluicegate_cli.report.page import page  # imports Jinja2, which nothing else needs

        written = page(record, ending(record) if record["final"] else _running(record), api.now())
        if path == _STDOUT:
            click.echo(written, nl=False)
        else:
            _write(Path(path), written.encode(), force=force)
            screen.note(f"wrote {path}")
    return ExitCode.OK


def _check(path: str, *, force: bool) -> None:
    """Refuse what may not be replaced, before anything is requested."""
    if os.path.exists(path) and not os.path.isfile(path):
        raise click.UsageError(f"{path} is no plain file; for standard output, use --output -")
    if not force and os.path.lexists(path):
        raise _exists(path)


def _running(record: Mapping[str, Any]) -> str:
    return f"still {str(record['status']).replace('_', ' ')}: the page shows it until {record['updated_at']}"


def _write(path: Path, data: bytes, *, force: bool) -> None:
    """Write the whole file or nothing. Without `force`, an existing one is never touched, nor is a link."""
    if not force:
        try:
            file = path.open("xb")
        except FileExistsError:
            raise _exists(str(path)) from None
        with file:
            try:
                file.write(data)
            except OSError:
                path.unlink(missing_ok=True)
                raise
        return
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".sluicegate-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(name, 0o666 & ~umask)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _exists(path: str) -> click.UsageError:
    return click.UsageError(f"{path} exists: choose another --output, or replace it with --force")
