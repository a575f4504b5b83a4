"""`sluicegate audit trail`: a deployment's record beside what CloudTrail has recorded of it in the target."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import click
from rich.text import Text

from sluicegate.deployment.durations import seconds, timestamp
from sluicegate.documents import describe
from sluicegate.text import clean
from sluicegate_cli.audit.commands import export, verify
from sluicegate_cli.audit.keys import key
from sluicegate_cli.doctor.findings import format_age, sanitize
from sluicegate_cli.durations import format_duration
from sluicegate_cli.errors import ApiError
from sluicegate_cli.exit_codes import ExitCode
from sluicegate_cli.groups import SuggestingGroup
from sluicegate_cli.layout import Column
from sluicegate_cli.options import DurationParam, api_command, deployment_argument
from sluicegate_cli.screen import Screen

if TYPE_CHECKING:
    from sluicegate_cli.api import ApiClient
    from sluicegate_cli.audit.explanation import Explained
    from sluicegate_cli.doctor.aws_calls import AwsCalls

_OWN_PAGES: Final = 20  # of the deployment's own calls; one makes some dozens
_SLACK: Final = 300.0  # seconds around a deployment for its own calls


@click.group("audit", cls=SuggestingGroup)
def command() -> None:
    """Answer an auditor: get the evidence, check it, and compare the record with what AWS has recorded."""


command.add_command(export)
command.add_command(key)
command.add_command(verify)


@command.command("trail")
@deployment_argument
@click.option(
    "--around",
    type=DurationParam(),
    default="1h",
    show_default=True,
    help="Look at calls on the function from so long before the deployment until so long after it.",
)
@click.option(
    "--pages",
    type=click.IntRange(1, 2_000),
    default=100,
    show_default=True,
    help="Read at most so many pages of 50 calls to Lambda; CloudTrail takes two a second.",
)
@click.option(
    "--role",
    metavar="ARN",
    help="Count only sessions of this role as the deployment's: the stack's output TargetRoleArn, or the"
    " target's role. Default: the one role that its calls have.",
)
@click.option("--reads", is_flag=True, help="Include calls that change nothing.")
@api_command
def trail(
    api: "ApiClient",
    screen: Screen,
    deployment: str,
    around: float,
    pages: int,
    role: str | None,
    reads: bool,
) -> ExitCode:
    """Show deployment ID beside what CloudTrail has recorded of it in its target.

    It also marks the calls on that function that no deployment explains. It reads CloudTrail with your own
    AWS credentials (the standard chain, AWS_PROFILE), in the account and region of the target:
    cloudtrail:LookupEvents is all that they need. CloudTrail shows a call about five minutes later, without
    guarantee, and keeps it for 90 days. Invocations are not in it.

    \b
      AWS_PROFILE=audit sluicegate audit trail 01KAQ3ZV6N8T4R1F0C2H7M5XWE
      sluicegate audit trail 01KAQ3ZV6N8T4R1F0C2H7M5XWE --around 1d --json > trail.json
    """
    record = api.get("deployments", deployment)
    from sluicegate_cli.doctor.aws_calls import CouldNotCheck, connect

    aws = connect(str(record["target"]["region"]), what="audit")
    try:
        document = examine(api, aws, screen, record, around=around, pages=pages, role=role, reads=reads)
    except CouldNotCheck as error:
        raise _unreadable(error.seen, error.change, error.exit) from None
    screen.document(document)
    if not screen.as_json:
        _show(screen, record, document, api.now())
    return ExitCode.OK


def examine(
    api: "ApiClient",
    aws: "AwsCalls",
    screen: Screen,
    record: Mapping[str, Any],
    *,
    around: float,
    pages: int,
    role: str | None,
    reads: bool,
) -> dict[str, Any]:
    """Return the record with CloudTrail's calls. Raises CouldNotCheck and ApiError."""
    from sluicegate_cli.audit.cloudtrail import DELAY, HISTORY, EventHistory
    from sluicegate_cli.audit.explanation import is_about, other_calls, own_calls

    target = record["target"]
    account = str(aws.call("sts", "GetCallerIdentity")["Account"])
    if account != target["account"]:
        raise _unreadable(
            f"these AWS credentials are of account {account}, and the target is in {target['account']}",
            "Use credentials of that account (AWS_PROFILE).",
            ExitCode.USAGE,
        )
    now = api.now()
    began = seconds(record["created_at"])
    ended = seconds(record["finished_at"]) if record["finished_at"] else now
    oldest = now - HISTORY
    if ended < oldest:
        raise _unreadable(
            "the deployment ended more than 90 days ago, and CloudTrail's event history keeps 90 days",
            "Ask for the events of that time from a trail or an event data store, if there is one.",
            ExitCode.UNACCEPTABLE,
        )
    start, end = max(oldest, began - _SLACK), min(now, ended + _SLACK)
    events = EventHistory(aws)
    screen.note(f"reading CloudTrail in {target['account']}, {target['region']}")
    own = events.look_up("Username", record["id"], start, end, most=_OWN_PAGES)
    # An AssumeRole names the session that it makes as a resource; its user is the deployer.
    sessions = events.look_up(
        "ResourceName", record["id"], start, end, most=2, wanted=lambda call: call.name == "AssumeRole"
    )
    first, last = max(oldest, began - around), min(now, ended + around)
    screen.note(f"reading the calls to Lambda of {format_duration(last - first)}; two pages a second")
    lambda_ = events.look_up(
        "EventSource",
        "lambda.amazonaws.com",
        first,
        last,
        most=pages,
        wanted=lambda call: (
            (reads or not call.read_only)
            and is_about(call, record["function"], target["account"], target["region"])
        ),
    )
    identity = _source_identity(record["requested_by"])
    judged = own_calls(own.calls, record["id"], identity, role)
    others = other_calls(lambda_.calls, record["id"], lambda other: _visible(api, other))
    notes = []
    if now - ended < DELAY:
        notes.append(
            f"the deployment ended {format_age(now - ended)} ago: CloudTrail may not show all of it yet."
            " Run this again in 15 minutes"
        )
    elif not own.calls:
        notes.append("CloudTrail shows no call of this deployment: it ended before it reached the function?")
    if own.calls and not sessions.calls:
        notes.append(
            "no AssumeRole in this region: it is recorded where STS made the session, the stack's region"
        )
    if not lambda_.complete:
        notes.append(
            f"calls on the function before {timestamp(lambda_.since)} were not read: raise --pages, or lower"
            " --around"
        )
    if not own.complete:
        notes.append(f"only the last {_OWN_PAGES * 50} calls of the deployment were read")
    if began - around < oldest:
        notes.append("CloudTrail keeps 90 days: what is older is not shown")
    suspects = [one for one in judged if one.deployment is None]
    return {
        "deployment": dict(record),
        "target": dict(target),
        "window": {"since": timestamp(first), "until": timestamp(last)},
        "role": next((one.call.role for one in judged if one.deployment), None),
        "source_identity": identity,
        "sessions": [_call(one) for one in sessions.calls],
        "calls": [_judged(one) for one in judged if one.deployment],
        "others": [_judged(one) for one in others if one.deployment],
        "unexplained": [_judged(one) for one in (*suspects, *others) if one.deployment is None],
        "complete": own.complete and lambda_.complete,
        "notes": notes,
    }


