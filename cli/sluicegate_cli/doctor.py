"""`sluicegate doctor`: when it does not work, says in a sentence what is wrong and what to change."""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import click
from rich.text import Text

from sluicegate_cli import diagnosis
from sluicegate_cli.api import Api, endpoint
from sluicegate_cli.diagnosis import Expected, Finding, Token, Verdict
from sluicegate_cli.errors import ApiError
from sluicegate_cli.exits import Exit
from sluicegate_cli.show import Screen

_MARKS: Final = {
    Verdict.OK: ("✓", "green"),
    Verdict.WARNING: ("!", "yellow"),
    Verdict.WRONG: ("✗", "bold red"),
    Verdict.UNKNOWN: ("?", "dim"),
}


@click.command("doctor")
@click.option("--url", envvar="SLUICEGATE_URL", show_envvar=True, help="The API, up to and including /v1.")
@click.option(
    "--token-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Read the ID token from this file instead of SLUICEGATE_TOKEN.",
)
@click.option(
    "--gate-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Compare with this gate file; sluicegate.yaml, if it is here.",
)
@click.option(
    "--log",
    type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path),
    help="Look for what went wrong in a job's log (`-`: standard input).",
)
@click.option(
    "--function", metavar="NAME", help="Look at this function in AWS, with your own AWS credentials."
)
@click.option(
    "--region", metavar="REGION", help="Where --function is; else as AWS_REGION or your profile says."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
@click.pass_context
def command(
    ctx: click.Context,
    url: str | None,
    token_file: Path | None,
    gate_file: Path | None,
    log: Path | None,
    function: str | None,
    region: str | None,
    as_json: bool,
) -> None:
    """Say what is wrong between a GitLab job and a deployment, and what to change.

    The three checks come first: the issuer matches exactly, the audience is restricted, keys and tokens
    rotate. Then whether the API answers, and what the rules allow. Give it what you have: an address and a
    token (in the job itself, by SLUICEGATE_URL and SLUICEGATE_TOKEN), or the job's log, or a function.
    Exits 0 where nothing is wrong, 1 where something is.

    \b
      sluicegate doctor
      sluicegate doctor --gate-file sluicegate.yaml --token-file token.txt
      sluicegate doctor --log job.log
      sluicegate doctor --function orders-api --region eu-central-1
    """
    screen = Screen(as_json=as_json)
    token = _token(token_file)
    if not (token or url or log or function):
        raise click.UsageError("nothing to look at: give an address and a token, --log, or --function")
    findings: list[Finding] = []
    if log:
        findings += _log(log)
    if token:
        expected = _expected(gate_file)
        findings += _of_token(token, expected)
    if url:
        findings += _of_api(endpoint(url), token)
    if function:
        from sluicegate_cli import doctor_aws  # with boto3, which nothing else here needs

        findings += doctor_aws.examine(function, region)
    _show(screen, findings)
    wrong = any(finding.verdict is Verdict.WRONG for finding in findings)
    ctx.exit(Exit.NOT_DEPLOYED if wrong else Exit.OK)


def _token(file: Path | None) -> str:
    return (file.read_text("utf-8", "replace") if file else os.environ.get("SLUICEGATE_TOKEN", "")).strip()


def _log(path: Path) -> list[Finding]:
    """At most the last megabyte: what ends a job is at its log's end."""
    with click.open_file(str(path), "r", errors="replace") as file:
        text = file.read()[-1_000_000:]
    found = diagnosis.of_log(text)
    return found or [Finding("the job's log", Verdict.UNKNOWN, "it holds no refusal of Sluicegate's")]


def _expected(gate_file: Path | None) -> list[Expected]:
    """What the gate file accepts, where there is one that can be read."""
    path = gate_file or Path("sluicegate.yaml")
    if gate_file is None and not path.is_file():
        return []
    from sluicegate import gatefile  # with PyYAML
    from sluicegate.keys import parse_jwks

    report = gatefile.check(path, allow_loopback=True)
    if report.gate is None:
        raise click.UsageError(f"{path} has errors: `sluicegate check {path}` lists them")
    return [
        Expected(
            one.url,
            one.audience,
            one.max_age,
            None if one.jwks is None else tuple(parse_jwks(one.jwks)),
        )
        for one in report.gate.issuers.values()
    ]


def _of_token(token: str, expected: list[Expected]) -> Iterator[Finding]:
    read = diagnosis.read_token(token)
    if isinstance(read, Finding):
        yield read
        return
    yield from diagnosis.of_token(read, expected, time.time())
    yield _of_keys(read, expected)


def _of_keys(token: Token, expected: list[Expected]) -> Finding:
    kid, iss = token.header.get("kid"), str(token.claims.get("iss"))
    known = next((one for one in expected if one.url == iss), None)
    if known is not None and known.kids is not None:
        return diagnosis.of_keys(kid, known.kids, None, from_file=True)
    from sluicegate.fetch import FetchError, key_set
    from sluicegate.keys import InvalidKeySet, parse_jwks

    try:
        # Only of an issuer that somebody vouches for: a token must not choose where we connect to.
        if known is None:
            return diagnosis.of_keys(kid, None, "--gate-file says which GitLab is trusted", from_file=False)
        kids = tuple(parse_jwks(key_set(iss)))
    except (FetchError, InvalidKeySet) as error:
        return diagnosis.of_keys(kid, None, str(error), from_file=False)
    return diagnosis.of_keys(kid, kids, None, from_file=False)


def _of_api(url: str, token: str) -> Iterator[Finding]:
    with Api(url, token) as api:
        try:
            health = api.get("health")
            yield Finding(diagnosis.API, Verdict.OK, f"{url} is Sluicegate {health.get('version')}")
            if token:
                yield diagnosis.of_whoami(api.get("whoami"))
        except ApiError as error:
            yield diagnosis.of_problem(error.document)


def _show(screen: Screen, findings: list[Finding]) -> None:
    screen.document({"findings": [_plain(finding) for finding in findings]})
    if screen.as_json:
        return
    for finding in findings:
        mark, style = _MARKS[finding.verdict]
        screen.text(Text.assemble((f"{mark} ", style), (f"{finding.check}: ", "bold"), finding.seen))
        if finding.change:
            screen.line(f"    {finding.change}")
    wrong = sum(finding.verdict is Verdict.WRONG for finding in findings)
    screen.line("")
    screen.line(f"{wrong} to mend" if wrong else "nothing is wrong that can be seen from here", "bold")


def _plain(finding: Finding) -> dict[str, Any]:
    return {
        "check": finding.check,
        "verdict": finding.verdict.value,
        "seen": finding.seen,
        "change": finding.change,
    }
