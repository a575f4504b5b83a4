"""`sluicegate abort`: stop a running deployment and restore its alias."""

from typing import TYPE_CHECKING

import click

from sluicegate_cli.decisions import decision_options, submit_decision
from sluicegate_cli.exit_codes import ExitCode
from sluicegate_cli.options import api_command
from sluicegate_cli.screen import Screen

if TYPE_CHECKING:
    from sluicegate_cli.api import ApiClient


@click.command("abort")
@decision_options(wait=True)
@api_command
def command(
    api: "ApiClient", screen: Screen, deployment: str, reason: str | None, wait: bool, max_wait: float | None
) -> ExitCode:
    """Abort deployment ID: stop it where it is, and restore its alias to what it served before.

    Follows the deployment to its end. Exit codes: 0 if it ended aborted, 1 if it ended otherwise, 4 if it
    had already ended. To undo a deployment that succeeded, use `sluicegate rollback`.

    \b
      sluicegate abort 01KAQ3ZV6N8T4R1F0C2H7M5XWE
      sluicegate abort 01KAQ3ZV6N8T4R1F0C2H7M5XWE --reason "wrong branch" --no-wait
    """
    return submit_decision(
        api, screen, "abort", deployment, reason=reason, wait=wait, max_wait=max_wait, wanted="aborted"
    )
