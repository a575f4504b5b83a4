"""What a deployment does next: pure decisions over its record.

`next_step` names the step that the record asks for, `advance` says what the record becomes once that step
has come out somehow. Neither knows AWS or a clock. The deployer, the tests and the simulation of a rollout
all use these two, so that what is tested is what runs.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, assert_never

from sluicegate.deployment.durations import duration, seconds, timestamp
from sluicegate.deployment.model import AliasOutcome, AliasState, Deployment, Reason, Status, until
from sluicegate.deployment.plan import NoData, Watch
from sluicegate.rollout.analysis import Observation, breached, look_every, summary, unmeasured

FAILURE_LIMIT: Final = 12
"""Failed tries of one step (throttling, timeouts, 5xx) before it is given up: about three minutes."""

QUEUE_LIMIT: Final = 3_600
"""Seconds since acceptance, or approval, within which a deployment must get its turn."""

PUBLISH_LIMIT: Final = 900
"""Seconds that Lambda may take over the update and the publishing of a version (SnapStart takes minutes)."""

EXTENSIONS: Final = 3
"""How often a bake without enough requests is prolonged by its own length."""


# Runner


@dataclass(frozen=True)
class Abort:
    """It shall go no further: on the way back, if anything was moved."""


@dataclass(frozen=True)
class AwaitHandover:
    """Wait until the deployment that this one supersedes has ended and left the alias' lock to it."""

    of: str


@dataclass(frozen=True)
class AwaitApproval:
    """Wait for a second person's word. Nothing of the new code is touched before it."""


@dataclass(frozen=True)
class Lock:
    """Take the function's publishing lock."""


@dataclass(frozen=True)
class Publish:
    """Find or publish the version of the accepted digest, and note what the alias serves now."""


@dataclass(frozen=True)
class ReuseVersion:
    """Find `version`, which was published before, and note what the alias serves now.

    `source` is the alias that must serve exactly that version, where it is promoted from one.
    """

    version: str
    source: str | None


@dataclass(frozen=True)
class Verify:
    """Before traffic: the version runs, alarms are quiet, weights can be set (`gradual`), the smoke test."""

    version: str
    original: AliasState | None
    gradual: bool


@dataclass(frozen=True)
class Shift:
    """Move the alias from `original` (None: create it), as it was at `revision`, to `desired`."""

    original: AliasState | None
    revision: str | None
    desired: AliasState


@dataclass(frozen=True)
class Observe:
    """See how `version` does beside `baseline`, while the alias serves `desired`. `since`: RFC 3339."""

    desired: AliasState
    version: str
    baseline: str | None
    since: str


@dataclass(frozen=True)
class Restore:
    """Bring the alias back to `original`, if it still is what this deployment made it (one of `ours`).

    `current` is what the record says that it serves. Only what was recorded as moved can be found restored.
    """

    original: AliasState | None
    ours: tuple[AliasState, ...]
    current: AliasState | None

    @property
    def moved(self) -> bool:
        return self.current != self.original


@dataclass(frozen=True)
class End:
    """Nothing is left to do."""


Action = (
    Abort
    | AwaitHandover
    | AwaitApproval
    | Lock
    | Publish
    | ReuseVersion
    | Verify
    | Shift
    | Observe
    | Restore
    | End
)


# Outcomes


@dataclass(frozen=True)
class Aborted:
    """It goes no further."""


@dataclass(frozen=True)
class HandedOver:
    """The alias' lock is this deployment's."""


@dataclass(frozen=True)
class ApprovalRequested:
    """A second person is waited for."""


@dataclass(frozen=True)
class Locked:
    """The publishing lock is held."""


@dataclass(frozen=True)
class Blocked:
    """Another deployment has what this one needs: its turn to publish, or the alias."""

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
    original: AliasState | None
    revision: str | None
    reused: bool = False
    changed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Verified:
    """Traffic may come."""


@dataclass(frozen=True)
class Shifted:
    """The alias serves what was wanted, at this revision of it."""

    current: AliasState
    revision: str | None = None


