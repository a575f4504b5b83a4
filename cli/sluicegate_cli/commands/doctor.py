"""`sluicegate doctor`: find out why a job cannot deploy, and what to change."""

import os
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

import click
from rich.text import Text

from sluicegate.gate.policy import Gate
from sluicegate_cli.doctor.examination import Examination
from sluicegate_cli.doctor.findings import GATE, Finding, Verdict
from sluicegate_cli.exit_codes import ExitCode
from sluicegate_cli.options import PatternParam
from sluicegate_cli.screen import Screen

_LOG_TAIL: Final = 1_000_000  # bytes read from the end of a log, where a job's errors are
_TOKEN_FILE: Final = 65_536  # bytes read of a token's file
_MIN_SECRET: Final = 16  # characters; a part of the token of this length is never shown

_MARKS: Final = {
    Verdict.OK: ("✓", "green"),
    Verdict.WARNING: ("!", "yellow"),
    Verdict.WRONG: ("✗", "bold red"),
    Verdict.UNKNOWN: ("?", "dim"),
}
_FILE: Final = click.Path(exists=True, dir_okay=False, path_type=Path)
_FUNCTION: Final = PatternParam("name", r"[A-Za-z0-9_-]{1,64}", "a function's name, without ARN or alias")


@click.command("doctor")
@click.option(
    "--url", envvar="SLUICEGATE_URL", show_envvar=True, help="The URL of the API, up to and including /v1."
)
@click.option(
    "--token-file", type=_FILE, help="Read the ID token from this file instead of SLUICEGATE_TOKEN."
)
@click.option(
    "--gate-file", type=_FILE, help="Compare with this gate file. Default: sluicegate.yaml, if it exists."
)
@click.option(
    "--deploy",
    "request",
    type=(_FUNCTION, str),
    default=None,
    metavar="FUNCTION STAGE",
    help="Check whether this job may deploy FUNCTION to STAGE. Nothing is deployed.",
)
@click.option(
    "--log",
    type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path),
    help="Find Sluicegate's errors in a job's log (`-`: standard input).",
)
@click.option(
    "--function",
    type=_FUNCTION,
    metavar="NAME",
    help="Check this function in AWS, with your own AWS credentials.",
)
@click.option(
    "--region", metavar="REGION", help="The region of --function. Default: from AWS_REGION or your profile."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document to stdout.")
@click.pass_context
def command(
    ctx: click.Context,
    url: str | None,
    token_file: Path | None,
    gate_file: Path | None,
    request: tuple[str, str] | None,
    log: Path | None,
    function: str | None,
    region: str | None,
    as_json: bool,
) -> None:
    """Find out why a GitLab job cannot deploy, and what to change.

    Three checks come first: the issuer matches exactly, the audience is restricted, keys and tokens rotate.
    Then whether the API responds, and what the rules allow. The input is an address and a token (in the job
    itself, SLUICEGATE_URL and SLUICEGATE_TOKEN), a job's log, or a function. Exit codes: 0 if nothing is
    wrong, 1 if something is.

    \b
      sluicegate doctor
      sluicegate doctor --deploy orders-api prod
      sluicegate doctor --gate-file sluicegate.yaml --token-file token.txt
      sluicegate doctor --log job.log
      sluicegate doctor --function orders-api --region eu-central-1
    """
    screen = Screen(as_json=as_json)
    given = _token(token_file)
    connect = url is not None or given is not None
    if not (connect or log or function):
        raise click.UsageError("nothing to check: specify a URL and a token, --log, or --function")
    findings = _of_log(log) if log else []
    if connect and (given is not None or not (log or function)):
        findings += Examination(url, given, request, *_gate(screen, gate_file)).findings()
    if function:
        from sluicegate_cli.doctor import aws_checks  # imports boto3

        findings += aws_checks.examine(function, region)
    findings = _without(given or "", list(dict.fromkeys(findings)))
    _show(screen, findings)
    wrong = any(finding.verdict is Verdict.WRONG for finding in findings)
    ctx.exit(ExitCode.NOT_DEPLOYED if wrong else ExitCode.OK)


def _token(file: Path | None) -> str | None:
    """Return the given token, or None if there is none; in a job, a missing token is an empty one."""
    if file:
        with file.open("rb") as source:
            return source.read(_TOKEN_FILE).decode("utf-8", "replace").strip()
    given = os.environ.get("SLUICEGATE_TOKEN")
    if given is None and os.environ.get("GITLAB_CI"):
        return ""
    return None if given is None else given.strip()


def _of_log(path: Path) -> list[Finding]:
    from sluicegate_cli.doctor import job_log

    tail = b""
    with click.open_file(str(path), "rb") as file:
        while chunk := file.read(_LOG_TAIL):
            tail = (tail + chunk)[-_LOG_TAIL:]
    found = job_log.of_log(tail.decode("utf-8", "replace"))
    return found or [Finding("the job's log", Verdict.UNKNOWN, "it contains no error of Sluicegate")]


def _gate(screen: Screen, file: Path | None) -> tuple[Gate | None, Finding | None]:
    """Return the gate file to compare with, or what is wrong with it."""
    path = file or Path("sluicegate.yaml")
    if file is None and not path.is_file():
        return None, None
    from sluicegate_gatefile import compile as gatefile  # with PyYAML

    screen.note(f"comparing with {path}")
    report = gatefile.check(path, allow_loopback=True)
    if report.gate is not None:
        return report.gate, None
    first = next((str(found) for found in report.diagnostics if found.severity == "error"), str(path))
    change = f"Fix the errors that `sluicegate check {path}` lists."
    return None, Finding(GATE, Verdict.WRONG, f"the gate file has errors: {first}", change)


def _without(given: str, findings: Sequence[Finding]) -> list[Finding]:
    """Remove the token and its parts from the findings, whatever a server or a log has put in them."""
    secrets = sorted({given, *given.split(".")}, key=len, reverse=True)

    def redacted(text: str) -> str:
        for secret in secrets:
            if len(secret) >= _MIN_SECRET:
                text = text.replace(secret, "(a token)")
        return text

    return [replace(one, seen=redacted(one.seen), change=redacted(one.change)) for one in findings]


def _show(screen: Screen, findings: Sequence[Finding]) -> None:
    screen.document({"findings": [_plain(finding) for finding in findings]})
    if screen.as_json:
        return
    for finding in findings:
        mark, style = _MARKS[finding.verdict]
        screen.text(Text.assemble((f"{mark} ", style), (f"{finding.check}: ", "bold"), finding.seen))
        if finding.change:
            screen.line(f"    {finding.change}")
    screen.line("")
    wrong, warned = (
        sum(finding.verdict is verdict for finding in findings)
        for verdict in (Verdict.WRONG, Verdict.WARNING)
    )
    warnings = f"; {warned} to review" if warned else ""
    if wrong:
        first = " (start with the first)" if wrong > 1 else ""
        screen.line(f"{wrong} to fix{first}{warnings}", "bold")
    else:
        screen.line(f"no errors found from here{warnings}", "bold")


def _plain(finding: Finding) -> dict[str, Any]:
    facts = asdict(finding)
    del facts["compared"]
    return facts
