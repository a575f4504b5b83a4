"""Render responses in both forms: JSON members for programs, lines of text for shells."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sluicegate.deployment.drift import Drift, drift_view
from sluicegate.deployment.durations import duration
from sluicegate.deployment.model import MAX_MESSAGE, Deployment, Origin
from sluicegate.deployment.observation_views import bounded
from sluicegate.deployment.plan import Plan, Target
from sluicegate.deployment.views import (
    mover_view,
    observations_view,
    origin_view,
    plan_view,
    target_view,
    view,
)
from sluicegate.gateway.admission.resolve import Resolved
from sluicegate.gateway.http import GatewayRequest, GatewayResponse
from sluicegate.gateway.requester import short_name
from sluicegate.gateway.requests.bodies import DeploymentRequest
from sluicegate.store.drift import DriftPlace
from sluicegate.store.holds import Hold
from sluicegate.store.serving import Serving
from sluicegate.text import clean

BOARD: Final = "/v1/board"
"""Where the board is, on the same host."""

MAX_LISTED: Final = 16 * 1024
"""The size of an observation above which a list has it without alarms and findings: a page has 100 items."""


def deployment_response(
    call: GatewayRequest,
    deployment: Deployment,
    status: int,
    *,
    after: int = 0,
    replayed: bool = False,
    observations: bool = False,
    board: bool = False,
) -> GatewayResponse:
    """Render a deployment; the lines are the timeline's entries past revision `after`.

    It is where the caller can read it: by its own way in. `observations`: all of them, not only the newest.
    `board`: with a link to the page where a person sees it and decides.
    """
    value = {**view(deployment), "links": {"self": f"{call.base}/deployments/{deployment.id}"}}
    if board:
        value["links"]["board"] = f"{BOARD}/deployments/{deployment.id}"
    if observations:
        value["observations"] = observations_view(deployment)
    lines = [
        f"{entry.at}  {entry.status.value:<12}  {clean(entry.message, MAX_MESSAGE)}"
        for entry in deployment.timeline
        if entry.seq > after
    ]
    headers = {
        "Location": value["links"]["self"],
        "Sluicegate-Id": deployment.id,
        "Sluicegate-Status": deployment.status.value,
        "Sluicegate-Revision": str(deployment.revision),
        "Sluicegate-Final": "true" if deployment.status.final else "false",
    }
    if board:
        headers["Sluicegate-Board"] = value["links"]["board"]
    if deployment.version:
        headers["Sluicegate-Version"] = deployment.version
    if replayed:
        headers["Idempotent-Replayed"] = "true"
    return GatewayResponse(status, value, tuple(lines), headers)


def deployment_list(deployments: Sequence[Deployment], cursor: str | None) -> GatewayResponse:
    """Render a page of deployments."""
    rows = [
        ("id", "status", "action", "function", "stage", "version", "created_at", "requested_by", "built_from")
    ]
    rows += [
        (
            item.id,
            item.status.value,
            item.action,
            item.function,
            item.stage,
            item.version or "-",
            item.created_at,
            short_name(item.requested_by),
            _built_from(item.built),
        )
        for item in deployments
    ]
    items = [view(item) for item in deployments]
    for item in items:
        item["observation"] = bounded(item["observation"], MAX_LISTED)
    value = {"items": items, "next_cursor": cursor}
    return GatewayResponse(200, value, _table(rows), _next_cursor(cursor))


def dry_run_response(
    request: DeploymentRequest, resolved: Resolved, *, busy: bool, holder: str | None
) -> GatewayResponse:
    """Render what the request would do. `holder` is the deployment in its way, if the caller may see it."""
    plan, not_checked = resolved.plan, _not_checked(request, resolved)
    value = {
        "dry_run": True,
        "allowed": True,
        "rule": resolved.rule.name,
        "action": request.action,
        "version": resolved.version,
        "plan": plan_view(plan),
        "busy": busy,
        "deployment": holder,
        "not_checked": not_checked,
        "fix_forward": {"reason": request.reason, "alarms": _alarms(plan)} if request.fix_forward else None,
    }
    lines = [f"allowed by rule {resolved.rule.name!r}", _dry_run_summary(request, resolved)]
    lines += resolved.notes
    lines += [f"  {step.percent}% for {duration(step.bake)}" for step in plan.steps if step.bake]
    if plan.approval is not None:
        lines.append(f"after another person's approval, within {duration(plan.approval)}")
    if request.fix_forward:
        lines.append(_would_overlook(plan))
    if busy:
        does = "would be superseded" if request.supersede else "is rolling out"
        lines.append(f"busy: {holder or 'another deployment'} {does}")
    lines.append(f"not checked: {'; '.join(not_checked)}")
    return GatewayResponse(200, value, tuple(lines))


def _not_checked(request: DeploymentRequest, resolved: Resolved) -> list[str]:
    """Name what only the deployer can look at: the gateway has no access to targets."""
    plan = resolved.plan
    where = f"{plan.target.account} {plan.target.region}"
    unseen = [f"function {request.function} and its alias {plan.alias} in {where}"]
    if resolved.version:
        unseen.append(f"whether version {resolved.version} still exists and can run")
    elif request.action == "deploy":
        unseen.append(f"whether artifact {resolved.sha256[:12]} has been uploaded")
    if plan.steps[0].percent < 100:
        unseen.append("whether traffic can be shared between the two versions")
    if plan.watch and plan.watch.alarms:
        unseen.append(f"whether alarms exist, and which are firing: {', '.join(_alarms(plan))}")
    if plan.smoke and plan.smoke.hook:
        unseen.append(f"whether the hook, function {plan.smoke.hook}, exists")
    return unseen


def _alarms(plan: Plan) -> list[str]:
    return list(map(clean, plan.watch.alarms)) if plan.watch else []


def _would_overlook(plan: Plan) -> str:
    """Say which alarms would be overlooked: the gateway cannot see which of them are firing."""
    if names := ", ".join(_alarms(plan)):
        return f"fix-forward: would overlook what is firing right before the first move, of alarms {names}"
    return "fix-forward: the stage watches no alarm, so there is nothing to overlook"


def _dry_run_summary(request: DeploymentRequest, resolved: Resolved) -> str:
    plan = resolved.plan
    version = f"version {resolved.version}" if resolved.version else resolved.sha256[:12]
    alias = f"alias {plan.alias} of {request.function} in {plan.target.account} {plan.target.region}"
    return f"would {request.action} {version} to {alias}"


def artifact_response(artifact: Mapping[str, Any], upload: Mapping[str, Any] | None) -> GatewayResponse:
    """Render where to upload an artifact, or that it is there already."""
    value = {"artifact": artifact, "upload": upload}
    if upload is None:
        return GatewayResponse(200, value, (), {"Sluicegate-Upload": "present"})
    lines = _curl_config(upload["url"], upload["headers"])
    return GatewayResponse(201, value, lines, {"Sluicegate-Upload": "needed"})


def _curl_config(url: str, headers: Mapping[str, str]) -> tuple[str, ...]:
    """Return input for `curl --config -`: the URL is never an argument, which other processes could read."""
    sent = [f'header = "{name}: {value}"' for name, value in headers.items() if name != "content-length"]
    return ('request = "PUT"', f'url = "{url}"', *sent)


def hold_list(stage: str, holds: Sequence[Hold]) -> GatewayResponse:
    """Render the holds of a stage."""
    items = [
        {
            "id": hold.name,
            "rule": hold.rule,
            "functions": list(hold.functions),
            "reason": hold.reason,
            "since": hold.since,
            "by": dict(hold.by),
        }
        for hold in holds
    ]
    rows = [("functions", "since", "by", "reason", "id")]
    rows += [
        (",".join(hold.functions), hold.since, _holder(hold), clean(hold.reason), hold.name) for hold in holds
    ]
    return GatewayResponse(200, {"stage": stage, "holds": items}, _table(rows))


def _holder(hold: Hold) -> str:
    return clean(hold.by.get("user_login") or hold.by.get("session_name") or "-")


def function_response(
    serving: Sequence[Serving], drift: Mapping[DriftPlace, Drift], pruning: Sequence[Mapping[str, Any]]
) -> GatewayResponse:
    """Render what the stages of one function serve, and which of its versions are pruned."""
    value = {**_function_view(serving, drift), "pruning": pruning}
    return GatewayResponse(200, value, _serving_table(serving))


def function_list(
    functions: Sequence[Sequence[Serving]], cursor: str | None, drift: Mapping[DriftPlace, Drift]
) -> GatewayResponse:
    """Render what the stages of each function serve."""
    value = {"items": [_function_view(serving, drift) for serving in functions], "next_cursor": cursor}
    listed = [one for serving in functions for one in serving]
    return GatewayResponse(200, value, _serving_table(listed), _next_cursor(cursor))


def _function_view(serving: Sequence[Serving], drift: Mapping[DriftPlace, Drift]) -> dict[str, Any]:
    stages = {
        one.stage: {
            "version": one.version,
            "artifact": {"sha256": one.sha256},
            "weights": dict(one.weights),
            "alias": one.alias,
            "target": target_view(Target(one.account, one.region), one.target_name),
            "deployment": one.deployment,
            "sha": one.built and one.built.by.sha,
            "ref": one.built and one.built.by.ref,
            "release": one.built and one.built.release,
            "built": origin_view(one.built),
            "since": one.since,
            "moved_by": {"action": one.action, **mover_view(one.requester)},
            "by": {"project_path": one.project_path, "user_login": one.user_login},
            "drift": drift_view(
                drift.get((one.account, one.region, one.function, one.alias)), one.deployment
            ),
        }
        for one in serving
    }
    return {"function": serving[0].function, "stages": stages}


def _serving_table(serving: Sequence[Serving]) -> tuple[str, ...]:
    rows = [("function", "stage", "version", "since", "built_from", "moved_by")]
    rows += [
        (
            one.function,
            one.stage,
            one.version,
            one.since,
            _built_from(one.built),
            short_name(one.requester),
        )
        for one in serving
    ]
    return _table(rows)


def _built_from(origin: Origin | None) -> str:
    """`main@8c6d3b1a9f42`, or `unknown` for a version that nobody is known to have built."""
    if origin is None:
        return "unknown"
    return clean(f"{origin.by.ref or '-'}@{(origin.by.sha or '-')[:12]}")


def _table(rows: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple("\t".join(row) for row in rows)


def _next_cursor(cursor: str | None) -> dict[str, str]:
    return {"Sluicegate-Next-Cursor": cursor} if cursor else {}
