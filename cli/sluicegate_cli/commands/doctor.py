"""`sluicegate doctor`: find out why a job cannot deploy, and what to change."""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO, Final

import click
from rich.text import Text

import sluicegate
from sluicegate.gate.policy import Gate
from sluicegate_cli.auth.choosing import ID_TOKEN, OLD_ID_TOKEN, given_id_token
from sluicegate_cli.doctor.examination import Examination
from sluicegate_cli.doctor.findings import GATE, CheckVerdict, Finding
from sluicegate_cli.exit_codes import ExitCode
from sluicegate_cli.options import TOKEN_FILE, PatternParam, gate_option, stack_option, token_in
from sluicegate_cli.screen import Screen
from sluicegate_cli.streams import INTERRUPTED
from sluicegate_gatefile.files import UnusableFile, open_file

_LOG_TAIL: Final = 1_000_000  # bytes read from the end of a log, where a job's errors are
_MIN_SECRET: Final = 16  # characters; a part of the token of this length is never shown

_LOG: Final = "the job's log"

_MARKS: Final = {
    CheckVerdict.OK: ("✓", "green"),
    CheckVerdict.WARNING: ("!", "yellow"),
    CheckVerdict.WRONG: ("✗", "bold red"),
    CheckVerdict.UNKNOWN: ("?", "dim"),
}
_FILE: Final = click.Path(exists=True, dir_okay=False, path_type=Path)
_ROLE: Final = PatternParam(
    "role",
    r"arn:aws[a-z-]*:iam::[0-9]{12}:role/[\w+=,.@/-]{1,576}",
    "a role's ARN, as `aws iam get-role` shows it",
)
_FUNCTION: Final = PatternParam("name", r"[A-Za-z0-9_-]{1,64}", "a function's name, without ARN or alias")


@click.command("doctor")
@click.option(
    "--url", envvar="SLUICEGATE_URL", show_envvar=True, help="The URL of the API, up to and including /v1."
)
@click.option(
    "--token-file",
    type=TOKEN_FILE,
    help="Read the ID token from this file (`-`: standard input) instead of SLUICEGATE_ID_TOKEN.",
)
@gate_option(
    "gate_file", type=_FILE, help="Compare with this gate file. Default: sluicegate.yaml, if it exists."
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
    "--role",
    type=_ROLE,
    metavar="ARN",
    multiple=True,
    help="Check a role that jobs assume: which jobs it lets in, for how long, and what it may call.",
)
@click.option(
    "--role-policy",
    "role_policies",
    type=_FILE,
    multiple=True,
    help="Check a role's trust or permissions from a JSON file, without AWS; or `aws iam get-role`'s output.",
)
@stack_option("stack", help="Check Sluicegate's own stack in AWS, with your own AWS credentials.")
@click.option(
    "--target",
    metavar="NAME",
    help="Check this target of the gate file, with AWS credentials of its own account.",
)
@click.option(
    "--try",
    "attempt",
    is_flag=True,
    help="With --stack: also take a sample function through deploy, canary and rollback, and remove it.",
)
@click.option("--yes", is_flag=True, help="Do not ask before --try creates the sample.")
@click.option(
    "--show-account", is_flag=True, help="Show the AWS account's number, which --stack masks by default."
)
@click.option(
    "--region",
    metavar="REGION",
    help="The region of --stack or --function. Default: from AWS_REGION or your profile.",
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
    role: tuple[str, ...],
    role_policies: tuple[Path, ...],
    stack: str | None,
    target: str | None,
    attempt: bool,
    yes: bool,
    show_account: bool,
    region: str | None,
    as_json: bool,
) -> None:
    """Find out why a GitLab job cannot deploy, and what to change.

    Three checks come first: the issuer matches exactly, the audience is restricted, keys and tokens rotate.
    Then whether the API responds, and what the rules allow. The input is an address and a token (in the job
    itself, SLUICEGATE_URL and SLUICEGATE_ID_TOKEN), a job's log, or a function. After `make deploy`, --stack
    checks the stack and its account, and --target what is in another one. Exit codes: 0 if nothing is wrong,
    1 if something is.

    \b
      sluicegate doctor
      sluicegate doctor --deploy orders-api prod
      sluicegate doctor --gate sluicegate.yaml --token-file token.txt
      sluicegate doctor --log job.log
      sluicegate doctor --function orders-api --region eu-central-1
      sluicegate doctor --role arn:aws:iam::111111111111:role/sluicegate-caller
      sluicegate doctor --stack sluicegate
      sluicegate doctor --target prod-eu
      sluicegate doctor --stack sluicegate --try --json > report.json
    """
    screen = Screen(as_json=as_json)
    if attempt and not stack:
        raise click.UsageError("--try needs --stack: it names the account and region to try it in")
    if attempt and not yes and not sys.stdin.isatty():
        raise click.UsageError("--try creates a function and a role: add --yes if nobody can be asked")
    given = _token(token_file)
    connect = url is not None or given is not None
    others = log or function or stack or role or role_policies or target
    if not (connect or others):
        raise click.UsageError(
            "nothing to check: specify a URL and a token, --log, --function, --role, --role-policy,"
            " --stack or --target"
        )
    gate = cache(lambda: _gate(screen, gate_file, stack_name=stack or "sluicegate"))
    findings = _of_log(log) if log else []
    if (connect and not others) or (given and connect):
        findings += Examination(url, given, request, *gate()).findings()
    if function:
        from sluicegate_cli.doctor import aws_checks  # imports boto3

        findings += aws_checks.examine(function, region)
    if target:
        findings += _of_target(target, stack or "sluicegate", *gate())
    if role or role_policies:
        findings += _of_roles(role, role_policies, region, *gate())
    report: dict[str, Any] = {}
    interrupted = False
    if stack:
        about_stack = _StackOptions(stack, region, url, gate_file, attempt, yes, show_account)
        found, report, interrupted = _of_stack(screen, about_stack, *gate())
        findings += found
    findings = _without(given or "", list(dict.fromkeys(findings)))
    _show(screen, findings, report)
    wrong = any(finding.verdict is CheckVerdict.WRONG for finding in findings)
    if interrupted:
        ctx.exit(INTERRUPTED)
    ctx.exit(ExitCode.NOT_DEPLOYED if wrong else ExitCode.OK)


