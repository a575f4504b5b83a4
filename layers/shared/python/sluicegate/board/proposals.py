"""What a person may ask for on the board: by address, the calls that rehearse it and that do it."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote, urlencode, urlsplit

from sluicegate.board.api import Call
from sluicegate.board.context import BoardContext
from sluicegate.board.visibility import DECISIONS, Visibility
from sluicegate.deployment.model import Requester
from sluicegate.deployment.ulid import is_id
from sluicegate.deployment.views import plan_view, requester_view
from sluicegate.documents import describe
from sluicegate.gateway.http import GatewayRequest
from sluicegate.store.serving import Serving

_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
_HOLD: Final = re.compile(r"[A-Za-z0-9]{26}", re.ASCII)
_VERSION: Final = re.compile(r"[1-9][0-9]{0,19}", re.ASCII)
_REHEARSED: Final = "rehearsal"
"""The reason of a rehearsed hold, which needs one."""

Rehearsed = Mapping[str, Any]


@dataclass(frozen=True)
class Shown:
    """What the page to confirm says: a sentence, facts by name, and links by name."""

    summary: str
    facts: Mapping[str, str]
    links: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Proposal:
    """An action that an address of the board asks for. Nothing of it is decided yet.

    `real` makes the call from the rehearsal, the reason and an idempotency key, and `shown` the page.
    `of_revision`: it is about one revision of a record, or about one rehearsal, and nothing else. `back` is
    an address within the board, and so is what `leads_to` makes of the API's answer.
    """

    address: str
    heading: str
    button: str
    back: str
    rehearsal: Call
    real: Callable[[Rehearsed, str, str], Call]
    shown: Callable[[BoardContext, Rehearsed], Shown]
    leads_to: Callable[[Rehearsed], str]
    of_revision: bool = True
    takes_reason: bool = True


def is_action(parts: tuple[str, ...]) -> bool:
    """Return whether an address is one of an action's, by its form alone."""
    match parts:
        case "deployments", deployment, action:
            return action in DECISIONS and is_id(deployment)
        case "stages", stage, "hold":
            return bool(_NAME.fullmatch(stage))
        case "stages", stage, "release", hold:
            return bool(_NAME.fullmatch(stage) and _HOLD.fullmatch(hold))
        case "functions", name, "rollback" | "promote", stage:
            return bool(_NAME.fullmatch(name) and _NAME.fullmatch(stage))
    return False


def proposal(
    context: BoardContext, request: GatewayRequest, viewer: Visibility | None, parts: tuple[str, ...]
) -> Proposal | None:
    """Return what the address of an action asks for; None where it does not say all that it takes.

    Nothing is decided yet, so nothing is looked up that the viewer may not see. No viewer: nothing at all.
    """
    match parts:
        case _ if not is_action(parts):
            return None
        case "deployments", deployment, action:
            return _decision(deployment, action)
        case "stages", stage, "hold":
            return _hold(stage)
        case "stages", stage, "release", hold:
            return _release(stage, hold)
        case "functions", name, "rollback", stage:
            return _rollback(request, name, stage)
        case "functions", name, "promote", stage:
            return _promotion(context, request, viewer, name, stage)
    return None


# Decisions


_BUTTONS: Final = {"approve": "Approve", "reject": "Reject", "abort": "Abort"}


def _decision(deployment: str, action: str) -> Proposal:
    path = ("deployments", deployment, action)
    # An abort is about what is under way, whatever was measured since: an emergency must not race with looks.
    of_revision = action != "abort"

    def real(found: Rehearsed, reason: str, key: str) -> Call:
        revision = {"revision": found["revision"]} if of_revision else {}
        return Call("POST", path, {"reason": reason, "idempotency_key": key, **revision})

    return Proposal(
        address="/".join(path),
        heading=f"{_BUTTONS[action]} this deployment",
        button=_BUTTONS[action],
        back=f"deployments/{deployment}",
        rehearsal=Call("POST", path, {"dry_run": True}),
        real=real,
        shown=_decision_shown,
        leads_to=lambda _: f"deployments/{deployment}",
        of_revision=of_revision,
    )


