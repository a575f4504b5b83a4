"""What the gateway puts into the evidence: on what it decided, and what it refused.

security.md#evidence
"""

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

from botocore.exceptions import BotoCoreError, ClientError

from sluicegate.aws.errors import error_code
from sluicegate.evidence.basis import Basis, basis, ids
from sluicegate.gate.rules import Rule
from sluicegate.gateway.context import Context
from sluicegate.gateway.http import IAM, GatewayRequest
from sluicegate.gateway.problems import Problem
from sluicegate.oidc.identity import Identity
from sluicegate.store.facts import MOST_OF_STRANGERS, MOST_REFUSALS
from sluicegate.store.keys import digest

_RECORDED: Final = frozenset({401, 403, 404, 409, 412, 422})
"""Refusals of what was asked. A malformed request is none, nor is one that was too early or met an outage."""

_DEPLOYMENTS: Final = "/deployments"

_Asked: TypeAlias = Callable[[], dict[str, Any]]


def basis_of(context: Context, identity: Identity, actions: Sequence[str], rule: Rule | None) -> Basis:
    """Return what a decision of this moment rests on."""
    return basis(
        identity,
        gate=context.gate.digest,
        actor=context.gate.principals.actor(identity),
        actions=actions,
        rule=rule.name if rule else None,
        now=context.clock(),
    )


def record_refusal(context: Context, call: GatewayRequest, identity: Identity, problem: Problem) -> None:
    """Put a refused change into the evidence. Reads are none, nor are rehearsals."""
    if call.method == "GET" or problem.status not in _RECORDED:
        return
    resource = call.resource.removeprefix(IAM) if call.is_signed else call.resource
    if _is_rehearsal(call):
        return
    _record(context, identity, problem, lambda: _asked(context, call, resource))


def record_refused_delivery(
    context: Context, identity: Identity, problem: Problem, function: str, stage: str
) -> None:
    """Put a refused delivery into the evidence, of a sender that has proven that it has the secret."""
    if problem.status in _RECORDED:
        asked: dict[str, Any] = {
            "action": "deploy",
            "actions": ("deploy",),
            "function": function,
            "stage": stage,
        }
        _record(context, identity, problem, lambda: asked)


def _record(context: Context, identity: Identity, problem: Problem, asked: _Asked) -> None:
    """Note the refusal. It stays one if that fails: the log and the access log still have it.

    Where anybody can make projects, callers are free. So all of an issuer or account that no rule is for
    count as one, and cannot fill the log, nor delay what is in it of the others.
    """
    owner, named = identity.owner, context.gate.names(identity)
    subject = digest(owner.kind, owner.realm, owner.id if named else "", problem.code)[:32]
    code = {"code": problem.code, "status": problem.status}
    counted = {**code, "via": identity.via, "by": _owner_ids(identity, named)}
    most = MOST_REFUSALS if named else MOST_OF_STRANGERS

    def fields() -> dict[str, Any]:
        about = asked()
        rests_on = basis_of(context, identity, about.pop("actions", ()), None).fields
        return {**rests_on, **about, **code}

    try:
        context.store.facts.refuse(subject, most, counted, context.clock(), fields)
    except (ClientError, BotoCoreError) as error:
        context.log("refusal_not_recorded", code=problem.code, error=error_code(error))


def _owner_ids(identity: Identity, named: bool) -> dict[str, str]:
    """Return the ids that all of a subject's refusals have."""
    realm, own = {"iam": ("account", "principal_id"), "session": ("issuer", "user_id")}.get(
        identity.via, ("issuer", "project_id")
    )
    shared = (realm, own) if named else (realm,)
    return {name: value for name, value in ids(identity).items() if name in shared}


def _is_rehearsal(call: GatewayRequest) -> bool:
    from sluicegate.gateway.requests import bodies

    if call.method == "DELETE":
        return call.query.get("dry_run") == ["true"]
    try:
        body = bodies.parse(call.body)
    except Problem:
        return False
    # Where a call has no dry runs, the field is 400, which is no refusal.
    return isinstance(body, dict) and body.get("dry_run") is True


def _asked(context: Context, call: GatewayRequest, resource: str) -> dict[str, Any]:
    """Return what a request asked for, as far as it can be read."""
    from sluicegate.gateway.requests import queries

    if resource == _DEPLOYMENTS:
        return _deployment(context, call)
    if resource == "/artifacts":
        return _artifact(call)
    last = resource.rpartition("/")[2]
    if last == "hold":
        return {"action": last, "actions": (last,), "stage": queries.stage_name(call.path)}
    if resource.startswith("/sessions/"):
        return {"action": "end-sessions", "actions": ("end-sessions",)}
    asked: dict[str, Any] = {"action": last, "actions": (last,)}
    deployment_id = queries.deployment_id(call.path) if resource.startswith(f"{_DEPLOYMENTS}/") else None
    deployment = context.store.deployments.get(deployment_id) if deployment_id else None
    if deployment is None:
        return asked
    if (last, deployment.action) == ("abort", "rollback"):
        asked["actions"] = ("abort", "rollback")
    return asked | {
        "deployment": deployment.id,
        "function": deployment.function,
        "stage": deployment.stage,
    }


def _deployment(context: Context, call: GatewayRequest) -> dict[str, Any]:
    from sluicegate.gateway.admission.resolve import required_actions
    from sluicegate.gateway.requests import bodies

    try:
        request = bodies.deployment(bodies.parse(call.body))
    except Problem:
        return {"action": "deploy"}
    placement = context.gate.place(request.function, request.stage)
    return {
        "action": request.action,
        "actions": required_actions(request, placement),
        "function": request.function,
        "stage": request.stage,
        "artifact": request.sha256,
        "from": request.source,
        "version": request.version,
        "agent": request.agent or None,
    }


def _artifact(call: GatewayRequest) -> dict[str, Any]:
    from sluicegate.gateway.requests import bodies

    try:
        request = bodies.artifact(bodies.parse(call.body))
    except Problem:
        return {"action": "upload"}
    return {
        "action": "upload",
        "actions": ("deploy",),
        "function": request.function,
        "artifact": request.sha256,
        "agent": request.agent or None,
    }
