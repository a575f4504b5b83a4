"""`sluicegate reject`: reject a deployment that awaits a second person."""

from typing import TYPE_CHECKING

import click

from sluicegate_cli.decisions import decision_options, submit_decision
from sluicegate_cli.exit_codes import ExitCode
from sluicegate_cli.options import api_command
from sluicegate_cli.screen import Screen

if TYPE_CHECKING:
    from sluicegate_cli.api import ApiClient


@click.command("reject")
@decision_options(wait=True)
@api_command
def command(
    api: "ApiClient", screen: Screen, deployment: str, reason: str | None, wait: bool, max_wait: float | None
) -> ExitCode:
    """Reject deployment ID, which awaits approval: it ends, and nothing is deployed.

    This needs a rule that grants reject. Exit codes: 0 if the deployment ended rejected, 1 if it ended
    otherwise, 4 if it does not await approval.

    \b
      sluicegate reject 01KAQ3ZV6N8T4R1F0C2H7M5XWE --reason "not before Monday"
    """
    return submit_decision(
        api, screen, "reject", deployment, reason=reason, wait=wait, max_wait=max_wait, wanted="rejected"
    )
