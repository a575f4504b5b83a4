"""Traffic that is only its metrics: thousands of requests a second that nobody sends.

`traffic` really invokes functions, fifty times a second at most. A verdict on 2,000 requests with an error
rate of 0.5 %, or during an outage, needs more, and exactly that rate. So this reads the alias, deals requests
out by its weights, and writes what Lambda would have written of them, as they are described here.
"""

import math
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Any, Final, Self

from botocore.exceptions import BotoCoreError, ClientError

from stand.api import Stand, alias_state
from stand.background import Background
from stand.traffic import Tally, metric_data, shares

TICK: Final = 0.5
"""Seconds between two writes by default."""

PARTS: Final = 40
"""Different durations of one version, each of which the same part of its requests takes."""

BATCH: Final = 20
"""Minutes of the past in one PutMetricData, which takes 1,000 metrics (API reference, November 2026)."""


@dataclass(frozen=True)
class Fault:
    """More requests fail from `start`, for `length` seconds, and again every `every` seconds.

    `start` is in seconds since the traffic began, and negative in the past.
    """

    start: float
    length: float
    errors: float
    every: float | None = None

    def holds(self, at: float) -> bool:
        since = at - self.start
        if self.every is not None:
            since %= self.every
        return 0 <= since < self.length


@dataclass(frozen=True)
class Behaviour:
    """How requests to one version go. `errors` and `throttles` are parts of the requests, 0 to 1.

    Durations are spread about their `median`, in milliseconds: the logarithm is normal, with the deviation
    `spread`. `bursts` are faults of this version alone. `cluster` is how many errors come at a moment: 1, or
    drawn by lot (geometric) with this mean, where `errors` remains the part of all requests in the long run.
    """

    errors: float = 0.0
    throttles: float = 0.0
    median: float = 20.0
    spread: float = 0.5
    cluster: float = 1.0
    bursts: tuple[Fault, ...] = ()

    @property
    def durations(self) -> list[float]:
        """`PARTS` durations, each as likely as the others."""
        normal = NormalDist(math.log(self.median), self.spread) if self.spread else None
        if normal is None:
            return [self.median]
        return [round(math.exp(normal.inv_cdf((part + 0.5) / PARTS)), 3) for part in range(PARTS)]

    def failing(self, at: float, outages: Sequence[Fault]) -> float:
        """The part of the requests that fail at that time."""
        return max([self.errors, *(fault.errors for fault in (*self.bursts, *outages) if fault.holds(at))])


@dataclass
class Lots:
    """Draws how many of some requests it is: by chance, or `exact`, so that no total is ever one off."""

    seed: int
    exact: bool = False
    _owed: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)  # noqa: S311 - a simulation, which can be repeated

    def of(self, what: str, count: int, part: float) -> int:
        """Return of how many of `count` requests it is true. `what` names it, `part` is how often it is."""
        if self.exact:
            owed = self._owed.get(what, 0.0) + count * part
            drawn = min(count, int(owed + 1e-9))
            self._owed[what] = owed - drawn
            return drawn
        if part <= 0 or part >= 1:
            return count if part >= 1 else 0
        return sum(self._random.random() < part for _ in range(count))

    def clusters(self, count: int, part: float, size: float) -> int:
        """Return of how many of `count` requests it is true, where it is of `size` at once on average.

        By chance in any case: clusters of an exact number would not be clusters.
        """
        begun = sum(self._random.random() * size < part for _ in range(count))
        stays = math.log(1 - 1 / size)  # a cluster goes on with probability 1 - 1 / size
        drawn = sum(1 + int(math.log(1 - self._random.random()) / stays) for _ in range(begun))
        return min(count, drawn)

    def split(self, what: str, count: int, parts: Mapping[str, float]) -> dict[str, int]:
        """Return how many of `count` fall to each name, by its part. The parts add up to 1."""
        drawn, left, rest = {}, count, 1.0
        for name, part in parts.items():
            drawn[name] = self.of(f"{what}/{name}", left, min(1.0, part / rest)) if rest > 1e-9 else 0
            left, rest = left - drawn[name], rest - part
        if drawn and left:
            drawn[next(reversed(drawn))] += left
        return drawn


def tally(lots: Lots, version: str, behaviour: Behaviour, count: int, failing: float) -> Tally:
    """Return what comes of so many requests to one version."""
    throttles = lots.of(f"{version}/throttles", count, behaviour.throttles)
    invocations = count - throttles
    if behaviour.cluster > 1:
        errors = lots.clusters(invocations, failing, behaviour.cluster)
    else:
        errors = lots.of(f"{version}/errors", invocations, failing)
    durations = behaviour.durations
    parts = {str(index): 1 / len(durations) for index in range(len(durations))}
    taken: Counter[float] = Counter()
    for index, how_many in lots.split(f"{version}/duration", invocations, parts).items():
        taken[durations[int(index)]] += how_many
    return Tally(invocations, errors, throttles, list(taken.elements()))


