"""`sluicegate doctor`: when it does not work, says in a sentence what is wrong and what to change."""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import click
from rich.text import Text

from sluicegate.gate.policy import Gate
from sluicegate_cli.api import ApiClient, endpoint
from sluicegate_cli.doctor import api_checks, token_checks
from sluicegate_cli.doctor.findings import FORM, GATE, ROTATION, RULES, Finding, Verdict
from sluicegate_cli.doctor.token_checks import Token
from sluicegate_cli.errors import ApiError
from sluicegate_cli.exit_codes import ExitCode
from sluicegate_cli.options import PatternParam
from sluicegate_cli.screen import Screen

_LOG: Final = 1_000_000  # bytes of a log that are read, from its end: what ends a job is there
_TOKEN: Final = 65_536  # bytes of a token's file that are read
_PART: Final = 16  # characters of a token's part that nothing may show

_MARKS: Final = {
    Verdict.OK: ("✓", "green"),
    Verdict.WARNING: ("!", "yellow"),
    Verdict.WRONG: ("✗", "bold red"),
    Verdict.UNKNOWN: ("?", "dim"),
}
_FILE: Final = click.Path(exists=True, dir_okay=False, path_type=Path)
_FUNCTION: Final = PatternParam("name", r"[A-Za-z0-9_-]{1,64}", "a function's name, without ARN or alias")