def _decision_shown(context: BoardContext, found: Rehearsed) -> Shown:
    deployment = context.store.deployments.get(str(found["deployment"]))
    if deployment is None:
        return Shown(str(found["effect"]), {})
    place = f"{deployment.function} {deployment.stage}"
    plan = plan_view(deployment.plan)
    serving = _serving(context, deployment.function, deployment.stage, plan)
    after = deployment.version or "a new version"
    moves = f"{serving.version if serving else 'nothing'} → {after}"
    summary = f"{place}: {moves}, {describe.steps(plan['steps'])}"
    if found["action"] != "approve":
        summary = f"{place}: {found['action']} {moves}. {str(found['effect']).capitalize()}."
    by = deployment.requested_by
    facts = {
        "What happens": str(found["effect"]),
        "Deployment": f"{deployment.action} {deployment.release or by.ref or deployment.sha256[:12]}",
        "Asked by": describe.requester(requester_view(by)),
        **_commits(serving, by),
        "By rule": str(found["rule"]),
    }
    if serving is None and found["action"] == "approve" and len(plan["steps"]) > 1:
        facts["If it serves nothing"] = "all traffic at once: there is nothing to share it with"
    return Shown(summary, facts, _compare(serving, by))


# Holds


def _hold(stage: str) -> Proposal:
    path = ("stages", stage, "hold")
    return Proposal(
        address=f"stages/{stage}/hold",
        heading=f"Hold {stage}",
        button="Hold",
        back="holds",
        rehearsal=Call("POST", path, {"reason": _REHEARSED, "dry_run": True}),
        real=lambda _, reason, key: Call("POST", path, {"reason": reason, "idempotency_key": key}),
        shown=lambda _, found: _hold_shown(found),
        leads_to=lambda _: "holds",
    )


def _release(stage: str, hold: str) -> Proposal:
    path = ("stages", stage, "hold")
    return Proposal(
        address=f"stages/{stage}/release/{hold}",
        heading=f"Release {stage}",
        button="Release",
        back="holds",
        rehearsal=Call("DELETE", path, None, {"id": hold, "dry_run": "true"}),
        real=lambda _, __, ___: Call("DELETE", path, None, {"id": hold}),
        shown=lambda _, found: _hold_shown(found),
        leads_to=lambda _: "holds",
        takes_reason=False,  # the hold is gone then, and no record has a place for it
    )


def _hold_shown(found: Rehearsed) -> Shown:
    stage, holds = found["stage"], found["holds"]
    names = ", ".join(name for hold in holds for name in hold["functions"])
    if found["action"] == "release":
        if not holds:
            return Shown(f"{stage}: this hold is released already", {"By rule": str(found["rule"])})
        reasons = "; ".join(str(hold["reason"]) for hold in holds)
        effect = "new deployments of these functions are taken again"
        return Shown(
            f"{stage}: release {names}",
            {"What happens": effect, "Held because": reasons, "By rule": str(found["rule"])},
        )
    effect = "new deployments of these functions are refused, rollbacks are not"
    if any(hold["id"] for hold in holds):
        effect += "; the earlier hold of this rule is replaced"
    return Shown(f"{stage}: hold {names}", {"What happens": effect, "By rule": str(found["rule"])})


# Rollbacks and promotions


def _rollback(request: GatewayRequest, name: str, stage: str) -> Proposal:
    version = _query(request, "version", _VERSION)
    wanted = {"action": "rollback", "function": name, "stage": stage}
    if version:
        wanted["version"] = version
    address = f"functions/{name}/rollback/{stage}" + (f"?version={version}" if version else "")
    return _move(address, f"Roll back {name} in {stage}", "Roll back", wanted)


def _promotion(
    context: BoardContext, request: GatewayRequest, viewer: Visibility | None, name: str, stage: str
) -> Proposal | None:
    source = _query(request, "from", _NAME)
    if not source:
        return None
    version = _query(request, "version", _VERSION)
    if not version and request.method == "POST":
        return None  # a form's address names the version
    if not version and viewer and source in viewer.stages(name):
        serving = _serving_in(context, name, source)
        version = serving.version if serving else ""
    query = {"from": source, "version": version} if version else {"from": source}
    address = f"functions/{name}/promote/{stage}?{urlencode(query)}"
    # Where nothing serves that the viewer sees, the API says so.
    wanted = {
        "action": "promote",
        "function": name,
        "stage": stage,
        "from": source,
        "version": version or "1",
    }
    return _move(address, f"Promote {name} to {stage}", "Promote", wanted)


