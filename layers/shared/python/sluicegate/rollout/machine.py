"""What a deployment does next: pure decisions over its record.

`next_action` returns the one action that the record asks for, `advance` the record after that action's
outcome, and `next_delay` how long to wait before the next action. None of them knows AWS or reads a clock.
The deployer, the tests and the simulation of a rollout use the same three functions: what is tested is what
runs.
"""

from math import ceil
from typing import Final, assert_never
from zlib import crc32

from sluicegate.deployment.call_budget import InLine
from sluicegate.deployment.durations import seconds
from sluicegate.deployment.model import AliasState, Deployment, Reason, Status, until
from sluicegate.rollout import budget, looks, transitions
from sluicegate.rollout.actions import (
    Abort,
    Action,
    AwaitApproval,
    AwaitHandover,
    End,
    Lock,
    Observe,
    Publish,
    Restore,
    ReuseVersion,
    Shift,
    Verify,
)
from sluicegate.rollout.analysis import observation_interval
from sluicegate.rollout.outcomes import (
    Aborted,
    AliasFound,
    AliasMoved,
    AliasSeen,
    ApprovalRequested,
    Blocked,
    Denied,
    HandedOver,
    Locked,
    LockLost,
    Observed,
    Outcome,
    Pending,
    PermanentFailure,
    Published,
    Restored,
    Settling,
    Shifted,
    TransientFailure,
    Verified,
    VersionUnusable,
)

ALIAS_EVERY: Final = 4
"""Of so many looks, one reads the alias even if the control plane has no calls to spare."""

MAX_BACKOFF: Final = 30.0
"""Seconds between two attempts at an action that fails, at most."""

MAX_LOCK_DELAY: Final = 10
"""Seconds between two attempts at a lock, at most, and one more for every other deployment."""

_Succeeded = (
    Aborted
    | AliasFound
    | AliasMoved
    | AliasSeen
    | ApprovalRequested
    | Blocked
    | HandedOver
    | InLine
    | Locked
    | LockLost
    | Observed
    | Pending
    | Published
    | Restored
    | Shifted
    | Verified
    | VersionUnusable
)

APPROVAL_LOOKS: Final = 200
"""Looks at a version that has traffic while it waits for an approval, at most: one in 7 minutes for a day."""

LOOK_EVERY: Final = 3_600
"""Seconds between two looks at the version of a deployment that waits for an approval."""


def next_action(deployment: Deployment) -> Action:
    """Return the one action that the record asks for. The same record always gives the same action.

    guarantees.md#5-one-request-one-effect
    """
    status = deployment.status
    if status.final:
        return End()
    if deployment.abort is not None and status is not Status.ROLLING_BACK:
        return Abort()
    match status:
        case Status.ACCEPTED | Status.QUEUED | Status.AWAITING_APPROVAL if deployment.is_waiting:
            return _first_action(deployment)
        case Status.PUBLISHING:
            return Publish()
        case Status.VERIFYING:
            gradual = deployment.plan.steps[deployment.step].percent < 100
            return Verify(_version(deployment), deployment.original, gradual)
        case Status.SHIFTING:
            return Shift(deployment.current, deployment.alias_revision, _desired_state(deployment))
        case Status.BAKING | Status.AWAITING_APPROVAL:
            baseline = deployment.original.version if deployment.original else None
            since = deployment.traffic_since or deployment.since
            step_since = deployment.since if deployment.since > since else None
            return Observe(_desired_state(deployment), _version(deployment), baseline, since, step_since)
        case _:
            states = (_desired_state(deployment), deployment.current)
            applied = tuple(state for state in states if state is not None and state != deployment.original)
            return Restore(deployment.original, applied, deployment.current, deployment.alias_revision)


def advance(deployment: Deployment, outcome: Outcome, now: float) -> Deployment:
    """Return the record after an action's outcome: the same object if nothing changes.

    `now` is in epoch seconds. Every path from every record ends: each unfinished outcome is bounded by the
    time since the status, the failures or the denials began, or is counted (`extended`).
    """
    match outcome:
        case TransientFailure():
            return transitions.retry(deployment, outcome, now)
        case Denied():
            return transitions.denied(deployment, outcome, now)
        case PermanentFailure(code, message, data):
            return transitions.fail(deployment, Reason(code, message, data), now)
        case Settling():
            return deployment
        case _:
            return transitions.recovered(deployment, _after(deployment, outcome, now), now)


def _after(deployment: Deployment, outcome: _Succeeded, now: float) -> Deployment:
    match outcome:
        case Aborted():
            return transitions.aborted(deployment, now)
        case HandedOver():
            return transitions.handed_over(deployment, now)
        case ApprovalRequested():
            return transitions.approval_requested(deployment, outcome, now)
        case Locked():
            return transitions.locked(deployment, now)
        case Blocked(by):
            return transitions.queued(deployment, by, now)
        case LockLost():
            return transitions.queued(deployment, None, now)
        case InLine():
            return transitions.in_line(deployment, outcome, now)
        case Pending(detail):
            return transitions.pending(deployment, detail, now)
        case Published():
            return transitions.published(deployment, outcome, now)
        case VersionUnusable():
            return transitions.version_unusable(deployment, outcome, now)
        case Verified():
            return transitions.verified(deployment, outcome, now)
        case Shifted():
            return transitions.shifted(deployment, outcome, now)
        case Observed():
            return looks.observed(deployment, outcome, now)
        case AliasSeen():
            return transitions.alias_seen(deployment, outcome, now)
        case AliasMoved(current):
            return transitions.alias_moved(deployment, current, now)
        case AliasFound():
            return transitions.alias_found(deployment, outcome, now)
        case Restored():
            return transitions.restored(deployment, outcome, now)
        case _ as never:
            assert_never(never)


