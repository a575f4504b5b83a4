"""Pruning: what the record knows of a function's versions, and what the pruner found out about them."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from sluicegate.deployment.durations import seconds, timestamp
from sluicegate.deployment.model import Deployment
from sluicegate.deployment.plan import Target
from sluicegate.deployment.ulid import created_at, is_id
from sluicegate.evidence.facts import pruned
from sluicegate.store import keys
from sluicegate.store.codec import Item, read
from sluicegate.store.deployments import Deployments
from sluicegate.store.errors import Spared
from sluicegate.store.facts import add_fact
from sluicegate.store.history import GoneVersion, RecordedVersion
from sluicegate.store.locks import Locks
from sluicegate.store.table import Condition, Resolution, Table, Transaction

_NOT_GONE: Final = Condition(
    "attribute_not_exists(pk) OR (attribute_exists(condemned) AND attribute_not_exists(pruned))"
)
"""The version is not known to be gone: it is there, or condemned."""


def _mine(pass_id: str) -> Condition:
    """No other pass has condemned the version since, nor noted that it is gone."""
    return Condition(
        "attribute_not_exists(pk)"
        " OR (attribute_exists(condemned) AND attribute_not_exists(pruned) AND deployment = :pass)",
        {":pass": pass_id},
    )


MAX_REPORTED: Final = 400
"""Versions in a report, the newest: DynamoDB takes items of 400 KB at most."""

MAX_REASONS: Final = 20
"""Reasons of a version in a report: hundreds of aliases may name one."""


@dataclass(frozen=True)
class KnownVersions:
    """What the record has of a function's versions. `gone` are also those that are only condemned."""

    published: tuple[RecordedVersion, ...]
    gone: tuple[GoneVersion, ...]


@dataclass(frozen=True)
class CondemnedVersion:
    """A version that is being deleted, condemned at a time (RFC 3339)."""

    function: str
    account: str
    region: str
    version: str
    sha256: str
    condemned: str

    @property
    def target(self) -> Target:
        return Target(self.account, self.region)


@dataclass(frozen=True)
class VersionReport:
    """A version, and why it stays: reasons with an alias or other detail. Without a reason it may go."""

    version: str
    keep: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class PruneReport:
    """What one pass found out about a function's versions, the newest first, at a time (RFC 3339).

    `left_out` is the number of older versions that are not listed; `deleted` are those of this pass.
    """

    function: str
    account: str
    region: str
    at: str
    dry_run: bool
    versions: tuple[VersionReport, ...]
    deleted: tuple[str, ...] = ()
    left_out: int = 0


