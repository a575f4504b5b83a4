"""What simulations ask of the comparison, many times: the decision alone, and sums that are kept."""

import math
from itertools import pairwise

import pytest

from sluicegate.deployment.observations import Tally, Verdict
from sluicegate.deployment.plan import Limit, Metric, TrafficStep, Watch
from sluicegate.rollout import dispersion
from sluicegate.rollout.comparison import (
    against_constant,
    compare,
    count,
    find_gross,
    is_above,
    is_worse,
    may_be_bad,
    tally,
)
from sluicegate.rollout.readings import Series
from sluicegate_cli.planning.chance import seeded
from sluicegate_cli.planning.schedule import looks, plan_of
from sluicegate_cli.planning.traffic import Traffic, TrafficKind, road, simulate

STEPS = (TrafficStep(20, 600),)
WATCH = Watch(limits=(Limit(Metric.ERRORS, 100, max_ratio=2),))
LOOKS = looks(plan_of(STEPS, WATCH))
SPEND = [look.spend for look in LOOKS]
CASES = [Traffic(300, 0.02, ratio, kind) for kind in TrafficKind for ratio in (1, 2, 6)]


@pytest.mark.parametrize("traffic", CASES)
def test_the_decision_alone_is_that_of_the_whole_comparison(traffic: Traffic) -> None:
    chance, way = seeded("decisions"), road(STEPS, [look.at for look in LOOKS])
    for _ in range(2):
        path: list[Tally] = []
        for series in simulate(traffic, way, chance):
            path.append(tally(series))
            spend = SPEND[: len(path)]
            for alpha in (0.01, 0.5):
                worse = compare(path, spend, alpha=alpha, max_ratio=2, min_samples=100)
                above = against_constant(path, spend, alpha=alpha, rate=0.03, min_samples=100)
                assert is_worse(path, spend, alpha=alpha, max_ratio=2, min_samples=100) == (
                    worse.verdict is Verdict.BAD
                )
                assert is_above(path, spend, alpha=alpha, rate=0.03, min_samples=100) == (
                    above.verdict is Verdict.BAD
                )
                gross = find_gross(path[-1], (1_000, 20), alpha=alpha)
                found = {each.verdict for each in (worse, above, gross) if each is not None}
                possible = may_be_bad(count(series), max_ratio=2, rate=0.03, room=alpha * spend[-1])
                assert possible or Verdict.BAD not in found


@pytest.mark.parametrize("kind", TrafficKind)
@pytest.mark.parametrize("minutes_before", [0, 3, 180])
def test_the_dispersion_is_that_of_the_blocks_written_out(kind: TrafficKind, minutes_before: int) -> None:
    for read in simulate(
        Traffic(300, 0.05, 3, kind), road(STEPS, [each.at for each in LOOKS]), seeded("sums")
    ):
        series = Series(read.minutes, read.before[:minutes_before])
        for size in (1, 5):
            assert dispersion.variation(series, size)[0] == pytest.approx(variation(series, size), rel=1e-9)


def variation(series: Series, size: int) -> float:
    found = independent = 0.0
    old = [*series.before, *((one.m, one.y) for one in series.minutes)]
    for counts in ([(one.n, one.x) for one in series.minutes], old):
        edges = range(len(counts) % size, len(counts) + 1, size)
        blocks = [[sum(column) for column in zip(*counts[a:b], strict=True)] for a, b in pairwise(edges)]
        requests, hits = (sum(block[i] for block in blocks) for i in (0, 1))
        if len(blocks) > 1 and requests:
            rate = hits / requests
            found += math.fsum((x - rate * n) ** 2 for n, x in blocks)
            independent += hits * (1 - rate) * (1 - 1 / len(blocks))
    return found / independent if independent else 1.0
