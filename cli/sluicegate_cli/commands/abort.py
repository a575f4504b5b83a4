"""`sluicegate abort`: ends a deployment that is under way, and brings back what it moved."""

import click

from sluicegate_cli.api import ApiClient
from sluicegate_cli.decisions import decide, decision_options
from sluicegate_cli.exit_codes import ExitCode
from sluicegate_cli.options import connected
from sluicegate_cli.screen import Screen


@click.command("abort")
@decision_options(wait=True)
@connected
def command(
    api: ApiClient, screen: Screen, deployment: str, reason: str | None, wait: bool, max_wait: float | None
) -> ExitCode:
    """Abort deployment ID: it stops where it is, and its alias is brought back to what it served before.

    Follows the deployment to its end. Exits 0 when it ended aborted, 1 when it ended otherwise, and 4 when
    it had ended already; what has succeeded is undone with `sluicegate rollback`.

    \b
      sluicegate abort 01KAQ3ZV6N8T4R1F0C2H7M5XWE
      sluicegate abort 01KAQ3ZV6N8T4R1F0C2H7M5XWE --reason "wrong branch" --no-wait
    """
    return decide(
        api, screen, "abort", deployment, reason=reason, wait=wait, max_wait=max_wait, wanted="aborted"
    )
