"""`sluicegate hold`: block new deployments to a stage, lift the block, or show it."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from sluicegate.documents import describe
from sluicegate_cli.exit_codes import ExitCode
from sluicegate_cli.layout import Column
from sluicegate_cli.options import SHORT_TEXT, api_command
from sluicegate_cli.screen import Screen

if TYPE_CHECKING:
    from sluicegate_cli.api import ApiClient


@click.command("hold")
@click.argument("stage")
@click.option(
    "--reason",
    type=SHORT_TEXT,
    metavar="TEXT",
    help="Hold the stage for this reason. Rejected requests show it in their error.",
)
@click.option("--release", is_flag=True, help="Release the stage.")
@api_command
def command(api: "ApiClient", screen: Screen, stage: str, reason: str | None, release: bool) -> ExitCode:
    """Hold STAGE with --reason, release it with --release, or show who holds it.

    A hold takes effect within seconds: new deployments are rejected, for the functions of the rule that lets
    you hold the stage. Running deployments continue, and rollbacks remain possible. Exits with code 0, held
    or not.

    \b
      sluicegate hold prod
      sluicegate hold prod --reason "incident 77: no deployments until it is over"
      sluicegate hold prod --release
    """
    if reason is not None and release:
        raise click.UsageError("use either --reason, which holds the stage, or --release")
    path = ("stages", stage, "hold")
    if reason is not None:
        document = api.post(*path, body={"reason": reason}).document
    elif release:
        document = _released(api, path)
    else:
        document = api.get(*path)
    screen.document(document)
    if not screen.as_json:
        _show(screen, document, api.now(), released=release)
    return ExitCode.OK


def _released(api: "ApiClient", path: tuple[str, ...]) -> Mapping[str, Any]:
    """Release the stage's holds, and return those that are left.

    A signed request names the hold that it releases: if somebody sends it again, it releases no later one.
    """
    if not api.auth.prefix:
        return api.delete(*path)
    document = api.get(*path)
    for hold in document["holds"]:
        document = api.delete(*path, id=hold["id"])
    return document


def _show(screen: Screen, document: Mapping[str, Any], now: float, *, released: bool) -> None:
    stage, holds = document["stage"], document["holds"]
    if not holds:
        screen.line(f"{stage} is {'no longer' if released else 'not'} held", "bold green")
        return
    screen.line(f"{stage} is {'still held, by another rule' if released else 'held'}", "bold yellow")
    screen.table(
        (
            Column("functions", least=16, wrap=True),
            Column("reason", least=20, wrap=True),
            Column("since"),
            Column("by", drop=1, least=12, wrap=True),
            Column("rule", drop=2, least=12, wrap=True),
        ),
        [
            (
                ", ".join(hold["functions"]),
                hold["reason"],
                screen.moment(hold["since"], now),
                describe.requester(hold["by"]),
                hold["rule"],
            )
            for hold in holds
        ],
    )
