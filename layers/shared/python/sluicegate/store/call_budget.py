"""The budget of calls to each target's control plane, and the deployments in line for it.

One partition for each account and region has the bucket and an item for each deployment in line. Taking
calls changes the bucket alone, in one conditional write: the item is hot, and a transaction with it would
conflict. While nobody is in line, that write is all. `deployment.call_budget` has the rules.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Final

from sluicegate.deployment.call_budget import (
    AHEAD,
    BURST,
    LATE,
    OVERDRAFT,
    CallBucket,
    CallClass,
    CallWaiter,
    InLine,
    ahead_of,
    next_turn,
)
from sluicegate.deployment.plan import Target
from sluicegate.store import keys
from sluicegate.store.codec import Item, read
from sluicegate.store.table import PRESENT, Condition, Table, Transaction

WAITER_KEPT: Final = 2 * 86_400
"""Seconds that a deployment in line is kept after its last look, if nothing else removes it."""

_ATTEMPTS: Final = 8
"""Writes that fail because somebody else has just changed the bucket, at most."""


@dataclass(frozen=True)
class CallClaim:
    """So many calls that a deployment of `owner` asks for."""

    deployment: str
    owner: str
    level: CallClass
    calls: int


class CallBudget:
    """What was taken, and the line. `clock` gives epoch seconds."""

    def __init__(self, table: Table, clock: Callable[[], float]) -> None:
        self._table = table
        self._clock = clock
        # As this process saw it last. A write on the condition that it is still so answers what it is now.
        self._seen: dict[Target, CallBucket] = {}

    def take(self, target: Target, claim: CallClaim, *, in_line: bool) -> InLine | None:
        """Take the calls and return None, or return the place in line. `in_line`: its record says so already.

        What is under way takes them in any case.
        """
        if claim.level is CallClass.UNDER_WAY:
            self.charge(target, claim.calls)
            return None
        if not in_line and self.take_if_free(target, claim.calls):
            return None
        return self._take_in_turn(target, claim)

    def take_if_free(self, target: Target, calls: int) -> bool:
        """Take the calls, if there are so many and nobody is in line."""
        return self._take(target, calls, behind=0, passes_nobody=True)

    def charge(self, target: Target, calls: int) -> None:
        """Take the calls in any case. What exceeds the overdraft is forgotten."""
        for _ in range(_ATTEMPTS):
            bucket, now = self._bucket(target), self._now()
            latest = now + BURST + OVERDRAFT
            if bucket.busy_until(now) > latest or self._spend(target, bucket, calls, now, latest, []):
                return

    def give_back(self, target: Target, calls: int) -> None:
        """Return calls that were taken and will not be made."""
        duration = self._bucket(target).duration(calls, self._now())
        condition = Condition("attribute_exists(spent_until)", {":duration": duration})
        self._change(target, "SET spent_until = spent_until - :duration", condition)

    def throttled(self, target: Target) -> None:
        """Make the rate smaller, as a call was throttled; at most once a second for all."""
        bucket = _bucket_of(self._table.get(keys.call_bucket(target)) or {})
        after = bucket.throttled_now(self._now())
        if after is not bucket:
            changes = {":rate": after.rate, ":at": after.throttled_at}
            unchanged = Condition(_SAME_RATE, {":throttled_at": bucket.throttled_at} | changes)
            self._change(target, "SET rate = :rate, throttled_at = :at", unchanged)

    def join(self, tx: Transaction, target: Target, waiter: CallWaiter) -> None:
        """Stand in line, in the transaction by which the record says so."""
        tx.put(self._item(target, waiter))

    def leave(self, tx: Transaction, target: Target, deployment_id: str) -> None:
        """Leave the line, in the transaction that changes the record."""
        tx.delete(keys.call_waiter(target, deployment_id))

    def next_look(self, target: Target, deployment_id: str) -> int:
        """Return when a deployment in line looks again (epoch milliseconds); 0 if it has no place there."""
        item = self._table.get(keys.call_waiter(target, deployment_id))
        return read(item, CallWaiter).next_look if item else 0

    def line(self, target: Target) -> list[CallWaiter]:
        """Return the deployments in line, in any order (a consistent read)."""
        condition = Condition("pk = :pk", {":pk": keys.call_budget(target)})
        items = list(self._table.query(condition, consistent=True, page=None))
        self._seen[target] = _bucket_of(next((item for item in items if item["sk"] == "bucket"), {}))
        return [read(item, CallWaiter) for item in items if item["sk"] != "bucket"]

    def _take_in_turn(self, target: Target, claim: CallClaim) -> InLine | None:
        """Take the calls, if they are there when all that come before have theirs; else wait in line."""
        line, now = self.line(target), self._now()
        known = next((one for one in line if one.id == claim.deployment), None)
        if known is None:
            turn = next_turn(claim.owner, line)
            mine = CallWaiter(claim.deployment, claim.level, claim.owner, turn, now, now, claim.calls)
        else:
            mine = replace(known, level=claim.level, since=min(known.since, now), calls=claim.calls)
        before = ahead_of(mine, line, now)
        behind = sum(one.calls for one in before)
        others = max((one.next_look + LATE for one in line if one.id != mine.id), default=0)
        if self._take(target, mine.calls, behind=behind, queued_until=others):
            return None
        bucket = self._bucket(target)
        wait = bucket.wait(mine.calls, behind, now)
        if before and bucket.busy_until(now) == now:  # it is full, and those ahead have not come for theirs
            wait = max(wait, BURST)
        mine = mine.found(len(before) + 1, now)
        look_in = mine.look_in(wait, now)
        mine = replace(mine, next_look=now + look_in)
        if known is None or abs(mine.next_look - known.next_look) > BURST:
            if known is not None:  # unless it has left since
                changes = {key: getattr(mine, key) for key in ("next_look", "since", "place", "moved")}
                self._table.update(keys.call_waiter(target, mine.id), {**changes, **self._expiry()}, PRESENT)
            self._let_nobody_pass(target, mine)
        return InLine(mine.place, wait / 1_000, look_in / 1_000, None if known else mine)

    def _item(self, target: Target, waiter: CallWaiter) -> Item:
        return {**keys.call_waiter(target, waiter.id), **asdict(waiter), **self._expiry()}

    def _expiry(self) -> dict[str, int]:
        return {"expires_at": int(self._clock()) + WAITER_KEPT}

    def _let_nobody_pass(self, target: Target, waiter: CallWaiter) -> None:
        """Let nobody who comes later take calls at once."""
        until = waiter.next_look + LATE
        later = Condition("attribute_not_exists(queued_until) OR queued_until < :until", {":until": until})
        self._change(target, "SET queued_until = :until", later)

    def _take(
        self,
        target: Target,
        calls: int,
        *,
        behind: int,
        passes_nobody: bool = False,
        queued_until: int | None = None,
    ) -> bool:
        """Take the calls, if so many are there with `behind` others before them; return whether they were."""
        for attempt in range(_ATTEMPTS):
            bucket, now = self._bucket(target), self._now()
            latest = bucket.latest(calls, behind, now)
            waits = passes_nobody and bucket.queued_until >= now
            if latest < now or (attempt and (waits or not bucket.grants(calls, behind, now))):
                return False
            only_if = ["(attribute_not_exists(queued_until) OR queued_until < :now)"] if passes_nobody else []
            if self._spend(target, bucket, calls, now, latest, only_if, queued_until):
                return True
        return False

    def _spend(
        self,
        target: Target,
        bucket: CallBucket,
        calls: int,
        now: int,
        latest: int,
        only_if: list[str],
        queued_until: int | None = None,
    ) -> bool:
        """Add the calls to what was spent, if that is at `latest` at most and all else as it was seen.

        DynamoDB has no maximum of two values: one write is for a full bucket, another for all others.
        """
        duration = bucket.duration(calls, now)
        values = {":now": now, ":throttled_at": bucket.throttled_at}
        if bucket.busy_until(now) == now:
            change = "SET spent_until = :then"
            within = "(attribute_not_exists(spent_until) OR spent_until <= :now OR spent_until > :ahead)"
            values |= {":then": now + duration, ":ahead": now + AHEAD}
        else:
            change = "SET spent_until = spent_until + :duration"
            within = "spent_until BETWEEN :now AND :latest"
            values |= {":duration": duration, ":latest": latest}
        if queued_until is not None:
            change += ", queued_until = :queued_until"
            values |= {":queued_until": queued_until}
        condition = " AND ".join([within, f"({_SAME_RATE})", *only_if])
        return self._change(target, change, Condition(condition, values))

    def _change(self, target: Target, change: str, condition: Condition) -> bool:
        held, item = self._table.attempt(keys.call_bucket(target), change, condition)
        self._seen[target] = _bucket_of(item)
        return held

    def _bucket(self, target: Target) -> CallBucket:
        return self._seen.get(target, CallBucket())

    def _now(self) -> int:
        return int(self._clock() * 1_000)


_SAME_RATE: Final = "attribute_not_exists(throttled_at) OR throttled_at = :throttled_at"


def _bucket_of(item: Item) -> CallBucket:
    return read(item, CallBucket)
