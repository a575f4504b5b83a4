"""`sluicegate replay`: what another gate file would have decided about recorded requests."""

import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from sluicegate.gate.policy import Gate
from sluicegate.text import clean
from sluicegate_cli.audit.commands import MomentParam, evidence_source, evidence_unavailable
from sluicegate_cli.audit.keys import KeyParam
from sluicegate_cli.audit.lines import NotEvidence, lines_of
from sluicegate_cli.errors import ApiError
from sluicegate_cli.exit_codes import ExitCode
from sluicegate_cli.layout import Column
from sluicegate_cli.review import words
from sluicegate_cli.review.gate_files import gate_options, load
from sluicegate_cli.review.replay import (
    Changed,
    Replayed,
    ReplayOutcome,
    read,
    replay,
    skipped_denials,
)
from sluicegate_cli.screen import Screen

if TYPE_CHECKING:
    from sluicegate.evidence.notes import PublicKey
    from sluicegate_cli.audit.verification import VerifiedEvidence

_TITLES: Final[dict[ReplayOutcome, str]] = {
    "refused": "accepted before, refused now",
    "allowed": "refused before, allowed now",
    "approval": "needs an approval now",
    "no_approval": "needs no approval any more",
    "rule": "another rule decides",
}
_GROUPS: Final = 40
"""Groups of alike requests that are printed; `--json` has each request."""

_UNVERIFIED: Final = (
    "NOT VERIFIED: no signature was checked, so these requests may not be what was decided. Add --key:"
    " `sluicegate audit key` prints it"
)


@click.command("replay")
@click.option(
    "--from",
    "export",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="EXPORT",
    help="Requests of an export of the evidence: sluicegate audit export.",
)
@click.option(
    "--since",
    type=MomentParam(),
    help="Requests since this time, such as 30d, from the evidence in AWS, with AWS credentials of your own.",
)
@click.option("--region", metavar="NAME", help="With --since: the stack's region.")
@click.option(
    "--key",
    "keys",
    type=KeyParam(),
    multiple=True,
    help="The evidence's public key (audit key), or a file with it: verify the requests with it first.",
)
@gate_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document to stdout.")
def command(
    export: Path | None,
    since: float | None,
    region: str | None,
    keys: tuple[tuple["PublicKey", ...], ...],
    file: Path,
    allow_loopback: bool,
    stack_name: str,
    as_json: bool,
) -> ExitCode:
    """Decide all recorded requests again by a gate file that is not deployed yet.

    It shows what would be refused, allowed, or wait for an approval otherwise. What depends on a login, an
    e-mail address or another claim that the evidence does not keep cannot be decided. With --key it verifies
    the evidence first, as `sluicegate audit verify` does, and decides nothing where that finds anything.
    Exit codes: 0 if every request ends as before, 1 if one does not, 2 if the gate file has an error, 4 if
    the evidence does not verify.

    \b
      sluicegate audit key --output evidence.pub
      sluicegate replay --gate sluicegate.yaml --since 30d --key evidence.pub
      sluicegate audit export --from 30d --output evidence.ndjson
      sluicegate replay --gate sluicegate.yaml --from evidence.ndjson --key evidence.pub
    """
    if (export is None) == (since is None):
        raise click.UsageError("name the recorded requests: either --since TIME or --from EXPORT")
    screen = Screen(as_json=as_json)
    gate = load(screen, file, allow_loopback=allow_loopback, stack_name=stack_name)
    try:
        if export is not None:
            verified, found = _replayed(gate, lines_of(export), keys)
        else:
            assert since is not None  # noqa: S101 (either of the two)
            exported = (f"{line}\n".encode() for line in _exported(since, stack_name, region))
            verified, found = _replayed(gate, exported, keys)
    except NotEvidence as error:
        name = export or "what is in the bucket"
        raise click.UsageError(f"{name} is no export of the evidence ({error})") from None
    except ApiError as error:
        screen.error(error)
        sys.exit(error.exit)
    screen.document(_document(gate.digest, verified, found, skipped_denials(gate)))
    if not as_json:
        _show(screen, found, skipped_denials(gate))
    if verified is None:
        screen.line(_UNVERIFIED, "bold red")  # with --json to stderr
    elif not as_json:
        _show_verified(screen, verified)
    return ExitCode.NOT_DEPLOYED if found.ends_otherwise else ExitCode.OK


def _replayed(
    gate: Gate, lines: Iterable[bytes], keys: Sequence[Sequence["PublicKey"]]
) -> tuple["VerifiedEvidence | None", Replayed]:
    """Verify the lines, if there is a key, and decide them again. Raises NotEvidence and ApiError."""
    if not keys:
        return None, replay(gate, read(lines))
    from sluicegate_cli.audit.verification import verify

    # Kept, so that what was verified is what is decided again, whatever becomes of the file.
    kept = list(lines)
    verified = verify(kept, [key for several in keys for key in several])
    if not verified.ok:
        said = "; ".join(f"{one.code}: {clean(one.detail, 200)}" for one in verified.findings[:3])
        more = len(verified.findings) - 3
        document = {
            "code": "evidence_not_verified",
            "title": "The evidence does not verify: nothing was decided again",
            "detail": f"{said}{f'; and {more} more' if more > 0 else ''}",
        }
        change = "See all with `sluicegate audit verify`, and docs/guides/audit.md for what they mean."
        raise ApiError(ExitCode.UNACCEPTABLE, document, change)
    return verified, replay(gate, read(kept))