class Prunings:
    """The pruner's part of the table."""

    def __init__(self, table: Table, deployments: Deployments, locks: Locks) -> None:
        self._table = table
        self._locks = locks
        self._deployments = deployments

    def known(self, target: Target, function: str) -> KnownVersions:
        """Return the versions that Sluicegate published, and those that are gone (a consistent read)."""
        published: list[RecordedVersion] = []
        gone: list[GoneVersion] = []
        partition = Condition("pk = :pk", {":pk": keys.versions_partition(target, function)})
        for item in self._table.query(partition, consistent=True, page=None):
            kind, _, _ = item["sk"].partition("#")
            match kind:
                case "gone":
                    gone.append(read(item, GoneVersion))
                case "published":
                    published.append(RecordedVersion(item["version"], item["sha256"], seconds(item["at"])))
                case sha256:
                    published.append(RecordedVersion(item["version"], sha256, _accepted(item)))
        return KnownVersions(tuple(published), tuple(gone))

    def open(self, target: Target, function: str) -> tuple[Deployment, ...]:
        """Return the function's deployments that have not ended (consistent reads).

        Each has the lock of its alias or succeeds to it, from the transaction that accepts it to the one that
        ends it: the index of what is open is a moment old, and the locks are not.
        """
        locks = Condition(
            "pk = :pk AND begins_with(sk, :sk)",
            {":pk": keys.locks_partition(target, function), ":sk": "alias#"},
        )
        owners = [
            owner
            for item in self._table.query(locks, consistent=True)
            for owner in (item["deployment"], item.get("successor"))
            if owner is not None
        ]
        found = (self._deployments.get(owner) for owner in owners)
        return tuple(one for one in found if one is not None and not one.status.final)

    # Deleting a version

    def condemned(self) -> list[CondemnedVersion]:
        """Return the versions that a pass condemned, and did not come to an end with."""
        found = self._table.query(Condition("pk = :pk", {":pk": "condemned"}), consistent=True)
        return [read({**item, "function": item["name"]}, CondemnedVersion) for item in found]

    def condemn(self, version: CondemnedVersion, pass_id: str) -> None:
        """Condemn a version, and take its function's publishing lock: both, or nothing.

        From then on no deployment is accepted that names it, and none reuses it. Raises Busy where a
        deployment publishes the function, and Spared where the record has the version as gone.
        """
        tx = self._table.transaction()
        self._locks.lend_publish_lock(tx, version.target, version.function, pass_id)
        gone = GoneVersion(
            version.version, version.sha256, pass_id, version.condemned, condemned=version.condemned
        )
        key = keys.gone(version.target, version.function, version.version)
        tx.put({**key, **gone.attributes}, _NOT_GONE, on_conflict=Spared)
        self._mark_digest(tx, version, version.condemned)
        item: dict[str, Any] = asdict(version)
        # `function` is the key of an index of deployments; this must not appear there.
        item["name"] = item.pop("function")
        tx.put({**_condemned_key(version), **item})
        tx.commit()

    def spare(self, version: CondemnedVersion, pass_id: str) -> bool:
        """Take the condemnation back, and free the lock; return whether a deployment waits for that.

        Raises Spared where another pass has the version now.
        """
        tx, waiting = self._table.transaction(), set[str]()
        key = keys.gone(version.target, version.function, version.version)
        tx.delete(key, _mine(pass_id), on_conflict=Spared)
        self._mark_digest(tx, version, None)
        tx.delete(_condemned_key(version))
        self._locks.return_publish_lock(tx, version.target, version.function, pass_id, waiting)
        tx.commit()
        return bool(waiting)

    def note_pruned(self, version: CondemnedVersion, pass_id: str, gate: str, now: float) -> bool:
        """Note that a condemned version was deleted, in the evidence too, and free the lock, as `spare` does.

        Raises Spared where another pass has the version now: that one finds it gone, and notes it.
        """
        target, function = version.target, version.function
        at = timestamp(now)
        gone = GoneVersion(
            version.version, version.sha256, pass_id, at, condemned=version.condemned, pruned=at
        )
        tx, waiting = self._table.transaction(), set[str]()
        key = keys.gone(target, function, version.version)
        tx.put({**key, **gone.attributes}, _mine(pass_id), on_conflict=Spared)
        tx.delete(keys.published_version(target, function, version.version))
        same = Condition("attribute_not_exists(pk) OR version = :version", {":version": version.version})
        tx.delete(keys.published(target, function, version.sha256), same, on_conflict=Resolution.DROP)
        tx.delete(_condemned_key(version))
        self._locks.return_publish_lock(tx, target, function, pass_id, waiting)
        add_fact(
            tx,
            pruned(target, function, version.version, version.sha256, version.condemned, gate=gate, at=now),
        )
        tx.commit()
        return bool(waiting)

    def _mark_digest(self, tx: Transaction, version: CondemnedVersion, condemned: str | None) -> None:
        """Have a deployment of the digest publish it again, as long as its version is condemned."""
        key = keys.published(version.target, version.function, version.sha256)
        same = Condition("version = :version", {":version": version.version})
        tx.update(key, {"condemned": condemned}, same, on_conflict=Resolution.DROP)

    # What the pruner found out

    def report(self, target: Target, function: str) -> PruneReport | None:
        """Return the last report about a function, or None."""
        item = self._table.get(keys.pruning(target, function))
        return _report_of(item) if item else None

    def reports(self, function: str) -> Iterator[PruneReport]:
        """Yield the last reports about a function, one for each account and region."""
        condition = Condition("pk = :pk AND begins_with(sk, :sk)", {":pk": "pruning", ":sk": f"{function}#"})
        yield from map(_report_of, self._table.query(condition))

    def note_report(self, report: PruneReport) -> None:
        """Write a report in the place of the last one."""
        item: dict[str, Any] = asdict(report)
        # `function` is the key of an index of deployments; this must not appear there.
        item["name"] = item.pop("function")
        target = Target(report.account, report.region)
        self._table.put({**keys.pruning(target, report.function), **item})

    def position(self) -> str:
        """Return the function at which the last pass stopped, "" where it came to the end."""
        item = self._table.get(keys.prune_pass())
        return str(item["after"]) if item else ""

    def note_position(self, after: str) -> None:
        """Note at which function this pass stopped."""
        self._table.put({**keys.prune_pass(), "after": after})


def report_of(
    target: Target,
    function: str,
    at: str,
    versions: Mapping[str, Iterable[tuple[str, str]]],
    deleted: Iterable[str] = (),
    *,
    dry_run: bool,
) -> PruneReport:
    """Return a report of a length that an item holds. `versions` begin with the newest."""
    listed = [VersionReport(version, tuple(keep)[:MAX_REASONS]) for version, keep in versions.items()]
    return PruneReport(
        function=function,
        account=target.account,
        region=target.region,
        at=at,
        dry_run=dry_run,
        versions=tuple(listed[:MAX_REPORTED]),
        deleted=tuple(deleted),
        left_out=max(0, len(listed) - MAX_REPORTED),
    )


def _condemned_key(version: CondemnedVersion) -> keys.Key:
    return keys.condemned(version.target, version.function, version.version)


def _report_of(item: Item) -> PruneReport:
    return read({**item, "function": item["name"]}, PruneReport)


def _accepted(item: Item) -> float:
    """Return when the deployment of a digest's item was accepted: items of earlier releases say no more."""
    deployment = str(item["deployment"])
    return created_at(deployment) if is_id(deployment) else 0.0
