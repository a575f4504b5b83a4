"""`sluicegate rollback`: a stage serves again what it served before."""

from typing import Any

import click

from sluicegate_cli.api import ApiClient
from sluicegate_cli.exit_codes import ExitCode
from sluicegate_cli.options import VERSION, connected
from sluicegate_cli.request import DeploymentRequest, request_options, submit
from sluicegate_cli.screen import Screen


@click.command("rollback")
@click.argument("function")
@click.argument("stage")
@click.option("--version", type=VERSION, help="To this version, which once succeeded in this stage.")
@request_options(strategy=False)
@connected
def command(
    api: ApiClient, screen: Screen, function: str, stage: str, version: str | None, request: DeploymentRequest
) -> ExitCode:
    """Bring FUNCTION in STAGE back to what it served before, at once.

    The version that it leaves counts as withdrawn there, so that the next rollback goes further back, not
    forth. Neither an approval nor a hold stops it, and a deployment that is under way there is ended
    first. Exits 0 when the rollback succeeded.

    \b
      sluicegate rollback orders-api prod
      sluicegate rollback orders-api prod --version 41 --description "incident 77"
      sluicegate rollback orders-api prod --dry-run
    """
    about: dict[str, Any] = {"action": "rollback", "function": function, "stage": stage}
    if version is not None:
        about["version"] = version
    return submit(api, screen, request, about)
