"""The locks: one deployment at a time publishes a function, and one at a time moves an alias.

guarantees.md#2-one-deployment-at-a-time. A lock is only taken and freed together with the record that it
protects, and only freed by its owner.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from sluicegate.deployment.model import Deployment
from sluicegate.deployment.plan import Target
from sluicegate.store import keys
from sluicegate.store.codec import read
from sluicegate.store.errors import AliasLockLost, Busy, StaleRevision, StoreError
from sluicegate.store.keys import Key
from sluicegate.store.table import ABSENT, PRESENT, Condition, Resolution, Table, Transaction

PUBLISH_LEASE: Final = 120
"""Seconds that the publishing lock holds without being renewed, as it is before every change to Lambda."""


PRUNE_LEASE: Final = 60
"""The same for the pruner, which holds it for the few calls that one version takes."""


@dataclass(frozen=True)
class AliasLock:
    """The deployment that moves an alias, and the one that takes over once that has ended."""

    deployment: str
    successor: str | None = None


@dataclass(frozen=True)
class Supersession:
    """The deployments that an accepted one replaces: the lock as it was read, and records to change with it.

    `at_once`: the change ends the holder, and the new deployment has the lock; otherwise it is the lock's
    successor.
    """

    lock: AliasLock
    changes: tuple[tuple[Deployment, Deployment], ...]
    at_once: bool


class Locks:
    """The publishing locks of functions and the locks of aliases."""

    def __init__(self, table: Table, clock: Callable[[], float]) -> None:
        self._table = table
        self._clock = clock

    # The alias

    def alias_lock(self, target: Target, function: str, alias: str) -> AliasLock | None:
        """Return the lock of an alias, or None where nothing moves it."""
        item = self._table.get(keys.alias_lock(target, function, alias))
        return read(item, AliasLock) if item else None

    def holds_alias(self, deployment: Deployment) -> bool:
        """Say whether the deployment has its alias' lock."""
        lock = self._alias_lock(deployment)
        return lock is not None and lock.deployment == deployment.id

    def check_alias(self, tx: Transaction, deployment: Deployment) -> None:
        """Require that the deployment has its alias' lock. A conflict means AliasLockLost."""
        mine = Condition("deployment = :me", {":me": deployment.id})
        tx.check(_alias_key(deployment), mine, on_conflict=AliasLockLost)

    def take_alias(self, tx: Transaction, deployment: Deployment, supersession: Supersession | None) -> None:
        """Take the alias' lock, or its succession. `alias_conflict` says what a conflict means."""
        on_conflict = partial(self.alias_conflict, deployment, supersession)
        if supersession is None or supersession.at_once:
            owners = AliasLock(deployment.id)
        else:
            owners = AliasLock(supersession.lock.deployment, deployment.id)
        unchanged = _unchanged(supersession.lock) if supersession else ABSENT
        tx.put(_alias_item(deployment, owners), unchanged, on_conflict=on_conflict)

    def alias_conflict(
        self, deployment: Deployment, supersession: Supersession | None
    ) -> StoreError | Resolution:
        """Say why an acceptance found its lock, or a record that changes with it, in another state."""
        lock = self._alias_lock(deployment)
        if lock is not None and deployment.id in (lock.deployment, lock.successor):
            return Resolution.TOOK_EFFECT
        if supersession is not None:
            return StaleRevision()
        # Without a holder, the lock was freed just now.
        return Busy(lock.deployment) if lock else Resolution.RETRY

    def release_alias(self, tx: Transaction, deployment: Deployment, waiting: set[str]) -> None:
        """Free the alias' lock, or leave it to the successor, which is added to `waiting`."""
        mine_alone = Condition(
            "attribute_not_exists(pk) OR (deployment = :me AND attribute_not_exists(successor))",
            {":me": deployment.id},
        )
        hand_over = partial(self._hand_over, tx, deployment, waiting)
        tx.delete(_alias_key(deployment), mine_alone, on_conflict=hand_over)

    def _hand_over(self, tx: Transaction, deployment: Deployment, waiting: set[str]) -> Resolution:
        """Leave the lock to the other one of holder and successor, in place of freeing it.

        A lock of another deployment altogether stays as it is. The lock may have been left to this deployment
        just now: then it is freed after all.
        """
        lock = self._alias_lock(deployment)
        if lock is None or deployment.id not in (lock.deployment, lock.successor):
            return Resolution.DROP
        if lock.successor is None:
            self.release_alias(tx, deployment, waiting)
        else:
            stays = lock.successor if deployment.id == lock.deployment else lock.deployment
            tx.put(
                _alias_item(deployment, AliasLock(stays)),
                _unchanged(lock),
                on_conflict=partial(self._hand_over, tx, deployment, waiting),
            )
            waiting.add(stays)
        return Resolution.DROP

    def _alias_lock(self, deployment: Deployment) -> AliasLock | None:
        return self.alias_lock(deployment.plan.target, deployment.function, deployment.plan.alias)

    # Publishing

    def take_publish_lock(self, tx: Transaction, deployment: Deployment) -> None:
        """Take the publishing lock, unless another deployment's lease runs. A conflict means Busy."""
        now = int(self._clock())
        tx.put(
            {**_publish_key(deployment), "deployment": deployment.id, "lease": now + PUBLISH_LEASE},
            Condition(
                "attribute_not_exists(pk) OR deployment = :me OR lease < :now",
                {":me": deployment.id, ":now": now},
            ),
            on_conflict=partial(self._publishing, deployment),
        )

    def release_publish_lock(self, tx: Transaction, deployment: Deployment, waiting: set[str]) -> None:
        """Free the publishing lock, unless the lease ran out and another deployment has it.

        Revision ids fence what the lock protected; freeing another deployment's lock would not. The
        deployment that found it taken last is added to `waiting`.
        """
        self._free(tx, _publish_key(deployment), deployment.id, waiting)

    def _free(self, tx: Transaction, key: Key, owner: str, waiting: set[str]) -> None:
        mine_alone = Condition(
            "attribute_not_exists(pk) OR (deployment = :me AND attribute_not_exists(waiter))", {":me": owner}
        )
        tx.delete(key, mine_alone, on_conflict=partial(self._pass_on, tx, key, owner, waiting))

    def _pass_on(self, tx: Transaction, key: Key, owner: str, waiting: set[str]) -> Resolution:
        """Free the lock for those that wait for it, in place of freeing one that nobody waits for."""
        lock = self._table.get(key)
        if lock is not None and lock["deployment"] == owner:
            waiting.update([lock["waiter"]] if "waiter" in lock else [])
            mine = Condition("attribute_not_exists(pk) OR deployment = :me", {":me": owner})
            tx.delete(key, mine, on_conflict=Resolution.DROP)
        return Resolution.DROP

    def renew_publish_lock(self, deployment: Deployment) -> bool:
        """Extend the lease before a change to Lambda; return False where the lock is lost."""
        lease = int(self._clock()) + PUBLISH_LEASE
        mine = Condition("deployment = :me", {":me": deployment.id})
        return self._table.update(_publish_key(deployment), {"lease": lease}, mine)

    def lend_publish_lock(self, tx: Transaction, target: Target, function: str, pass_id: str) -> None:
        """Take the publishing lock for the pruner's pass. A conflict means Busy."""
        now, key = int(self._clock()), keys.publish_lock(target, function)
        tx.put(
            {**key, "deployment": pass_id, "lease": now + PRUNE_LEASE},
            Condition(
                "attribute_not_exists(pk) OR deployment = :me OR lease < :now", {":me": pass_id, ":now": now}
            ),
            on_conflict=partial(self._publisher, key),
        )

    def return_publish_lock(
        self, tx: Transaction, target: Target, function: str, pass_id: str, waiting: set[str]
    ) -> None:
        """Free it, as `release_publish_lock` does."""
        self._free(tx, keys.publish_lock(target, function), pass_id, waiting)

    def _publishing(self, deployment: Deployment) -> StoreError | Resolution:
        """Say who holds the lock, and note at the lock who is to be woken when it is free."""
        present = Condition(PRESENT.expression, {":waiter": deployment.id})
        _, holder = self._table.attempt(_publish_key(deployment), "SET waiter = :waiter", present)
        # Without a holder, the lock was freed just now.
        return Busy(holder["deployment"]) if holder else Resolution.RETRY

    def _publisher(self, key: Key) -> StoreError | Resolution:
        holder = self._table.get(key)
        # Without a holder, the lock was freed just now.
        return Busy(holder["deployment"]) if holder else Resolution.RETRY


def _alias_key(deployment: Deployment) -> Key:
    return keys.alias_lock(deployment.plan.target, deployment.function, deployment.plan.alias)


def _publish_key(deployment: Deployment) -> Key:
    return keys.publish_lock(deployment.plan.target, deployment.function)


def _alias_item(deployment: Deployment, lock: AliasLock) -> Key:
    successor = {"successor": lock.successor} if lock.successor else {}
    return {**_alias_key(deployment), "deployment": lock.deployment, **successor}


def _unchanged(lock: AliasLock) -> Condition:
    """The lock is still as it was read."""
    if lock.successor is None:
        return Condition(
            "deployment = :holder AND attribute_not_exists(successor)", {":holder": lock.deployment}
        )
    return Condition(
        "deployment = :holder AND successor = :successor",
        {":holder": lock.deployment, ":successor": lock.successor},
    )