def _of_roles(
    arns: Sequence[str], files: Sequence[Path], region: str | None, gate: Gate | None, error: Finding | None
) -> list[Finding]:
    """Check roles, in AWS and from files, and the gate file's roles of Identity Center."""
    from sluicegate_cli.doctor import role_checks

    found = [error] if error else []
    for file in files:
        found += role_checks.examine_file(file, gate)
    if arns:
        from sluicegate_cli.doctor import aws_calls

        aws = aws_calls.connect(region, what="--role")
        for arn in arns:
            found += role_checks.examine_role(aws, arn, gate)
    return found


@dataclass(frozen=True)
class _StackOptions:
    """The options of `--stack`."""

    name: str
    region: str | None
    url: str | None
    gate_file: Path | None
    attempt: bool
    yes: bool
    show_account: bool


def _of_stack(
    screen: Screen, options: _StackOptions, gate: Gate | None, error: Finding | None
) -> tuple[list[Finding], dict[str, Any], bool]:
    """Examine the stack; return the findings, what a report has besides, and whether it was interrupted."""
    from sluicegate_cli.doctor import aws_calls, stack_examination

    aws = aws_calls.connect(options.region, what="--stack")
    path = str(options.gate_file or "sluicegate.yaml")
    examination = stack_examination.StackExamination(
        aws, options.name, options.url, gate, path, error, screen.note
    )
    findings = examination.findings()
    if options.attempt:
        findings += examination.trial(screen.note, lambda about: _agreed(about, yes=options.yes))
    account = examination.stack.account if examination.stack else None
    answers = [asdict(one) for one in examination.answers]
    report: dict[str, Any] = {
        "stack": options.name,
        "region": aws.region,
        "account": account,
        "version": sluicegate.__version__,
        "answers": answers,
    }
    if options.show_account:
        return findings, report, examination.interrupted
    masked = json.loads(stack_examination.mask(json.dumps(report), account))
    for other in sorted(examination.target_accounts):
        findings = stack_examination.masked(findings, other)
    return stack_examination.masked(findings, account), masked, examination.interrupted


def _of_target(name: str, stack_name: str, gate: Gate | None, error: Finding | None) -> list[Finding]:
    """Examine a target of the local gate file."""
    if error:
        return [error]
    if gate is None:
        raise click.UsageError("--target needs the gate file: use --gate, or run this where it is")
    from sluicegate_cli.doctor import aws_calls, target_checks  # with PyYAML
    from sluicegate_gatefile.compile import own_function_names
    from sluicegate_gatefile.target_template import stacks

    targets = stacks(gate, own_functions=own_function_names(stack_name))
    if name not in targets:
        raise click.UsageError(f"the gate file has no target {name!r}: `sluicegate target` lists them")
    aws = aws_calls.connect(targets[name].region, what="--target")
    try:
        return list(target_checks.of_own_account(aws, targets[name]))
    except aws_calls.CouldNotCheck as problem:
        verdict = CheckVerdict.WRONG if isinstance(problem, aws_calls.NoAccess) else CheckVerdict.UNKNOWN
        return [Finding(target_checks.ACCOUNT, verdict, problem.seen, problem.change)]