class MetricTraffic(Background):
    """Metrics of requests to a function under an alias, in the background, until the block ends.

    `rate` is in requests a second. `behaviours` are those of versions by number, `otherwise` that of others.
    `outages` hit every version. `exact` takes chance out of shares and errors: of a thousand requests with an
    error rate of 0.5 %, five fail. The same seed draws the same lots for the same ticks.
    """

    def __init__(
        self,
        stand: Stand,
        function: str,
        alias: str,
        *,
        rate: float,
        otherwise: Behaviour = Behaviour(),
        behaviours: Mapping[str, Behaviour] | None = None,
        outages: Sequence[Fault] = (),
        exact: bool = False,
        seed: int = 0,
        tick: float = TICK,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(f"metrics of {function}:{alias}")
        self._function, self._alias, self._rate, self._tick_every = function, alias, rate, tick
        self._otherwise, self._behaviours, self._outages = otherwise, dict(behaviours or {}), tuple(outages)
        self._lots = Lots(seed, exact)
        self._clock = clock
        self._began = clock()
        self._lambda, self._cloudwatch = stand.client("lambda"), stand.client("cloudwatch")
        self._lock = threading.Lock()
        self._total: dict[str, Tally] = {}
        self._owed = 0.0

    def __enter__(self) -> Self:
        self._began = self._clock()
        return super().__enter__()

    @property
    def served(self) -> dict[str, int]:
        """Invocations by version."""
        with self._lock:
            return {version: one.invocations for version, one in self._total.items()}

    @property
    def errors(self) -> dict[str, int]:
        """Those of them that failed, by version."""
        with self._lock:
            return {version: one.errors for version, one in self._total.items() if one.errors}

    def behave(self, version: str, behaviour: Behaviour) -> None:
        """Let a version behave otherwise from now on."""
        with self._lock:
            self._behaviours[version] = behaviour

    def flow(self, rate: float) -> None:
        """Let so many requests a second come from now on."""
        with self._lock:
            self._rate = rate

    def remember(self, minutes: int, version: str | None = None) -> None:
        """Write the metrics of so many minutes before now, all of one version, or of what serves."""
        if version is None:
            state = alias_state(self._lambda, self._function, self._alias)
            if state is None:
                raise ValueError(f"{self._function} has no alias {self._alias}")
            version = state["version"]
        data: list[dict[str, Any]] = []
        for number, (at, tallies) in enumerate(self._past(minutes, version), 1):
            data += metric_data(self._function, self._alias, tallies, at)
            if number % BATCH == 0 or number == minutes:
                self._cloudwatch.put_metric_data(Namespace="AWS/Lambda", MetricData=data)
                data = []

    def _past(self, minutes: int, version: str) -> Iterator[tuple[float, dict[str, Tally]]]:
        """Yield the requests of each minute before now. Faults are looked at second by second."""
        now = self._clock() // 60 * 60
        behaviour = self._behaviours.get(version, self._otherwise)
        for minute in range(minutes, 0, -1):
            at = now - 60 * minute
            failing = [behaviour.failing(at + second - self._began, self._outages) for second in range(60)]
            count = self._due(60)
            yield at, {version: tally(self._lots, version, behaviour, count, sum(failing) / 60)}

    def _due(self, seconds: float) -> int:
        self._owed += self._rate * seconds
        count = int(self._owed + 1e-9)
        self._owed -= count
        return count

    def _run(self) -> None:
        then = self._clock()
        while not self._end.wait(self._tick_every):
            now = self._clock()
            with suppress(BotoCoreError, ClientError):
                self._tick(now, now - then)
            then = now

    def _tick(self, now: float, seconds: float) -> None:
        state = alias_state(self._lambda, self._function, self._alias)
        if state is None:
            return
        tallies = {}
        with self._lock:
            counts = self._lots.split("share", self._due(seconds), shares(state))
            for version, count in counts.items():
                behaviour = self._behaviours.get(version, self._otherwise)
                failing = behaviour.failing(now - self._began, self._outages)
                tallies[version] = tally(self._lots, version, behaviour, count, failing)
                self._total.setdefault(version, Tally()).add(tallies[version])
        if data := metric_data(self._function, self._alias, tallies):
            self._cloudwatch.put_metric_data(Namespace="AWS/Lambda", MetricData=data)
