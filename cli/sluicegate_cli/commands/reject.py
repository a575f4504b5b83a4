"""`sluicegate reject`: ends a deployment that waits for a second person."""

import click

from sluicegate_cli.api import ApiClient
from sluicegate_cli.decisions import decide, decision_options
from sluicegate_cli.exit_codes import ExitCode
from sluicegate_cli.options import connected
from sluicegate_cli.screen import Screen


@click.command("reject")
@decision_options(wait=True)
@connected
def command(
    api: ApiClient, screen: Screen, deployment: str, reason: str | None, wait: bool, max_wait: float | None
) -> ExitCode:
    """Reject deployment ID, which awaits an approval: it ends, and nothing of it was deployed.

    That takes a rule that grants reject. Exits 0 when the deployment ended rejected, 1 when it ended
    otherwise, and 4 when it does not await an approval.

    \b
      sluicegate reject 01KAQ3ZV6N8T4R1F0C2H7M5XWE --reason "not before Monday"
    """
    return decide(
        api, screen, "reject", deployment, reason=reason, wait=wait, max_wait=max_wait, wanted="rejected"
    )
