"""What a record becomes: one pure function for each outcome, and for each decision from outside.

Long because there are many of both.
"""

from dataclasses import replace
from typing import Any, Final

from sluicegate.deployment.call_budget import InLine
from sluicegate.deployment.durations import duration, seconds, timestamp
from sluicegate.deployment.model import (
    NOT_FAILING,
    AliasOutcome,
    AliasState,
    Deployment,
    Reason,
    Status,
    UnusableVersion,
    until,
)
from sluicegate.rollout import fix_forward, messages, observe_mode
from sluicegate.rollout.outcomes import (
    UNREACHABLE_SECONDS,
    AliasFound,
    AliasSeen,
    ApprovalRequested,
    Denied,
    Outcome,
    PermanentFailure,
    Published,
    Restored,
    Shifted,
    TransientFailure,
    Verified,
    VersionUnusable,
)

RETRY_SECONDS: Final = 180
"""Seconds for which an action is retried after a transient failure (throttling, timeouts, 5xx)."""

THROTTLED_SECONDS: Final = 3_600
"""The same after a throttled call, while nothing is watched: being one of many is no failure."""

DENIED_SECONDS: Final = 60
"""Seconds for which an action that AWS denies is retried.

Changes of IAM's take seconds to spread (IAM user guide, "Changes that I make are not always immediately
visible", read on 2026-11-26).
"""

RESTORE_SECONDS: Final = 3_600
"""Seconds for which a way back is tried, whatever it fails with that may pass."""

QUEUE_TIMEOUT: Final = 3_600
"""Seconds since acceptance, or approval, within which a deployment must get the publishing lock."""

LINE_TIMEOUT: Final = 7 * 86_400
"""The same for one that had to wait in line for the target's control plane: as long as that takes."""

PUBLISH_TIMEOUT: Final = 900
"""Seconds that Lambda may take to update and publish a version (SnapStart takes minutes)."""

WAKE_TIMEOUT: Final = 60
"""Seconds that a rollback waits for a version to become active while it can go back to another."""


# Decisions from outside


def request_abort(deployment: Deployment, reason: Reason, message: str, now: float) -> Deployment:
    """Return the record after a request to go no further.

    A deployment that has touched nothing ends at once. Any other is stopped by the deployer at its next
    action. One that is rolling back already is returned unchanged.
    """
    if deployment.is_waiting:
        return _end_aborted(deployment, reason, message, now)
    if deployment.abort is not None or deployment.status is Status.ROLLING_BACK:
        return deployment
    return deployment.changed(now, message, abort=reason)


def force_fail(deployment: Deployment, message: str, now: float) -> Deployment:
    """End a deployment that no execution can finish.

    guarantees.md#3-exactly-one-end
    """
    return deployment.changed(
        now,
        message,
        Status.FAILED,
        reason=deployment.reason or Reason("engine_failed", message),
        outcome=AliasOutcome.UNKNOWN if deployment.may_have_moved else AliasOutcome.UNTOUCHED,
    )


# Before traffic


def aborted(deployment: Deployment, now: float) -> Deployment:
    reason = deployment.abort or Reason("aborted", "it was aborted")
    if deployment.may_have_moved:
        message = f"restoring alias {deployment.plan.alias} to what it served before"
        return deployment.changed(now, message, Status.ROLLING_BACK, reason=reason)
    return _end_aborted(deployment, reason, reason.message, now)


def handed_over(deployment: Deployment, now: float) -> Deployment:
    message = f"deployment {deployment.supersedes} has ended: this one is next"
    return deployment.changed(now, message, Status.QUEUED, supersedes=None)


def approval_requested(deployment: Deployment, outcome: ApprovalRequested, now: float) -> Deployment:
    if deployment.status is not Status.AWAITING_APPROVAL:
        message = messages.approval_requested(deployment, outcome.firing)
        fields = fix_forward.with_overlooked(deployment, outcome.firing)
        return deployment.changed(now, message, Status.AWAITING_APPROVAL, **fields)
    return unless_expired(deployment, now)


def unless_expired(deployment: Deployment, now: float) -> Deployment:
    """Return the deployment as it waits for an approval, or what it is when the time for that is over."""
    if now < (until(deployment) or 0):
        return deployment
    return fail(deployment, Reason("approval_expired", "nobody approved it in time"), now)


