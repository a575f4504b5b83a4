"""`sluicegate history`: list the deployments that the caller may see, newest first."""

from itertools import islice
from typing import Final

import click
from rich.text import Text

from sluicegate_cli import describe
from sluicegate_cli.api import ApiClient
from sluicegate_cli.exit_codes import ExitCode
from sluicegate_cli.options import api_command
from sluicegate_cli.screen import Screen, status_style

_PAGE: Final = 100  # the API's limit


@click.command("history")
@click.option("--function", help="Show only this function.")
@click.option("--stage", help="Show only this stage.")
@click.option("--status", help="Show only this status, such as failed.")
@click.option("--release", help="Show only this release label.")
@click.option(
    "--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="Show at most this many."
)
@api_command
def command(
    api: ApiClient,
    screen: Screen,
    function: str | None,
    stage: str | None,
    status: str | None,
    release: str | None,
    limit: int,
) -> ExitCode:
    """List deployments, newest first: those of your project, and those that your rules cover.

    \b
      sluicegate history --function orders-api --stage prod
      sluicegate history --status failed --limit 5 --json
    """
    newest = api.items(
        "deployments", function=function, stage=stage, status=status, release=release, limit=min(limit, _PAGE)
    )
    found = list(islice(newest, limit))
    screen.document({"items": found})
    if screen.as_json:
        return ExitCode.OK
    if not found:
        screen.line("no deployments that you may see match")
        return ExitCode.OK
    screen.table(
        ("id", "created", "action", "function", "stage", "status", "version", "built from", "asked by"),
        [
            (
                deployment["id"],
                deployment["created_at"],
                deployment["action"],
                deployment["function"],
                deployment["stage"],
                Text(deployment["status"], style=status_style(deployment["status"])),
                deployment["version"] or "",
                describe.built(deployment.get("built")) if deployment["version"] else "",
                deployment["requested_by"]["user_login"] or "",
            )
            for deployment in found
        ],
    )
    return ExitCode.OK