def _show_verified(screen: Screen, verified: "VerifiedEvidence") -> None:
    by = f"signed up to entry {verified.signed_to}, at {verified.signed_at}, by {verified.signed_by}"
    screen.line(f"verified: {by}", "green")
    if verified.last > verified.signed_to:
        count = verified.last - verified.signed_to
        entries = "entry" if count == 1 else "entries"
        screen.line(f"NOT VERIFIED: {count} {entries} after that, which no head covers yet", "bold yellow")


def _exported(since: float, stack: str, region: str | None) -> Iterator[str]:
    """Yield an export of the evidence since a time (epoch seconds). Raises ApiError and UsageError."""
    from sluicegate_cli.audit.export import EvidenceFilter
    from sluicegate_cli.audit.export import export as lines_of
    from sluicegate_cli.doctor.aws_calls import CouldNotCheck, connect

    try:
        source, name = evidence_source(connect(region, what="replay"), stack, None)
        yield from lines_of(source, EvidenceFilter(since, time.time()), name)
    except CouldNotCheck as error:
        raise evidence_unavailable(error) from None


def _document(
    digest: str, verified: "VerifiedEvidence | None", found: Replayed, skipped: int
) -> dict[str, Any]:
    proven = verified and {
        "stack": clean(verified.stack),
        "signed_to": verified.signed_to,
        "signed_at": verified.signed_at,
        "signed_by": verified.signed_by,
        "unsigned": max(0, verified.last - verified.signed_to),
    }
    return {
        "gate": digest,
        "verified": proven,
        "decided": found.decided,
        "changes": [one.document for one in found.changed],
        "cannot_be_decided": dict(found.unknown),
        "decided_by_more_than_the_gate_file": found.other,
        "omitted": found.omitted,
        "unread": found.unread,
        "skipped_denials": skipped,
    }


def _show(screen: Screen, found: Replayed, skipped: int) -> None:
    screen.line(f"{words.plural(found.decided, 'recorded request')} decided again", "bold")
    rows = _rows(found.changed)
    if rows:
        screen.table(
            (
                Column("what", least=16, wrap=True),
                Column("request", least=20, wrap=True),
                Column("before", drop=1, least=12, wrap=True),
                Column("now", least=16, wrap=True),
                "times",
                Column("last", drop=2),
            ),
            rows[:_GROUPS],
        )
    if len(rows) > _GROUPS:
        screen.line(f"and {len(rows) - _GROUPS} more kinds of requests: --json has them all")
    for claims, count in sorted(found.unknown.items()):
        screen.line(f"cannot be decided: {words.plural(count, 'request')}, it depends on {claims}", "yellow")
    for count, text in (
        (found.other, "refused for a reason that no gate file decides alone, such as busy"),
        (found.omitted, "left out of the file by a filter"),
        (found.unread, "with too little to decide by"),
    ):
        if count:
            screen.line(f"not looked at: {count} {text}")
    if skipped:
        entries = "entry" if skipped == 1 else "entries"
        screen.line(f"not looked at: {skipped} {entries} of `deny` by jti or access_key, which no line has")
    counts = {name: sum(one.outcome == name for one in found.changed) for name in _TITLES}
    if any(counts.values()):
        said = "; ".join(f"{_TITLES[name]}: {count}" for name, count in counts.items() if count)
        screen.line(said, "bold yellow" if found.ends_otherwise else "bold")
    else:
        screen.line("nothing is decided otherwise", "bold green")


def _rows(changed: list[Changed]) -> list[tuple[str, ...]]:
    """Return one row for requests that are alike."""
    alike: dict[tuple[str, ...], list[str]] = defaultdict(list)
    order = list(_TITLES)
    for one in sorted(changed, key=lambda each: order.index(each.outcome)):
        line = one.line
        where = " ".join(str(line[name]) for name in ("function", "stage") if line.get(name))
        request = f"{' and '.join(line['actions'])} {where}, {_who(line)}"
        before = f"rule {line['rule']!r}" if line.get("rule") else str(line.get("code") or "refused")
        now = one.reason or (f"rule {one.rule!r}" if one.rule else "")
        alike[_TITLES[one.outcome], request, before, now].append(str(line["time"]))
    return [(*key, str(len(times)), max(times)) for key, times in alike.items()]


def _who(line: dict[str, Any] | Any) -> str:
    """Return who asked, by the ids that all requests of one project or principal share."""
    by = line["by"]
    if "project_id" in by:
        user = f", user {by['user_id']}" if "user_id" in by else ""
        return clean(f"project {by['project_id']}{user}")
    if "principal_id" in by:
        return clean(f"AWS principal {by['principal_id']}")
    return clean(f"user {by.get('user_id', 'unknown')}")