def locked(deployment: Deployment, now: float) -> Deployment:
    return deployment.changed(now, f"publishing {deployment.sha256[:12]}", Status.PUBLISHING)


def queued(deployment: Deployment, by: str | None, now: float) -> Deployment:
    """Wait for a lock, within QUEUE_TIMEOUT. `by` is the deployment that holds it, None if unknown."""
    if now - _waiting_since(deployment) > (LINE_TIMEOUT if deployment.in_line else QUEUE_TIMEOUT):
        message = f"another deployment of {deployment.function} did not finish in time"
        superseded = {"by": by} if by and by == deployment.supersedes else {}
        return fail(deployment, Reason("queue_timeout", message, superseded), now)
    if deployment.status is Status.QUEUED:
        return deployment
    return deployment.changed(now, messages.queued(deployment, by), Status.QUEUED)


def _waiting_since(deployment: Deployment) -> float:
    return seconds(deployment.approval.at if deployment.approval else deployment.created_at)


def in_line(deployment: Deployment, outcome: InLine, now: float) -> Deployment:
    """Wait for the target's control plane, and say so once. Only the length of the line bounds that."""
    if now - _waiting_since(deployment) > LINE_TIMEOUT:
        message = "Lambda's control plane had no time for it"
        return fail(deployment, Reason("queue_timeout", message), now)
    if deployment.in_line and outcome.joins is None:
        return deployment
    return deployment.changed(now, messages.in_line(outcome), Status.QUEUED, in_line=True)


def pending(deployment: Deployment, detail: str, now: float) -> Deployment:
    can_go_back_further = bool(deployment.fallbacks) and deployment.is_waiting
    limit = WAKE_TIMEOUT if can_go_back_further else PUBLISH_TIMEOUT
    began = seconds(deployment.since)
    if deployment.approval is not None:  # the wait for it was not Lambda's
        began = max(began, seconds(deployment.approval.at))
    if now - began <= limit:
        return deployment
    message = f"Lambda did not finish within {duration(limit)}: {detail}"
    if can_go_back_further and deployment.version is not None:
        late = VersionUnusable(deployment.version, "publish_timeout", message)
        return version_unusable(deployment, late, now)
    return fail(deployment, Reason("publish_timeout", message), now)


def published(deployment: Deployment, outcome: Published, now: float) -> Deployment:
    plan, step = deployment.plan, 0
    if outcome.original is None or outcome.original.version == outcome.version:
        # There is no other version to share traffic with.
        step = len(plan.steps) - 1
    nothing_to_verify = plan.smoke is None and plan.watch is None and plan.steps[step].percent == 100
    already_served = outcome.original == AliasState(outcome.version)
    message, status = messages.published(outcome), Status.VERIFYING
    if deployment.needs_approval(step) and not already_served:
        # Only now it shows that there is no smaller share to begin with.
        message, status = f"{message}; {messages.approval_requested(deployment)}", Status.AWAITING_APPROVAL
    elif outcome.ready and (nothing_to_verify or already_served):
        status = Status.SHIFTING
    unseen = fix_forward.with_overlooked(deployment, ()) if status is Status.SHIFTING else {}
    return deployment.changed(
        now,
        message,
        status,
        **unseen,
        version=outcome.version,
        original=outcome.original,
        alias_revision=outcome.revision,
        current=outcome.original,
        step=step,
        built=outcome.built or deployment.built,
        found=outcome.found,
        recorded=outcome.recorded,
        order=max(outcome.after + 1, int(now * 1_000)),
        unseen=outcome.unseen,
    )


def version_unusable(deployment: Deployment, outcome: VersionUnusable, now: float) -> Deployment:
    """Note that the version cannot be served, and go on to the next that a rollback may go back to.

    Before anything was moved only: later the deployment fails.
    """
    noted = UnusableVersion(outcome.version, deployment.sha256, outcome.code, outcome.message)
    unusable = (*deployment.unusable, noted)
    if deployment.fallbacks and deployment.is_waiting:
        following, *rest = deployment.fallbacks
        return deployment.changed(
            now,
            messages.goes_back_further(outcome, following.version),
            **NOT_FAILING,
            version=following.version,
            sha256=following.sha256,
            built=following.built,
            fallbacks=tuple(rest),
            unusable=unusable,
        )
    reason = Reason(outcome.code, outcome.message, {"version": outcome.version})
    return replace(fail(deployment, reason, now), unusable=unusable)


