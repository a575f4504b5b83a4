"""`sluicegate approve`: approve a deployment that awaits a second person."""

from typing import TYPE_CHECKING

import click

from sluicegate_cli.decisions import decision_options, submit_decision
from sluicegate_cli.exit_codes import ExitCode
from sluicegate_cli.options import api_command
from sluicegate_cli.screen import Screen

if TYPE_CHECKING:
    from sluicegate_cli.api import ApiClient


@click.command("approve")
@decision_options(wait=False)
@api_command
def command(
    api: "ApiClient", screen: Screen, deployment: str, reason: str | None, wait: bool, max_wait: float | None
) -> ExitCode:
    """Approve deployment ID, which awaits approval.

    The approver must be a different user from the one who requested the deployment, in a different pipeline
    or signed in (`sluicegate login`), and needs a rule that grants approve. `sluicegate status ID` shows what
    would be deployed, and by whom. Exit codes: 0 once the approval is recorded; with --wait, those of
    `sluicegate deploy`.

    \b
      sluicegate approve 01KAQ3ZV6N8T4R1F0C2H7M5XWE
      sluicegate approve 01KAQ3ZV6N8T4R1F0C2H7M5XWE --reason "change 812" --wait
    """
    return submit_decision(
        api, screen, "approve", deployment, reason=reason, wait=wait, max_wait=max_wait, wanted="succeeded"
    )
