"""Traffic of two versions behind an alias, simulated minute by minute as CloudWatch would count it.

A long rollout is simulated by longer periods, as the deployer reads it.

The versions' requests are drawn by lot, as Lambda draws them for an alias with weights. Everything follows
from a seed. Times are in seconds since the new version's first traffic.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from random import Random
from typing import Final

from sluicegate.deployment.plan import TrafficStep
from sluicegate.rollout.readings import Minute, Series
from sluicegate_cli.planning.chance import geometric, poisson

BEFORE: Final = 180
"""Minutes of the old version alone that a series begins with."""

_FEW: Final = 120
"""Periods of a rollout that are simulated at most, about: longer rollouts have longer periods."""

BURST: Final = 5.0
"""Hits of a burst, on average."""

_BURST_MINUTES: Final = 3
"""Minutes over which a burst of `TrafficKind.LONG_BURSTS` is spread."""

OUTAGE_MINUTES: Final = 3
"""How long an outage lasts, on average."""

OUTAGES: Final = 0.05
"""The fraction of the time in which the dependency is down, and half of all hits fall."""

_DAY: Final = 1_440


class TrafficKind(StrEnum):
    """How hits come about. In all kinds, the old version's rate is the same on average over a long time."""

    INDEPENDENT = "independent"
    """Each request fails by itself."""
    OUTAGES = "outages"
    """A dependency of both versions is down for minutes, and both fail more often."""
    BURSTS = "bursts"
    """Hits come in bursts: several of one version at a moment, geometric in number."""
    LONG_BURSTS = "long bursts"
    """The same, spread over three minutes."""
    DRIFT = "drift"
    """Requests and rate rise and fall over the day."""


@dataclass(frozen=True)
class Traffic:
    """What comes in: `requests` a minute for both versions together, of which the old one fails `errors`.

    `errors` is a fraction. The new version fails `ratio` times as often, and never more than all.
    """

    requests: float
    errors: float
    ratio: float = 1.0
    kind: TrafficKind = TrafficKind.INDEPENDENT


@dataclass(frozen=True)
class _Cell:
    """A part of a minute, between two moments at which a minute, a step or what was read so far ends."""

    period: int
    seconds: int
    percent: int
    look: int | None
    """The look at its end, if there is one."""


@dataclass(frozen=True)
class Road:
    """The looks of a rollout, and the parts of minutes between them: made once for many simulated runs."""

    cells: tuple[_Cell, ...]
    minutes: int
    """The length of a period of the series."""
    offset: int
    """Seconds of the first period before the traffic moved."""
    grown: Mapping[int, float]
    """The periods in which the share grew later, and to which part of the requests."""


