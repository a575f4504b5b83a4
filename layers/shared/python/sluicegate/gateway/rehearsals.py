"""Render what a decision or a hold would do: the responses of dry runs."""

from collections.abc import Sequence
from typing import Final

from sluicegate.deployment.durations import duration
from sluicegate.deployment.model import Deployment, Status
from sluicegate.gateway.decisions import Decided
from sluicegate.gateway.http import GatewayResponse
from sluicegate.store.holds import Hold
from sluicegate.text import clean

UNCHANGED: Final = "nothing: it is decided so already"


def decision_rehearsal(action: str, rule: str, decided: Decided) -> GatewayResponse:
    """Render what approve, reject or abort would do.

    `revision` and `status` are those of the record that was decided on, `message` is the entry that its
    timeline would get, and `effect` says what becomes of the alias.
    """
    current = decided.before
    message = None if decided.replayed else clean(decided.deployment.timeline[-1].message)
    effect = UNCHANGED if decided.replayed else _effect(current, decided.deployment)
    value = {
        "dry_run": True,
        "allowed": True,
        "rule": rule,
        "action": action,
        "deployment": current.id,
        "function": current.function,
        "stage": current.stage,
        "status": current.status.value,
        "revision": current.revision,
        "changes": not decided.replayed,
        "message": message,
        "effect": effect,
    }
    lines = [f"allowed by rule {rule!r}", f"would {action} {current.id} at revision {current.revision}"]
    return GatewayResponse(200, value, (*lines, effect))


def hold_rehearsal(
    action: str, stage: str, rule: str, holds: Sequence[tuple[Hold, str | None]]
) -> GatewayResponse:
    """Render the holds that would be placed or released, each with the name of the one that would end."""
    items = [
        {"functions": list(hold.functions), "reason": clean(hold.reason), "id": ends} for hold, ends in holds
    ]
    value = {
        "dry_run": True,
        "allowed": True,
        "rule": rule,
        "action": action,
        "stage": stage,
        "changes": bool(items),
        "holds": items,
    }
    lines = [f"allowed by rule {rule!r}"]
    lines += [f"would {action} {', '.join(hold.functions)} in {stage}" for hold, _ in holds]
    return GatewayResponse(200, value, tuple(lines) if items else (*lines, UNCHANGED))


def _effect(current: Deployment, after: Deployment) -> str:
    """Say what happens next, by what the record would say."""
    plan = current.plan
    if after.abort_proposed is not current.abort_proposed:
        return "a person is asked to abort it: it goes on until one does"
    if after.status.final:
        return f"it ends {after.status.value} now, and alias {plan.alias} serves what it serves"
    if after.abort is not None:
        if not current.may_have_moved:
            return f"it ends before alias {plan.alias} is moved"
        return f"alias {plan.alias} goes back to what it served before"
    left = [
        f"{step.percent}% for {duration(step.bake)}" if step.bake else f"{step.percent}%"
        for step in plan.steps
        if step.percent > (current.weight if current.may_have_moved else 0)
    ]
    when = "" if current.status is Status.AWAITING_APPROVAL else ", as soon as it is that far"
    return f"alias {plan.alias} gets {', then '.join(left) or '100%'} of the traffic on the new version{when}"
