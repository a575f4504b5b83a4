"""`sluicegate audit export` and `sluicegate audit verify`: get the evidence, and check it without trust."""

import re
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from sluicegate.text import clean
from sluicegate_cli import output_file
from sluicegate_cli.audit.keys import KeyParam, evidence_stack_option
from sluicegate_cli.audit.lines import NotEvidence, bounded, lines_of
from sluicegate_cli.errors import ApiError
from sluicegate_cli.exit_codes import ExitCode
from sluicegate_cli.layout import Column
from sluicegate_cli.screen import Screen

if TYPE_CHECKING:
    from sluicegate.evidence.notes import PublicKey
    from sluicegate_cli.audit.export import EvidenceSource
    from sluicegate_cli.audit.verification import VerifiedEvidence
    from sluicegate_cli.doctor.aws_calls import AwsCalls, CouldNotCheck

_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}")
_SHOWN: Final = 20
"""Findings that are printed; `--json` has all."""


class MomentParam(click.ParamType):
    """A date, an RFC 3339 time, or a duration before now; the value is in epoch seconds."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        from sluicegate_cli.durations import seconds_of

        if isinstance(value, (int, float)):
            return value
        try:
            if _DATE.match(value):
                moment = datetime.fromisoformat(value)
                return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
            return time.time() - seconds_of(value)
        except ValueError:
            self.fail(f"{value!r} is not a date, a time, or a duration such as 30d", param, ctx)


@click.command("export")
@click.option("--from", "since", type=MomentParam(), required=True, help="From this time on, such as 30d.")
@click.option("--to", "until", type=MomentParam(), default="0s", help="Until this time. Default: now.")
@click.option("--project", metavar="ID", help="Only lines of this project of GitLab.")
@click.option("--stage", metavar="NAME", help="Only lines of this stage.")
@click.option(
    "--actor", type=click.Choice(["agent", "person", "pipeline"]), help="Only lines of these callers."
)
@click.option(
    "--format",
    "kind",
    type=click.Choice(["ndjson", "csv"]),
    default="ndjson",
    show_default=True,
    help="NDJSON can be verified; CSV is for reading.",
)
@evidence_stack_option
@click.option("--region", metavar="NAME", help="The stack's region.")
@click.option("--log", metavar="NAME", help="Another log than the stack's present one (EvidenceLog).")
@click.option("--output", metavar="FILE", help="Write to this file. Default: standard output (`-`).")
@output_file.force_option
def export(
    since: float,
    until: float,
    project: str | None,
    stage: str | None,
    actor: str | None,
    kind: str,
    stack: str,
    region: str | None,
    log: str | None,
    output: str | None,
    *,
    force: bool,
) -> None:
    """Export the evidence of a time, with AWS credentials of your own.

    It reads the stack's outputs (cloudformation:DescribeStacks, ListStackResources) and its bucket
    (s3:ListBucketVersions, s3:GetObjectVersion). Entries that the filters leave out stay as their hashes, so
    that the file can be verified: sluicegate audit verify.

    \b
      sluicegate audit export --from 2026-11-01 --to 2026-12-01 --output november.ndjson
      sluicegate audit export --from 30d --project 4213 --stage prod --format csv --output prod.csv
    """
    from sluicegate_cli.audit.export import EvidenceFilter, as_csv
    from sluicegate_cli.audit.export import export as lines_of
    from sluicegate_cli.doctor.aws_calls import CouldNotCheck, connect

    if until <= since:
        raise click.UsageError("--to is not after --from")
    path = output_file.chosen(output, output_file.STDOUT, as_json=False, force=force)
    screen = Screen(as_json=False)
    try:
        source, name = evidence_source(connect(region, what="audit"), stack, log)
        lines = lines_of(source, EvidenceFilter(since, until, project, stage, actor), name)
        text = as_csv(lines) if kind == "csv" else "".join(f"{line}\n" for line in lines)
    except CouldNotCheck as error:
        screen.error(evidence_unavailable(error))
        sys.exit(error.exit)
    if path == output_file.STDOUT:
        click.echo(text, nl=False)
        return
    output_file.write(path, text.encode(), force=force)
    screen.note(f"wrote {path}: {_count(max(0, text.count(chr(10)) - 1), 'line', 'lines')}")


def evidence_unavailable(error: "CouldNotCheck") -> ApiError:
    """Return what a command shows where AWS did not let it read the evidence."""
    document = {"code": "evidence_unavailable", "title": "The evidence cannot be read"}
    return ApiError(error.exit, {**document, "detail": clean(error.seen)}, error.change)


def evidence_source(aws: "AwsCalls", stack: str, named: str | None) -> tuple["EvidenceSource", str]:
    """Return the bucket's objects, and the name of the log. Raises CouldNotCheck and UsageError."""
    from sluicegate.settings import FIRST_LOG
    from sluicegate_cli.audit.export import EvidenceSource
    from sluicegate_cli.doctor.findings import Finding
    from sluicegate_cli.doctor.stack import read_stack

    found = read_stack(aws, stack)
    if isinstance(found, Finding):
        raise click.UsageError(f"{found.seen}. {found.change}")
    if "EvidenceBucket" not in found.outputs:
        raise click.UsageError(f"stack {stack} has no evidence: update it, or name Sluicegate's own stack")
    log = named or found.parameters.get("EvidenceLog", FIRST_LOG)
    place = (found.account, aws.region, stack)
    name = "/".join(place if log == FIRST_LOG else (*place, log))
    source = EvidenceSource(aws, found.outputs["EvidenceBucket"], "" if log == FIRST_LOG else f"log-{log}/")
    source.load()
    return source, name