def road(steps: Sequence[TrafficStep], looks: Sequence[int], *, offset: int = 0) -> Road:
    """Return the road of a rollout with looks at these times, ascending.

    `offset` are the seconds of the first minute before the traffic moved: deployments begin at any second and
    CloudWatch's minutes are the clock's. In that time the old version has all of the traffic.
    """
    ends, end = [(0, 0)], 0
    for step in steps:
        end += step.bake
        ends.append((end, step.percent))
    last = looks[-1]
    minutes = -(-last // (60 * _FEW))
    moments = {-offset, 0, last, *looks, *(each for each, _ in ends if each < last)}
    moments |= set(range(60 * minutes - offset, last, 60 * minutes))
    at_look = {moment: number for number, moment in enumerate(looks)}
    cells = []
    for start, stop in pairwise(sorted(moments)):
        percent = next(share for limit, share in ends if start < limit)
        period = (start + offset) // (60 * minutes)
        cells.append(_Cell(period, stop - start, percent, at_look.get(stop)))
    grown = {
        (end + offset) // (60 * minutes): later.percent / 100
        for (end, _), later in zip(ends[1:], steps[1:], strict=False)
        if end < last
    }
    return Road(tuple(cells), minutes, offset, grown)


def simulate(traffic: Traffic, road: Road, chance: Random) -> Iterator[Series]:
    """Yield the series of each look, as the deployer would read them: the newest period is not over yet."""
    weather = _Weather(traffic, road, chance)
    length = 60 * road.minutes
    before = tuple(weather.draw_alone(period) for period in range(-weather.before, 0))
    done: list[Minute] = []
    period, n, x, m, y = 0, 0, 0, 0, 0

    def read(until: int) -> Minute:
        return Minute(length * period, n, x, max(y, _competing(road, period, n, m, until)), y)

    now = 0
    for cell in road.cells:
        if cell.period != period:
            done.append(read(now))
            period, n, x, m, y = cell.period, 0, 0, 0, 0
        (new, new_hits), (old, old_hits) = weather.draw(cell)
        n, x, m, y, now = n + new, x + new_hits, m + old, y + old_hits, now + cell.seconds
        if cell.look is not None:
            shares = tuple(length * each for each in road.grown if 0 < each <= period)
            yield Series((*done, read(now)), before, shares)


def _competing(road: Road, period: int, n: int, m: int, until: int) -> int:
    """Return the old version's requests of a period that compete with the new one's for its hits.

    As the deployer counts them (`aws.version_metrics.matched`). `until` are the seconds so far.
    """
    if not period and until:
        m = round(m * (until - road.offset) / until)
    share = road.grown.get(period)
    return m if share is None else min(m, round(n * (1 - share) / share))


class _Weather:
    """One run's chance: what holds for both versions, period by period, and the draws."""

    def __init__(self, traffic: Traffic, road: Road, chance: Random) -> None:
        self.before = -(-BEFORE // road.minutes)
        self._traffic, self._chance, self._minutes = traffic, chance, road.minutes
        span = self.before + road.cells[-1].period + 1
        self._volume = self._rate = [1.0] * span
        self._spill = ([0] * (span + _BURST_MINUTES), [0] * (span + _BURST_MINUTES))
        """Hits of long bursts that are still to come, for the new and the old version by the period."""
        if traffic.kind is TrafficKind.OUTAGES:
            self._rate = _averages(list(_outages(chance, span * road.minutes)), road.minutes)
        elif traffic.kind is TrafficKind.DRIFT:
            self._volume, self._rate = _day(chance, range(0, span * road.minutes, road.minutes))

    def draw_alone(self, period: int) -> tuple[int, int]:
        """Return requests and hits of the old version in a period in which it has all traffic."""
        return self._draw(period, self._traffic.requests * self._minutes, 1.0, 1)

    def draw(self, cell: _Cell) -> tuple[tuple[int, int], tuple[int, int]]:
        """Return requests and hits of the new version, and of the old one, in a part of a period."""
        requests = self._traffic.requests * cell.seconds / 60
        share = cell.percent / 100
        return (
            self._draw(cell.period, requests * share, self._traffic.ratio, 0),
            self._draw(cell.period, requests * (1 - share), 1.0, 1),
        )

    def _draw(self, period: int, requests: float, ratio: float, version: int) -> tuple[int, int]:
        # Hits and other requests are drawn apart: a Poisson number of requests that fail by lot is just that.
        chance, at = self._chance, period + self.before
        requests *= self._volume[at]
        rate = min(1.0, self._traffic.errors * ratio * self._rate[at])
        kind = self._traffic.kind
        if kind is TrafficKind.BURSTS:
            bursts = poisson(chance, requests * rate / BURST)
            hits = sum(geometric(chance, BURST) for _ in range(bursts))
        elif kind is TrafficKind.LONG_BURSTS:
            spill = self._spill[version]
            for _ in range(poisson(chance, requests * rate / BURST)):
                for _ in range(geometric(chance, BURST)):
                    minute = chance.randrange(self._minutes) + chance.randrange(_BURST_MINUTES)
                    spill[at + minute // self._minutes] += 1
            hits, spill[at] = spill[at], 0
        else:
            hits = poisson(chance, requests * rate)
        return hits + poisson(chance, requests * (1 - rate)), hits


def _outages(chance: Random, span: int) -> Iterator[float]:
    """Yield the factor of each minute's rate. Outages begin at random; in them fall half of all hits."""
    begins = OUTAGES / (1 - OUTAGES) / OUTAGE_MINUTES
    down = chance.random() < OUTAGES
    for _ in range(span):
        yield 0.5 / OUTAGES if down else 0.5 / (1 - OUTAGES)
        down = chance.random() >= 1 / OUTAGE_MINUTES if down else chance.random() < begins


def _averages(factors: list[float], size: int) -> list[float]:
    return [sum(factors[i : i + size]) / size for i in range(0, len(factors), size)]


def _day(chance: Random, minutes: range) -> tuple[list[float], list[float]]:
    """Return the factors of volume and rate at each of these minutes, from any time of the day on.

    In steps of a twentieth, so that the means recur.
    """
    phase, lag = chance.random(), chance.random()

    def wave(minute: int, phase: float) -> float:
        return round(20 + 12 * math.sin(2 * math.pi * (minute / _DAY + phase))) / 20

    return [wave(each, phase) for each in minutes], [wave(each, phase + lag) for each in minutes]
