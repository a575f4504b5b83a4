"""`sluicegate rollback`: return a stage to what it served before."""

from typing import TYPE_CHECKING, Any

import click

from sluicegate_cli.exit_codes import ExitCode
from sluicegate_cli.options import VERSION, api_command
from sluicegate_cli.request import SharedOptions, request_options, submit
from sluicegate_cli.screen import Screen

if TYPE_CHECKING:
    from sluicegate_cli.api import ApiClient


@click.command("rollback")
@click.argument("function")
@click.argument("stage")
@click.option(
    "--version", type=VERSION, help="Return to this version, which this stage must have served before."
)
@request_options(strategy=False)
@api_command
def command(
    api: "ApiClient", screen: Screen, function: str, stage: str, version: str | None, request: SharedOptions
) -> ExitCode:
    """Return FUNCTION in STAGE to what it served before, at once.

    The current version counts as withdrawn from then on, so that the next rollback goes further back, not
    forward again. A rollback needs no approval and ignores holds, and a running deployment is aborted
    first. Exits with code 0 if the rollback succeeded.

    \b
      sluicegate rollback orders-api prod
      sluicegate rollback orders-api prod --version 41 --description "incident 77"
      sluicegate rollback orders-api prod --dry-run
    """
    about: dict[str, Any] = {"action": "rollback", "function": function, "stage": stage}
    if version is not None:
        about["version"] = version
    return submit(api, screen, request, about)