def next_delay(deployment: Deployment, outcome: Outcome, now: float) -> int:
    """Return the seconds to wait at most before the next action; 0 means go on at once.

    What Lambda does not finish within seconds may take minutes, and is looked at less often: its control
    plane has 15 calls a second for all. A bake without a watch and the time for an approval are one wait:
    what ends them early wakes the rollout.
    """
    match outcome:
        case TransientFailure() | Denied() | AliasFound():
            return ceil(backoff(deployment, now))
        case Blocked() | LockLost():
            return _lock_delay(deployment, now)
        case InLine() | Settling():
            return int(outcome.look_in)
        case Pending():
            elapsed = now - seconds(deployment.since)
            return 1 if elapsed < 5 else 3 if elapsed < 60 else 5
    ends_at = until(deployment)
    if ends_at is None or deployment.abort is not None:
        return 0
    remaining = max(1, int(ends_at - now + 0.999))
    if deployment.status is Status.AWAITING_APPROVAL and not deployment.in_steps:
        # A version that is known already may become unusable meanwhile.
        return remaining if deployment.version is None else min(remaining, LOOK_EVERY)
    silent_in = deployment.fix_forward.lasts_until - now if deployment.fix_forward else 0
    return min(
        remaining, _look_interval(deployment, ends_at), ceil(silent_in) if silent_in > 0 else remaining
    )


def may_skip_alias(deployment: Deployment, now: float) -> bool:
    """Return whether a look may leave the alias unread, if the control plane has no calls to spare.

    It may not where it can end the bake, and every fourth may not, so that an alias that somebody else moved
    is seen. guarantees.md#13-a-burst-waits-its-turn
    """
    ends_at = until(deployment)
    if ends_at is None or now >= ends_at or deployment.plan.watch is None:
        return False
    number = int((now - seconds(deployment.since)) / _look_interval(deployment, ends_at))
    return number % ALIAS_EVERY != 0


def _look_interval(deployment: Deployment, ends_at: float) -> int:
    """Return the seconds between two looks at a version that has traffic."""
    plan = deployment.plan
    if deployment.status is Status.AWAITING_APPROVAL:
        return observation_interval(plan.watch, plan.approval or 0, APPROVAL_LOOKS)
    # An extended bake is observed less often: all of it must fit into one execution's history.
    bake = int(ends_at - seconds(deployment.since))
    return observation_interval(plan.watch, bake, budget.looks(plan))


def _lock_delay(deployment: Deployment, now: float) -> int:
    """Return the seconds after which a lock is tried again, if nobody says before that it is free.

    They grow, and differ between deployments: what began to wait together is not to come back together.
    """
    waited = max(0.0, now - seconds(deployment.since))
    return min(MAX_LOCK_DELAY, 1 + int(waited / 5)) + sum(deployment.id.encode()) % 2


def backoff(deployment: Deployment, now: float) -> float:
    """Return the seconds that the next action must still wait because of the failures before it.

    After each failure in a row the time doubles, up to half a minute, and it differs between deployments:
    what was throttled together does not come back together. It counts from the last change of the record, so
    that nothing that wakes the rollout early can shorten it. An abort is not kept waiting.
    """
    restoring = deployment.status is Status.ROLLING_BACK
    if not deployment.failures or (deployment.abort is not None and not restoring):
        return 0.0
    pause = min(MAX_BACKOFF, 0.25 * 2.0 ** min(deployment.failures, 10)) * (1 + _lot(deployment)) / 2
    return max(0.0, min(pause, seconds(deployment.updated_at) + pause - now))


def _lot(deployment: Deployment) -> float:
    """Return a number from 0 to 1 that is the deployment's own, so that what runs twice waits as long."""
    return crc32(deployment.id.encode()) / 2**32


def _first_action(deployment: Deployment) -> Action:
    asks = deployment.needs_approval(deployment.step)
    if deployment.supersedes is not None and not (asks and deployment.plan.proposed):
        return AwaitHandover(deployment.supersedes)
    if asks:
        return AwaitApproval()
    if deployment.version is not None:
        return ReuseVersion(deployment.version)
    return Lock()


def _version(deployment: Deployment) -> str:
    if deployment.version is None:
        raise ValueError(f"deployment {deployment.id} is {deployment.status} without a version")
    return deployment.version


def _desired_state(deployment: Deployment) -> AliasState:
    """Return what the alias must serve in the current step."""
    version, percent = _version(deployment), deployment.plan.steps[deployment.step].percent
    if percent == 100 or deployment.original is None:
        return AliasState(version)
    return AliasState(deployment.original.version, {version: percent / 100})