@click.command("verify")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path))
@click.option(
    "--key",
    "keys",
    type=KeyParam(),
    multiple=True,
    required=True,
    help="The public key (audit key): NAME+ID+KEY, PEM, base64 of DER, or a file with it. Never from FILE."
    " More than once after a change of keys.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document to stdout.")
def verify(file: Path, keys: tuple[tuple["PublicKey", ...], ...], as_json: bool) -> None:
    """Verify FILE, an export of the evidence, offline.

    It names each entry that was changed, dropped, re-ordered or chained again, says up to which signed head
    the file is proven, and which deployments have a gap, are open, or were sealed late. Exit codes: 0, 2 if
    FILE is no export at all, or 4 if anything is wrong.

    \b
      sluicegate audit key --output evidence.pub
      sluicegate audit verify november.ndjson --key evidence.pub
    """
    from sluicegate_cli.audit.verification import verify as verified

    screen, given = Screen(as_json=as_json), [one for several in keys for one in several]
    try:
        lines = bounded(click.get_binary_stream("stdin")) if str(file) == "-" else lines_of(file)
        found = verified(lines, given)
    except NotEvidence as error:
        name = "standard input" if str(file) == "-" else file
        raise click.UsageError(f"{name} is no export of the evidence ({error})") from None
    screen.document(_document(found))
    if not as_json:
        _show(screen.line, screen, found)
    sys.exit(ExitCode.OK if found.ok else ExitCode.UNACCEPTABLE)


def _document(found: "VerifiedEvidence") -> dict[str, Any]:
    return {
        "ok": found.ok,
        "stack": clean(found.stack),
        "first": found.first,
        "last": found.last,
        "entries": found.entries,
        "omitted": found.omitted,
        "signed_to": found.signed_to,
        "signed_at": found.signed_at,
        "signed_by": found.signed_by,
        "unsigned": max(0, found.last - found.signed_to),
        "findings": [
            {"code": one.code, "seq": one.seq, "to": one.to, "detail": clean(one.detail, 512)}
            for one in found.findings
        ],
        "late": found.late,
        "open": [clean(one) for one in found.open],
        "began_before": [clean(one) for one in found.older],
    }


def _show(say: Callable[..., None], screen: Screen, found: "VerifiedEvidence") -> None:
    """Show what is proven, then what is wrong, then what is worth knowing."""
    say(f"evidence of {clean(found.stack) or 'no stack'}: entries {found.first} to {found.last}", "bold")
    if found.omitted:
        are = "is a hash alone" if found.omitted == 1 else "are hashes alone"
        say(f"{found.omitted} of them {are}: a filter has left out the rest", "yellow")
    if found.signed_to:
        say(f"signed up to entry {found.signed_to}, at {found.signed_at}, by {found.signed_by}")
        if found.last > found.signed_to:
            after = found.last - found.signed_to
            say(f"{_count(after, 'entry after it is', 'entries after it are')} not signed yet", "yellow")
    if found.ok:
        say("nothing was changed, dropped or added up to there", "green")
    else:
        say(f"{_count(len(found.findings), 'finding', 'findings')}:", "bold red")
        rows = [
            (one.code, "" if one.seq is None else str(one.seq), clean(one.detail, 512))
            for one in found.findings[:_SHOWN]
        ]
        screen.table((Column("what"), Column("entry"), Column("details", least=24, wrap=True)), rows)
        if len(found.findings) > _SHOWN:
            say(f"and {len(found.findings) - _SHOWN} more: --json has them all")
    if found.late:
        late = _count(len(found.late), "entry was", "entries were")
        say(f"{late} sealed late, the first is {found.late[0]}", "yellow")
    if found.open:
        running = _count(len(found.open), "deployment has", "deployments have")
        say(f"{running} not ended in this file", "yellow")


def _count(number: int, one: str, several: str) -> str:
    return f"{number} {one if number == 1 else several}"