def _visible(api: "ApiClient", deployment: str) -> Mapping[str, Any] | None:
    try:
        return api.get("deployments", deployment)
    except ApiError as error:
        if error.exit in (ExitCode.UNACCEPTABLE, ExitCode.REFUSED):
            return None
        raise


def _source_identity(requested_by: Mapping[str, Any]) -> str:
    """Return what the deployer gives its sessions for a record, as CloudTrail shows it on every call."""
    from dataclasses import fields

    from sluicegate.deployer.sessions import source_identity
    from sluicegate.deployment.model import Requester

    known = {one.name for one in fields(Requester)}
    return source_identity(
        Requester(**{name: value for name, value in requested_by.items() if name in known})
    )


def _unreadable(seen: str, change: str, exit_code: ExitCode) -> ApiError:
    document = {"code": "trail_unavailable", "title": "CloudTrail cannot be read", "detail": sanitize(seen)}
    return ApiError(exit_code, document, sanitize(change))


def _call(call: Any) -> dict[str, Any]:
    from sluicegate_cli.audit.explanation import operation

    return {
        "id": call.id,
        "at": timestamp(call.at),
        "operation": operation(call.name),
        "event_name": call.name,
        "source": call.source,
        "user": call.user,
        "principal": call.principal,
        "role": call.role or None,
        "source_identity": call.source_identity or None,
        "error": call.error or None,
        "address": call.address,
        "agent": call.agent,
        "details": dict(call.details),
    }


