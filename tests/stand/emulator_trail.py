"""CloudTrail's events as AWS writes them, and a log of what sessions touch. Loaded by `launch_emulator`.

Differences, each one thing that AWS does and MiniStack 1.5.33 does not:

- `userIdentity` is the principal: an assumed role with its issuer, its source identity and its creation, a
  user, or root. An event's user name is the session's name.
- An AssumeRole event lists what was passed, session tags too, and is in the role's account as well.
- Lambda's events carry the date of their API (`UpdateFunctionCode20150331v2`).

Sources, read on 26 November 2026: CloudTrail user guide, "CloudTrail userIdentity element" and "Logging
Lambda API calls"; IAM user guide, "Logging IAM and AWS STS API calls with AWS CloudTrail". CloudTrail
itself delays: an event can be looked up within 15 minutes on AWS, and at once here.
"""

import json
import os
import time
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

Pinned = Callable[..., Callable[..., Any]]

CALLS = "STAND_CALLS_FILE"
"""Environment variable: the file for a line about each call of a role's session."""

_DATED = {
    **dict.fromkeys(
        ("CreateFunction", "DeleteFunction", "PublishVersion", "CreateAlias", "UpdateAlias", "DeleteAlias"),
        "20150331",
    ),
    **dict.fromkeys(("GetAlias", "ListAliases", "ListFunctions", "ListVersionsByFunction"), "20150331"),
    **dict.fromkeys(
        ("UpdateFunctionCode", "UpdateFunctionConfiguration", "GetFunctionConfiguration", "GetFunction"),
        "20150331v2",
    ),
    **dict.fromkeys(("PutFunctionConcurrency", "DeleteFunctionConcurrency"), "20171031"),
    **dict.fromkeys(("PutProvisionedConcurrencyConfig", "GetProvisionedConcurrencyConfig"), "20190930"),
}


def install(pinned: Pinned) -> None:
    """Install all of them. `pinned` finds a function and stops where it has changed."""
    trail: Any = import_module("ministack.services.cloudtrail")
    responses: Any = import_module("ministack.core.responses")
    names = (
        *("service", "event_name", "username", "access_key_id", "resources", "region"),
        *("request_id", "user_agent", "request_params", "method"),
    )
    record = pinned(trail, "record_event", *names)
    log = os.environ.get(CALLS)

    def record_event(**call: Any) -> None:
        session = session_of(call["access_key_id"])
        if call["event_name"].startswith("POST."):  # a query's action is in its form
            call["event_name"] = call["request_params"].get("Action") or call["event_name"]
        if log and session:
            note(Path(log), call, session, responses.get_account_id())
        call["event_name"] += _DATED.get(call["event_name"], "") if call["service"] == "lambda" else ""
        if call["service"] == "sts" and call["event_name"].startswith("AssumeRole"):
            call["request_params"] = assume_parameters(call["request_params"])
        call["username"] = session["Arn"].rpartition("/")[2] if session else call["username"]
        record(**call)
        identify(trail, session, call["access_key_id"])
        account = str(call["request_params"].get("roleArn", "")).split(":")[4:5]
        if account and account[0] != responses.get_account_id():
            event = trail._get_event_queue()[-1]
            with responses.request_scope(account[0], responses.get_region()):
                trail._get_event_queue().append(event)

    trail.record_event = record_event


def session_of(key: str) -> dict[str, Any] | None:
    sts: Any = import_module("ministack.services.sts")
    session: dict[str, Any] | None = sts._sessions.get(key)
    return session


def identify(trail: Any, session: Mapping[str, Any] | None, key: str) -> None:
    """Write the principal into the newest event."""
    event = trail._get_event_queue()[-1]
    written = json.loads(event["CloudTrailEvent"])
    account = written["recipientAccountId"]
    if session and ":assumed-role/" in session["Arn"]:
        written["userIdentity"] = role_identity(session, key)
    elif key == account:
        written["userIdentity"] = {
            "type": "Root",
            "principalId": account,
            "arn": f"arn:aws:iam::{account}:root",
            "accountId": account,
            "accessKeyId": key,
        }
    event["CloudTrailEvent"] = json.dumps(written)


def role_identity(session: Mapping[str, Any], key: str) -> dict[str, Any]:
    """`userIdentity` of a role's session."""
    account, role = session["Arn"].split(":")[4], session["Arn"].split("/")[1]
    iam: Any = import_module("ministack.services.iam")
    stored = iam._roles.get_scoped(account, None, role) or {}
    context: dict[str, Any] = {
        "sessionIssuer": {
            "type": "Role",
            "principalId": session["UserId"].partition(":")[0],
            "arn": stored.get("Arn", f"arn:aws:iam::{account}:role/{role}"),
            "accountId": account,
            "userName": role,
        },
        "attributes": {
            "creationDate": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(session.get("IssuedAt"))),
            "mfaAuthenticated": "false",
        },
    }
    if session.get("FederatedProvider"):
        context["webIdFederationData"] = {"federatedProvider": session["FederatedProvider"], "attributes": {}}
    if session.get("SourceIdentity"):
        context["sourceIdentity"] = session["SourceIdentity"]
    return {
        "type": "AssumedRole",
        "principalId": session["UserId"],
        "arn": session["Arn"],
        "accountId": account,
        "accessKeyId": key,
        "sessionContext": context,
    }


def assume_parameters(form: Mapping[str, Any]) -> dict[str, Any]:
    """What CloudTrail keeps of a call that assumes a role; never a token."""
    kept = {
        name[0].lower() + name[1:]: form[name]
        for name in ("RoleArn", "RoleSessionName", "ExternalId", "SourceIdentity", "Policy")
        if name in form
    }
    if form.get("DurationSeconds"):
        kept["durationSeconds"] = int(form["DurationSeconds"])
    tags: list[dict[str, Any]] = []
    while f"Tags.member.{len(tags) + 1}.Key" in form:
        at = f"Tags.member.{len(tags) + 1}"
        tags.append({"key": form[f"{at}.Key"], "value": form.get(f"{at}.Value", "")})
    return {**kept, "tags": tags} if tags else kept


def note(file: Path, call: Mapping[str, Any], session: Mapping[str, Any], account: str) -> None:
    """Add a line to the log: which session called what, in which account and region."""
    line = {
        "at": time.time(),
        "key": call["access_key_id"],
        "session": session["Arn"],
        "source_identity": session.get("SourceIdentity"),
        "tags": {tag["Key"]: tag["Value"] for tag in session.get("SessionTags") or ()},
        "call": f"{call['service']}:{call['event_name']}",
        "account": account,
        "region": call["region"],
        "resources": [one["ResourceName"] for one in call["resources"]],
    }
    with file.open("a") as log:
        log.write(json.dumps(line) + "\n")
