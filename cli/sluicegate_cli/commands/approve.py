"""`sluicegate approve`: lets a deployment go on that waits for a second person."""

import click

from sluicegate_cli.api import ApiClient
from sluicegate_cli.decisions import decide, decision_options
from sluicegate_cli.exit_codes import ExitCode
from sluicegate_cli.options import connected
from sluicegate_cli.screen import Screen


@click.command("approve")
@decision_options(wait=False)
@connected
def command(
    api: ApiClient, screen: Screen, deployment: str, reason: str | None, wait: bool, max_wait: float | None
) -> ExitCode:
    """Approve deployment ID, which awaits it.

    That takes another user than the one who asked for the deployment, in another pipeline, and a rule that
    grants approve. `sluicegate status ID` shows what would be deployed, and by whom. Exits 0 once the
    approval is recorded; with --wait as `sluicegate deploy` does, 0 only when the deployment succeeded.

    \b
      sluicegate approve 01KAQ3ZV6N8T4R1F0C2H7M5XWE
      sluicegate approve 01KAQ3ZV6N8T4R1F0C2H7M5XWE --reason "change 812" --wait
    """
    return decide(
        api, screen, "approve", deployment, reason=reason, wait=wait, max_wait=max_wait, wanted="succeeded"
    )
