"""What a watch would see of a rollout: the deployer's own analysis, run on simulated traffic.

No number here comes from a formula: each is counted in simulated rollouts, whose seed is the question itself,
so that the same question has the same answer.
"""

from dataclasses import dataclass, replace
from statistics import median
from typing import Final

from sluicegate.deployment.observations import Interval
from sluicegate.deployment.plan import Metric, TrafficStep, Watch
from sluicegate.deployment.strategy import MAX_BAKE
from sluicegate_cli.planning.chance import seeded
from sluicegate_cli.planning.schedule import plan_of
from sluicegate_cli.planning.traffic import Traffic, TrafficKind
from sluicegate_cli.planning.trials import Trials

RATIOS: Final = (2, 3, 5)
"""How many times as often a version fails that ought to be caught."""

ENOUGH: Final = 0.8
"""The probability from which on a bake is called enough."""

EQUAL: Final = 3
"""How many times more rollouts of an equal version are simulated: it goes back so rarely."""

_FACTORS: Final = (1.5, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
"""How many times longer bakes are tried."""


@dataclass(frozen=True)
class Question:
    """A watch, a strategy, and the traffic: `requests` a minute, of which the fraction `errors` fail."""

    steps: tuple[TrafficStep, ...]
    watch: Watch
    requests: float
    errors: float
    kind: TrafficKind = TrafficKind.INDEPENDENT

    def traffic(self, ratio: float) -> Traffic:
        return Traffic(self.requests, self.errors, ratio, self.kind)

    def longer(self, factor: float) -> "Question | None":
        """Return the question with all bakes that much longer; None if one were too long for a plan."""
        steps = tuple(TrafficStep(step.percent, round(step.bake * factor)) for step in self.steps)
        return replace(self, steps=steps) if max(step.bake for step in steps) <= MAX_BAKE else None


@dataclass(frozen=True)
class Caught:
    """How often a version went back, with the 95 % interval, and after how many seconds: the median."""

    share: Interval
    after: float | None


@dataclass(frozen=True)
class StepTraffic:
    """A step of the strategy, and how many requests both versions get while it bakes."""

    percent: int
    bake: int
    new: int
    old: int


@dataclass(frozen=True)
class Forecast:
    """The answer, from `runs` rollouts of each worse version, and EQUAL times as many of an equal one.

    `enough` are, by ratio, the bakes with which a version is caught with ENOUGH; None if none is.
    """

    runs: int
    steps: tuple[StepTraffic, ...]
    equal: Caught
    caught: dict[int, Caught]
    enough: dict[int, tuple[TrafficStep, ...] | None]


def forecast(question: Question, runs: int, *, search: bool = True) -> Forecast:
    """Answer a question with so many simulated rollouts of each version that is worse.

    Without `search`, it does not look for longer bakes.
    """
    caught = {ratio: count(question, ratio, runs) for ratio in RATIOS}
    return Forecast(
        runs=runs,
        steps=tuple(expected(question)),
        equal=count(question, 1, EQUAL * runs),
        caught=caught,
        enough={
            ratio: question.steps if found.share.value >= ENOUGH else enough(question, ratio, runs // 4)
            for ratio, found in caught.items()
            if search or found.share.value >= ENOUGH
        },
    )


def expected(question: Question) -> list[StepTraffic]:
    """Return the steps with the requests that they get on average."""
    found = []
    for step in question.steps:
        requests = question.requests * step.bake / 60
        new = requests * step.percent / 100
        found.append(StepTraffic(step.percent, step.bake, round(new), round(requests - new)))
    return found


def count(question: Question, ratio: float, runs: int) -> Caught:
    """Simulate rollouts of a version that fails `ratio` times as often as the old one."""
    trials = Trials(plan_of(question.steps, question.watch))
    chance = seeded(f"{question} {ratio}")
    traffic = question.traffic(ratio)
    found = [trials.run(traffic, chance).look for _ in range(runs)]
    back = [trials.looks[look].at for look in found if look is not None]
    return Caught(interval(len(back), runs), median(back) if back else None)


def enough(question: Question, ratio: float, runs: int) -> tuple[TrafficStep, ...] | None:
    """Return the steps with the shortest bakes tried that catch a version with ENOUGH; None if none does.

    A version that breaks no limit is not caught for sure, however long it bakes.
    """
    limit = next(limit for limit in question.watch.limits if limit.metric is Metric.ERRORS)
    within_ratio = limit.max_ratio is None or ratio <= limit.max_ratio
    if within_ratio and (limit.most is None or 100 * question.errors * ratio <= limit.most):
        return None
    longer = [found for factor in _FACTORS if (found := question.longer(factor)) is not None]
    low, high = 0, len(longer)
    # More requests never see less, so the shortest that is enough is found by halving.
    while low < high:
        middle = (low + high) // 2
        if count(longer[middle], ratio, runs).share.value >= ENOUGH:
            high = middle
        else:
            low = middle + 1
    return longer[low].steps if low < len(longer) else None


def interval(hits: int, runs: int) -> Interval:
    """Return a share with its 95 % interval (E. B. Wilson, JASA 22 (1927), 209)."""
    z, share = 1.959964, hits / runs
    centre = (share + z * z / (2 * runs)) / (1 + z * z / runs)
    half = z * (share * (1 - share) / runs + z * z / (4 * runs * runs)) ** 0.5 / (1 + z * z / runs)
    return Interval(share, max(0.0, centre - half) if hits else 0.0, min(1.0, centre + half))
