"""Text of the timeline: one line per change, for the person who follows the deployment."""

from collections.abc import Sequence
from math import ceil
from typing import Final

from sluicegate.deployment.call_budget import InLine
from sluicegate.deployment.durations import duration
from sluicegate.deployment.fix_forward import FixForward, OverlookedAlarm
from sluicegate.deployment.model import AliasOutcome, AliasState, Deployment
from sluicegate.rollout.fix_forward import described
from sluicegate.rollout.outcomes import AliasSeen, Published, Restored, VersionUnusable


def queued(deployment: Deployment, by: str | None) -> str:
    """Say what is waited for. The holder of the publishing lock is of any stage, and so is not named.

    Readers of this deployment may not see that one (security.md#visibility).
    """
    if by and by == deployment.supersedes:
        return f"waiting for deployment {by}, which this one supersedes"
    return f"waiting for another deployment, which is publishing {deployment.function}"


def in_line(outcome: InLine) -> str:
    about = duration(max(1, ceil(outcome.seconds)))
    return f"{ordinal(outcome.place)} in line for Lambda's control plane, about {about}"


def ordinal(number: int) -> str:
    """`27th`."""
    ending = {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{'th' if number % 100 in (11, 12, 13) else ending}"


def approval_requested(deployment: Deployment, firing: Sequence[OverlookedAlarm] = ()) -> str:
    plan = deployment.plan
    message = f"waiting up to {duration(plan.approval or 0)} for approval by a second person"
    if plan.unapproved_percent:
        message += f", without which it gets {plan.unapproved_percent}% of the traffic at most"
    return f"{message}; it would overlook {described(firing)}" if firing else message


def approved(deployment: Deployment) -> str:
    return f"approved: going on from {deployment.weight}%"


def published(outcome: Published) -> str:
    message = f"version {outcome.version} {'already has this code' if outcome.reused else 'published'}"
    if outcome.changed_settings:
        names = ", ".join(outcome.changed_settings)
        message += f" (configuration changed since it was last published: {names})"
    if outcome.unreadable_settings:
        names = ", ".join(outcome.unreadable_settings)
        message += f" (not compared with the earlier version, as the target role cannot read: {names})"
    if not outcome.ready:
        message += "; Lambda is preparing it"
    if outcome.found:
        versions = " and ".join(found.version for found in outcome.found)
        message += f"; somebody else had moved the alias to version {versions}"
    return f"{message}; {outcome.warning}" if outcome.warning else message


def goes_back_further(outcome: VersionUnusable, version: str) -> str:
    return f"{outcome.message}: going back to version {version} instead"


def verified(deployment: Deployment, overlooked: Sequence[OverlookedAlarm]) -> str:
    parts = [f"version {deployment.version} is ready"]
    if deployment.plan.smoke:
        parts.append("the hook accepted it" if deployment.plan.smoke.hook else "the smoke test passed")
    if overlooked:
        parts.append(f"overlooking {described(overlooked)}")
    elif (watch := deployment.plan.watch) and watch.alarms and not watch.observe:
        parts.append("no alarm is firing")
    return ", ".join(parts)


def fell_silent(before: Deployment, after: FixForward) -> str:
    silent = before.fix_forward.ringing - after.ringing if before.fix_forward else frozenset()
    names = ", ".join(alarm.name for alarm in after.overlooked if alarm.name in silent)
    rest = f"; {len(after.ringing)} more must fall silent" if after.ringing else ""
    return f"overlooked and silent now: alarm{'' if len(silent) == 1 else 's'} {names}{rest}"


def shifted(deployment: Deployment, current: AliasState, bake_seconds: int) -> str:
    message = f"alias {deployment.plan.alias} serves {alias_state(current)}"
    return f"{message} for {duration(bake_seconds)}" if bake_seconds else message


def bake_passed(percent: int, note: str) -> str:
    return f"bake at {percent}% passed" + (f": {note}" if note else "")


def alias_seen(deployment: Deployment, outcome: AliasSeen) -> str:
    alias = deployment.plan.alias
    if outcome.original is None:
        return f"alias {alias} was deleted by someone else since the last deployment: it is created again"
    serves = f"alias {alias} serves {alias_state(outcome.original)}"
    if outcome.original == deployment.original:
        return f"{serves}, as the last deployment left it"
    return f"{serves}: someone else has moved it since the last deployment"


def alias_moved(deployment: Deployment, current: AliasState | None) -> str:
    alias = deployment.plan.alias
    if current is None:
        return f"alias {alias} was deleted by someone else"
    return f"alias {alias} was moved by someone else: it serves {alias_state(current)} and is left unchanged"


def alias_found(deployment: Deployment, current: AliasState) -> str:
    serves = f"alias {deployment.plan.alias} serves {alias_state(current)}"
    if current == deployment.current:
        return f"{serves}, and was changed by someone else"
    return f"{serves}: restoring it"


def restored(deployment: Deployment, outcome: Restored) -> str:
    alias = deployment.plan.alias
    if outcome.outcome is AliasOutcome.NOT_RESTORED and outcome.current is not None:
        serves = alias_state(outcome.current)
        return f"alias {alias} cannot be restored and still serves {serves}: {outcome.because}"
    return f"alias {alias} {_RESTORED.get(outcome.outcome, 'is in an unknown state: check it')}"


_RESTORED: Final = {
    AliasOutcome.RESTORED: "serves what it served before",
    AliasOutcome.REMOVED: "was removed again: it did not exist before",
    AliasOutcome.UNTOUCHED: "was not moved",
    AliasOutcome.LEFT_TO_OTHER: "was moved by someone else and is left unchanged",
}


def alias_state(state: AliasState) -> str:
    """`version 1, 20% version 2`."""
    shares = "".join(f", {weight * 100:.3g}% version {version}" for version, weight in state.weights.items())
    return f"version {state.version}{shares}"
