"""How many calls a target's control plane may get, and which deployment is next to make some.

Lambda allows 15 calls a second in an account and region of all calls that have no quota of their own, which
are GetFunction (100), GetPolicy (15) and invocations. None can be raised (Lambda developer guide, "Lambda
quotas", read on 2026-11-27). All deployments there share them, and so do tools that we do not see.

The budget is a token bucket, kept as a single time (the generic cell rate algorithm, ITU-T I.371): the calls
that were granted take until then, at the rate. Times are epoch milliseconds.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import IntEnum
from math import ceil
from typing import Final

START_RATE: Final = 14.0
"""Calls a second, before any has been throttled: others call too."""

MIN_RATE: Final = 2.0
MAX_RATE: Final = 15.0

SHRINK: Final = 0.8
"""By how much a throttled call makes the rate smaller."""

GROWTH: Final = 0.25
"""By how much it grows in each second without one, in calls a second."""

SHRINK_EVERY: Final = 1_000
"""Between two times that the rate shrinks: calls that were throttled together say it once."""

BURST: Final = 1_000
"""What the bucket holds at most: the calls of one second."""

OVERDRAFT: Final = 1_000
"""By how much calls that never wait may overdraw it. The calls of others wait for that long."""

AHEAD: Final = 60_000
"""How far ahead a time that somebody wrote can be. One that is further is of a clock that is wrong."""

AGEING: Final = 60_000
"""After each such time in line a deployment is a class better, so that none waits for ever."""

STALLED: Final = 30_000
"""When the line does not move for a deployment, whose place has not got better for so long."""

SELDOM: Final = 120_000
"""Between two looks of one for which the line does not move, at most. They become fewer, up to then.

So the histories of five executions hold the looks of a week, and the janitor does not give the deployment up:
each has 25,000 events (Step Functions developer guide, "Service quotas", read on 2026-11-27).
"""

UNDIVIDED_WAIT: Final = 20_000
"""The longest wait that is not divided: a longer one is looked at again after its half."""

LATE: Final = 5_000
"""When a deployment is so late that its execution may have died. It blocks nobody, and keeps its place."""


class CallClass(IntEnum):
    """The smaller number goes first."""

    UNDER_WAY = 0
    """Rollbacks, ways back, and what has begun: it never waits."""

    PROMOTION = 1
    DEPLOY = 2


@dataclass(frozen=True)
class CallBucket:
    """The budget of an account and region.

    `rate`, in calls a second, is as it was at `throttled_at`, 0 if no call was. Nobody passes the deployments
    in line until `queued_until`.
    """

    spent_until: int = 0
    rate: float = START_RATE
    throttled_at: int = 0
    queued_until: int = 0

    def rate_at(self, now: int) -> float:
        """Return the rate by now, in calls a second."""
        if not self.throttled_at:
            return self.rate
        quiet = self._since_throttled(now) / 1_000
        return min(MAX_RATE, self.rate + GROWTH * quiet)

    def busy_until(self, now: int) -> int:
        """Return until when the calls that were granted take, now if the bucket is full."""
        return self.spent_until if now < self.spent_until <= now + AHEAD else now

    def duration(self, calls: int, now: int) -> int:
        """Return how long so many calls take."""
        return ceil(calls * 1_000 / self.rate_at(now))

    def latest(self, calls: int, behind: int, now: int) -> int:
        """Return the latest `spent_until` with which so many calls are granted now, after `behind` others.

        A full bucket grants what is more than it can hold.
        """
        return now + max(0, BURST - self.duration(calls, now)) - self.duration(behind, now)

    def grants(self, calls: int, behind: int, now: int) -> bool:
        """Return whether so many calls may be made now."""
        return self.busy_until(now) <= self.latest(calls, behind, now)

    def wait(self, calls: int, behind: int, now: int) -> int:
        """Return how long it takes until they may, if nobody else takes any."""
        return max(0, self.busy_until(now) - self.latest(calls, behind, now))

    def throttled_now(self, now: int) -> "CallBucket":
        """Return the bucket after a throttled call: at a smaller rate, at most once in SHRINK_EVERY."""
        if self._since_throttled(now) < SHRINK_EVERY:
            return self
        return replace(self, rate=max(MIN_RATE, self.rate_at(now) * SHRINK), throttled_at=now)

    def _since_throttled(self, now: int) -> int:
        """Return how long ago a call was throttled; what lies far ahead was long ago."""
        quiet = now - self.throttled_at
        return max(0, quiet) if quiet >= -AHEAD else AHEAD


@dataclass(frozen=True)
class CallWaiter:
    """A deployment in line for so many `calls`.

    `since` is when it joined the line, `next_look` when it looks again, `place` what it found at its last
    look, and `moved` when that got better. `turn` orders those of one class: an owner's second one comes
    after everybody's first.
    """

    id: str
    level: CallClass
    owner: str
    turn: int
    since: int
    next_look: int
    calls: int
    place: int = 0
    moved: int = 0

    def found(self, place: int, now: int) -> "CallWaiter":
        """Return it after a look that found it at this place."""
        moved = now if not self.place or place < self.place else self.moved
        return replace(self, place=place, moved=moved)

    def look_in(self, wait: int, now: int) -> int:
        """Return how long after a look it looks again, whose turn comes after `wait`, as far as is known."""
        look_in = wait if wait <= UNDIVIDED_WAIT else max(UNDIVIDED_WAIT, wait // 2)
        stalled = now - self.moved
        return max(look_in, min(stalled // 10, SELDOM)) if stalled > STALLED else look_in

    def sort_key(self, now: int) -> tuple[int, int, int, str]:
        """Return what the line is sorted by."""
        return self.level - max(0, now - self.since) // AGEING, self.turn, self.since, self.id


@dataclass(frozen=True)
class InLine:
    """The deployment waits for its turn to call the target's control plane.

    `place` counts from 1. Its turn comes in `seconds`, as far as that is known, and it looks in `look_in`.
    `joins` is its place where it has none yet: it joins the line with the change of its record.
    """

    place: int
    seconds: float
    look_in: float
    joins: CallWaiter | None = None


def ahead_of(waiter: CallWaiter, line: Iterable[CallWaiter], now: int) -> list[CallWaiter]:
    """Return those that come before this one, without those that are late, or have joined in the future."""
    mine = waiter.sort_key(now)
    return [
        one
        for one in line
        if one.id != waiter.id
        and one.next_look + LATE >= now >= one.since - AHEAD
        and one.sort_key(now) < mine
    ]


def next_turn(owner: str, line: Iterable[CallWaiter]) -> int:
    """Return the turn of an owner's next deployment: after its others, and not before the turn served now.

    This is start-time fair queueing (Goyal, Vin and Cheng, 1996) with deployments of one length.
    """
    line = list(line)
    served = min((one.turn for one in line), default=1)
    return max(served, max((one.turn + 1 for one in line if one.owner == owner), default=1))
