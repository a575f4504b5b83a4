"""`sluicegate deploy`: uploads what is not there yet, asks for a deployment, follows it to its end."""

import hashlib
import zipfile
from pathlib import Path

import click

from sluicegate_cli.api import ApiClient, not_uploaded
from sluicegate_cli.exit_codes import ExitCode
from sluicegate_cli.options import DIGEST, connected
from sluicegate_cli.request import DeploymentRequest, request_options, submit
from sluicegate_cli.screen import Progress, Screen, size


@click.command("deploy")
@click.argument("function")
@click.argument("stage")
@click.option(
    "--zip",
    "file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The code; uploaded unless the same bytes are there already.",
)
@click.option("--artifact", type=DIGEST, metavar="SHA256", help="Code that was uploaded before.")
@request_options(strategy=True)
@connected
def command(
    api: ApiClient,
    screen: Screen,
    function: str,
    stage: str,
    file: Path | None,
    artifact: str | None,
    request: DeploymentRequest,
) -> ExitCode:
    """Deploy code to FUNCTION in STAGE.

    Give the code as --zip or --artifact; --dry-run uploads it, too. Exits 0 when the deployment succeeded
    (with --no-wait: was accepted), 1 when it ended otherwise, and 6 when --max-wait was over first. Running
    the same command again is safe: the same request has one effect.

    \b
      sluicegate deploy orders-api dev --zip orders-api.zip
      sluicegate deploy orders-api prod --zip orders-api.zip --release "$CI_COMMIT_TAG" --expect-version 41
      sluicegate deploy orders-api prod --zip orders-api.zip --strategy canary:10:5m --on-busy supersede
      sluicegate deploy orders-api prod --artifact 9f86d081884c7d65… --no-wait --json
    """
    if (file is None) == (artifact is None):
        raise click.UsageError("give the code as one of --zip and --artifact")
    if file:
        artifact = _uploaded(api, screen, function, file)
    about = {
        "action": "deploy",
        "function": function,
        "stage": stage,
        "artifact": {"sha256": artifact},
    }
    return submit(api, screen, request, about)


def _uploaded(api: ApiClient, screen: Screen, function: str, file: Path) -> str:
    """The zip's SHA-256, once the zip is where deployments find it. Raises ApiError."""
    if not zipfile.is_zipfile(file):
        raise click.BadParameter(f"{file} is not a zip archive", param_hint="--zip")
    with file.open("rb") as source:
        digest = hashlib.file_digest(source, "sha256").hexdigest()
    total = file.stat().st_size
    screen.line(f"{file.name}: {size(total)}, sha256 {digest}")
    # A permission lasts for minutes: one that ran out on a slow line is asked for once more.
    refused: str | None = None
    for _ in range(2):
        answer = api.post("artifacts", body={"function": function, "sha256": digest, "size": total})
        upload = answer.document["upload"]
        if upload is None:
            screen.line("already uploaded")
            return digest
        with screen.live(Progress("uploading")) as progress:

            def sent(count: int) -> None:
                progress.label = f"uploading {size(count)} of {size(total)}"

            refused = api.upload(upload, file, sent)
        if refused is None:
            screen.line("uploaded")
            return digest
    raise not_uploaded(f"the artifact store refused the upload twice: {refused}", ExitCode.REJECTED)