@dataclass(frozen=True)
class Observed:
    """What there was to see while it bakes."""

    seen: Observation


@dataclass(frozen=True)
class AliasMoved:
    """Somebody else moved the alias; it is left alone."""

    current: AliasState | None


@dataclass(frozen=True)
class FoundMoved:
    """On the way back, the alias was seen as this deployment made it: recorded before it is touched."""

    current: AliasState


@dataclass(frozen=True)
class Restored:
    """What became of the alias on the way back."""

    outcome: AliasOutcome
    now: AliasState | None


@dataclass(frozen=True)
class PermanentFailure:
    """The step can never succeed: say why and go no further."""

    code: str
    message: str
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class TransientFailure:
    """The step failed in a way that may pass, or may have taken effect unseen."""

    code: str
    message: str


Outcome = (
    Aborted
    | HandedOver
    | ApprovalRequested
    | Locked
    | Blocked
    | LockLost
    | Pending
    | Published
    | Verified
    | Shifted
    | Observed
    | AliasMoved
    | FoundMoved
    | Restored
    | PermanentFailure
    | TransientFailure
)


def next_step(deployment: Deployment) -> Action:
    """The one step that the record asks for. Asking twice gives the same step.

    guarantees.md#5-one-request-one-effect
    """
    status = deployment.status
    if status.final:
        return End()
    if deployment.abort is not None and status is not Status.ROLLING_BACK:
        return Abort()
    match status:
        case Status.ACCEPTED | Status.QUEUED | Status.AWAITING_APPROVAL:
            return _first_step(deployment)
        case Status.PUBLISHING:
            return Publish()
        case Status.VERIFYING:
            gradual = deployment.plan.steps[deployment.step].percent < 100
            return Verify(_version(deployment), deployment.original, gradual)
        case Status.SHIFTING:
            return Shift(deployment.current, deployment.alias_revision, _wanted(deployment))
        case Status.BAKING:
            old = deployment.original.version if deployment.original else None
            since = deployment.traffic_since or deployment.since
            return Observe(_wanted(deployment), _version(deployment), old, since)
        case _:
            made = (_wanted(deployment), deployment.current)
            ours = tuple(state for state in made if state is not None and state != deployment.original)
            return Restore(deployment.original, ours, deployment.current)


def advance(deployment: Deployment, outcome: Outcome, at: float) -> Deployment:
    """The record after a step came out so; the same record where there is nothing to tell.

    `at` is in epoch seconds. Every path from every record ends: each unfinished outcome is either counted
    (`failures`, `extended`) or bounded by the time since the status began.
    """
    match outcome:
        case Aborted():
            return _stopped(deployment, at)
        case HandedOver():
            message = f"deployment {deployment.supersedes} has ended: it is this one's turn"
            return deployment.changed(at, message, Status.QUEUED, supersedes=None)
        case ApprovalRequested():
            return _asked(deployment, at)
        case Locked():
            return deployment.changed(at, f"publishing {deployment.sha256[:12]}", Status.PUBLISHING)
        case Blocked(by):
            return _queued(deployment, by, at)
        case LockLost():
            return _queued(deployment, "another deployment", at)
        case Pending(what):
            return _pending(deployment, what, at)
        case Published():
            return _published(deployment, outcome, at)
        case Verified():
            return deployment.changed(at, _verified(deployment), Status.SHIFTING)
        case Shifted():
            return _shifted(deployment, outcome, at)
        case Observed(seen):
            return _looked(deployment, seen, at)
        case AliasMoved(now):
            return _alias_moved(deployment, now, at)
        case FoundMoved(now):
            return _seen_moved(deployment, now, at)
        case Restored():
            return _restored(deployment, outcome, at)
        case PermanentFailure(code, message, data):
            return _give_up(deployment, Reason(code, message, data), at)
        case TransientFailure():
            return _trouble(deployment, outcome, at)
        case _ as never:
            assert_never(never)


