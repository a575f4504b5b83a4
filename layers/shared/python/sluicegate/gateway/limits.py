"""What a rule's `limits`, and a stage's demands of agents, change about a request.

The acceptance takes the slots of `per_hour` and `per_day` (`store.slots`). security.md#limits-and-agents
"""

from dataclasses import replace

from sluicegate.deployment.durations import seconds, timestamp
from sluicegate.deployment.model import Deployment
from sluicegate.deployment.plan import Plan
from sluicegate.gate import hours
from sluicegate.gate.model import Placement
from sluicegate.gate.policy import Gate
from sluicegate.gate.rollout_settings import APPROVAL_EXPIRES
from sluicegate.gate.rules import Hours, Rule
from sluicegate.gateway.context import Context
from sluicegate.gateway.problems import Problem, limit_reached
from sluicegate.gateway.requester import log_fields
from sluicegate.oidc.identity import Identity
from sluicegate.store.errors import LimitReached
from sluicegate.store.slots import DAY, HOUR, Allowance
from sluicegate.text import clean


def proposes(gate: Gate, identity: Identity, rule: Rule, placement: Placement | None) -> bool:
    """Return whether a person must approve what the identity asks for: the rule says so, or the stage."""
    if rule.limits is not None and rule.limits.propose:
        return True
    agents = placement.agents if placement else None
    return agents is not None and agents.propose and gate.principals.actor(identity) == "agent"


def limited(plan: Plan, rule: Rule, placement: Placement, *, action: str, proposed: bool) -> Plan:
    """Return the plan with the approval that the rule's limits, or a proposal, ask for.

    The stage's own approval comes before any traffic; `unapproved_percent` takes nothing of that away.
    """
    if proposed:
        return replace(plan, approval=placement.approval or APPROVAL_EXPIRES, proposed=True)
    percent = rule.limits.unapproved_percent if rule.limits else None
    if percent is None or action == "rollback" or plan.approval is not None:
        return plan
    return replace(plan, approval=APPROVAL_EXPIRES, unapproved_percent=percent)


def check_hours(context: Context, identity: Identity, rule: Rule, action: str) -> None:
    """Raise 403 outside of the hours in which the rule begins deployments. A rollback has no hours."""
    when = rule.limits.hours if rule.limits else None
    now = context.clock()
    if when is None or action == "rollback" or hours.is_open(when, now):
        return
    opens = hours.opens_at(when, now)
    _log(context, identity, rule, "hours")
    detail = f"rule {clean(rule.name)!r} begins deployments {_window(when)} only"
    if opens is not None:
        detail += f"; the next time is {hours.local_time(when, opens)}"
    raise limit_reached(detail, "hours", None if opens is None else timestamp(opens))


def allowances(identity: Identity, rule: Rule, action: str) -> tuple[Allowance, ...]:
    """Return the numbers of deployments that the rule allows the identity's project, or principal.

    A session's name is the caller's choice, so it is no part of that. Rollbacks are not counted.
    """
    if rule.limits is None or action == "rollback":
        return ()
    owner = identity.owner
    subject = (owner.kind, owner.realm, owner.id)
    limits = ((HOUR, rule.limits.per_hour), (DAY, rule.limits.per_day))
    return tuple(Allowance(rule.name, subject, window, most) for window, most in limits if most is not None)


def check_slots(context: Context, identity: Identity, rule: Rule, action: str) -> None:
    """Raise 403 if a limit leaves no slot now. Takes none: for dry runs."""
    at = round(context.clock() * 1_000)
    for allowance in allowances(identity, rule, action):
        try:
            context.store.slots.pick(allowance, at)
        except LimitReached as reached:
            raise refusal(context, identity, rule, reached) from None


def moment(deployment: Deployment) -> int:
    """Return when the deployment began, for its slots (epoch milliseconds)."""
    return round(seconds(deployment.created_at) * 1_000)


def refusal(context: Context, identity: Identity, rule: Rule, reached: LimitReached) -> Problem:
    """Return 403: the rule has begun as many deployments as it may."""
    name, window = ("per_hour", "an hour") if reached.seconds == HOUR else ("per_day", "a day")
    _log(context, identity, rule, name)
    lifts_at = timestamp(reached.lifts_at / 1_000)
    number = "1 deployment" if reached.most == 1 else f"{reached.most} deployments"
    detail = f"rule {clean(rule.name)!r} allows {number} in {window}; the next one can begin at {lifts_at}"
    return limit_reached(detail, name, lifts_at)


def _window(when: Hours) -> str:
    start, end = (f"{minute // 60:02}:{minute % 60:02}" for minute in (when.start, when.end))
    return f"on {', '.join(when.days)} from {start} to {end} ({when.zone})"


def _log(context: Context, identity: Identity, rule: Rule, limit: str) -> None:
    context.log(
        "request_refused",
        code="limit_reached",
        limit=limit,
        rule=rule.name,
        **log_fields(context.gate, identity),
    )