def verified(deployment: Deployment, outcome: Verified, now: float) -> Deployment:
    message = messages.verified(deployment, outcome.overlooked)
    fields = fix_forward.with_overlooked(deployment, outcome.overlooked)
    if new := observe_mode.before_traffic(deployment, outcome.observed, now):
        message = f"{message}; {observe_mode.described(new)}"
        fields["would_have"] = (*deployment.would_have, *new)
    return deployment.changed(now, message, Status.SHIFTING, **fields)


# With traffic


def shifted(deployment: Deployment, outcome: Shifted, now: float) -> Deployment:
    step = deployment.plan.steps[deployment.step]
    fields: dict[str, Any] = {
        "current": outcome.current,
        "alias_revision": outcome.revision,
        "weight": step.percent,
        "unseen": False,
        "traffic_since": deployment.traffic_since or timestamp(now),
    }
    fields |= (overlooking := fix_forward.with_deadline(deployment, now))
    # A version that was served before and is still served needs no bake.
    unchanged = deployment.current == deployment.original == AliasState(deployment.version or "")
    if not (step.bake or overlooking) or unchanged:
        message = messages.shifted(deployment, outcome.current, 0)
        return deployment.changed(now, message, Status.SUCCEEDED, outcome=AliasOutcome.MOVED, **fields)
    message = messages.shifted(deployment, outcome.current, step.bake)
    return deployment.changed(now, message, Status.BAKING, extended=0, **fields)


def alias_seen(deployment: Deployment, outcome: AliasSeen, now: float) -> Deployment:
    """Record what the alias serves before its first move. This happens once."""
    return deployment.changed(
        now,
        messages.alias_seen(deployment, outcome),
        original=outcome.original,
        current=outcome.original,
        alias_revision=outcome.revision,
        found=outcome.found,
        unseen=False,
    )


def alias_found(deployment: Deployment, outcome: AliasFound, now: float) -> Deployment:
    """Record what the alias serves, and its revision, before it is moved.

    So what an earlier turn has still under way takes no effect: a move at the revision before, or the end of
    the deployment. This happens once, unless someone keeps changing the alias: it counts as a failed attempt.
    """
    since = deployment.failing_since or timestamp(now)
    _, is_over = _time_limit(deployment, since, RETRY_SECONDS, now)
    if is_over:
        message = f"someone else keeps changing alias {deployment.plan.alias}"
        return fail(deployment, Reason("alias_moved", message), now)
    return deployment.changed(
        now,
        messages.alias_found(deployment, outcome.current),
        retry=True,
        current=outcome.current,
        alias_revision=outcome.revision,
        failures=deployment.failures + 1,
        failing_since=since,
    )


def alias_moved(deployment: Deployment, current: AliasState | None, now: float) -> Deployment:
    message = messages.alias_moved(deployment, current)
    return deployment.changed(
        now,
        message,
        Status.FAILED,
        current=current,
        weight=0,
        outcome=AliasOutcome.LEFT_TO_OTHER,
        reason=deployment.reason or Reason("alias_moved", message),
    )


# Restoring


def restored(deployment: Deployment, outcome: Restored, now: float) -> Deployment:
    if outcome.outcome is AliasOutcome.NOT_RESTORED:
        status = Status.FAILED
    elif deployment.abort is not None:
        status = _stopped_status(deployment.abort)
    elif outcome.outcome in (AliasOutcome.RESTORED, AliasOutcome.REMOVED):
        status = Status.ROLLED_BACK
    else:
        status = Status.FAILED
    message = messages.restored(deployment, outcome)
    return deployment.changed(
        now, message, status, current=outcome.current, weight=0, outcome=outcome.outcome
    )


# Failures


def recovered(before: Deployment, after: Deployment, now: float) -> Deployment:
    """Forget the failed attempts at an action once it has run. A new status has forgotten them already."""
    if not before.failures or after.failures != before.failures:
        return after
    if after is before:
        return before.changed(now, "tried again, nothing wrong", retry=True, **NOT_FAILING)
    return replace(after, **NOT_FAILING)


