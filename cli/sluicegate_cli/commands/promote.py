"""`sluicegate promote`: deploy to a stage what another stage serves."""

from typing import TYPE_CHECKING, Any

import click

from sluicegate.documents import describe
from sluicegate_cli.errors import ApiError
from sluicegate_cli.exit_codes import ExitCode
from sluicegate_cli.options import DIGEST, VERSION, api_command
from sluicegate_cli.request import SharedOptions, request_options, submit
from sluicegate_cli.screen import Screen

if TYPE_CHECKING:
    from sluicegate_cli.api import ApiClient


@click.command("promote")
@click.argument("function")
@click.argument("stage")
@click.option("--from", "source", metavar="STAGE", required=True, help="The stage that serves it now.")
@click.option(
    "--version",
    type=VERSION,
    help="Promote only if --from serves exactly this version; otherwise exit with code 4.",
)
@click.option(
    "--artifact", type=DIGEST, metavar="SHA256", help="Promote only if --from serves exactly this code."
)
@request_options(strategy=True)
@api_command
def command(
    api: "ApiClient",
    screen: Screen,
    function: str,
    stage: str,
    source: str,
    version: str | None,
    artifact: str | None,
    request: SharedOptions,
) -> ExitCode:
    """Deploy to STAGE what FUNCTION serves in the stage --from, after it succeeded there.

    Without --version and --artifact, the command looks up what --from serves, prints it, and promotes
    exactly that: if it changes before the request arrives, the request is rejected. Exit codes: 0 if the
    deployment succeeded (with --no-wait: was accepted), 1 if it ended otherwise, 6 if --max-wait passed
    first.

    \b
      sluicegate promote orders-api prod --from staging
      sluicegate promote orders-api prod --from staging --version 42 --strategy canary:10:5m
      sluicegate promote orders-api prod --from staging --artifact 9f86d081884c7d65… --on-busy supersede
    """
    if version and artifact:
        raise click.UsageError("specify what --from must serve as either --version or --artifact")
    about: dict[str, Any] = {"action": "promote", "function": function, "stage": stage, "from": source}
    if artifact:
        about["artifact"] = {"sha256": artifact}
    else:
        about["version"] = version or _served(api, screen, function, source)
    return submit(api, screen, request, about)


def _served(api: "ApiClient", screen: Screen, function: str, stage: str) -> str:
    """Return the version that the stage serves. Raises ApiError if it serves none or two."""
    serving = api.get("functions", function)["stages"].get(stage)
    if serving is None:
        raise _nothing_to_promote(f"{function} serves nothing in {stage} that you may see")
    if serving["weights"]:
        raise _nothing_to_promote(
            f"{function} serves two versions in {stage} now: {describe.serving(serving)}"
        )
    ref = f" of {serving['ref']}" if serving["ref"] else ""
    screen.line(
        f"{stage} serves version {serving['version']}{ref}, sha256 {serving['artifact']['sha256'][:12]}: "
        "promoting it"
    )
    return str(serving["version"])


def _nothing_to_promote(detail: str) -> ApiError:
    return ApiError(
        ExitCode.UNACCEPTABLE, {"code": "nothing_to_promote", "title": "Nothing to promote", "detail": detail}
    )
