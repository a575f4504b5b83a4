"""`sluicegate deploy`: upload the code if needed, request a deployment, and follow it to its end."""

import hashlib
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from sluicegate_cli.exit_codes import ExitCode
from sluicegate_cli.options import DIGEST, SHORT_TEXT, api_command
from sluicegate_cli.request import SharedOptions, request_options, submit
from sluicegate_cli.screen import Progress, Screen, format_size

if TYPE_CHECKING:
    from sluicegate_cli.api import ApiClient

MAX_SIZE: Final = 262_144_000
"""Bytes of a zip that the API takes (`sluicegate.aws.s3`), which this does not import: it loads boto3."""


@click.command("deploy")
@click.argument("function")
@click.argument("stage")
@click.option(
    "--zip",
    "file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The code. It is uploaded unless the same bytes were uploaded before.",
)
@click.option(
    "--artifact", type=DIGEST, metavar="SHA256", help="The digest of code that was uploaded before."
)
@click.option(
    "--fix-forward",
    is_flag=True,
    help="Overlook the alarms that are firing before the first move: this is the fix. Needs --reason, and a "
    "rule that grants fix-forward and deploy.",
)
@click.option("--reason", type=SHORT_TEXT, metavar="TEXT", help="Why, for the record. With --fix-forward.")
@request_options(strategy=True)
@api_command
def command(
    api: "ApiClient",
    screen: Screen,
    function: str,
    stage: str,
    file: Path | None,
    artifact: str | None,
    fix_forward: bool,
    reason: str | None,
    request: SharedOptions,
) -> ExitCode:
    """Deploy code to FUNCTION in STAGE.

    The code is either --zip or --artifact; --dry-run uploads it, too. Exit codes: 0 if the deployment
    succeeded (with --no-wait: was accepted), 1 if it ended otherwise, 6 if --max-wait passed first. It is
    safe to run the same command again: the same request has one effect.

    \b
      sluicegate deploy orders-api dev --zip orders-api.zip
      sluicegate deploy orders-api prod --zip orders-api.zip --release "$CI_COMMIT_TAG" --expect-version 41
      sluicegate deploy orders-api prod --zip orders-api.zip --strategy canary:10:5m --on-busy supersede
      sluicegate deploy orders-api prod --artifact 9f86d081884c7d65… --no-wait --json
      sluicegate deploy orders-api prod --zip fix.zip --fix-forward --reason "v1.4 fails half of the orders"
    """
    if fix_forward != bool(reason and reason.strip()):
        raise click.UsageError("--fix-forward and --reason come together")
    if (file is None) == (artifact is None):
        raise click.UsageError("specify the code as either --zip or --artifact")
    if file:
        artifact = _uploaded(api, screen, function, file)
    about = {
        "action": "deploy",
        "function": function,
        "stage": stage,
        "artifact": {"sha256": artifact},
        **({"fix_forward": True, "reason": reason} if fix_forward else {}),
    }
    return submit(api, screen, request, about)


def _checked_size(file: Path) -> int:
    """Return the size of the zip in bytes. Raises BadParameter for what Lambda could not take."""
    total = file.stat().st_size
    problem = ""
    if not file.is_file():
        problem = "is not a file: a pipe cannot be read twice"
    elif total == 0:
        problem = "is empty: did the build fail?"
    elif total > MAX_SIZE:
        problem = f"has {format_size(total)}, and Lambda takes {format_size(MAX_SIZE)} at most"
    elif not zipfile.is_zipfile(file):
        problem = "is not a zip archive"
    if problem:
        raise click.BadParameter(f"{file} {problem}", param_hint="--zip")
    return total


def _uploaded(api: "ApiClient", screen: Screen, function: str, file: Path) -> str:
    """Upload the zip, unless it is there already, and return its SHA-256. Raises ApiError."""
    total = _checked_size(file)
    with file.open("rb") as source:
        digest = hashlib.file_digest(source, "sha256").hexdigest()
    screen.line(f"{file.name}: {format_size(total)}, sha256 {digest}")
    from sluicegate_cli.api import not_uploaded

    # A presigned URL lasts for minutes: if it expires on a slow connection, request another one, once.
    refused: str | None = None
    for _ in range(2):
        answer = api.post("artifacts", body={"function": function, "sha256": digest, "size": total})
        upload = answer.document["upload"]
        if upload is None:
            screen.line("already uploaded")
            return digest
        with screen.live(Progress("uploading")) as progress:

            def sent(count: int) -> None:
                progress.label = f"uploading {format_size(count)} of {format_size(total)}"

            refused = api.upload(upload, file, sent)
        if refused is None:
            screen.line("uploaded")
            return digest
    raise not_uploaded(f"the artifact store rejected the upload twice: {refused}", ExitCode.UNACCEPTABLE)