@click.command("doctor")
@click.option("--url", envvar="SLUICEGATE_URL", show_envvar=True, help="The API, up to and including /v1.")
@click.option(
    "--token-file", type=_FILE, help="Read the ID token from this file instead of SLUICEGATE_TOKEN."
)
@click.option("--gate-file", type=_FILE, help="Compare with this gate file; sluicegate.yaml, if it is here.")
@click.option(
    "--deploy",
    "request",
    type=(_FUNCTION, str),
    default=None,
    metavar="FUNCTION STAGE",
    help="Ask whether this job may deploy that. Nothing is deployed.",
)
@click.option(
    "--log",
    type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path),
    help="Look for what went wrong in a job's log (`-`: standard input).",
)
@click.option(
    "--function",
    type=_FUNCTION,
    metavar="NAME",
    help="Look at this function in AWS, with your own AWS credentials.",
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
    request: tuple[str, str] | None,
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
      sluicegate doctor --deploy orders-api prod
      sluicegate doctor --gate-file sluicegate.yaml --token-file token.txt
      sluicegate doctor --log job.log
      sluicegate doctor --function orders-api --region eu-central-1
    """
    screen = Screen(as_json=as_json)
    given = _token(token_file)
    asked = url is not None or given is not None
    if not (asked or log or function):
        raise click.UsageError("nothing to look at: give an address and a token, --log, or --function")
    findings = _of_log(log) if log else []
    if asked and (given is not None or not (log or function)):
        findings += _Visit(url, given, request, *_gate(screen, gate_file)).findings()
    if function:
        from sluicegate_cli.doctor import aws_checks  # with boto3, which nothing else here needs

        findings += aws_checks.examine(function, region)
    findings = _without(given or "", list(dict.fromkeys(findings)))
    _show(screen, findings)
    wrong = any(finding.verdict is Verdict.WRONG for finding in findings)
    ctx.exit(ExitCode.NOT_DEPLOYED if wrong else ExitCode.OK)


def _token(file: Path | None) -> str | None:
    """What was given as token, None where nothing was: but a job without one should have one."""
    if file:
        with file.open("rb") as source:
            return source.read(_TOKEN).decode("utf-8", "replace").strip()
    given = os.environ.get("SLUICEGATE_TOKEN")
    if given is None and os.environ.get("GITLAB_CI"):
        return ""
    return None if given is None else given.strip()


def _of_log(path: Path) -> list[Finding]:
    from sluicegate_cli.doctor import job_log

    tail = b""
    with click.open_file(str(path), "rb") as file:
        while chunk := file.read(_LOG):
            tail = (tail + chunk)[-_LOG:]
    found = job_log.of_log(tail.decode("utf-8", "replace"))
    return found or [Finding("the job's log", Verdict.UNKNOWN, "it holds no refusal of Sluicegate's")]


def _gate(screen: Screen, file: Path | None) -> tuple[Gate | None, Finding | None]:
    """The gate file that is compared with, or what is wrong with it."""
    path = file or Path("sluicegate.yaml")
    if file is None and not path.is_file():
        return None, None
    from sluicegate_gatefile import compile as gatefile  # with PyYAML

    screen.note(f"comparing with {path}")
    report = gatefile.check(path, allow_loopback=True)
    if report.gate is not None:
        return report.gate, None
    first = next((str(found) for found in report.diagnostics if found.severity == "error"), str(path))
    change = f"Correct what `sluicegate check {path}` lists."
    return None, Finding(GATE, Verdict.WRONG, f"the gate file has errors: {first}", change)


@dataclass(frozen=True)
class _Visit:
    """One look at a token, and at the API with it; `given` None looks at the API alone."""

    url: str | None
    given: str | None
    request: tuple[str, str] | None
    gate: Gate | None
    gate_trouble: Finding | None

    def findings(self) -> list[Finding]:
        """In the order in which they are to be mended."""
        found = [self.gate_trouble] if self.gate_trouble else []
        token = None if self.given is None else token_checks.read_token(self.given)
        address, health, now = self._health()
        if health is None or health.verdict is not Verdict.OK or not isinstance(token, Token):
            return [*found, *self._alone(token), *([health] if health else [])]
        return [*found, *self._together(address, token, now, health)]

    def _health(self) -> tuple[str, Finding | None, float]:
        """The address, whether the API is there, and its time. No token is sent before that is known."""
        if self.url is None:
            return "", None, time.time()
        try:
            address = endpoint(self.url)
        except click.UsageError as error:
            return "", api_checks.of_address(self.url, error.message), time.time()
        with ApiClient(address, "", attempts=1) as api:
            try:
                return address, api_checks.of_health(api.get("health"), address), api.now()
            except ApiError as error:
                return address, api_checks.of_ill_health(error.document, address), time.time()

    def _alone(self, token: Token | Finding | None) -> list[Finding]:
        """What there is to say without the API: of the token, and of the rules once nothing else is wrong."""
        if token is None:
            return [
                Finding(FORM, Verdict.UNKNOWN, "no token was given", "Run it in the job, or --token-file.")
            ]
        if isinstance(token, Finding):
            return [token]
        found = list(self._local(token, time.time(), by_api=False))
        if self.gate is not None and not any(one.verdict is Verdict.WRONG for one in found):
            found.append(self._rules(token))
        return found

    def _local(self, token: Token, now: float, *, by_api: bool) -> Iterator[Finding]:
        issuers = list(self.gate.issuers.values()) if self.gate else []
        for finding in token_checks.of_token(token, issuers, now, by_api=by_api):
            yield finding
            if finding.check == ROTATION and finding.verdict is Verdict.OK and self.gate:
                yield from _of_keys(token, self.gate)

    def _together(self, address: str, token: Token, now: float, health: Finding) -> list[Finding]:
        """The token here and at the API, and what the rules give."""
        local = list(self._local(token, now, by_api=True))
        with ApiClient(address, self.given or "", attempts=1) as api:
            try:
                identity = api.get("whoami")
            except ApiError as error:
                refusal = api_checks.of_problem(error.document, token)
                if refusal.check in api_checks.OF_TOKEN:
                    return [*api_checks.refused(local, refusal), health]
                if refusal.check == RULES:  # which come after the token has been verified
                    return [*api_checks.confirmed(local), health, refusal]
                return [*local, refusal]
            another = any(one.verdict is Verdict.WRONG for one in local)  # is said already
            rules = list(self._of_rules(api, token, identity, compare=not another))
        return [*api_checks.confirmed(local), health, *rules]

    def _of_rules(
        self, api: ApiClient, token: Token, identity: Mapping[str, Any], *, compare: bool
    ) -> Iterator[Finding]:
        if self.gate is not None and compare:
            other = api_checks.other_rules(identity, self.gate.rules_of(_identity(token)))
            if other is not None:
                yield other
        if self.request is None:
            found = api_checks.of_whoami(identity)
            if found.verdict is Verdict.WRONG and self.gate is not None:
                here = self._rules(token)  # which names the nearest rule
                found = here if here.verdict is Verdict.WRONG else found
            yield found
            return
        function, stage = self.request
        body = {"action": "deploy", "function": function, "stage": stage, "dry_run": True}
        try:
            api.post("deployments", body=body | {"artifact": {"sha256": "0" * 64}})
        except ApiError as error:
            yield api_checks.of_rehearsal(error.document, function, stage)
        else:
            yield Finding(RULES, Verdict.OK, f"this job may deploy {function} in {stage}")

    def _rules(self, token: Token) -> Finding:
        assert self.gate is not None  # noqa: S101 (asked for only where there is one)
        return token_checks.of_rules(self.gate, _identity(token), self.request)


def _identity(token: Token) -> Any:
    from sluicegate.oidc.token import rule_claims  # with PyJWT

    return token_checks.identity_of(token, rule_claims(token.claims))


def _of_keys(token: Token, gate: Gate) -> Iterator[Finding]:
    """Only of an issuer of the gate file: a token must not choose where we connect to."""
    known = gate.issuers.get(token.issuer)
    if known is None:
        return
    from sluicegate.http_client import FetchError
    from sluicegate.oidc.discovery import fetch_key_set
    from sluicegate.oidc.jwks import InvalidKeySet, parse_jwks

    kid, from_file = token.header["kid"], known.jwks is not None
    try:
        keys = parse_jwks(known.jwks if known.jwks is not None else fetch_key_set(known.url))
    except (FetchError, InvalidKeySet) as error:
        yield token_checks.of_keys(kid, None, str(error), from_file=from_file)
    else:
        yield token_checks.of_keys(kid, list(keys), from_file=from_file)


def _without(given: str, findings: Sequence[Finding]) -> list[Finding]:
    """The findings, whatever a server or a log has in them, without the token and its parts."""
    secrets = sorted({given, *given.split(".")}, key=len, reverse=True)

    def kept(text: str) -> str:
        for secret in secrets:
            if len(secret) >= _PART:
                text = text.replace(secret, "(a token)")
        return text

    return [replace(one, seen=kept(one.seen), change=kept(one.change)) for one in findings]


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
    look = f"; {warned} to look at" if warned else ""
    if wrong:
        first = " (the first one first)" if wrong > 1 else ""
        screen.line(f"{wrong} to mend{first}{look}", "bold")
    else:
        screen.line(f"nothing is wrong that can be seen from here{look}", "bold")


def _plain(finding: Finding) -> dict[str, Any]:
    facts = asdict(finding)
    del facts["compared"]
    return facts
