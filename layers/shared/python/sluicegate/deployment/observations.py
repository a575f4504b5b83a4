"""What the record keeps of each look at a version that has traffic: counts, estimates and verdicts.

Values only. `rollout.analysis` makes them, and the counts kept here are all that a verdict depends on.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple


class Verdict(StrEnum):
    """What the requests so far say of the new version."""

    GOOD = "good"
    BAD = "bad"
    UNCLEAR = "unclear"


class AlarmState(StrEnum):
    """CloudWatch's alarm states, and MISSING for an alarm that does not exist."""

    OK = "OK"
    ALARM = "ALARM"
    INSUFFICIENT_DATA = "INSUFFICIENT_DATA"
    MISSING = "MISSING"


@dataclass(frozen=True)
class AlarmReading:
    """The state of an alarm, since when (RFC 3339), CloudWatch's own reason, and a link to it."""

    name: str
    state: AlarmState
    since: str | None = None
    reason: str | None = None
    link: str | None = None


@dataclass(frozen=True)
class Interval:
    """An estimate and its 95 % confidence interval; `high` may be infinite."""

    value: float
    low: float
    high: float


class ShareHits(NamedTuple):
    """The hits of both versions at one share of the traffic; `expected` as in `Tally`."""

    x: int
    y: int
    expected: float


@dataclass(frozen=True)
class Tally:
    """Everything the comparison needs of one look, counted from the new version's first traffic.

    The new version had `n` requests and `x` hits (failed, throttled, or too slow), the old one `m` and `y` in
    the same minutes. `expected` are the hits that the new one would have of them if the versions were equal,
    and `information` is their variance. `phi` is the dispersion of that split, 1 for requests that fail
    independently, and `phi_alone` that of one version's hits, which outages of both increase as well. Of `x`,
    `x_alone` were in minutes without old requests, and of `n`, `n_alone`: they say nothing of the split.
    Where the share of the traffic has changed, `by_share` are the other hits, share by share.
    """

    n: int = 0
    x: int = 0
    m: int = 0
    y: int = 0
    expected: float = 0.0
    information: float = 0.0
    phi: float = 1.0
    x_alone: int = 0
    phi_alone: float = 1.0
    n_alone: int = 0
    by_share: tuple[ShareHits, ...] = ()

    @property
    def split(self) -> tuple[ShareHits, ...]:
        """How the hits of minutes with requests of both versions were split, share by share."""
        alone = self.x_alone
        return self.by_share or (ShareHits(self.x - alone, self.y, max(self.expected - alone, 0.0)),)


@dataclass(frozen=True)
class LimitFinding:
    """One limit at one look. `limit` is errors, throttles, duration_p95, a metric's name, or judge.

    `rule` is the limit's kind: max_ratio, max_percent, max_ms, max, min, gross or judge, with its `bound`.
    `new`, `old` and `ratio` are estimates, in percent, milliseconds or the metric's own unit. `p` is the
    probability of so many hits by chance, `room` what it must not exceed. `needed` is how many more requests
    of the new version would settle it. One that only observes never rolls back. `step`
    says that only what came since the current share began was counted. Where a share is better the higher it
    is, `misses` says that what is missing to all was counted and compared: `new` and `old` are shares still.
    """

    limit: str
    rule: str
    verdict: Verdict
    message: str
    bound: float | None = None
    observe: bool = False
    beyond_doubt: bool = False
    step: bool = False
    tally: Tally | None = None
    new: Interval | None = None
    old: Interval | None = None
    ratio: Interval | None = None
    p: float | None = None
    room: float | None = None
    needed: int | None = None
    misses: bool = False

    @property
    def unit(self) -> str | None:
        """The unit of the estimates: percent, milliseconds, or None for the metric's own."""
        if self.limit == "duration_p95":
            return "ms"
        return "%" if self.limit in ("errors", "throttles") else None


@dataclass(frozen=True)
class Observation:
    """One look (RFC 3339), at step `step` of the plan.

    `spend` (0 to 1) is the part of the rollout's false rollbacks that may be spent by then. `tau` is the old
    version's p95 in the hour before any traffic, in milliseconds: what durations are compared by.
    """

    at: str
    step: int
    spend: float
    verdict: Verdict
    findings: tuple[LimitFinding, ...] = ()
    alarms: tuple[AlarmReading, ...] = ()
    tau: float | None = None


@dataclass(frozen=True)
class WouldHave:
    """The first time that a limit, or an alarm, would have stopped a rollout if it did not only observe.

    `limit` is that of the finding, or `alarm NAME`. `step` is the plan's, None before any traffic, and `look`
    the number of the observation, from 1.
    """

    limit: str
    at: str
    message: str
    step: int | None = None
    look: int | None = None


MAX_KEPT: Final = 160
"""Observations that a record keeps: all of them compressed, so that an item stays below DynamoDB's 400 KB."""

MAX_FINDINGS: Final = 1_200
"""Findings in all observations of a record, for the same reason: each takes about 220 bytes of the item."""
