"""What a deployment does next: pure decisions over its record.

`next_step` names the step that the record asks for, `advance` says what the record becomes once that step
has come out somehow. Neither knows AWS or a clock. The deployer, the tests and the simulation of a rollout
all use these two, so that what is tested is what runs.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, assert_never

from sluicegate.deployment import AliasOutcome, AliasState, Deployment, Reason, Status, seconds

TROUBLE_LIMIT: Final = 12
"""Failed tries of one step (throttling, timeouts, 5xx) before it is given up: about three minutes."""

QUEUE_LIMIT: Final = 3_600
"""Seconds since acceptance within which a deployment must get its turn to publish the function."""

PUBLISH_LIMIT: Final = 900
"""Seconds that Lambda may take over the update and the publishing of a version (SnapStart takes minutes)."""


@dataclass(frozen=True)
class Lock:
    """Take the function's publishing lock."""


@dataclass(frozen=True)
class Publish:
    """Find or publish the version of the accepted digest, and note what the alias serves now."""


@dataclass(frozen=True)
class Shift:
    """Move the alias from `found` (None: create it), as it was at `revision`, to `wanted`."""

    found: AliasState | None
    revision: str | None
    wanted: AliasState


@dataclass(frozen=True)
class Restore:
    """Bring the alias back to `found`, if it still is what this deployment made it (`ours`).

    `moved`: the record says that the alias was seen as `ours`. Only then does finding it as `found` mean that
    it was brought back; otherwise it was never moved.
    """

    found: AliasState | None
    ours: AliasState
    moved: bool


@dataclass(frozen=True)
class End:
    """Nothing is left to do."""


Step = Lock | Publish | Shift | Restore | End


@dataclass(frozen=True)
class Locked:
    """The publishing lock is held."""


@dataclass(frozen=True)
class Occupied:
    """Another deployment publishes this function."""

    by: str


@dataclass(frozen=True)
class LockLost:
    """The publishing lock ran out and went to another deployment: queue for it again."""


@dataclass(frozen=True)
class Pending:
    """Lambda has not finished; the same step looks again."""

    what: str


@dataclass(frozen=True)
class Published:
    """The version that holds exactly the accepted code, and what the alias served before.

    `changed` names the settings that differ from those that an earlier version of this digest was
    published with, which is why it was not reused.
    """

    version: str
    found: AliasState | None
    revision: str | None
    reused: bool = False
    changed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Shifted:
    """The alias serves what was wanted."""

    now: AliasState


@dataclass(frozen=True)
class AliasMoved:
    """Somebody else moved the alias; it is left alone."""

    now: AliasState | None


@dataclass(frozen=True)
class SeenMoved:
    """On the way back, the alias was seen as this deployment made it: recorded before it is touched."""

    now: AliasState


@dataclass(frozen=True)
class Restored:
    """What became of the alias on the way back."""

    outcome: AliasOutcome
    now: AliasState | None


@dataclass(frozen=True)
class Impossible:
    """The step can never succeed: say why and go no further."""

    code: str
    message: str
    data: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Trouble:
    """The step failed in a way that may pass, or may have taken effect unseen."""

    code: str
    message: str


Outcome = (
    Locked
    | Occupied
    | LockLost
    | Pending
    | Published
    | Shifted
    | AliasMoved
    | SeenMoved
    | Restored
    | Impossible
    | Trouble
)


def next_step(deployment: Deployment) -> Step:
    """The one step that the record asks for. Asking twice gives the same step (promise 5)."""
    match deployment.status:
        case Status.ACCEPTED | Status.QUEUED:
            return Lock()
        case Status.PUBLISHING:
            return Publish()
        case Status.SHIFTING:
            return Shift(deployment.found, deployment.found_revision, _wanted(deployment))
        case Status.ROLLING_BACK:
            ours = _wanted(deployment)
            return Restore(deployment.found, ours, moved=deployment.now == ours)
        case _:
            return End()


def advance(deployment: Deployment, outcome: Outcome, at: float) -> Deployment:
    """The record after a step came out so; the same record where there is nothing to tell.

    `at` is in epoch seconds. Every path from every record ends: each unfinished outcome is either counted
    (`trouble`) or bounded by the time since the status began.
    """
    match outcome:
        case Locked():
            return deployment.changed(at, f"publishing {deployment.sha256[:12]}", Status.PUBLISHING)
        case Occupied(by):
            return _queued(deployment, by, at)
        case LockLost():
            return _queued(deployment, "another deployment", at)
        case Pending(what):
            return _pending(deployment, what, at)
        case Published():
            return _published(deployment, outcome, at)
        case Shifted(now):
            return deployment.changed(
                at,
                f"alias {deployment.plan.alias} serves version {now.version}",
                Status.SUCCEEDED,
                now=now,
                weight=100,
                outcome=AliasOutcome.MOVED,
            )
        case AliasMoved(now):
            return _alias_moved(deployment, now, at)
        case SeenMoved(now):
            message = f"alias {deployment.plan.alias} serves version {now.version}: bringing it back"
            return deployment.changed(at, message, now=now, weight=100)
        case Restored():
            return _restored(deployment, outcome, at)
        case Impossible(code, message, data):
            return _give_up(deployment, Reason(code, message, data), at)
        case Trouble():
            return _trouble(deployment, outcome, at)
        case _ as never:
            assert_never(never)