def abandon(deployment: Deployment, why: str, at: float) -> Deployment:
    """The end of a deployment that nothing can run any more, so that it still has one.

    guarantees.md#3-exactly-one-end
    """
    moving = deployment.status in (Status.SHIFTING, Status.BAKING, Status.ROLLING_BACK)
    return deployment.changed(
        at,
        why,
        Status.FAILED,
        reason=deployment.reason or Reason("engine_failed", why),
        outcome=AliasOutcome.UNKNOWN if moving else AliasOutcome.UNTOUCHED,
    )


def stop(deployment: Deployment, reason: Reason, message: str, at: float) -> Deployment:
    """The record once somebody wants it to go no further.

    Where nothing of the target is in hand, that is the end of it at once; elsewhere the deployer sees it at
    its next step. Of a deployment that is on its way back already, nothing changes.
    """
    if deployment.status in WAITING:
        return _aborted(deployment, reason, message, at)
    if deployment.abort is not None or deployment.status is Status.ROLLING_BACK:
        return deployment
    return deployment.changed(at, message, abort=reason)


WAITING: Final = frozenset({Status.ACCEPTED, Status.QUEUED, Status.AWAITING_APPROVAL})
"""Statuses in which nothing of the target has been touched, and no step is at work on it."""


def pause(deployment: Deployment, outcome: Outcome, at: float) -> int:
    """Seconds to wait at most before the next step: 0 goes on at once. Grows with trouble, to 30.

    A bake and the time for an approval are waited for at a stretch; what ends them early wakes the rollout.
    """
    match outcome:
        case TransientFailure():
            return min(30, 1 << min(deployment.failures, 5))
        case Blocked() | LockLost():
            return 2
        case Pending():
            return 1
    ends = until(deployment)
    if ends is None or deployment.abort is not None:
        return 0
    left = max(1, int(ends - at + 0.999))
    if deployment.status is Status.AWAITING_APPROVAL:
        return left
    # A bake that is prolonged is looked at less often: one execution's history has to do for all of it.
    bake = deployment.plan.steps[deployment.step].bake * (1 + deployment.extended)
    return min(left, look_every(deployment.plan.watch, bake))


def _first_step(deployment: Deployment) -> Action:
    if deployment.supersedes is not None:
        return AwaitHandover(deployment.supersedes)
    if deployment.plan.approval is not None and deployment.approval is None:
        return AwaitApproval()
    if deployment.version is not None:
        return ReuseVersion(deployment.version, deployment.source)
    return Lock()


def _version(deployment: Deployment) -> str:
    if deployment.version is None:
        raise ValueError(f"deployment {deployment.id} is {deployment.status} without a version")
    return deployment.version


def _wanted(deployment: Deployment) -> AliasState:
    """What the alias serves in the present step."""
    version, percent = _version(deployment), deployment.plan.steps[deployment.step].percent
    if percent == 100 or deployment.original is None:
        return AliasState(version)
    return AliasState(deployment.original.version, {version: percent / 100})


def _served(state: AliasState | None) -> str:
    if state is None:
        return "nothing"
    shares = "".join(f", {weight * 100:.3g} % version {version}" for version, weight in state.weights.items())
    return f"version {state.version}{shares}"


def _queued(deployment: Deployment, by: str, at: float) -> Deployment:
    free_to_go = deployment.approval.at if deployment.approval else deployment.created_at
    if at - seconds(free_to_go) > QUEUE_LIMIT:
        reason = Reason(
            "queue_timeout", f"another deployment of {deployment.function} did not finish", {"by": by}
        )
        return _give_up(deployment, reason, at)
    if deployment.status is Status.QUEUED:
        return deployment
    what = "gives way" if by == deployment.supersedes else f"publishes {deployment.function}"
    return deployment.changed(at, f"waiting for {by}, which {what}", Status.QUEUED)


def _asked(deployment: Deployment, at: float) -> Deployment:
    if deployment.status is not Status.AWAITING_APPROVAL:
        within = duration(deployment.plan.approval or 0)
        message = f"waiting for somebody else's approval, {within} at most"
        return deployment.changed(at, message, Status.AWAITING_APPROVAL)
    if at < (until(deployment) or 0):
        return deployment
    reason = Reason("approval_expired", "nobody approved it in time")
    return _give_up(deployment, reason, at)


