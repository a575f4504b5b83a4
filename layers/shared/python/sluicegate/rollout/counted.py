"""Counts of one limit, and what a finding says of them: pure values."""

from dataclasses import dataclass, replace
from functools import cached_property

from sluicegate.deployment.observations import Interval, LimitFinding, Tally
from sluicegate.rollout import comparison
from sluicegate.rollout.finding_messages import described
from sluicegate.rollout.readings import LATE, MINUTE, Series


@dataclass(frozen=True)
class Counted:
    """Counts of one limit; `step` are those since the current share began. Rates are shown times `scale`.

    `misses` says that what is missing to all is counted, of a share that is better the higher it is.
    """

    name: str
    series: Series
    step: Series | None
    min_samples: int
    observe: bool
    scale: int
    misses: bool = False

    @cached_property
    def tally(self) -> Tally:
        """The counts since the first traffic."""
        return comparison.tally(self.series)


@dataclass(frozen=True)
class Constant:
    """A constant limit: the gate file's word and number for it, and the rate (0 to 1) that it is."""

    rule: str
    bound: float
    rate: float

    @classmethod
    def of(cls, rule: str, bound: float | None, rate: float | None) -> "Constant | None":
        return None if bound is None or rate is None else cls(rule, float(bound), rate)


def settled(series: Series, now: float) -> Series:
    """Return the series without the newest minutes in which the old version has no requests yet."""
    return replace(
        series, minutes=tuple(one for one in series.minutes if one.m or one.at + MINUTE + LATE <= now)
    )


def complement(series: Series) -> Series:
    """Return the series with hits for misses."""
    return Series(
        tuple(replace(one, x=one.n - one.x, y=one.m - one.y) for one in series.minutes),
        tuple((trials, trials - hits) for trials, hits in series.before),
        series.shares,
    )


def finding_of(
    counted: Counted, rule: str, bound: float | None, result: comparison.Result, tally: Tally
) -> LimitFinding:
    """Return a result as the record keeps it: rates times `scale`.

    Where misses were counted, the estimates are of the share, and their ratio is of the misses.
    """
    new, old = _scaled(result.new, counted.scale), _scaled(result.old, counted.scale)
    if counted.misses:
        new, old = new and _missing_to_all(new), old and _missing_to_all(old)
    return described(
        LimitFinding(
            counted.name,
            rule,
            result.verdict,
            "",
            bound=bound,
            observe=counted.observe,
            beyond_doubt=result.beyond_doubt,
            tally=tally,
            new=new,
            old=old,
            ratio=result.ratio,
            p=result.p,
            room=result.room,
            needed=result.needed,
            misses=counted.misses,
        )
    )


def exactly(value: float | None) -> Interval | None:
    return None if value is None else Interval(value, value, value)


def _scaled(interval: Interval | None, scale: int) -> Interval | None:
    return interval and Interval(interval.value * scale, interval.low * scale, interval.high * scale)


def _missing_to_all(share: Interval) -> Interval:
    return Interval(1 - share.value, 1 - share.high, 1 - share.low)
