"""`sluicegate history`: list the deployments that the caller may see, newest first."""

from collections.abc import Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import click
from rich.text import Text

from sluicegate.documents import describe
from sluicegate.documents.links import links, with_links
from sluicegate.text import clean
from sluicegate_cli.exit_codes import ExitCode
from sluicegate_cli.layout import Column
from sluicegate_cli.options import api_command
from sluicegate_cli.screen import Screen, status_style

if TYPE_CHECKING:
    from sluicegate_cli.api import ApiClient

_PAGE: Final = 100  # the API's limit

_COLUMNS: Final = (
    Column("id"),
    Column("created", drop=1),
    Column("action", drop=4),
    Column("function", least=12),
    Column("stage"),
    Column("status"),
    Column("version", drop=3),
    Column("built from", drop=5, least=12),
    Column("asked by", drop=2, least=6),
)


@click.command("history")
@click.option("--function", help="Show only this function.")
@click.option("--stage", help="Show only this stage.")
@click.option("--status", help="Show only this status, such as failed.")
@click.option("--release", help="Show only this release label.")
@click.option(
    "--actor",
    type=click.Choice(("agent", "person", "pipeline")),
    help="Show only what this kind of caller asked for.",
)
@click.option(
    "--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="Show at most this many."
)
@click.option(
    "--would-have",
    is_flag=True,
    help="Show what limits in `mode: observe` would have stopped, in the newest --limit deployments.",
)
@api_command
def command(
    api: "ApiClient",
    screen: Screen,
    function: str | None,
    stage: str | None,
    status: str | None,
    release: str | None,
    actor: str | None,
    limit: int,
    would_have: bool,
) -> ExitCode:
    """List deployments, newest first: those of your project, and those that your rules cover.

    \b
      sluicegate history --function orders-api --stage prod
      sluicegate history --status failed --limit 5 --json
      sluicegate history --actor agent
      sluicegate history --stage prod --limit 100 --would-have
    """
    newest = api.items(
        "deployments",
        function=function,
        stage=stage,
        status=status,
        release=release,
        actor=actor,
        limit=min(limit, _PAGE),
    )
    found = list(islice(newest, limit))
    if would_have:
        from sluicegate_cli.would_have import show

        show(screen, found, api.now())
        return ExitCode.OK
    screen.document({"items": [with_links(deployment) for deployment in found]})
    if screen.as_json:
        return ExitCode.OK
    if not found:
        screen.line("no deployments that you may see match")
        return ExitCode.OK
    screen.table(_COLUMNS, [_row(screen, deployment, api.now()) for deployment in found])
    return ExitCode.OK


def _row(screen: Screen, deployment: Mapping[str, Any], now: float) -> tuple[str | Text, ...]:
    by, built = deployment["requested_by"], deployment.get("built")
    return (
        deployment["id"],
        screen.moment(deployment["created_at"], now),
        deployment["action"],
        deployment["function"],
        deployment["stage"],
        Text(clean(deployment["status"]), style=status_style(deployment["status"])),
        deployment["version"] or "",
        screen.linked(describe.built(built) if deployment["version"] else "", links(built).get("commit")),
        screen.linked(describe.marked(by, describe.name(by)), links(by).get("job")),
    )
