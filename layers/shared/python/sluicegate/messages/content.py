"""Say what a message says about a deployment that reached a status; `forms` puts it into a channel's form.

Everybody in a channel reads it, so it has no message of the timeline: those can name accounts, ARNs and what
a function answered (security.md#what-is-never-written).
"""

from dataclasses import dataclass
from typing import Any, Final, Literal

from sluicegate.deployment.model import Deployment, Entry, Requester, Status
from sluicegate.text import clean

Tone = Literal["good", "bad", "waiting", "plain"]

MAX_VALUE: Final = 100
"""Characters of one value: a person reads it in a line."""

_TONES: Final[dict[Status, Tone]] = {
    Status.SUCCEEDED: "good",
    Status.FAILED: "bad",
    Status.ROLLED_BACK: "bad",
    Status.ROLLING_BACK: "bad",
    Status.AWAITING_APPROVAL: "waiting",
}


@dataclass(frozen=True)
class MessageContent:
    """What a message says: a title, values with names, and a link to the board with its text."""

    title: str
    facts: tuple[tuple[str, str], ...]
    link: str
    link_text: str
    tone: Tone


def reached(deployment: Deployment) -> dict[Status, Entry]:
    """Return the statuses that the deployment has had, in order, each with the entry that began it first."""
    found: dict[Status, Entry] = {}
    for entry in deployment.timeline:
        found.setdefault(entry.status, entry)
    return found


def content(deployment: Deployment, status: Status, board: str) -> MessageContent:
    """Return what is said when the deployment has the status."""
    by, source = deployment.requested_by, deployment.built.by if deployment.built else deployment.requested_by
    facts = {
        "Action": deployment.action if deployment.action != "deploy" else None,
        "Release": deployment.release,
        "Version": deployment.version,
        "Commit": source.sha[:12] if source.sha else None,
        "Ref": source.ref,
        "Project": source.project_path,
        "By": _name(by),
        "Reason": deployment.reason.code if deployment.reason and status.final else None,
        "Deployment": deployment.id,
    }
    shown = tuple((name, clean(value, MAX_VALUE)) for name, value in facts.items() if value)
    waits = status is Status.AWAITING_APPROVAL
    return MessageContent(
        f"{deployment.function} in {deployment.stage}: {status.value.replace('_', ' ')}",
        shown,
        f"{board}/deployments/{deployment.id}",
        "Approve or reject" if waits else "Open on the board",
        _TONES.get(status, "plain"),
    )


def event(deployment: Deployment, status: Status, entry: Entry, board: str) -> dict[str, Any]:
    """Return the body of a signed webhook, as docs/guides/notify.md shows it."""
    by, source = deployment.requested_by, deployment.built.by if deployment.built else deployment.requested_by
    return {
        "type": f"sluicegate.deployment.{status.value}",
        "timestamp": entry.at,
        "data": {
            "id": deployment.id,
            "revision": entry.seq,
            "status": status.value,
            "final": status.final,
            "action": deployment.action,
            "function": deployment.function,
            "stage": deployment.stage,
            "target": {"account": deployment.plan.target.account, "region": deployment.plan.target.region},
            "release": deployment.release,
            "version": deployment.version,
            "reason": deployment.reason.code if deployment.reason and status.final else None,
            "rule": deployment.rule,
            "requested_by": {
                "via": by.via,
                "actor": by.actor or "pipeline",
                "name": _name(by),
                "issuer": by.issuer,
                "project_id": by.project_id,
                "project_path": by.project_path,
            },
            "commit": {"issuer": source.issuer, "project_path": source.project_path, "sha": source.sha},
            "links": {
                "self": f"/v1/deployments/{deployment.id}",
                "board": f"{board}/deployments/{deployment.id}",
            },
        },
    }


def _name(by: Requester) -> str | None:
    """Return who asked, for a line: a user's login, a session's name, a role or a webhook."""
    return by.user_login or by.session_name or (f"webhook {by.webhook}" if by.webhook else by.role)
