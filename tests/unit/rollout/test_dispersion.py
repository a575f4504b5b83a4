"""How bursts of one version and outages of both are distinguished."""

from random import Random
from statistics import mean

import pytest

from sluicegate.rollout.dispersion import estimate
from sluicegate.rollout.readings import Minute, Series

MINUTES, BEFORE = 20, 180


def hits(chance: Random, requests: int, rate: float, burst: int) -> int:
    """Return hits that come in bursts of so many."""
    return burst * sum(chance.random() < rate / burst for _ in range(requests))


def series(seed: int, *, burst: int = 1, outage: range = range(0), share: float = 0.1) -> Series:
    """Return 1,000 requests a minute with 1 % of hits, and with 20 % during an outage of both versions."""
    chance = Random(seed)  # noqa: S311 (simulated)
    new, old = round(1_000 * share), round(1_000 * (1 - share))
    before = tuple(
        (1_000, hits(chance, 1_000, 0.2 if outage and i % 60 < 3 else 0.01, burst)) for i in range(BEFORE)
    )
    rates = [0.2 if i in outage else 0.01 for i in range(MINUTES)]
    minutes = (
        Minute(60 * i, new, hits(chance, new, rate, burst), old, hits(chance, old, rate, burst))
        for i, rate in enumerate(rates)
    )
    return Series(tuple(minutes), before)


def test_independent_hits_lose_nothing() -> None:
    found = [estimate(series(seed)) for seed in range(8)]
    assert mean(phi for phi, _ in found) < 1.1
    assert all(phi <= alone for phi, alone in found)


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_bursts_of_one_version_spread_the_split_as_much(share: float) -> None:
    found = [estimate(series(seed, burst=8, share=share)) for seed in range(8)]
    assert mean(phi for phi, _ in found) > 6
    assert 8 < mean(alone for _, alone in found) < 12


@pytest.mark.parametrize("outage", [range(8, 12), range(1)])
def test_outages_of_both_leave_the_split_alone(outage: range) -> None:
    found = [estimate(series(seed, outage=outage)) for seed in range(8)]
    assert mean(alone for _, alone in found) > 15
    assert mean(phi for phi, _ in found) < (2 if len(outage) > 1 else mean(alone for _, alone in found))


def test_hits_that_are_far_apart_are_no_burst() -> None:
    """However much the old version's hits varied before."""
    before = tuple((1_000, 60 if i % 30 == 0 else 0) for i in range(BEFORE))
    minutes = tuple(Minute(60 * i, 100, int(i % 4 == 0), 900, 0) for i in range(MINUTES))
    phi, alone = estimate(Series(minutes, before))
    assert phi == 1 < 20 < alone


def test_without_hits_or_minutes_there_is_none() -> None:
    assert estimate(Series()) == (1.0, 1.0)
    assert estimate(Series((Minute(0, 10, 0, 90, 0),), ((100, 0),) * 5)) == (1.0, 1.0)
