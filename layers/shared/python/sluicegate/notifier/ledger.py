"""Record in the table what GitLab was sent, so that no state is sent twice, or after a newer one.

    pk             sk            item
    status#HASH    status        the state last reported for a commit status, by which deployment; its lease
    status#ID      deployment    GitLab's own deployment for this one, and its state

A process leases a commit status before it reports: GitLab would take an old state for the start of a new
status. A lease that is not released runs out on its own, because GitLab may still be processing the request.
All keys start with `status#`: the notifier's role can write no others.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import astuple, dataclass
from typing import Any, Final

from sluicegate.notifier.commit_status import CommitState, CommitStatusKey, GitLabDeployment, ReportedState
from sluicegate.store.keys import Key, digest
from sluicegate.store.table import ABSENT, Condition, Table

LEASE_SECONDS: Final = 30
"""How long a lease lasts. GitLab waits up to ten seconds for its own lock, even after the client gave up."""

RETENTION_SECONDS: Final = 32 * 86_400
"""How long an entry is kept; no event waits for that long."""


@dataclass(frozen=True)
class LedgerEntry:
    """What is known of a commit status. `leases` counts the leases so far, as the entry's revision.

    `leased_until` is in epoch seconds; 0 or the past means that nobody holds the lease.
    """

    reported: ReportedState | None = None
    leases: int = 0
    leased_until: float = 0


@dataclass(frozen=True)
class Lease:
    """The exclusive right to report to a commit status, until a time in epoch seconds."""

    key: CommitStatusKey
    number: int
    until: float


class LeaseHeld(Exception):
    """Another process holds the lease. Retry after so many seconds."""

    def __init__(self, retry_after: float) -> None:
        super().__init__(retry_after)
        self.retry_after = retry_after


class StatusLedger:
    """Reads and writes what GitLab was sent. `clock` returns epoch seconds."""

    def __init__(self, table: Table, clock: Callable[[], float] = time.time) -> None:
        self._table = table
        self._clock = clock

    def entry(self, key: CommitStatusKey) -> LedgerEntry:
        """Return the entry of a commit status, empty if there is none."""
        item = self._table.get(_status_item_key(key))
        if item is None:
            return LedgerEntry()
        state = item.get("state")
        reported = ReportedState(item["deployment"], CommitState(state)) if state else None
        return LedgerEntry(reported, int(item["leases"]), float(item["leased_until"]))

    def acquire(self, key: CommitStatusKey, entry: LedgerEntry) -> Lease:
        """Lease a commit status, unless another process has since the entry was read. Raises LeaseHeld."""
        now = self._clock()
        if entry.leased_until > now:
            raise LeaseHeld(entry.leased_until - now)
        lease = Lease(key, entry.leases + 1, now + LEASE_SECONDS)
        if not self._update(key, entry.leases, {"leases": lease.number, "leased_until": lease.until}):
            raise LeaseHeld(LEASE_SECONDS)
        return lease

    def release(self, lease: Lease, reported: ReportedState | None, *, until: float = 0) -> None:
        """Record what was reported, and end the lease now, or at `until`.

        Changes nothing if the lease ran out and another process has taken it.
        """
        values: dict[str, Any] = {"leased_until": until}
        if reported is not None:
            values |= {"deployment": reported.deployment, "state": reported.state}
        self._update(lease.key, lease.number, values)

    def gitlab_deployment(self, deployment_id: str) -> GitLabDeployment | None:
        """Return GitLab's deployment for this one, or None if its creation was never requested."""
        item = self._table.get(_deployment_item_key(deployment_id))
        return GitLabDeployment(item["number"], CommitState(item["state"])) if item else None

    def record_gitlab_deployment(self, deployment_id: str, mirror: GitLabDeployment) -> None:
        """Record GitLab's deployment. Call it only under the lease of its commit status."""
        item = {**_deployment_item_key(deployment_id), "number": mirror.number, "state": mirror.state}
        self._table.put({**item, **self._expiry()})

    def _update(self, key: CommitStatusKey, leases: int, values: Mapping[str, Any]) -> bool:
        """Set the values; return False if the entry has been leased since it had so many leases."""
        unchanged = Condition("leases = :expected", {":expected": leases}) if leases else ABSENT
        return self._table.update(_status_item_key(key), {**values, **self._expiry()}, unchanged)

    def _expiry(self) -> dict[str, int]:
        return {"expires_at": int(self._clock()) + RETENTION_SECONDS}


def _status_item_key(key: CommitStatusKey) -> Key:
    return {"pk": f"status#{digest(*astuple(key))}", "sk": "status"}


def _deployment_item_key(deployment_id: str) -> Key:
    return {"pk": f"status#{deployment_id}", "sk": "deployment"}
