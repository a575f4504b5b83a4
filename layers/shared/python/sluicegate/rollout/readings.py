"""What the deployer has just read of AWS, at one look at a version that has traffic: plain values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from sluicegate.deployment.observations import AlarmReading, Observation, Verdict

MINUTE: Final = 60

LATE: Final = 180
"""Seconds within which metrics have arrived: CloudWatch's are one to two minutes late."""


@dataclass(frozen=True)
class Minute:
    """One minute, or a longer period in a long rollout, from `at` (epoch seconds) on.

    `n` trials and `x` hits of the new version, `m` and `y` of the old one.
    """

    at: int
    n: int
    x: int
    m: int
    y: int


@dataclass(frozen=True)
class Series:
    """The minutes since the new version's first traffic, the oldest first.

    `before` are the old version's (trials, hits) by minute, of up to three hours before, the oldest first.
    `shares` are the minutes from which on the new version had another share of the traffic, ascending.
    """

    minutes: tuple[Minute, ...] = ()
    before: tuple[tuple[int, int], ...] = ()
    shares: tuple[int, ...] = ()

    @property
    def hour(self) -> tuple[tuple[int, int], ...]:
        """The old version's requests and hits of the hour before the first traffic."""
        period = self.minutes[1].at - self.minutes[0].at if len(self.minutes) > 1 else 60
        return self.before[-max(1, 3_600 // period) :]


@dataclass(frozen=True)
class MetricValues:
    """Values by minute, as (epoch seconds, value): of the new version or the alias, and of the old version.

    `until` is when they were read (epoch seconds), None if nothing tells. `problem` says why there are none,
    in CloudWatch's words.
    """

    new: tuple[tuple[int, float], ...] = ()
    old: tuple[tuple[int, float], ...] = ()
    problem: str | None = None
    until: float | None = None


@dataclass(frozen=True)
class JudgeAnswer:
    """What the user's function answered: unclear too where it did not answer as it must."""

    verdict: Verdict
    reason: str


@dataclass(frozen=True)
class Readings:
    """Alarms, counts, values, the judge's answer. `step` is `series` since the current share began.

    Keys of `series`: errors; throttles (of which the trials include the throttled requests); duration_p95
    (hits: durations above `tau` ms); duration_p95/most (hits: above `max_ms`); and the name of a custom
    metric that is a share. `p95` are the new and the old version's, in milliseconds. `uncounted` says why
    CloudWatch did not count durations, or is None. `shown` is this look's observation as the judge
    was shown it, without its answer, so that a look is analysed once.
    """

    alarms: tuple[AlarmReading, ...] = ()
    series: Mapping[str, Series] = field(default_factory=dict)
    step: Mapping[str, Series] = field(default_factory=dict)
    values: Mapping[str, MetricValues] = field(default_factory=dict)
    p95: tuple[float | None, float | None] = (None, None)
    tau: float | None = None
    uncounted: str | None = None
    judge: JudgeAnswer | None = None
    shown: Observation | None = None
