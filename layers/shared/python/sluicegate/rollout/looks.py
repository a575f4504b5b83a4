"""What a record becomes after a look at a version that has traffic: pure functions."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from sluicegate.deployment.durations import seconds
from sluicegate.deployment.model import AliasOutcome, Deployment, Status, until
from sluicegate.deployment.observations import MAX_FINDINGS, MAX_KEPT, Observation
from sluicegate.deployment.plan import Unclear, Watch
from sluicegate.rollout import fix_forward, messages, observe_mode, transitions
from sluicegate.rollout.analysis import (
    find_breach,
    find_unclear,
    is_beyond_doubt,
    judge,
)
from sluicegate.rollout.budget import MAX_EXTENSIONS, MAX_LOOKS, MIN_INTERVAL, PLANNED_FINDINGS, looks
from sluicegate.rollout.finding_messages import summary, without_data
from sluicegate.rollout.outcomes import Observed

RESERVED: Final = 20
"""Observations that are kept for looks that decide something, when a record has nearly `MAX_KEPT`."""


def observed(deployment: Deployment, look: Observed, now: float) -> Deployment:
    """Decide on one look. A version that breaches the watch does not stay.

    One that has not read the alias does not let the rollout go on.
    guarantees.md#4-failure-restores-the-alias
    """
    watch, readings = deployment.plan.watch or Watch(), look.readings
    observation = judge(deployment, watch, readings, now)
    kept = _with_observation(deployment, observation)
    reason = fix_forward.find_failure(deployment, readings.alarms, now)
    counted = fix_forward.judged(deployment.fix_forward, readings.alarms, now)
    if reason := reason or find_breach(watch, replace(observation, alarms=counted)):
        return transitions.fail(kept, reason, now)
    if fields := fix_forward.changes(deployment, readings.alarms, now):
        return kept.changed(now, messages.fell_silent(deployment, fields["fix_forward"]), **fields)
    if new := observe_mode.after_look(deployment, observation.findings, observation.alarms, now):
        return kept.changed(now, observe_mode.described(new), would_have=(*deployment.would_have, *new))
    if deployment.status is Status.AWAITING_APPROVAL:
        if not (deployment.is_approved and look.alias_read):
            return transitions.unless_expired(_noted(deployment, kept, now), now)
        message = messages.approved(deployment)
        return kept.changed(now, message, Status.SHIFTING, step=deployment.step + 1)
    if not look.alias_read:
        return _noted(deployment, kept, now)
    if now < (until(deployment) or 0):
        if watch.end_early and is_beyond_doubt(observation) and not fix_forward.is_waiting(deployment):
            return _end_bake(kept, f"{summary(observation)}; good beyond doubt", now)
        return _noted(deployment, kept, now)
    note = summary(observation) if watch.measures else without_data(readings.alarms)
    added = not deployment.plan.steps[deployment.step].bake  # for the alarms of a fix, and only for them
    if (reason := find_unclear(observation)) and not added:
        extensions_used_up = deployment.extended == MAX_EXTENSIONS
        if watch.unclear is Unclear.FAIL or (watch.unclear is Unclear.EXTEND and extensions_used_up):
            return transitions.fail(kept, reason, now)
        if watch.unclear is Unclear.EXTEND:
            count = f"{deployment.extended + 1} of {MAX_EXTENSIONS}"
            message = f"{reason.message}: extending the bake ({count})"
            return kept.changed(now, message, extended=deployment.extended + 1)
        note = f"{note}; the gate file lets an unclear verdict pass"
    return _end_bake(kept, note, now)


def _with_observation(deployment: Deployment, observation: Observation) -> Deployment:
    """Return the deployment with one more observation. When there are too many, it replaces the last ones."""
    if not observation.findings:
        return deployment
    earlier = deployment.observations[: MAX_KEPT - 1]
    while earlier and _room_of((*earlier, observation)) > MAX_FINDINGS:
        earlier = earlier[:-1]
    if earlier:
        earlier = (*earlier[:-1], _without_repeats(earlier[-1], observation))
    return replace(deployment, observations=(*earlier, observation))


def _without_repeats(before: Observation, after: Observation) -> Observation:
    """Return the observation without the reasons and links of alarms that the next one has too.

    Repeated at each look, they would be most of what the record keeps.
    """
    repeated = {(alarm.name, alarm.state) for alarm in after.alarms}
    alarms = tuple(
        replace(alarm, reason=None, link=None) if (alarm.name, alarm.state) in repeated else alarm
        for alarm in before.alarms
    )
    return replace(before, alarms=alarms)


def _room_of(observations: Sequence[Observation]) -> int:
    """Return how much room observations take, in findings: eight alarms, or shares of hits, are as one."""
    return sum(len(one.findings) + (len(one.alarms) + _shares_of(one)) // 8 for one in observations)


def _shares_of(observation: Observation) -> int:
    return sum(len(finding.tally.by_share) for finding in observation.findings if finding.tally)


def _is_nearly_full(deployment: Deployment) -> bool:
    """Return whether what is left of the record's room is for looks that decide something."""
    kept = deployment.observations
    return len(kept) >= MAX_KEPT - RESERVED or _room_of(kept) >= PLANNED_FINDINGS


def _noted(deployment: Deployment, kept: Deployment, now: float) -> Deployment:
    """Return the record with a look that found something new; unchanged if it did not, or came too soon.

    What wakes a rollout early, again and again, must not fill the record.
    """
    if kept is deployment or _is_nearly_full(deployment):
        return deployment
    *_, before, newest = (None, *kept.observations)
    if before is None:
        if not any(finding.tally and finding.tally.n + finding.tally.m for finding in newest.findings):
            return deployment
    elif _known(before) == _known(newest) or (
        before.step == newest.step and now - seconds(before.at) < _gap(deployment)
    ):
        return deployment
    return kept.changed(now, summary(newest), progress=True)


def _known(observation: Observation) -> tuple[object, ...]:
    """Return what a look has found, but for when it was."""
    return (
        observation.step,
        tuple(
            (finding.limit, finding.rule, finding.verdict, finding.tally) for finding in observation.findings
        ),
        tuple((alarm.name, alarm.state) for alarm in observation.alarms),
    )


def _gap(deployment: Deployment) -> float:
    """Return the seconds between two looks that the record keeps, at least."""
    if deployment.status is Status.AWAITING_APPROVAL:
        return (deployment.plan.approval or 0) / MAX_LOOKS
    bake = deployment.plan.steps[deployment.step].bake * (1 + deployment.extended)
    return max(MIN_INTERVAL, bake / looks(deployment.plan)) / 2


def _end_bake(deployment: Deployment, note: str, now: float) -> Deployment:
    percent = deployment.plan.steps[deployment.step].percent
    message = messages.bake_passed(percent, note)
    if percent == 100:
        return deployment.changed(now, message, Status.SUCCEEDED, outcome=AliasOutcome.MOVED)
    if deployment.needs_approval(deployment.step + 1):
        message = f"{message}; {messages.approval_requested(deployment)}"
        return deployment.changed(now, message, Status.AWAITING_APPROVAL)
    return deployment.changed(now, message, Status.SHIFTING, step=deployment.step + 1)
