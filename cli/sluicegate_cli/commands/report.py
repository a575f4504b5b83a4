"""`sluicegate report`: one HTML page of a deployment, for the review of an incident."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from sluicegate.documents.links import with_links
from sluicegate_cli import output_file
from sluicegate_cli.exit_codes import ExitCode
from sluicegate_cli.follow import ending
from sluicegate_cli.options import api_command, deployment_argument
from sluicegate_cli.screen import Screen

if TYPE_CHECKING:
    from sluicegate_cli.api import ApiClient


@click.command("report")
@deployment_argument
@click.option(
    "--output",
    metavar="FILE",
    help="Write to this file (`-`: standard output). Default: sluicegate-ID.html in this directory.",
)
@output_file.force_option
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
    path = output_file.chosen(output, f"sluicegate-{deployment}.html", as_json=screen.as_json, force=force)
    record = api.get("deployments", deployment, observations="all")
    screen.document(with_links(record))
    if path:
        from sluicegate_cli.report.page import page  # imports Jinja2, which nothing else needs

        written = page(record, ending(record) if record["final"] else _running(record), api.now())
        if path == output_file.STDOUT:
            click.echo(written, nl=False)
        else:
            output_file.write(path, written.encode(), force=force)
            screen.note(f"wrote {path}")
    return ExitCode.OK


def _running(record: Mapping[str, Any]) -> str:
    return f"still {str(record['status']).replace('_', ' ')}: the page shows it until {record['updated_at']}"