def retry(deployment: Deployment, outcome: TransientFailure, now: float) -> Deployment:
    """Record the failed attempt, and retry for RETRY_SECONDS from the first in a row.

    Only time ends it, not what wakes the rollout early. Ways back and unreachable targets have other limits.
    """
    since = deployment.failing_since or timestamp(now)
    early = outcome.unreachable and not deployment.in_steps
    watched = deployment.status is Status.BAKING or (
        deployment.status is Status.AWAITING_APPROVAL and deployment.in_steps
    )
    most = THROTTLED_SECONDS if outcome.throttled and not watched else RETRY_SECONDS
    limit, is_over = _time_limit(deployment, since, UNREACHABLE_SECONDS if early else most, now)
    if is_over:
        status = Status.BAKING if watched else deployment.status
        code = _CODES_AFTER_RETRIES.get(status, "publish_failed")
        code = "target_unreachable" if outcome.unreachable else code
        return fail(deployment, Reason(code, outcome.message, {"error": outcome.code}), now)
    message = f"{outcome.message}; retrying for up to {duration(limit)}"
    return deployment.changed(now, message, retry=True, failures=deployment.failures + 1, failing_since=since)


def denied(deployment: Deployment, outcome: Denied, now: float) -> Deployment:
    """Record the denied attempt, and retry for DENIED_SECONDS, or to restore for RESTORE_SECONDS."""
    since = deployment.denied_since or timestamp(now)
    limit, is_over = _time_limit(deployment, since, DENIED_SECONDS, now)
    if is_over:
        return fail(deployment, Reason("target_denied", outcome.message, {"error": outcome.code}), now)
    message = f"{outcome.message}; permissions may take time to spread: retrying for up to {duration(limit)}"
    return deployment.changed(now, message, retry=True, failures=deployment.failures + 1, denied_since=since)


def gives_up_restoring(deployment: Deployment, outcome: Outcome, now: float) -> bool:
    """Return whether this outcome ends a way back although the alias is not restored."""
    retried = isinstance(outcome, Denied | TransientFailure) and not _restore_timed_out(deployment, now)
    failed = isinstance(outcome, Denied | TransientFailure | PermanentFailure)
    return deployment.status is Status.ROLLING_BACK and failed and not retried


def _time_limit(deployment: Deployment, since: str, limit: int, now: float) -> tuple[int, bool]:
    """Return the limit, or that of a way back, and whether it is over."""
    if deployment.status is Status.ROLLING_BACK:
        return RESTORE_SECONDS, _restore_timed_out(deployment, now)
    return limit, now - seconds(since) >= limit


def _restore_timed_out(deployment: Deployment, now: float) -> bool:
    """Return whether the way back has had its time."""
    return now - seconds(deployment.since) >= RESTORE_SECONDS


_CODES_AFTER_RETRIES: Final = {
    Status.VERIFYING: "verify_failed",
    Status.SHIFTING: "shift_failed",
    Status.BAKING: "watch_failed",
}


def fail(deployment: Deployment, reason: Reason, now: float) -> Deployment:
    """Fail, and roll back if the alias may have moved.

    guarantees.md#4-failure-restores-the-alias
    """
    if deployment.status is Status.ROLLING_BACK:
        return deployment.changed(
            now,
            f"alias {deployment.plan.alias} could not be restored: {reason.message}",
            Status.FAILED,
            outcome=AliasOutcome.UNKNOWN,
            current=None,
        )
    if deployment.may_have_moved:
        return deployment.changed(now, reason.message, Status.ROLLING_BACK, reason=reason)
    return deployment.changed(
        now, reason.message, Status.FAILED, reason=reason, outcome=AliasOutcome.UNTOUCHED
    )


def _end_aborted(deployment: Deployment, reason: Reason, message: str, now: float) -> Deployment:
    status = _stopped_status(reason)
    return deployment.changed(
        now, message, status, reason=reason, abort=reason, outcome=AliasOutcome.UNTOUCHED
    )


def _stopped_status(reason: Reason) -> Status:
    """Return how a deployment ends that was stopped for this reason."""
    return Status.REJECTED if reason.code == "rejected" else Status.ABORTED
