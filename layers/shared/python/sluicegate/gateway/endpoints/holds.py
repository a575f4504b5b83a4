"""`/stages/{stage}/hold`: stop new deployments of a stage, release them, read why they are stopped."""

from sluicegate.deployment.durations import timestamp
from sluicegate.gate import patterns
from sluicegate.gate.rules import Rule
from sluicegate.gateway.authorization import AGENTS_MAY_NOT, check_age
from sluicegate.gateway.context import Context
from sluicegate.gateway.http import GatewayRequest, GatewayResponse
from sluicegate.gateway.problems import not_allowed, not_found
from sluicegate.gateway.render import hold_list
from sluicegate.gateway.requester import log_fields, requester
from sluicegate.gateway.requests import bodies, queries
from sluicegate.oidc.identity import Identity
from sluicegate.store.holds import Hold
from sluicegate.text import clean


def create(context: Context, call: GatewayRequest, identity: Identity) -> GatewayResponse:
    """Hold new deployments of the functions that the caller's rule names."""
    queries.no_query(call.query)
    reason = bodies.reason(bodies.parse(call.body), needed=True)
    stage, rules = _authorize(context, call, identity)
    by = requester(identity)
    hold = Hold(
        stage=stage,
        rule=rules[0].name,
        functions=tuple(str(pattern) for pattern in rules[0].functions),
        reason=clean(reason or ""),
        since=timestamp(context.clock()),
        by={"project_path": by.project_path, "user_login": by.user_login, "job_id": by.job_id},
    )
    context.store.holds.place(hold)
    context.log("stage_held", stage=stage, rule=hold.rule, reason=hold.reason, **log_fields(identity))
    return _visible_holds(context, stage, identity)


def delete(context: Context, call: GatewayRequest, identity: Identity) -> GatewayResponse:
    """Release each hold all of whose functions one of the caller's rules covers."""
    queries.no_query(call.query)
    stage, rules = _authorize(context, call, identity)
    for hold in context.store.holds.of_stage(stage):
        if any(_covers(rule, hold) for rule in rules):
            context.store.holds.release(hold)
            context.log("stage_released", stage=stage, rule=hold.rule, **log_fields(identity))
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
        context.log("request_refused", code="not_allowed", action="hold", stage=stage, **log_fields(identity))
        if granting:
            raise not_allowed("agents may not hold a stage, whatever their rules grant", title=AGENTS_MAY_NOT)
        raise not_allowed("no rule allows this identity to hold this stage")
    check_age(context, identity, context.gate.stages.get(stage))
    return stage, rules


def _visible_holds(context: Context, stage: str, identity: Identity) -> GatewayResponse:
    rules = [rule for rule in context.gate.rules_of(identity) if stage in rule.stages]
    holds = context.store.holds.of_stage(stage)
    return hold_list(stage, [hold for hold in holds if any(_overlaps(rule, hold) for rule in rules)])


def _covers(rule: Rule, hold: Hold) -> bool:
    """Return whether the rule is on every function that is held."""
    granted = {str(pattern) for pattern in rule.functions}
    return bool(granted & {"*", "**"}) or granted.issuperset(hold.functions)


def _overlaps(rule: Rule, hold: Hold) -> bool:
    """Return whether the rule is on any function that is held."""
    return any(
        patterns.overlap(pattern, patterns.compile(text))
        for pattern in rule.functions
        for text in hold.functions
    )
