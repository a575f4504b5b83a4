"""Simulated rollouts end as `judge` would end them, look by look."""

from dataclasses import replace

import pytest

from sluicegate.deployment.observations import Verdict
from sluicegate.deployment.plan import Limit, Metric, Plan, TrafficStep, Watch
from sluicegate.rollout.analysis import judge
from sluicegate.rollout.readings import Readings, Series
from sluicegate_cli.planning.chance import seeded
from sluicegate_cli.planning.schedule import at_step, looks, plan_of
from sluicegate_cli.planning.traffic import Road, Traffic, TrafficKind, road, simulate
from sluicegate_cli.planning.trials import OFFSETS, Trials

CANARY = (TrafficStep(10, 600), TrafficStep(100, 0))
STEPS = (TrafficStep(10, 300), TrafficStep(50, 300), TrafficStep(100, 120))
RATIO = Limit(Metric.ERRORS, 50, max_ratio=2)
BOTH = Limit(Metric.ERRORS, 50, most=4, max_ratio=2)
CONSTANT = Limit(Metric.ERRORS, 50, most=4)
SLOWER = Limit(Metric.DURATION_P95, 100, max_ratio=1.5)


@pytest.mark.parametrize(
    ("steps", "watch"),
    [
        (CANARY, Watch(limits=(RATIO,))),
        (CANARY, Watch(limits=(RATIO, SLOWER), false_rollbacks=5)),
        (STEPS, Watch(limits=(BOTH,))),
        (STEPS, Watch(limits=(CONSTANT,))),
    ],
)
@pytest.mark.parametrize("kind", [TrafficKind.INDEPENDENT, TrafficKind.BURSTS])
def test_a_simulated_rollout_ends_as_the_deployer_ends_it(
    steps: tuple[TrafficStep, ...], watch: Watch, kind: TrafficKind
) -> None:
    plan = plan_of(steps, watch)
    trials = Trials(plan, most=6)
    for ratio in (1, 3, 30):
        for run in range(3):
            traffic = Traffic(600, 0.02, ratio, kind)
            found = trials.run(traffic, seeded(f"{ratio} {run}"))
            assert found.look == judged(plan, traffic, f"{ratio} {run}")


def judged(plan: Plan, traffic: Traffic, seed: str) -> int | None:
    """Return the look that `judge` finds bad, in the same rollout."""
    chance, watch = seeded(seed), plan.watch
    assert watch is not None
    times = looks(plan, 6)
    ways = [road(plan.steps, [look.at for look in times], offset=offset) for offset in OFFSETS]
    way = chance.choice(ways)
    deployment = at_step(plan, 0)
    for number, (look, series) in enumerate(zip(times, simulate(traffic, way, chance), strict=True)):
        deployment = replace(at_step(plan, look.step), observations=deployment.observations)
        step = {"errors": since(series, way, look.at - look.elapsed)} if look.step else {}
        readings = Readings(series={"errors": series}, step=step)
        observation = judge(deployment, watch, readings, look.elapsed)
        assert observation.spend == look.spend
        if any(each.verdict is Verdict.BAD and each.limit == "errors" for each in observation.findings):
            return number
        deployment = replace(deployment, observations=(*deployment.observations, observation))
    return None


def since(series: Series, way: Road, began: int) -> Series:
    start = (began + way.offset) // 60 * 60
    return Series(tuple(minute for minute in series.minutes if minute.at >= start))


def test_an_equal_version_stays_and_one_that_fails_always_goes_back_at_the_first_look_with_data() -> None:
    trials = Trials(plan_of(CANARY, Watch(limits=(RATIO,))))
    assert trials.run(Traffic(600, 0.01), seeded("equal")).look is None
    failing = trials.run(Traffic(600, 0.01, 100), seeded("failing"))
    assert (failing.look, failing.gross) == (0, True)


def test_a_whole_rollout_is_simulated_to_its_end_though_it_went_back() -> None:
    trials = Trials(plan_of(CANARY, Watch(limits=(RATIO,))))
    short, whole = (
        trials.run(Traffic(600, 0.01, 100), seeded("failing"), whole=each) for each in (False, True)
    )
    assert short.look == whole.look == 0
    assert short.counts.n < 60 < 400 < whole.counts.n
