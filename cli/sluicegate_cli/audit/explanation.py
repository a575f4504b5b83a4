"""Which calls a deployment explains, and which none does. Pure."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sluicegate.deployment.ulid import is_id
from sluicegate_cli.audit.cloudtrail import RecordedCall

_NAME: Final = re.compile(
    r"(?:(?:arn:[^:]+:lambda:(?P<region>[^:]*):)?(?P<account>[0-9]{12}):)?(?:function:)?"
    r"(?P<name>[A-Za-z0-9_-]{1,140})(?::(?P<qualifier>[$A-Za-z0-9_-]{1,128}))?"
)
_VERSIONED: Final = re.compile(r"[0-9]{8}(?:v[0-9]+)?$")


@dataclass(frozen=True)
class Explained:
    """A call, and what explains it: a deployment's id; or why none does."""

    call: RecordedCall
    deployment: str | None
    why: str = ""


def operation(event_name: str) -> str:
    """Return the API operation of an event's name: Lambda's carry a date, `UpdateFunctionCode20150331v2`."""
    return _VERSIONED.sub("", event_name)


def is_about(call: RecordedCall, function: str, account: str, region: str) -> bool:
    """Return whether a call is about the function: by name, ARN or partial ARN, with or without qualifier."""
    for subject in call.subjects:
        found = _NAME.fullmatch(subject)
        if (
            found
            and found["name"] == function
            and found["account"] in (None, account)
            and found["region"] in (None, region)
        ):
            return True
    return False


def own_calls(
    calls: Iterable[RecordedCall], deployment: str, source_identity: str, role: str | None
) -> list[Explained]:
    """Judge the calls under the deployment's name. A session's name can be chosen: also compare the rest.

    `source_identity` is what the deployer gives its sessions for this record; `role` is the target's, if the
    record has it.
    """
    found = list(calls)
    roles = {call.role for call in found if call.role}
    judged = []
    for call in found:
        why = ""
        if not call.role:
            why = "it is named like the deployment, but is no session of a role"
        elif role and call.role != role:
            why = f"it is named like the deployment, but is a session of {call.role}"
        elif not role and len(roles) > 1:
            why = f"sessions of several roles have the deployment's name: this one of {call.role}"
        elif call.source_identity != source_identity:
            theirs = call.source_identity or "none"
            why = (
                f"it is named like the deployment, but its source identity is {theirs}, not {source_identity}"
            )
        judged.append(Explained(call, None if why else deployment, why))
    return judged


def other_calls(
    calls: Iterable[RecordedCall], deployment: str, look_up: Callable[[str], Mapping[str, Any] | None]
) -> list[Explained]:
    """Judge calls on the function by others. `look_up` gives an id's record, None if it is not visible."""
    known: dict[str, Mapping[str, Any] | None] = {}
    judged = []
    for call in calls:
        if call.user == deployment:
            continue
        if not is_id(call.user):
            judged.append(Explained(call, None, "no deployment made it"))
            continue
        if call.user not in known:
            known[call.user] = look_up(call.user)
        record = known[call.user]
        if record is None:
            why = "it is named like a deployment that does not exist, or that you may not see"
            judged.append(Explained(call, None, why))
        elif not _fits(record, call):
            judged.append(Explained(call, None, "it is named like a deployment of another function or time"))
        else:
            judged.append(Explained(call, call.user))
    return judged


def _fits(record: Mapping[str, Any], call: RecordedCall) -> bool:
    target = record["target"]
    return is_about(call, record["function"], target["account"], target["region"])