def abandon(deployment: Deployment, why: str, at: float) -> Deployment:
    """The end of a deployment that nothing can run any more, so that it still has one (promise 3)."""
    moving = deployment.status in (Status.SHIFTING, Status.ROLLING_BACK)
    return deployment.changed(
        at,
        why,
        Status.FAILED,
        reason=deployment.reason or Reason("engine_failed", why),
        outcome=AliasOutcome.UNKNOWN if moving else AliasOutcome.UNTOUCHED,
    )


def pause(deployment: Deployment, outcome: Outcome) -> int:
    """Seconds to wait at most before the next step: 0 goes on at once. Grows with trouble, to 30."""
    match outcome:
        case Trouble():
            return min(30, 1 << min(deployment.trouble, 5))
        case Occupied() | LockLost():
            return 2
        case Pending():
            return 1
        case _:
            return 0


def _wanted(deployment: Deployment) -> AliasState:
    if deployment.version is None:
        raise ValueError(f"deployment {deployment.id} is {deployment.status} without a version")
    return AliasState(deployment.version)


def _queued(deployment: Deployment, by: str, at: float) -> Deployment:
    if at - seconds(deployment.created_at) > QUEUE_LIMIT:
        reason = Reason(
            "queue_timeout", f"another deployment of {deployment.function} did not finish", {"by": by}
        )
        return _give_up(deployment, reason, at)
    if deployment.status is Status.QUEUED:
        return deployment
    return deployment.changed(at, f"waiting for {by}, which publishes {deployment.function}", Status.QUEUED)


def _pending(deployment: Deployment, what: str, at: float) -> Deployment:
    if at - seconds(deployment.since) <= PUBLISH_LIMIT:
        return deployment
    return _give_up(deployment, Reason("publish_timeout", f"Lambda took too long: {what}"), at)


def _published(deployment: Deployment, outcome: Published, at: float) -> Deployment:
    message = f"version {outcome.version} {'holds this code already' if outcome.reused else 'published'}"
    if outcome.changed:
        message += f" (configuration changed since it was last published: {', '.join(outcome.changed)})"
    return deployment.changed(
        at,
        message,
        Status.SHIFTING,
        version=outcome.version,
        found=outcome.found,
        found_revision=outcome.revision,
        now=outcome.found,
    )


def _alias_moved(deployment: Deployment, now: AliasState | None, at: float) -> Deployment:
    serves = f"serves version {now.version}" if now else "is gone"
    message = f"somebody else moved alias {deployment.plan.alias}: it {serves} and is left alone"
    return deployment.changed(
        at,
        message,
        Status.FAILED,
        now=now,
        outcome=AliasOutcome.LEFT_TO_OTHER,
        reason=deployment.reason or Reason("alias_moved", message),
    )


def _restored(deployment: Deployment, outcome: Restored, at: float) -> Deployment:
    moved_back = outcome.outcome in (AliasOutcome.RESTORED, AliasOutcome.REMOVED)
    what = {
        AliasOutcome.RESTORED: "serves what it served before",
        AliasOutcome.REMOVED: "did not exist before and is removed again",
        AliasOutcome.UNTOUCHED: "was not moved",
        AliasOutcome.LEFT_TO_OTHER: "was moved by somebody else and is left alone",
    }.get(outcome.outcome, "is in an unknown state: look at it")
    return deployment.changed(
        at,
        f"alias {deployment.plan.alias} {what}",
        Status.ROLLED_BACK if moved_back else Status.FAILED,
        now=outcome.now,
        weight=0,
        outcome=outcome.outcome,
    )


def _trouble(deployment: Deployment, outcome: Trouble, at: float) -> Deployment:
    count = deployment.trouble + 1
    if count > TROUBLE_LIMIT:
        code = "shift_failed" if deployment.status is Status.SHIFTING else "publish_failed"
        return _give_up(deployment, Reason(code, outcome.message, {"error": outcome.code}), at)
    return deployment.changed(
        at, f"{outcome.message}; trying again ({count} of {TROUBLE_LIMIT})", trouble=count
    )


def _give_up(deployment: Deployment, reason: Reason, at: float) -> Deployment:
    """Promise 4: before the alias may have moved there is nothing to bring back, afterwards there is."""
    match deployment.status:
        case Status.SHIFTING:
            return deployment.changed(at, reason.message, Status.ROLLING_BACK, reason=reason)
        case Status.ROLLING_BACK:
            return deployment.changed(
                at,
                f"alias {deployment.plan.alias} could not be brought back: {reason.message}",
                Status.FAILED,
                outcome=AliasOutcome.UNKNOWN,
                now=None,
            )
        case _:
            return deployment.changed(
                at, reason.message, Status.FAILED, reason=reason, outcome=AliasOutcome.UNTOUCHED
            )
