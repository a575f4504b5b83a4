"""No strategy that a request may bring disarms the watch of its stage."""

from dataclasses import dataclass, field

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from sluicegate.deployment.durations import seconds
from sluicegate.deployment.model import AliasState, Status
from sluicegate.deployment.observations import AlarmState
from sluicegate.deployment.plan import Limit, Metric, Plan, TrafficStep, Unclear, Watch
from sluicegate.deployment.strategy import (
    MAX_BAKE,
    all_at_once,
    canary,
    checked,
    is_at_least_as_cautious,
    linear,
)
from sluicegate.rollout.actions import End, Observe
from sluicegate.rollout.outcomes import Observed, Outcome, Published
from sluicegate.rollout.readings import Readings
from support.plans import RolloutSimulation, accepted, successful_outcome
from support.readings import VersionMetrics, alarm_readings, readings
from support.simulation import OWN

Steps = tuple[TrafficStep, ...]

MINUTE = 60
CANARY = canary(10, 10 * MINUTE)


def steps_of(*shares: tuple[int, int]) -> Steps:
    return checked([TrafficStep(percent, minutes * MINUTE) for percent, minutes in shares])


@pytest.mark.parametrize(
    ("one", "other", "watched"),
    [
        (canary(1, 600), CANARY, False),  # a tenth of the requests
        (canary(5, 3_600), CANARY, False),  # as many, and never at a load of 10 percent
        (canary(10, 600), CANARY, True),
        (canary(10, 601), CANARY, True),
        (steps_of((1, 10), (10, 10), (100, 0)), CANARY, True),
        (steps_of((1, 60), (10, 9), (100, 0)), CANARY, False),
        (canary(1, 1_800), all_at_once(1_800), False),  # unwatched at 100 percent
        (canary(50, 86_400), all_at_once(1_800), False),
        (steps_of((1, 30), (100, 30)), all_at_once(1_800), True),
        (steps_of((1, 30), (99, 600), (100, 29)), all_at_once(1_800), False),
        (linear(5, 60), linear(10, 60), True),  # each of its steps, and one before each
        (linear(10, 600), linear(20, 600), True),
        (linear(10, 60), linear(20, 60), True),
        (linear(10, 60), linear(20, 120), False),
        (canary(10, 86_400), linear(10, 600), False),  # from 10 percent to all of it
        (steps_of((10, 10), (11, 600), (100, 0)), steps_of((10, 10), (50, 10), (100, 0)), False),
        (steps_of((5, 5), (10, 10), (100, 0)), CANARY, True),
        (CANARY, all_at_once(), True),
        (canary(1, 1), all_at_once(), True),  # there was nothing to watch
    ],
)
def test_a_watched_strategy_must_show_the_watch_as_much(one: Steps, other: Steps, watched: bool) -> None:
    assert is_at_least_as_cautious(one, other, watched=True) is watched


shares = st.integers(1, 99)
bakes = st.integers(1, 12)


@st.composite
def strategies(draw: st.DrawFn, most: int = 5) -> Steps:
    found = sorted(draw(st.sets(shares, max_size=most - 1)))
    return checked(
        [*(TrafficStep(share, draw(bakes)) for share in found), TrafficStep(100, draw(st.integers(0, 12)))]
    )


@st.composite
def variants(draw: st.DrawFn, stage: Steps) -> Steps:
    """Strategies near that of a stage: other bakes, other shares, steps that are added or left out."""
    steps = {step.percent: step.bake for step in stage if step.percent == 100 or draw(st.integers(0, 4))}
    for percent in list(steps):
        steps[percent] = max(percent != 100, steps[percent] + draw(st.integers(-1, 8)))
    for percent in draw(st.lists(shares, max_size=3)):
        steps.setdefault(percent, draw(bakes))
    return checked([TrafficStep(percent, steps[percent]) for percent in sorted(steps)])


@st.composite
def stages_and_overrides(draw: st.DrawFn) -> tuple[Steps, Steps]:
    stage = draw(strategies())
    return stage, draw(variants(stage) | strategies())


def looking_back(steps: Steps, most: int) -> list[int]:
    """Second by second, back from when the version gets more than `most` percent."""
    return [step.percent for step in reversed(steps) if step.percent <= most for _ in range(step.bake)]


@given(stages_and_overrides())
def test_it_agrees_with_looking_back_second_by_second(pair: tuple[Steps, Steps]) -> None:
    stage, override = pair

    def shown() -> bool:
        for step in stage:
            theirs, ours = looking_back(stage, step.percent), looking_back(override, step.percent)
            if len(ours) < len(theirs) or any(a < b for a, b in zip(ours, theirs, strict=False)):
                return False
        return True

    unwatched = is_at_least_as_cautious(override, stage, watched=False)
    assert is_at_least_as_cautious(override, stage, watched=True) is (unwatched and shown())


@given(stages_and_overrides(), st.integers(0, 15))
def test_what_is_accepted_shows_as_many_requests_before_every_move(
    pair: tuple[Steps, Steps], lag: int
) -> None:
    """Also if the metrics of the last seconds have not arrived yet."""
    stage, override = pair
    assume(is_at_least_as_cautious(override, stage, watched=True))
    for step in stage:
        assert sum(looking_back(override, step.percent)[lag:]) >= sum(looking_back(stage, step.percent)[lag:])


