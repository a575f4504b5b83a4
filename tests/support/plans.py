"""Arbitrary plans, looks and outcomes, for properties that hold whatever comes."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from hypothesis import strategies as st

from sluicegate.deployment import strategy
from sluicegate.deployment.durations import timestamp
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
from sluicegate.deployment.plan import Limit, Metric, NoData, Plan, Smoke, TrafficStep, Watch
from sluicegate.gate.rollout_settings import APPROVAL
from sluicegate.rollout import machine
from sluicegate.rollout.analysis import AlarmState, Measured, Observation
from sluicegate.rollout.machine import Outcome, advance, next_step, pause
from support.world import OWN, START, new_deployment

ALARMS = ("orders-5xx", "orders-latency")

versions = st.sampled_from(["1", "2", "3"])
alias_states = st.builds(
    AliasState, versions, st.just({}) | st.dictionaries(versions, st.floats(0.01, 0.99), max_size=1)
)


@st.composite
def steps(
    draw: st.DrawFn, most: int = strategy.MAX_STEPS, bake: int = strategy.MAX_BAKE
) -> tuple[TrafficStep, ...]:
    shares = sorted(draw(st.sets(st.integers(1, 99), max_size=most - 1)))
    bakes = [draw(st.integers(1, bake)) for _ in shares]
    last = TrafficStep(100, draw(st.just(0) | st.integers(0, bake)))
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
    Watch, st.lists(st.sampled_from(ALARMS), unique=True).map(tuple), limits(), st.sampled_from(NoData)
)
smokes = st.builds(Smoke, st.integers(1, 60), st.just('{"ping":true}')) | st.builds(
    Smoke, st.just(10), hook=st.just("hook")
)


def plans(most: int = strategy.MAX_STEPS, bake: int = strategy.MAX_BAKE) -> st.SearchStrategy[Plan]:
    return st.builds(
        Plan,
        st.just(OWN),
        st.just("prod"),
        steps(most, bake),
        st.just("0" * 64),
        st.none() | smokes,
        st.none() | watches,
        st.none() | st.integers(*APPROVAL),
    )


@st.composite
def measured(draw: st.DrawFn) -> Measured:
    invocations = draw(st.integers(0, 1_000))
    return Measured(
        invocations,
        draw(st.integers(0, invocations)),
        draw(st.integers(0, 100)),
        draw(st.floats(0, 900_000)) if invocations else None,
    )


def looks(watch: Watch | None) -> st.SearchStrategy[Observation]:
    """What there can be to see for a watch."""
    names = watch.alarms if watch else ()
    states = st.tuples(*(st.tuples(st.just(name), st.sampled_from(AlarmState)) for name in names))
    if not watch or not watch.limits:
        return st.builds(Observation, states)
    return st.builds(Observation, states, measured(), st.none() | measured())


def quiet(watch: Watch | None) -> Observation:
    """Nothing that any watch could mind."""
    names = watch.alarms if watch else ()
    return Observation(
        tuple((name, AlarmState.OK) for name in names),
        Measured(1_000_000, 0, 0, 0.0),
        Measured(1_000_000, 0, 0, 0.0),
    )


troubles = st.builds(machine.TransientFailure, st.just("ServiceException"), st.just("it failed"))
refusals = st.builds(machine.PermanentFailure, st.just("lambda_refused"), st.just("no"))


def outcomes(step: machine.Action, deployment: Deployment) -> st.SearchStrategy[Outcome]:
    """Everything that can come out of a step."""
    match step:
        case machine.Abort():
            return st.just(machine.Aborted())
        case machine.AwaitHandover(of):
            return st.just(machine.HandedOver()) | st.just(machine.Blocked(of))
        case machine.AwaitApproval():
            return st.just(machine.ApprovalRequested())
        case machine.Lock():
            return st.just(machine.Locked()) | st.just(machine.Blocked("other"))
        case machine.Publish():
            return st.one_of(
                published(versions),
                st.just(machine.LockLost()),
                st.just(machine.Pending("it")),
                troubles,
                refusals,
            )
        case machine.ReuseVersion(version):
            return published(st.just(version)) | troubles | refusals
        case machine.Verify():
            return st.just(machine.Verified()) | st.just(machine.Pending("it")) | troubles | refusals
        case machine.Shift(desired=wanted):
            return st.just(machine.Shifted(wanted, "r2")) | moved_by_another | troubles | refusals
        case machine.Observe():
            seen = st.builds(machine.Observed, looks(deployment.plan.watch))
            return seen | moved_by_another | troubles | refusals
        case machine.Restore():
            return st.one_of(*restorations(step), troubles, refusals)
        case _:
            raise AssertionError(step)


moved_by_another = st.builds(machine.AliasMoved, st.none() | alias_states)


def published(version: st.SearchStrategy[str]) -> st.SearchStrategy[Outcome]:
    return st.builds(machine.Published, version, st.none() | alias_states, st.just("r1"), st.booleans())


def restorations(step: machine.Restore) -> Sequence[st.SearchStrategy[Outcome]]:
    back = AliasOutcome.RESTORED if step.original else AliasOutcome.REMOVED
    found = st.just(machine.Restored(back if step.moved else AliasOutcome.UNTOUCHED, step.original))
    left = st.builds(machine.Restored, st.just(AliasOutcome.LEFT_TO_OTHER), st.none() | alias_states)
    seen = [st.builds(machine.FoundMoved, st.sampled_from(step.ours))] if step.ours else []
    return [found, left, *seen]


def going_well(step: machine.Action, deployment: Deployment) -> Outcome:
    """What comes out of a step where nothing is wrong."""
    match step:
        case machine.Abort():
            return machine.Aborted()
        case machine.AwaitHandover():
            return machine.HandedOver()
        case machine.AwaitApproval():
            return machine.ApprovalRequested()
        case machine.Lock():
            return machine.Locked()
        case machine.Publish():
            return machine.Published("2", AliasState("1"), "r1")
        case machine.ReuseVersion(version):
            return machine.Published(version, AliasState("1"), "r1", reused=True)
        case machine.Verify():
            return machine.Verified()
        case machine.Shift(desired=wanted):
            return machine.Shifted(wanted, "r2")
        case machine.Observe():
            return machine.Observed(quiet(deployment.plan.watch))
        case machine.Restore(original=found) if step.moved:
            return machine.Restored(AliasOutcome.RESTORED if found else AliasOutcome.REMOVED, found)
        case machine.Restore(original=found):
            return machine.Restored(AliasOutcome.UNTOUCHED, found)
        case _:
            raise AssertionError(step)


def accepted(plan: Plan, **fields: object) -> Deployment:
    return replace(new_deployment(START, "a" * 64), plan=plan, **fields)  # type: ignore[arg-type]


def approved(deployment: Deployment, now: float) -> Deployment:
    by = Requester("https://gitlab.example.com", "4213", user_id="8", job_id="900")
    approval = Approval("approved", by, "approvers", timestamp(now))
    return deployment.changed(now, "approved", approval=approval)


ABORTED = Reason("aborted", "aborted by job 9")


@dataclass
class Walk:
    """A rollout in pure values: a clock that only waiting moves, and what has been seen of it."""

    deployment: Deployment
    now: float = START
    waits: int = 0
    looks: list[int] = field(default_factory=list)
    seen: list[Deployment] = field(default_factory=list)
    done: list[machine.Action] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.seen.append(self.deployment)

    @property
    def step(self) -> machine.Action:
        return next_step(self.deployment)

    def change(self, after: Deployment) -> None:
        """A new revision, whoever made it."""
        before = self.deployment
        if after is before:
            return
        assert after.revision == before.revision + 1
        if after.status is Status.BAKING and before.status is not Status.BAKING:
            self.looks.append(0)
        self.deployment = after
        self.seen.append(after)

    def come_out(self, outcome: Outcome, *, takes: float = 0.0, wait: bool = True) -> None:
        """The present step comes out so, and the rollout waits as it wants to, or is woken at once."""
        self.done.append(self.step)
        if isinstance(self.step, machine.Observe):
            self.looks[-1] += 1
        self.now += takes
        self.change(advance(self.deployment, outcome, self.now))
        if self.deployment.status.final:
            return
        seconds = pause(self.deployment, outcome, self.now)
        assert seconds >= 0
        ends = until(self.deployment)
        if (
            ends is not None
            and not isinstance(outcome, machine.TransientFailure)
            and self.deployment.abort is None
        ):
            # A whole second at most beyond: Step Functions waits for whole seconds.
            assert 1 <= seconds < max(ends - self.now, 0) + 1.001
        if seconds:
            self.waits += 1
            self.now += seconds if wait else 0.0
