"""Record in the table what GitLab was sent, so that no state is sent twice, or after a newer one.

    pk             sk             item
    status#HASH    status         the state last reported for a commit status, by which deployment; its lease
    status#HASH    environment    the deployments that an environment lacks, or lacks the end of; its lease
    status#HASH    merge-request  the note on a merge request, and its rows; its lease
    status#HASH    commit         the time and the merge request of a commit (`store.commits`)
    status#ID      deployment     GitLab's own deployment for this one, and its state

A process leases an item before it sends what the item is about: GitLab would take an old state for the start
of a new status. A lease that is not released runs out on its own, because GitLab may still be processing the
request. All keys start with `status#`: the notifier's role can write no others.
"""

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from sluicegate.notifier.commit_status import CommitState
from sluicegate.notifier.gitlab_deployments import GitLabDeployment
from sluicegate.store.keys import Key
from sluicegate.store.table import Condition, Table

LEASE_SECONDS: Final = 30
"""How long a lease lasts. GitLab waits up to ten seconds for its own lock, even after the client gave up."""

RETENTION_SECONDS: Final = 32 * 86_400
"""How long an entry is kept; no event waits for that long."""


@dataclass(frozen=True)
class LedgerEntry:
    """What an item says. `leases` counts the leases so far, as the entry's revision.

    `leased_until` is in epoch seconds; 0 or the past means that nobody holds the lease.
    """

    values: Mapping[str, Any] = field(default_factory=dict)
    leases: int = 0
    leased_until: float = 0


@dataclass(frozen=True)
class Lease:
    """The exclusive right to send what an item is about, until a time in epoch seconds."""

    key: Key
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

    def entry(self, key: Key) -> LedgerEntry:
        """Return the entry under a key, empty if there is none."""
        item = self._table.get(key)
        if item is None:
            return LedgerEntry()
        return LedgerEntry(item, int(item.get("leases", 0)), float(item.get("leased_until", 0)))

    def keep_in_mind(self, key: Key, deployment_id: str) -> None:
        """Add to the deployments that an item's `open` names. No lease is needed."""
        self._table.change_members(key, "open", "ADD", [deployment_id], **self._expiry_of_members())

    def forget(self, key: Key, deployment_ids: Collection[str]) -> None:
        """Take deployments out of an item's `open`."""
        if deployment_ids:
            self._table.change_members(key, "open", "DELETE", deployment_ids, **self._expiry_of_members())

    def acquire(self, key: Key, entry: LedgerEntry) -> Lease:
        """Lease an item, unless another process has since the entry was read. Raises LeaseHeld."""
        now = self._clock()
        if entry.leased_until > now:
            raise LeaseHeld(entry.leased_until - now)
        lease = Lease(key, entry.leases + 1, now + LEASE_SECONDS)
        changes = {"leases": lease.number, "leased_until": lease.until}
        if not self._update(key, entry.leases, changes):
            raise LeaseHeld(LEASE_SECONDS)
        return lease

    def release(self, lease: Lease, values: Mapping[str, Any] | None = None, *, until: float = 0) -> None:
        """Set the item's `values`, and end the lease now, or at `until`.

        Changes nothing if the lease ran out and another process has taken it.
        """
        self._update(lease.key, lease.number, {"leased_until": until, **(values or {})})

    def gitlab_deployment(self, deployment_id: str) -> GitLabDeployment | None:
        """Return GitLab's deployment for this one, or None if its creation was never requested."""
        item = self._table.get(_deployment_item_key(deployment_id))
        if item is None:
            return None
        return GitLabDeployment(item["number"], CommitState(item["state"]), bool(item.get("refused")))

    def record_gitlab_deployment(self, deployment_id: str, mirror: GitLabDeployment) -> None:
        """Record GitLab's deployment. Call it only under the lease of its environment."""
        item = {**_deployment_item_key(deployment_id), "number": mirror.number, "state": mirror.state}
        self._table.put({**item, "refused": mirror.refused, **self._expiry()})

    def _update(self, key: Key, leases: int, values: Mapping[str, Any]) -> bool:
        """Set the values; return False if the entry has been leased since it had so many leases."""
        never = Condition("attribute_not_exists(leases)")
        unchanged = Condition("leases = :expected", {":expected": leases}) if leases else never
        return self._table.update(key, {**values, **self._expiry()}, unchanged)

    def _expiry_of_members(self) -> dict[str, int]:
        return {"expires": self._expiry()["expires_at"]}

    def _expiry(self) -> dict[str, int]:
        return {"expires_at": int(self._clock()) + RETENTION_SECONDS}


def _deployment_item_key(deployment_id: str) -> Key:
    return {"pk": f"status#{deployment_id}", "sk": "deployment"}
