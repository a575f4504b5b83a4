"""`sluicegate watch`: follows a deployment that somebody else, or an earlier job, started."""

import click

from sluicegate_cli.api import ApiClient
from sluicegate_cli.exit_codes import ExitCode
from sluicegate_cli.follow import follow
from sluicegate_cli.options import connected, max_wait
from sluicegate_cli.screen import Screen


@click.command("watch")
@click.argument("deployment", metavar="ID")
@max_wait
@connected
def command(api: ApiClient, screen: Screen, deployment: str, max_wait: float | None) -> ExitCode:
    """Follow deployment ID to its end, from its beginning.

    On a terminal it shows where the traffic goes, the time left, and the steps to come; in a log, one line
    for each thing that happens, and one a minute while it bakes or awaits an approval. Exits 0 when it
    succeeds, 1 when it ends otherwise, and 6 when --max-wait was over first.

    \b
      sluicegate watch 01KAQ3ZV6N8T4R1F0C2H7M5XWE
      sluicegate watch 01KAQ3ZV6N8T4R1F0C2H7M5XWE --max-wait 1h
    """
    return follow(api, screen, api.get("deployments", deployment), max_wait=max_wait)