def _judged(one: "Explained") -> dict[str, Any]:
    return {**_call(one.call), "deployment": one.deployment, "why": one.why or None}


def _show(screen: Screen, record: Mapping[str, Any], document: Mapping[str, Any], now: float) -> None:
    """Show one timeline of both, then what no deployment explains."""
    target = document["target"]
    screen.line(
        f"{record['status']}  {record['id']}: {record['action']} of {record['function']} to"
        f" {record['stage']}, in {target['account']}, {target['region']}",
        "bold",
    )
    requester = describe.requester(record["requested_by"])
    screen.line(f"asked by {requester}; source identity {document['source_identity']}")
    screen.line("")
    rows: list[tuple[str, Sequence[str | Text]]] = [
        (entry["at"], (screen.moment(entry["at"], now), "record", entry["status"], entry["message"]))
        for entry in record["timeline"]
    ]
    for call in (*document["sessions"], *document["calls"]):
        shown = (screen.moment(call["at"], now), "CloudTrail", call["operation"], _facts(call))
        # CloudTrail's times are whole seconds: a call is shown before the entry that it led to.
        rows.append((max(call["at"], record["created_at"]), shown))
    columns = (
        Column("when"),
        Column("from", drop=1),
        Column("what", least=12),
        Column("details", least=24, wrap=True),
    )
    screen.table(columns, [row for _, row in sorted(rows, key=lambda one: one[0])])
    screen.line("")
    if document["others"]:
        by = sorted({call["deployment"] for call in document["others"]})
        number = len(document["others"])
        calls = "1 call on the function is" if number == 1 else f"{number} calls on the function are"
        screen.line(f"{calls} of other deployments: {', '.join(by[:5])}")
    unexplained = document["unexplained"]
    if unexplained:
        count = f"{len(unexplained)} call{'' if len(unexplained) == 1 else 's'}"
        screen.line(f"{count} on the function that no deployment explains:", "bold yellow")
        screen.table(
            (
                Column("when"),
                Column("what", least=12),
                Column("by", least=16, wrap=True),
                Column("why", least=24, wrap=True),
            ),
            [
                (screen.moment(call["at"], now), call["operation"], call["principal"], _why(call))
                for call in unexplained
            ],
        )
    else:
        since = document["window"]["since"]
        screen.line(f"no call on {record['function']} since {since} is without a deployment", "green")
    for note in document["notes"]:
        screen.line(f"note: {note}", "yellow")


def _why(call: Mapping[str, Any]) -> str:
    refused = f"; refused: {call['error']}" if call["error"] else ""
    return f"{call['why']}{refused}"


def _facts(call: Mapping[str, Any]) -> str:
    """Describe a call in one line: what it set, and the error if it was refused."""
    parts = [f"{name} {clean(value, 200)}" for name, value in call["details"].items()]
    if call["error"]:
        parts.append(f"refused: {call['error']}")
    return ", ".join(parts)
