from itertools import pairwise
from statistics import fmean, pvariance

import pytest

from sluicegate.deployment.plan import Limit, Metric, TrafficStep, Watch
from sluicegate.rollout.readings import Series
from sluicegate_cli.planning.chance import geometric, poisson, seeded
from sluicegate_cli.planning.schedule import looks, plan_of
from sluicegate_cli.planning.traffic import BEFORE, Traffic, TrafficKind, road, simulate

STEPS = (TrafficStep(10, 600), TrafficStep(50, 600), TrafficStep(100, 0))
WATCH = Watch(limits=(Limit(Metric.ERRORS, 50, max_ratio=2),))
TIMES = [look.at for look in looks(plan_of(STEPS, WATCH))]


@pytest.mark.parametrize("mean", [0.02, 0.7, 4.0, 90.0, 5_000.0, 4e6])
def test_poisson_counts_have_the_mean_and_the_variance_of_their_kind(mean: float) -> None:
    chance = seeded("1")
    drawn = [poisson(chance, mean) for _ in range(20_000)]
    assert fmean(drawn) == pytest.approx(mean, rel=4 / (mean * 20_000) ** 0.5)
    assert pvariance(drawn) == pytest.approx(mean, rel=0.15)


def test_no_requests_give_no_count() -> None:
    assert poisson(seeded("1"), 0) == 0


def test_a_burst_has_at_least_one_hit() -> None:
    chance = seeded("1")
    drawn = [geometric(chance, 5) for _ in range(20_000)]
    assert min(drawn) == 1
    assert fmean(drawn) == pytest.approx(5, rel=0.03)


def test_looks_are_twenty_for_each_bake_and_the_last_one_ends_it() -> None:
    found = looks(plan_of(STEPS, WATCH))
    assert [look.at for look in found] == [*range(30, 601, 30), *range(630, 1201, 30)]
    assert [look.at for look in found if look.last] == [600, 1200]
    assert [look.elapsed for look in found if look.step == 1][:2] == [30, 60]
    assert [look.spend for look in found if look.last] == [0.25, 1]


def test_a_short_bake_is_looked_at_every_few_seconds() -> None:
    assert [look.at for look in looks(plan_of([TrafficStep(10, 12)], WATCH))] == [5, 10, 12]


@pytest.mark.parametrize("kind", TrafficKind)
def test_each_kind_of_traffic_has_the_rates_asked_for(kind: TrafficKind) -> None:
    """Of the old version over a long time, and the new one's against it."""
    chance, traffic = seeded("2"), Traffic(600, 0.01, 3, kind)
    way = road(STEPS, TIMES)
    ends = [list(simulate(traffic, way, chance))[-1] for _ in range(150)]
    minutes = [minute for end in ends for minute in end.minutes]
    before = [minute for end in ends for minute in end.before]
    n, x, m, y = (sum(getattr(minute, name) for minute in minutes) for name in "nxmy")
    assert (sum(x for _, x in before) / sum(n for n, _ in before)) == pytest.approx(0.01, rel=0.08)
    # Bursts that spread over three minutes have only begun when the first minutes are over.
    assert x / n / (y / m) == pytest.approx(3, rel=0.2)
    assert n / (n + m) == pytest.approx(0.3, rel=0.02)


def test_the_newest_minute_grows_until_it_is_over_and_then_stays() -> None:
    series = list(simulate(Traffic(600, 0.05), road(STEPS, TIMES, offset=15), seeded("3")))
    assert len(series) == len(TIMES)
    for earlier, later in pairwise(series):
        shared = len(earlier.minutes) - 1
        assert later.minutes[:shared] == earlier.minutes[:shared]
        assert later.minutes[shared].n >= earlier.minutes[shared].n
        assert later.before == earlier.before
    assert [minute.at for minute in series[-1].minutes] == [60 * i for i in range(21)]
    assert len(series[-1].before) == BEFORE


def test_a_long_rollout_has_longer_periods() -> None:
    way = road((TrafficStep(10, 3 * 86_400),), [3 * 86_400])
    [end] = simulate(Traffic(60, 0.01, kind=TrafficKind.OUTAGES), way, seeded("long"))
    assert way.minutes == 36
    assert (len(end.minutes), len(end.before)) == (120, 5)
    assert sum(minute.n for minute in end.minutes) == pytest.approx(6 * 3 * 1440, rel=0.05)


def test_the_first_minute_has_what_came_before_the_shift() -> None:
    way = road((TrafficStep(50, 300),), [300], offset=45)
    ends = [list(simulate(Traffic(600, 0.01), way, seeded(str(i))))[-1] for i in range(50)]
    first = [end.minutes[0] for end in ends]
    assert sum(one.n for one in first) / 50 == pytest.approx(75, rel=0.1)
    # Of 450 + 75 old requests, a quarter counts; of their hits all.
    assert sum(one.m for one in first) / 50 == pytest.approx(525 / 4, rel=0.1)
    assert sum(one.y for one in first) / 50 == pytest.approx(5.25, rel=0.4)


def test_the_minute_in_which_the_share_grows_counts_by_its_last_share() -> None:
    steps = (TrafficStep(10, 90), TrafficStep(50, 90))
    [end] = simulate(Traffic(6_000, 0.01), road(steps, [180]), seeded("grows"))
    before, grows, after = end.minutes[:3]
    assert before.m > 8 * before.n
    assert grows.m == pytest.approx(grows.n, abs=1)
    assert after.m == pytest.approx(after.n, rel=0.1)


def test_a_step_with_all_traffic_leaves_the_old_version_none() -> None:
    steps = (TrafficStep(50, 60), TrafficStep(100, 120))
    [end] = simulate(Traffic(600, 0.05), road(steps, [180]), seeded("4"))
    assert [bool(minute.m) for minute in end.minutes] == [True, False, False]


def test_bursts_gather_the_hits_of_a_minute() -> None:
    def spread(kind: TrafficKind) -> float:
        chance, way = seeded("5"), road(STEPS, TIMES[-1:])
        hits = [
            x
            for _ in range(50)
            for s in simulate(Traffic(600, 0.01, kind=kind), way, chance)
            for _, x in s.before
        ]
        return pvariance(hits) / fmean(hits)

    assert spread(TrafficKind.INDEPENDENT) == pytest.approx(1, rel=0.1)
    assert spread(TrafficKind.BURSTS) == pytest.approx(9, rel=0.15)  # 2 * 5 - 1, of geometric bursts of five


def test_outages_hit_both_versions_in_the_same_minutes() -> None:
    chance, way = seeded("6"), road((TrafficStep(50, 3_600),), [3_600])
    together = apart = 0
    for _ in range(30):
        [series] = simulate(Traffic(2_000, 0.01, kind=TrafficKind.OUTAGES), way, chance)
        for minute in series.minutes[:-1]:
            down = (minute.x > 4 * 0.01 * minute.n, minute.y > 4 * 0.01 * minute.m)
            together += all(down)
            apart += any(down) and not all(down)
    assert together > 20
    assert apart < together / 10


def test_a_seed_gives_the_same_traffic_each_time() -> None:
    def run() -> list[Series]:
        return list(
            simulate(
                Traffic(100, 0.02, kind=TrafficKind.DRIFT), road(STEPS, TIMES), seeded("orders-api prod")
            )
        )

    assert run() == run()