@dataclass
class Version:
    """A new version under traffic: so many requests a second, and so many of 100 fail.

    `lag` is how late its metrics are, in seconds. Its alarm rings once it had `breaks_at` percent of the
    traffic for `after` seconds.
    """

    rate: float
    errors: float
    lag: int = 0
    breaks_at: int = 101
    after: int = 0
    served: list[tuple[float, int]] = field(default_factory=list)

    def observation(self, now: float) -> Readings:
        ends = [start for start, _ in self.served[1:]]
        arrived = now - self.lag
        weighed = sum(
            max(0.0, min(end, arrived) - start) * share / 100
            for (start, share), end in zip(self.served, [*ends, now], strict=True)
        )
        invocations = int(self.rate * weighed + 0.05)
        bad = int(invocations * self.errors / 100)
        broken = [start for start, share in self.served if share >= self.breaks_at]
        rings = bool(broken) and now - broken[0] >= self.after - 1e-3
        alarms = alarm_readings(AlarmState.ALARM if rings else AlarmState.OK)
        slow = 900.0 if bad else 1.0
        return readings(alarms, VersionMetrics(invocations, bad, bad, slow, invocations), over=5)

    def outcome(self, simulation: RolloutSimulation) -> Outcome:
        action = simulation.next_action
        if isinstance(action, Observe):
            return Observed(self.observation(simulation.now))
        if simulation.deployment.status is Status.PUBLISHING:
            return Published("2", AliasState("1"), "r1")
        return successful_outcome(action, simulation.deployment)


def released(steps: Steps, watch: Watch, version: Version) -> Status:
    """Roll a version out, and return how it ends."""
    plan = Plan(OWN, "prod", steps, "0" * 64, watch=watch)
    simulation = RolloutSimulation(accepted(plan))
    while not isinstance(simulation.next_action, End):
        moves = simulation.deployment.status is Status.SHIFTING
        simulation.apply(version.outcome(simulation))
        if moves:
            moved = simulation.deployment
            version.served.append((seconds(moved.updated_at), moved.weight))
    return simulation.deployment.status


@given(
    stages_and_overrides(),
    st.integers(1, 400),
    st.integers(0, 8),
    st.sampled_from(Metric),
    st.sampled_from(Unclear),
)
@example((CANARY, canary(1, 600)), 100, 0, Metric.ERRORS, Unclear.PASS)
@example((all_at_once(1_800), canary(1, 1_800)), 100, 0, Metric.ERRORS, Unclear.PASS)
def test_a_bad_version_that_the_stage_would_catch_is_caught_with_every_accepted_strategy(
    pair: tuple[Steps, Steps], min_samples: int, lag: int, metric: Metric, unclear: Unclear
) -> None:
    """Six of ten fail: with exactly half of them, one request more or less decides what fails grossly."""
    stage, override = pair
    watch = Watch(limits=(Limit(metric, min_samples, most=5),), unclear=unclear)

    def ends(steps: Steps) -> Status:
        return released(steps, watch, Version(rate=10, errors=60, lag=lag))

    if is_at_least_as_cautious(override, stage, watched=True) and ends(stage) is not Status.SUCCEEDED:
        assert ends(override) is not Status.SUCCEEDED


@given(stages_and_overrides(), st.integers(1, 100), st.integers(0, 20))
def test_an_alarm_that_rings_under_load_is_heard_with_every_accepted_strategy(
    pair: tuple[Steps, Steps], breaks_at: int, after: int
) -> None:
    stage, override = pair
    watch = Watch(alarms=("a",))

    def ends(steps: Steps) -> Status:
        return released(steps, watch, Version(rate=10, errors=0, breaks_at=breaks_at, after=after))

    if is_at_least_as_cautious(override, stage, watched=True) and ends(stage) is not Status.SUCCEEDED:
        assert ends(override) is not Status.SUCCEEDED


@dataclass
class FailsUnderLoad(Version):
    """Of 100 requests, 20 fail while the version has at least `breaks_at` percent of the traffic."""

    def observation(self, now: float) -> Readings:
        whole = self._metrics(now, self.served[0][0])
        step = self._metrics(now, self.served[-1][0]) if len(self.served) > 1 else None
        return readings((), whole, None, step)

    def _metrics(self, now: float, since: float) -> VersionMetrics:
        ends = [start for start, _ in self.served[1:]]
        spans = [
            (share, (end - start) * share / 100 * self.rate)
            for (start, share), end in zip(self.served, [*ends, now], strict=True)
            if start >= since
        ]
        errors = sum(count / 5 for share, count in spans if share >= self.breaks_at)
        return VersionMetrics(int(sum(count for _, count in spans)), int(errors))


def test_a_long_quiet_step_does_not_hide_what_fails_under_load() -> None:
    """A strategy that anybody may bring to `all-at-once, bake: 30m`: seven days at 10 percent before it."""
    watch = Watch(limits=(Limit(Metric.ERRORS, 200, most=5),))
    stage = all_at_once(30 * MINUTE)
    quiet = checked((TrafficStep(10, MAX_BAKE), TrafficStep(100, 30 * MINUTE)))
    assert is_at_least_as_cautious(quiet, stage, watched=True)
    for steps in (stage, quiet):
        assert released(steps, watch, FailsUnderLoad(rate=1, errors=0, breaks_at=50)) is Status.ROLLED_BACK


def test_less_traffic_alone_would_disarm_the_watch() -> None:
    """Why such a strategy needs `override-strategy`: too few requests say nothing, and that passes."""
    watch = Watch(limits=(Limit(Metric.ERRORS, 200, most=5),))
    assert released(CANARY, watch, Version(rate=5, errors=15)) is Status.ROLLED_BACK
    assert released(canary(1, 600), watch, Version(rate=5, errors=15)) is Status.SUCCEEDED
