"""`sluicegate watch`: follow a deployment that another job or person started."""

from typing import TYPE_CHECKING

import click

from sluicegate.documents import describe
from sluicegate.documents.links import links
from sluicegate.documents.observed import Looks
from sluicegate_cli.exit_codes import ExitCode
from sluicegate_cli.follow import continues, follow
from sluicegate_cli.options import api_command, deployment_argument, max_wait_option
from sluicegate_cli.screen import Screen

if TYPE_CHECKING:
    from sluicegate_cli.api import ApiClient


@click.command("watch")
@deployment_argument
@max_wait_option
@api_command
def command(api: "ApiClient", screen: Screen, deployment: str, max_wait: float | None) -> ExitCode:
    """Follow deployment ID from its start to its end.

    On a terminal it draws the traffic split, the remaining time, the next steps, and what was observed of the
    new and the old version; in a log, one line for each event and each look at the metrics, and one a minute
    while the deployment bakes or awaits approval. Exit codes: 0 if it
    succeeded, 1 if it ended otherwise, 6 if --max-wait passed first.

    \b
      sluicegate watch 01KAQ3ZV6N8T4R1F0C2H7M5XWE
      sluicegate watch 01KAQ3ZV6N8T4R1F0C2H7M5XWE --max-wait 1h
    """
    document = api.get("deployments", deployment)
    with continues(deployment):
        looks = Looks()
        if screen.is_live and document.get("observation"):  # the drawing begins with those before
            looks.add(api.get("deployments", deployment, observations="all"))
        found = links(document.get("requested_by"))
        if url := found.get("job") or found.get("pipeline"):
            screen.note(f"requested by {describe.requester(document['requested_by'])}: {url}")
        return follow(api, screen, document, max_wait=max_wait, looks=looks)