def _move(address: str, heading: str, button: str, wanted: Mapping[str, str]) -> Proposal:
    def real(found: Rehearsed, reason: str, key: str) -> Call:
        body: dict[str, Any] = {**wanted, "description": reason, "idempotency_key": key}
        if found.get("version"):
            body["version"] = found["version"]
        return Call("POST", ("deployments",), body)

    return Proposal(
        address=address,
        heading=heading,
        button=button,
        back=f"functions/{wanted['function']}",
        rehearsal=Call("POST", ("deployments",), {**wanted, "dry_run": True}),
        real=real,
        shown=lambda context, found: _move_shown(context, found, wanted),
        leads_to=lambda answer: f"deployments/{answer['id']}",
    )


def _move_shown(context: BoardContext, found: Rehearsed, wanted: Mapping[str, str]) -> Shown:
    plan = found["plan"]
    name, stage = wanted["function"], wanted["stage"]
    serving = _serving(context, name, stage, plan)
    now = serving.version if serving else "nothing"
    version = found["version"] or "the version before"
    facts = {"What happens": f"alias {plan['alias']} gets version {version}"}
    links: Mapping[str, str] = {}
    if wanted["action"] == "promote":
        source = _serving_in(context, name, wanted["from"])
        if source and source.built and source.version == found["version"]:
            facts |= _commits(serving, source.built.by)
            links = _compare(serving, source.built.by)
    if plan["approval"]:
        facts["Approval"] = describe.approval(plan["approval"])
    if found["busy"]:
        other = found["deployment"] or "another deployment"
        does = (
            "is ended, and what it moved is restored" if wanted["action"] == "rollback" else "is in the way"
        )
        facts["Under way"] = f"{other} {does}"
    facts["By rule"] = str(found["rule"])
    facts["Seen only later"] = "; ".join(map(str, found["not_checked"]))
    return Shown(f"{name} {stage}: {now} → {version}, {describe.steps(plan['steps'])}", facts, links)


# Parts


def _query(request: GatewayRequest, name: str, pattern: re.Pattern[str]) -> str:
    values = request.query.get(name, [])
    return values[0] if len(values) == 1 and pattern.fullmatch(values[0]) else ""


def _serving(context: BoardContext, function: str, stage: str, plan: Rehearsed) -> Serving | None:
    """Return what the plan's alias serves, by the record."""
    where = (plan["target"]["account"], plan["target"]["region"], plan["alias"])
    found = (one for one in context.store.versions.serving(function) if one.stage == stage)
    return next((one for one in found if (one.account, one.region, one.alias) == where), None)


def _serving_in(context: BoardContext, function: str, stage: str) -> Serving | None:
    """Return what the function serves where the gate file places it in the stage."""
    placement = context.gate.place(function, stage)
    if placement is None:
        return None
    target = placement.target
    where = (target.account or context.own.account, target.region or context.own.region, placement.alias)
    found = (one for one in context.store.versions.serving(function) if one.stage == stage)
    return next((one for one in found if (one.account, one.region, one.alias) == where), None)


def _commits(serving: Serving | None, new: Requester) -> dict[str, str]:
    old = serving.built.by if serving and serving.built else None
    if not new.sha:
        return {}
    return {"Commits": f"{old.sha[:12]} → {new.sha[:12]}" if old and old.sha else new.sha[:12]}


def _compare(serving: Serving | None, new: Requester) -> dict[str, str]:
    """Return the address of GitLab's page of the commits between, if both are of one project."""
    old = serving.built.by if serving and serving.built else None
    if old is None or not (old.sha and new.sha and new.project_path) or old.sha == new.sha:
        return {}
    if (old.issuer, old.project_id) != (new.issuer, new.project_id):
        return {}
    base = (new.gitlab or new.issuer).rstrip("/")
    if urlsplit(base).scheme not in ("https", "http"):
        return {}
    between = f"{quote(old.sha, safe='')}...{quote(new.sha, safe='')}"
    return {"Commits between": f"{base}/{quote(new.project_path)}/-/compare/{between}"}
