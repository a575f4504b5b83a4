"""Arbitrary plans, observations and outcomes, for properties that hold for all of them."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from hypothesis import strategies as st

from sluicegate.deployment import strategy
from sluicegate.deployment.call_budget import InLine
from sluicegate.deployment.durations import timestamp
from sluicegate.deployment.fix_forward import FixForward, OverlookedAlarm
from sluicegate.deployment.model import (
    AliasOutcome,
    AliasState,
    Approval,
    Deployment,
    Reason,
    Requester,
    Status,
    until,
)
from sluicegate.deployment.observations import AlarmReading, AlarmState
from sluicegate.deployment.plan import Limit, Metric, Plan, Smoke, TrafficStep, Unclear, Watch
from sluicegate.gate.rollout_settings import APPROVAL
from sluicegate.rollout.actions import (
    Abort,
    Action,
    AwaitApproval,
    AwaitHandover,
    Lock,
    Observe,
    Publish,
    Restore,
    ReuseVersion,
    Shift,
    Verify,
)
from sluicegate.rollout.machine import advance, next_action, next_delay
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
    Shifted,
    TransientFailure,
    Verified,
    VersionUnusable,
)
from sluicegate.rollout.readings import Readings
from sluicegate.rollout.transitions import request_abort
from support.readings import VersionMetrics, readings
from support.simulation import OWN, START, new_deployment

ALARMS = ("orders-5xx", "orders-latency")

versions = st.sampled_from(["1", "2", "3"])
alias_states = st.builds(
    AliasState, versions, st.just({}) | st.dictionaries(versions, st.floats(0.01, 0.99), max_size=1)
)


@st.composite
def steps(
    draw: st.DrawFn, max_steps: int = strategy.MAX_STEPS, max_bake: int = strategy.MAX_BAKE
) -> tuple[TrafficStep, ...]:
    shares = sorted(draw(st.sets(st.integers(1, 99), max_size=max_steps - 1)))
    bakes = [draw(st.integers(1, max_bake)) for _ in shares]
    last = TrafficStep(100, draw(st.just(0) | st.integers(0, max_bake)))
    return strategy.checked([*map(TrafficStep, shares, bakes), last])


@st.composite
def limits(draw: st.DrawFn) -> tuple[Limit, ...]:
    def limit(metric: Metric) -> st.SearchStrategy[Limit]:
        return st.builds(
            Limit,
            st.just(metric),
            st.integers(1, 100),
            st.none() | st.floats(0.001, 100),
            st.none() | st.floats(1, 10),
        ).filter(lambda made: (made.most, made.max_ratio) != (None, None))

    metrics = draw(st.lists(st.sampled_from(Metric), unique=True, max_size=3))
    return tuple(draw(limit(metric)) for metric in metrics)


watches = st.builds(
    Watch,
    st.lists(st.sampled_from(ALARMS), unique=True).map(tuple),
    limits(),
    unclear=st.sampled_from(Unclear),
)
smokes = st.builds(Smoke, st.integers(1, 60), st.just('{"ping":true}')) | st.builds(
    Smoke, st.just(10), hook=st.just("hook")
)


def plans(max_steps: int = strategy.MAX_STEPS, max_bake: int = strategy.MAX_BAKE) -> st.SearchStrategy[Plan]:
    """Any plan. A third of those with an approval begin without it."""
    return st.builds(
        Plan,
        st.just(OWN),
        st.just("prod"),
        steps(max_steps, max_bake),
        st.just("0" * 64),
        st.none() | smokes,
        st.none() | watches,
        st.none() | st.integers(*APPROVAL),
        unapproved_percent=st.sampled_from([0, 0, 0, 1, 10, 50, 100]),
        proposed=st.booleans(),
    )


@st.composite
def metrics(draw: st.DrawFn) -> VersionMetrics:
    invocations = draw(st.integers(0, 1_000))
    return VersionMetrics(
        invocations,
        draw(st.integers(0, invocations)),
        draw(st.integers(0, 100)),
        draw(st.floats(0, 900_000)) if invocations else None,
        draw(st.integers(0, invocations)),
    )


def possible_readings(watch: Watch | None) -> st.SearchStrategy[Readings]:
    """Everything that can be read for a watch."""
    names = watch.alarms if watch else ()
    alarms = st.tuples(
        *(st.builds(AlarmReading, st.just(name), st.sampled_from(AlarmState)) for name in names)
    )
    if not watch or not watch.limits:
        return st.builds(readings, alarms)
    return st.builds(
        readings,
        alarms,
        metrics(),
        st.none() | metrics(),
        st.none() | metrics(),
        over=st.none() | st.floats(1, 900_000),
    )


def healthy(watch: Watch | None) -> Readings:
    """Readings that breach no watch."""
    names = watch.alarms if watch else ()
    return readings(
        tuple(AlarmReading(name, AlarmState.OK) for name in names),
        VersionMetrics(1_000_000, 0, 0, 0.0, 1_000_000),
        VersionMetrics(1_000_000, 0, 0, 0.0, 1_000_000),
    )


transient_failures = st.builds(
    TransientFailure, st.just("ServiceException"), st.just("it failed")
) | st.builds(Denied, st.just("AccessDenied"), st.just("not allowed"))
in_line = st.builds(InLine, st.integers(1, 999), st.floats(0, 600), st.floats(0, 600))
permanent_failures = st.builds(PermanentFailure, st.just("lambda_refused"), st.just("no"))


def possible_outcomes(action: Action, deployment: Deployment) -> st.SearchStrategy[Outcome]:
    """Everything that an action can result in."""
    match action:
        case Abort():
            return st.just(Aborted())
        case AwaitHandover(predecessor):
            return st.just(HandedOver()) | st.just(Blocked(predecessor))
        case AwaitApproval():
            return st.builds(ApprovalRequested, firing_alarms(deployment))
        case Lock():
            locked = st.just(Locked()) | st.just(Blocked("other"))
            return locked | in_line | transient_failures | permanent_failures
        case Publish():
            return st.one_of(
                published(versions),
                unseen(deployment.plan),
                st.just(LockLost()),
                st.just(Pending("it")),
                transient_failures,
                permanent_failures,
            )
        case ReuseVersion(version):
            gone = st.just(VersionUnusable(version, "version_not_found", "it is gone"))
            return (
                published(st.just(version))
                | gone
                | st.just(Pending("it"))
                | in_line
                | transient_failures
                | permanent_failures
            )
        case Verify():
            verified = st.builds(Verified, firing_alarms(deployment))
            return verified | st.just(Pending("it")) | transient_failures | permanent_failures
        case Shift(original, desired=desired):
            seen = st.builds(AliasSeen, st.none() | alias_states, st.just("r2"))
            changed = st.just(AliasFound(original, "r2")) if original else moved_by_another
            return st.one_of(
                st.just(Shifted(desired, "r2")),
                moved_by_another,
                seen if deployment.unseen else changed,
                transient_failures,
                permanent_failures,
            )
        case Observe():
            observed = st.builds(Observed, possible_readings(deployment.plan.watch))
            return observed | moved_by_another | transient_failures | permanent_failures
        case Restore():
            return st.one_of(*restorations(action), transient_failures, permanent_failures)
        case _:
            raise AssertionError(action)


def firing_alarms(deployment: Deployment) -> st.SearchStrategy[tuple[OverlookedAlarm, ...]]:
    """What a fix may find firing before its first move; a plain deployment finds nothing, or is refused."""
    watch = deployment.plan.watch
    if deployment.fix_forward is None or watch is None or not watch.alarms:
        return st.just(())
    names = st.lists(st.sampled_from(watch.alarms), unique=True)
    return names.map(lambda found: tuple(map(OverlookedAlarm, found)))


fixes = st.none() | st.just(FixForward("v1.4 fails"))

moved_by_another = st.builds(AliasMoved, st.none() | alias_states)


def unseen(plan: Plan) -> st.SearchStrategy[Outcome]:
    """A new version that gets all the traffic at once, behind an alias that was not read."""
    if any(step.percent < 100 for step in plan.steps):
        return published(versions)
    return st.builds(Published, versions, alias_states, st.just("r1"), unseen=st.just(True))


def published(version: st.SearchStrategy[str]) -> st.SearchStrategy[Outcome]:
    return st.builds(Published, version, st.none() | alias_states, st.just("r1"), st.booleans())


def restorations(action: Restore) -> Sequence[st.SearchStrategy[Outcome]]:
    back = AliasOutcome.RESTORED if action.original else AliasOutcome.REMOVED
    done = st.just(Restored(back if action.was_moved else AliasOutcome.UNTOUCHED, action.original))
    left = st.builds(Restored, st.just(AliasOutcome.LEFT_TO_OTHER), st.none() | alias_states)
    found = [st.builds(AliasFound, st.sampled_from(action.applied), st.just("r3"))] if action.applied else []
    return [done, left, *found]


def successful_outcome(action: Action, deployment: Deployment) -> Outcome:
    """What an action results in if nothing goes wrong."""
    match action:
        case Abort():
            return Aborted()
        case AwaitHandover():
            return HandedOver()
        case AwaitApproval():
            return ApprovalRequested()
        case Lock():
            return Locked()
        case Publish():
            return Published("2", AliasState("1"), "r1")
        case ReuseVersion(version):
            return Published(version, AliasState("1"), "r1", reused=True)
        case Verify():
            return Verified()
        case Shift(desired=desired):
            return Shifted(desired, "r2")
        case Observe():
            return Observed(healthy(deployment.plan.watch))
        case Restore(original=original) if action.was_moved:
            return Restored(AliasOutcome.RESTORED if original else AliasOutcome.REMOVED, original)
        case Restore(original=original):
            return Restored(AliasOutcome.UNTOUCHED, original)
        case _:
            raise AssertionError(action)


def accepted(plan: Plan, **fields: object) -> Deployment:
    return replace(new_deployment(START, "a" * 64), plan=plan, **fields)  # type: ignore[arg-type]


def approved(deployment: Deployment, now: float) -> Deployment:
    by = Requester("https://gitlab.example.com", "4213", user_id="8", job_id="900")
    approval = Approval("approved", by, "approvers", timestamp(now))
    return deployment.changed(now, "approved", approval=approval)


ABORTED = Reason("aborted", "aborted by job 9")
REJECTED = Reason("rejected", "rejected by job 9")


def rejected(deployment: Deployment, now: float) -> Deployment:
    by = Requester("https://gitlab.example.com", "4213", user_id="8", job_id="901")
    decided = replace(deployment, approval=Approval("rejected", by, "approvers", timestamp(now)))
    return request_abort(decided, REJECTED, REJECTED.message, now)


@dataclass
class RolloutSimulation:
    """A rollout in pure values, with a clock that only waiting moves.

    `observations` counts the observations of each bake, and of each wait for an approval with traffic;
    `awaited` the seconds of all waits for approvals. `revisions` and `actions` are in order, `acted_on` are
    the records that asked for the actions.
    """

    deployment: Deployment
    now: float = START
    waits: int = 0
    observations: list[int] = field(default_factory=list)
    revisions: list[Deployment] = field(default_factory=list)
    actions: list[Action] = field(default_factory=list)
    acted_on: list[Deployment] = field(default_factory=list)
    awaited: float = 0.0

    def __post_init__(self) -> None:
        self.revisions.append(self.deployment)

    @property
    def next_action(self) -> Action:
        return next_action(self.deployment)

    def save(self, after: Deployment) -> None:
        """Replace the record, whatever made the new revision."""
        before = self.deployment
        if after is before:
            return
        assert after.revision == before.revision + 1
        observed = after.status is Status.BAKING or (after.in_steps and after.status is not Status.SHIFTING)
        if observed and before.status is not after.status:
            self.observations.append(0)
        self.deployment = after
        self.revisions.append(after)

    def apply(self, outcome: Outcome, *, duration: float = 0.0, woken: bool = False) -> None:
        """End the next action with this outcome, then wait as long as the rollout asks, or until woken."""
        self.actions.append(self.next_action)
        self.acted_on.append(self.deployment)
        if isinstance(self.next_action, Observe):
            self.observations[-1] += 1
        self.now += duration
        self.save(advance(self.deployment, outcome, self.now))
        if self.deployment.status.final:
            return
        seconds = next_delay(self.deployment, outcome, self.now)
        assert seconds >= 0
        ends_at = until(self.deployment)
        failed = isinstance(outcome, TransientFailure | Denied)
        if ends_at is not None and not failed and self.deployment.abort is None:
            # At most a whole second more: Step Functions waits for whole seconds.
            assert 1 <= seconds < max(ends_at - self.now, 0) + 1.001
        if seconds:
            self.waits += 1
            waited = 0.0 if woken else seconds
            self.now += waited
            if self.deployment.status is Status.AWAITING_APPROVAL:
                self.awaited += waited
