"""`/stages/{stage}/hold`: stop new deployments of a stage, release them, read why they are stopped."""

from dataclasses import replace
from typing import Final

from sluicegate.deployment.durations import timestamp
from sluicegate.deployment.ulid import new_id
from sluicegate.gate.rules import Rule
from sluicegate.gateway.admission.credentials import request_key
from sluicegate.gateway.authorization import AGENTS_MAY_NOT, check_age, covers, overlaps
from sluicegate.gateway.context import Context
from sluicegate.gateway.evidence import basis_of
from sluicegate.gateway.http import GatewayRequest, GatewayResponse
from sluicegate.gateway.problems import conflict, invalid_request, not_allowed, not_found
from sluicegate.gateway.rehearsals import hold_rehearsal
from sluicegate.gateway.render import hold_list
from sluicegate.gateway.requester import log_fields, requester
from sluicegate.gateway.requests import bodies, queries
from sluicegate.oidc.identity import Identity
from sluicegate.store.errors import RequestKnown
from sluicegate.store.holds import Hold
from sluicegate.store.keys import digest
from sluicegate.text import clean

_SHOWN_OF_REQUESTER: Final = (
    "via",
    "actor",
    "project_path",
    "user_login",
    "job_id",
    "account",
    "principal_id",
    "role",
    "session_name",
)
"""What a hold keeps and shows of the caller who placed it."""


def create(context: Context, call: GatewayRequest, identity: Identity) -> GatewayResponse:
    """Hold new deployments of the functions that the caller's rule names.

    A signed request places one hold, however often it is repeated: also after that was released. So does a
    signed-in person's with an idempotency key.
    """
    queries.no_query(call.query)
    request = bodies.hold(bodies.parse(call.body))
    identity = replace(identity, agent=identity.agent or request.agent)
    stage, rules = _authorize(context, call, identity)
    by, now = requester(context.gate, identity), context.clock()
    hold = Hold(
        stage=stage,
        rule=rules[0].name,
        functions=tuple(str(pattern) for pattern in rules[0].functions),
        reason=clean(request.reason or ""),
        since=timestamp(now),
        by={name: getattr(by, name) for name in _SHOWN_OF_REQUESTER},
        id=new_id(now),
    )
    fingerprint = digest(stage, request.reason)
    keyed = identity.principal or (identity.via == "session" and request.idempotency_key)
    key = request_key(identity, "hold", request.idempotency_key, fingerprint) if keyed else None
    if request.dry_run:
        known = key is not None and context.store.holds.placed(key) is not None
        if known:
            _check_still_placed(context, stage, key or "", fingerprint)
        earlier = {one.rule: one.name for one in context.store.holds.of_stage(stage)}.get(hold.rule)
        return hold_rehearsal("hold", stage, hold.rule, () if known else ((hold, earlier),))
    try:
        basis = basis_of(context, identity, ("hold",), rules[0])
        context.store.holds.place(hold, key, fingerprint, basis)
    except RequestKnown:
        _check_still_placed(context, stage, key or "", fingerprint)
        return _replayed(_visible_holds(context, stage, identity))
    context.log(
        "stage_held", stage=stage, rule=hold.rule, reason=hold.reason, **log_fields(context.gate, identity)
    )
    return _visible_holds(context, stage, identity)


def delete(context: Context, call: GatewayRequest, identity: Identity) -> GatewayResponse:
    """Release each hold all of whose functions one of the caller's rules covers; or the one that is named.

    A signed request names it: it may arrive again when there is another hold.
    """
    named, dry_run = queries.release(call.query)
    if named is None and identity.principal:
        raise invalid_request([("id", "is missing: say which hold to release")])
    stage, rules = _authorize(context, call, identity)
    released = [
        (hold, rule)
        for hold in context.store.holds.of_stage(stage)
        if named in (None, hold.name)
        for rule in [one for one in rules if covers(one, hold)][:1]
    ]
    if dry_run:
        return hold_rehearsal("release", stage, rules[0].name, [(hold, hold.name) for hold, _ in released])
    for hold, rule in released:
        context.store.holds.release(hold, basis_of(context, identity, ("hold",), rule))
        context.log("stage_released", stage=stage, rule=hold.rule, **log_fields(context.gate, identity))
    return _visible_holds(context, stage, identity)


def read(context: Context, call: GatewayRequest, identity: Identity) -> GatewayResponse:
    """Return the stage's holds. Any rule of the caller's on that stage allows it, whatever its actions."""
    queries.no_query(call.query)
    stage = queries.stage_name(call.path)
    if stage is None or not any(stage in rule.stages for rule in context.gate.rules_of(identity)):
        raise not_found()
    return _visible_holds(context, stage, identity)


def _authorize(context: Context, call: GatewayRequest, identity: Identity) -> tuple[str, list[Rule]]:
    """Return the stage, and the caller's rules that grant `hold` there, in the gate file's order."""
    stage = queries.stage_name(call.path) or ""
    granting = [
        rule for rule in context.gate.rules_of(identity) if "hold" in rule.actions and stage in rule.stages
    ]
    rules = [rule for rule in granting if "hold" in context.gate.actions_of(identity, rule)]
    if not rules:
        context.log(
            "request_refused",
            code="not_allowed",
            action="hold",
            stage=stage,
            **log_fields(context.gate, identity),
        )
        if granting:
            raise not_allowed("agents may not hold a stage, whatever their rules grant", title=AGENTS_MAY_NOT)
        raise not_allowed("no rule allows this identity to hold this stage")
    check_age(context, identity, context.gate.stages.get(stage))
    return stage, rules


def _check_still_placed(context: Context, stage: str, key: str, fingerprint: str) -> None:
    """Raise 409 unless the request is the same as before, and the hold that it placed is still there."""
    placed = context.store.holds.placed(key)
    if placed is None or placed.fingerprint != fingerprint:
        raise conflict("key_reused", "this idempotency_key was sent with another body before")
    if all(hold.name != placed.hold for hold in context.store.holds.of_stage(stage)):
        raise conflict(
            "wrong_state",
            "the hold of this request was released or replaced: hold again with another idempotency_key",
        )


def _replayed(response: GatewayResponse) -> GatewayResponse:
    return replace(response, headers={**response.headers, "Idempotent-Replayed": "true"})


def _visible_holds(context: Context, stage: str, identity: Identity) -> GatewayResponse:
    rules = [rule for rule in context.gate.rules_of(identity) if stage in rule.stages]
    holds = context.store.holds.of_stage(stage)
    return hold_list(stage, [hold for hold in holds if any(overlaps(rule, hold) for rule in rules)])
