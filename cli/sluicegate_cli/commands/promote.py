"""`sluicegate promote`: a stage serves what another stage serves already."""

from typing import Any

import click

from sluicegate_cli import describe
from sluicegate_cli.api import ApiClient
from sluicegate_cli.errors import ApiError
from sluicegate_cli.exit_codes import ExitCode
from sluicegate_cli.options import DIGEST, VERSION, connected
from sluicegate_cli.request import DeploymentRequest, request_options, submit
from sluicegate_cli.screen import Screen


@click.command("promote")
@click.argument("function")
@click.argument("stage")
@click.option("--from", "source", metavar="STAGE", required=True, help="The stage that serves it already.")
@click.option("--version", type=VERSION, help="Only if --from serves exactly this version; else exit 4.")
@click.option("--artifact", type=DIGEST, metavar="SHA256", help="Only if --from serves exactly this code.")
@request_options(strategy=True)
@connected
def command(
    api: ApiClient,
    screen: Screen,
    function: str,
    stage: str,
    source: str,
    version: str | None,
    artifact: str | None,
    request: DeploymentRequest,
) -> ExitCode:
    """Deploy to STAGE what FUNCTION serves in the stage --from, once it succeeded there.

    With neither --version nor --artifact it looks up what --from serves, says so, and promotes exactly that:
    if it changes before the request arrives, that is refused. Exits 0 when the deployment succeeded (with
    --no-wait: was accepted), 1 when it ended otherwise, and 6 when --max-wait was over first.

    \b
      sluicegate promote orders-api prod --from staging
      sluicegate promote orders-api prod --from staging --version 42 --strategy canary:10:5m
      sluicegate promote orders-api prod --from staging --artifact 9f86d081884c7d65… --on-busy supersede
    """
    if version and artifact:
        raise click.UsageError("give what --from has to serve as one of --version and --artifact")
    about: dict[str, Any] = {"action": "promote", "function": function, "stage": stage, "from": source}
    if artifact:
        about["artifact"] = {"sha256": artifact}
    else:
        about["version"] = version or _served(api, screen, function, source)
    return submit(api, screen, request, about)


def _served(api: ApiClient, screen: Screen, function: str, stage: str) -> str:
    """The one version that the stage serves. Raises ApiError where there is none, or it serves two."""
    serving = api.get("functions", function)["stages"].get(stage)
    if serving is None:
        raise _nothing(f"{function} serves nothing in {stage} that you may see")
    if serving["weights"]:
        raise _nothing(f"{function} serves two versions in {stage} now: {describe.serving(serving)}")
    ref = f" of {serving['ref']}" if serving["ref"] else ""
    screen.line(
        f"{stage} serves version {serving['version']}{ref}, sha256 {serving['artifact']['sha256'][:12]}: "
        "promoting exactly that"
    )
    return str(serving["version"])


def _nothing(detail: str) -> ApiError:
    return ApiError(
        ExitCode.REJECTED, {"code": "nothing_to_promote", "title": "Nothing to promote", "detail": detail}
    )