def _pending(deployment: Deployment, what: str, at: float) -> Deployment:
    if at - seconds(deployment.since) <= PUBLISH_LIMIT:
        return deployment
    return _give_up(deployment, Reason("publish_timeout", f"Lambda took too long: {what}"), at)


def _published(deployment: Deployment, outcome: Published, at: float) -> Deployment:
    message = f"version {outcome.version} {'holds this code already' if outcome.reused else 'published'}"
    if outcome.changed:
        message += f" (configuration changed since it was last published: {', '.join(outcome.changed)})"
    plan, step = deployment.plan, 0
    if outcome.original is None or outcome.original.version == outcome.version:
        # There is nothing to share traffic with.
        step = len(plan.steps) - 1
    unwatched = plan.smoke is None and plan.watch is None and plan.steps[step].percent == 100
    serves_it = outcome.original == AliasState(outcome.version)
    return deployment.changed(
        at,
        message,
        Status.SHIFTING if unwatched or serves_it else Status.VERIFYING,
        version=outcome.version,
        original=outcome.original,
        alias_revision=outcome.revision,
        current=outcome.original,
        step=step,
    )


def _verified(deployment: Deployment) -> str:
    what = [f"version {deployment.version} is ready"]
    if deployment.plan.smoke:
        what.append("the hook agrees" if deployment.plan.smoke.hook else "the smoke test passed")
    if deployment.plan.watch and deployment.plan.watch.alarms:
        what.append("alarms are quiet")
    return ", ".join(what)


def _shifted(deployment: Deployment, outcome: Shifted, at: float) -> Deployment:
    steps = deployment.plan.steps
    step = steps[deployment.step]
    facts: dict[str, Any] = {
        "current": outcome.current,
        "alias_revision": outcome.revision,
        "weight": step.percent,
        "traffic_since": deployment.traffic_since or timestamp(at),
    }
    message = f"alias {deployment.plan.alias} serves {_served(outcome.current)}"
    # What was served before and is served still needs no watching.
    if not step.bake or deployment.current == deployment.original == AliasState(_version(deployment)):
        return deployment.changed(at, message, Status.SUCCEEDED, outcome=AliasOutcome.MOVED, **facts)
    return deployment.changed(at, f"{message} for {duration(step.bake)}", Status.BAKING, extended=0, **facts)


def _looked(deployment: Deployment, seen: Observation, at: float) -> Deployment:
    """Decide over one observation: a bad version does not stay.

    guarantees.md#4-failure-restores-the-alias
    """
    watch = deployment.plan.watch or Watch()
    if reason := breached(watch, seen):
        return _give_up(deployment, reason, at)
    if at < (until(deployment) or 0):
        if deployment.failures:
            return deployment.changed(at, "looked again, and saw no trouble", failures=0)
        return deployment
    note = summary(seen) if watch.limits else ""
    if reason := unmeasured(watch, seen):
        if watch.no_data is NoData.FAIL or (
            watch.no_data is NoData.EXTEND and deployment.extended == EXTENSIONS
        ):
            return _give_up(deployment, reason, at)
        if watch.no_data is NoData.EXTEND:
            message = f"{reason.message}: baking on ({deployment.extended + 1} of {EXTENSIONS})"
            return deployment.changed(at, message, extended=deployment.extended + 1)
        note = f"{reason.message}: goes on without, as the gate file says"
    return _baked(deployment, note, at)


def _baked(deployment: Deployment, note: str, at: float) -> Deployment:
    percent = deployment.plan.steps[deployment.step].percent
    message = f"{percent} % went well" + (f": {note}" if note else "")
    if percent == 100:
        return deployment.changed(at, message, Status.SUCCEEDED, outcome=AliasOutcome.MOVED)
    return deployment.changed(at, message, Status.SHIFTING, step=deployment.step + 1)


