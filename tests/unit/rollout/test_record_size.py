"""A record holds the looks of any rollout: DynamoDB takes items of 400 KB."""

import random
from dataclasses import replace
from typing import Any

import pytest

from sluicegate.deployment.model import Deployment
from sluicegate.deployment.observations import (
    MAX_FINDINGS,
    AlarmReading,
    AlarmState,
    Interval,
    LimitFinding,
    Observation,
    ShareHits,
    Tally,
    Verdict,
)
from sluicegate.deployment.plan import (
    Better,
    CustomMetric,
    Judge,
    Limit,
    Metric,
    MetricSource,
    Plan,
    TrafficStep,
    Watch,
)
from sluicegate.rollout import budget
from sluicegate.rollout.looks import _with_observation
from sluicegate.store.codec import deployment_of, marshal, record
from support.simulation import OWN, new_deployment

SOURCE = MetricSource("m", "Shop", "Refused", "Sum", ())
METRICS = tuple(
    CustomMetric(
        f"metric-{number}", (SOURCE,), None, Better.LOWER, most=1, max_ratio=2, missing=Verdict.UNCLEAR
    )
    for number in range(20)
)
LARGEST = Watch(
    limits=tuple(Limit(metric, 100, most=5, max_ratio=2) for metric in Metric),
    metrics=METRICS,
    judge=Judge("orders-judge", 10),
)
SMALL = Watch(limits=(Limit(Metric.ERRORS, 100, most=5, max_ratio=2),))
CHANCE = random.Random(7)  # noqa: S311 (numbers that do not compress)


def plan(bakes: int, watch: Watch | None) -> Plan:
    steps = (*(TrafficStep(number + 1, 600) for number in range(bakes - 1)), TrafficStep(100, 600))
    return Plan(OWN, "prod", steps, "0" * 64, watch=watch)


def look(findings: int, at: int = 0, shares: int = 0) -> Observation:
    alarms = tuple(
        AlarmReading(f"{number}-{'n' * 200}", AlarmState.INSUFFICIENT_DATA, _moment(), "r" * 500, "l" * 300)
        for number in range(60)
    )
    return Observation(
        f"2026-11-26T14:{at:02}:00.000Z",
        0,
        0.5,
        Verdict.UNCLEAR,
        tuple(_finding(shares) for _ in range(findings)),
        alarms,
    )


def _moment() -> str:
    return f"2026-11-26T{CHANCE.randrange(24):02}:{CHANCE.randrange(60):02}:{CHANCE.randrange(60):02}.000Z"


def _finding(shares: int) -> LimitFinding:
    def interval() -> Interval:
        return Interval(CHANCE.random(), CHANCE.random(), CHANCE.random())

    n, x, m, y = (CHANCE.randrange(1_000_000) for _ in range(4))
    by_share = tuple(ShareHits(x // (k + 1), y // (k + 1), CHANCE.random()) for k in range(shares))
    tally = Tally(n, x, m, y, CHANCE.random(), CHANCE.random(), CHANCE.random(), by_share=by_share)
    message = f"errors: {CHANCE.random()} % of {n}, old {CHANCE.random()} %: unclear" * 2
    return LimitFinding(
        "errors", "max_ratio", Verdict.UNCLEAR, message, bound=2, tally=tally, new=interval(), old=interval(),
        ratio=interval(), p=CHANCE.random(), room=CHANCE.random(), needed=n,
    )  # fmt: skip


def kept(looks: int, findings: int, shares: int = 0) -> Deployment:
    deployment = new_deployment(0.0, "ab" * 32, "orders", "prod")
    for at in range(looks):
        deployment = _with_observation(deployment, look(findings, at % 60, shares))
    return deployment


@pytest.mark.parametrize(
    ("looks", "findings", "shares"),
    [(170, 1, 0), (170, 2, 10), (170, 6, 0), (170, 47, 0), (1, 47, 20), (160, 6, 10), (20, 47, 10)],
)
def test_what_a_record_keeps_fits_and_is_read_again(looks: int, findings: int, shares: int) -> None:
    """With hits by share, whose number is half of the steps on average, and as many in each finding."""
    deployment = kept(looks, findings, shares)
    item: dict[str, Any] = marshal(record(deployment))

    assert len(str(item)) < 390_000
    assert deployment_of(record(deployment)) == deployment
    assert sum(len(one.findings) for one in deployment.observations) <= MAX_FINDINGS
    assert deployment.observations[-1].alarms[0].reason


@pytest.mark.parametrize("bakes", [1, 2, 8, 20])
@pytest.mark.parametrize(
    "watch", [None, Watch(("5xx",)), SMALL, LARGEST], ids=["none", "alarms", "small", "largest"]
)
def test_the_looks_of_a_whole_rollout_are_planned_to_fit(bakes: int, watch: Watch | None) -> None:
    looks, findings = budget.looks(plan(bakes, watch)), budget._findings(watch)

    assert 1 <= looks <= budget.MAX_LOOKS
    assert looks * bakes * findings <= budget.PLANNED_FINDINGS


def test_an_alarm_keeps_its_reason_where_it_changed_and_in_the_newest_look() -> None:
    ringing = AlarmReading("5xx", AlarmState.ALARM, "14:00", "Threshold Crossed", "https://console.example/")
    quiet = replace(ringing, state=AlarmState.OK, since="14:05")
    deployment = new_deployment(0.0, "ab" * 32, "orders", "prod")
    for alarm in (ringing, ringing, ringing, quiet, quiet):
        deployment = _with_observation(deployment, replace(look(1), alarms=(alarm,)))

    assert [one.alarms[0].reason is not None for one in deployment.observations] == [
        False,
        False,
        True,
        False,
        True,
    ]
