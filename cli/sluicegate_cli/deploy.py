"""`sluicegate deploy`: uploads what is not there yet, asks for a deployment, follows it to its end."""

import hashlib
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from sluicegate_cli.api import Api, not_uploaded
from sluicegate_cli.exits import Exit
from sluicegate_cli.follow import follow
from sluicegate_cli.options import Matching, connected, max_wait
from sluicegate_cli.show import Screen, size

_DIGEST = Matching("sha256", r"[0-9a-f]{64}", "the 64 lower-case hex digits of a SHA-256")
_VERSION = Matching("version", r"[1-9][0-9]{0,18}", "a published version's number, such as 41")


@click.command("deploy")
@click.argument("function")
@click.argument("stage")
@click.option(
    "--zip",
    "file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The code; uploaded unless the same bytes are there already.",
)
@click.option("--artifact", type=_DIGEST, metavar="SHA256", help="Code that was uploaded before.")
@click.option("--release", metavar="LABEL", help="A label to find the deployment by.")
@click.option("--description", metavar="TEXT", help="A sentence for the record.")
@click.option(
    "--expect-version", type=_VERSION, help="Only if the stage serves this version now; else exit 4."
)
@click.option(
    "--dry-run", is_flag=True, help="Say what would happen, and change nothing. The code is uploaded."
)
@click.option(
    "--idempotency-key",
    metavar="KEY",
    help="Without one, the same command again in the same job finds the deployment that it started.",
)
@click.option("--wait/--no-wait", default=True, show_default=True, help="Follow the deployment to its end.")
@max_wait
@connected
def command(
    api: Api,
    screen: Screen,
    function: str,
    stage: str,
    file: Path | None,
    artifact: str | None,
    release: str | None,
    description: str | None,
    expect_version: str | None,
    dry_run: bool,
    idempotency_key: str | None,
    wait: bool,
    max_wait: float,
) -> Exit:
    """Deploy code to FUNCTION in STAGE.

    Give the code as --zip or --artifact. Exits 0 when the deployment succeeded (with
    --no-wait: was accepted), 1 when it ended otherwise, and 6 when --max-wait was over first. Running the
    same command again is safe: the same request has one effect.

    \b
      sluicegate deploy orders-api dev --zip orders-api.zip
      sluicegate deploy orders-api prod --zip orders-api.zip --release "$CI_COMMIT_TAG" --expect-version 41
      sluicegate deploy orders-api prod --artifact 9f86d081884c7d65… --no-wait --json
    """
    if (file is None) == (artifact is None):
        raise click.UsageError("give the code as one of --zip and --artifact")
    if file:
        artifact = _uploaded(api, screen, function, file)
    body: dict[str, Any] = {
        "action": "deploy",
        "function": function,
        "stage": stage,
        "artifact": {"sha256": artifact},
    }
    for name, value in (("release", release), ("description", description)):
        if value is not None:
            body[name] = value
    if expect_version is not None:
        body["expect"] = {"version": expect_version}
    if dry_run:
        return _would(screen, api.post("deployments", body={**body, "dry_run": True}).document)

    answer = api.post("deployments", body=body, key=idempotency_key)
    deployment = answer.document
    again = " before, by this same request" if answer.replayed else ""
    screen.line(f"deployment {deployment['id']} accepted{again}, by rule {deployment['rule']!r}", "bold")
    if wait:
        return follow(api, screen, deployment, max_wait=max_wait)
    screen.document(deployment)
    screen.line(f"it goes on by itself: sluicegate watch {deployment['id']}")
    return Exit.OK


def _uploaded(api: Api, screen: Screen, function: str, file: Path) -> str:
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
        with screen.progress("uploading") as progress:

            def sent(count: int) -> None:
                progress.label = f"uploading {size(count)} of {size(total)}"

            refused = api.upload(upload, file, sent)
        if refused is None:
            screen.line("uploaded")
            return digest
    raise not_uploaded(f"the artifact store refused the upload twice: {refused}", Exit.REJECTED)


def _would(screen: Screen, answer: Mapping[str, Any]) -> Exit:
    """What a dry run found: the plan, and who is in the way."""
    screen.document(answer)
    plan = answer["plan"]
    target = plan["target"]
    screen.line(f"dry run: allowed by rule {answer['rule']!r}; nothing was changed", "bold")
    screen.line(f"would move alias {plan['alias']} in {target['account']}, {target['region']}")
    for step in plan["steps"]:
        screen.line(f"  {step['percent']} %, then {step['bake']}")
    if answer["busy"]:
        holder = answer["deployment"] or "another deployment"
        screen.line(f"but now it would be refused as busy: {holder} is rolling out", "yellow")
    return Exit.OK