def _agreed(about: str, *, yes: bool) -> bool:
    """Say what would be created and what it costs, and ask, on stderr, as stdout may be the report."""
    click.echo(about, err=True)
    return yes or click.confirm("Go on?", err=True)


def _token(file: Path | None) -> str | None:
    """Return the given token, or None if there is none; in a job, a missing token is an empty one."""
    if file:
        return token_in(file)
    if ID_TOKEN not in os.environ and OLD_ID_TOKEN not in os.environ:
        return "" if os.environ.get("GITLAB_CI") else None
    return given_id_token()


def _of_log(path: Path) -> list[Finding]:
    from sluicegate_cli.doctor import job_log

    tail = b""
    with _opened(path) as file:
        if str(path) != "-":
            file.seek(max(0, os.fstat(file.fileno()).st_size - _LOG_TAIL))
        while chunk := file.read(_LOG_TAIL):
            tail = (tail + chunk)[-_LOG_TAIL:]
    found = job_log.of_log(tail.decode("utf-8", "replace"))
    return found or [Finding(_LOG, CheckVerdict.UNKNOWN, "it contains no error of Sluicegate")]


def _opened(path: Path) -> BinaryIO:
    """Open a log, or standard input. Raises BadParameter for a device or a pipe, which may never end."""
    if str(path) == "-":
        return click.get_binary_stream("stdin")
    try:
        return open_file(path)
    except UnusableFile as error:
        raise click.BadParameter(f"{path}: {error}; `-` is standard input", param_hint="--log") from None


def _gate(screen: Screen, file: Path | None, *, stack_name: str) -> tuple[Gate | None, Finding | None]:
    """Return the gate file to compare with, or what is wrong with it."""
    path = file or Path("sluicegate.yaml")
    if file is None and not path.is_file():
        return None, None
    from sluicegate_gatefile import compile as gatefile  # with PyYAML

    screen.note(f"comparing with {path}")
    report = gatefile.check(path, allow_loopback=True, stack_name=stack_name)
    if report.gate is not None:
        return report.gate, None
    errors = [f"{found} [{found.code}]" for found in report.diagnostics if found.severity == "error"]
    first = errors[0] if errors else path
    change = f"Fix the errors that `sluicegate check {path}` lists."
    return None, Finding(GATE, CheckVerdict.WRONG, f"the gate file has errors: {first}", change)


def _without(given: str, findings: Sequence[Finding]) -> list[Finding]:
    """Remove the token and its parts from the findings, whatever a server or a log has put in them."""
    secrets = sorted({given, *given.split(".")}, key=len, reverse=True)

    def redacted(text: str) -> str:
        for secret in secrets:
            if len(secret) >= _MIN_SECRET:
                text = text.replace(secret, "(a token)")
        return text

    return [replace(one, seen=redacted(one.seen), change=redacted(one.change)) for one in findings]


def _show(screen: Screen, findings: Sequence[Finding], report: Mapping[str, Any]) -> None:
    screen.document({**report, "findings": [_plain(finding) for finding in findings]})
    if screen.as_json:
        return
    for finding in findings:
        mark, style = _MARKS[finding.verdict]
        screen.text(Text.assemble((f"{mark} ", style), (f"{finding.check}: ", "bold"), finding.seen))
        if finding.change:
            screen.line(f"    {finding.change}")
    for answer in report.get("answers", ()):
        screen.line(f"  {answer['question']}: {answer['answer']}", "dim")
    screen.line("")
    wrong, warned = (
        sum(finding.verdict is verdict for finding in findings)
        for verdict in (CheckVerdict.WRONG, CheckVerdict.WARNING)
    )
    warnings = f"; {warned} to review" if warned else ""
    if wrong:
        first = " (start with the first)" if wrong > 1 else ""
        screen.line(f"{wrong} to fix{first}{warnings}", "bold")
    elif _unseen(findings):
        screen.line("nothing could be checked: see above for what it needs", "bold yellow")
    else:
        screen.line(f"no errors found from here{warnings}", "bold")


def _unseen(findings: Sequence[Finding]) -> bool:
    """Return whether nothing could be looked at. A log without an error was."""
    return bool(findings) and all(
        one.verdict is CheckVerdict.UNKNOWN and one.check != _LOG for one in findings
    )


def _plain(finding: Finding) -> dict[str, Any]:
    facts = asdict(finding)
    del facts["compared"]
    return facts