def _alias_moved(deployment: Deployment, now: AliasState | None, at: float) -> Deployment:
    serves = f"serves {_served(now)}" if now else "is gone"
    message = f"somebody else moved alias {deployment.plan.alias}: it {serves} and is left alone"
    return deployment.changed(
        at,
        message,
        Status.FAILED,
        current=now,
        weight=0,
        outcome=AliasOutcome.LEFT_TO_OTHER,
        reason=deployment.reason or Reason("alias_moved", message),
    )


def _seen_moved(deployment: Deployment, now: AliasState, at: float) -> Deployment:
    """Once is how it goes. Who moves it to and fro between what this deployment made it is counted."""
    if deployment.failures == FAILURE_LIMIT:
        return _give_up(deployment, Reason("alias_moved", "somebody else keeps moving it"), at)
    message = f"alias {deployment.plan.alias} serves {_served(now)}: bringing it back"
    return deployment.changed(at, message, current=now, failures=deployment.failures + 1)


def _stopped(deployment: Deployment, at: float) -> Deployment:
    reason = deployment.abort or Reason("aborted", "it was aborted")
    if deployment.status in (Status.SHIFTING, Status.BAKING):
        message = f"bringing alias {deployment.plan.alias} back to what it served"
        return deployment.changed(at, message, Status.ROLLING_BACK, reason=reason)
    return _aborted(deployment, reason, reason.message, at)


def _aborted(deployment: Deployment, reason: Reason, message: str, at: float) -> Deployment:
    return deployment.changed(
        at, message, Status.ABORTED, reason=reason, abort=reason, outcome=AliasOutcome.UNTOUCHED
    )


_WHAT_BECAME: Final = {
    AliasOutcome.RESTORED: "serves what it served before",
    AliasOutcome.REMOVED: "did not exist before and is removed again",
    AliasOutcome.UNTOUCHED: "was not moved",
    AliasOutcome.LEFT_TO_OTHER: "was moved by somebody else and is left alone",
}


def _restored(deployment: Deployment, outcome: Restored, at: float) -> Deployment:
    what = _WHAT_BECAME.get(outcome.outcome, "is in an unknown state: look at it")
    if deployment.abort is not None:
        status = Status.ABORTED
    elif outcome.outcome in (AliasOutcome.RESTORED, AliasOutcome.REMOVED):
        status = Status.ROLLED_BACK
    else:
        status = Status.FAILED
    message = f"alias {deployment.plan.alias} {what}"
    return deployment.changed(at, message, status, current=outcome.now, weight=0, outcome=outcome.outcome)


_GIVEN_UP: Final = {
    Status.VERIFYING: "verify_failed",
    Status.SHIFTING: "shift_failed",
    Status.BAKING: "watch_failed",
}


def _trouble(deployment: Deployment, outcome: TransientFailure, at: float) -> Deployment:
    count = deployment.failures + 1
    if count > FAILURE_LIMIT:
        code = _GIVEN_UP.get(deployment.status, "publish_failed")
        return _give_up(deployment, Reason(code, outcome.message, {"error": outcome.code}), at)
    return deployment.changed(
        at, f"{outcome.message}; trying again ({count} of {FAILURE_LIMIT})", failures=count
    )


def _give_up(deployment: Deployment, reason: Reason, at: float) -> Deployment:
    """Before the alias may have moved there is nothing to bring back, afterwards there is.

    guarantees.md#4-failure-restores-the-alias
    """
    match deployment.status:
        case Status.SHIFTING | Status.BAKING:
            return deployment.changed(at, reason.message, Status.ROLLING_BACK, reason=reason)
        case Status.ROLLING_BACK:
            return deployment.changed(
                at,
                f"alias {deployment.plan.alias} could not be brought back: {reason.message}",
                Status.FAILED,
                outcome=AliasOutcome.UNKNOWN,
                current=None,
            )
        case _:
            return deployment.changed(
                at, reason.message, Status.FAILED, reason=reason, outcome=AliasOutcome.UNTOUCHED
            )
