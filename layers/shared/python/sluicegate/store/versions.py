"""Versions: what was published from which digest, what each alias serves, and what it served before."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Final

from sluicegate.deployment.model import Deployment, FoundVersion, Origin, UnusableVersion
from sluicegate.deployment.ordering import proven_pipeline
from sluicegate.deployment.plan import Target
from sluicegate.owner import Owner
from sluicegate.store import keys
from sluicegate.store.codec import Item, read
from sluicegate.store.condemned import NOT_CONDEMNED, not_condemned
from sluicegate.store.errors import Condemned, Outdated, ServingChanged
from sluicegate.store.history import (
    SERVED_SHARE,
    DisplacedVersion,
    GoneVersion,
    PastVersion,
    ServedVersion,
    past_versions,
)
from sluicegate.store.keys import Key
from sluicegate.store.serving import (
    Serving,
    ServingPlace,
    serving_after,
    serving_item,
    serving_key,
    serving_of_item,
)
from sluicegate.store.table import PRESENT, Condition, Resolution, Table, Transaction

_NO_MAJOR_SHARE: Final = Condition(
    "attribute_not_exists(pk) OR #share < :served", {":served": SERVED_SHARE}, {"#share": "share"}
)


@dataclass(frozen=True)
class PublishedVersion:
    """A version that Sluicegate published, and what the function's configuration was then.

    `settings` has a salted digest of Lambda's own hash of the configuration, under one name, and no value
    (guarantees.md#7-no-secret-in-any-output). Names of single settings are from earlier releases, and are not
    read. `deployment` is the one that published it first, and `built` its origin, None in older items.
    """

    version: str
    settings: Mapping[str, str]
    salt: str
    deployment: str
    built: Origin | None = None


@dataclass(frozen=True)
class VersionRecord:
    """What a deployment needs to know of its versions: one read.

    `published` is the version of the digest `sha256`, `serving` what the alias serves, `newest_pipeline` the
    newest one of the deployment's owner that succeeded there, 0 if none has.
    """

    sha256: str
    published: PublishedVersion | None
    serving: Serving | None
    newest_pipeline: int


class Versions:
    """Published versions, and the history of each alias."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def published(self, target: Target, function: str, sha256: str) -> PublishedVersion | None:
        """Return the version that Sluicegate published for this function from this digest, or None.

        None also while the pruner deletes it: the digest is published again then.
        """
        return _published(self._table.get(keys.published(target, function, sha256)))

    def served(self, target: Target, function: str, alias: str) -> list[ServedVersion]:
        """Return the versions that succeeded behind an alias, the one that did so last first."""
        partition = keys.served_partition(target, function, alias)
        items = self._table.query(Condition("pk = :pk", {":pk": partition}), consistent=True, page=None)
        served = (read(item, ServedVersion) for item in items)
        return sorted(served, key=lambda one: one.position, reverse=True)

    def past(self, target: Target, function: str, alias: str) -> list[PastVersion]:
        """Return all that an alias has served, the last one first, also what somebody else put there."""
        gone = Condition(
            "pk = :pk AND begins_with(sk, :sk)",
            {":pk": keys.versions_partition(target, function), ":sk": "gone#"},
        )
        missing = [read(item, GoneVersion) for item in self._table.query(gone, consistent=True, page=None)]
        return self.past_without(target, function, alias, missing)

    def past_without(
        self, target: Target, function: str, alias: str, gone: Iterable[GoneVersion]
    ) -> list[PastVersion]:
        """Return the same where it is known what is gone."""
        found = Condition("pk = :pk", {":pk": keys.found_partition(target, function, alias)})
        return past_versions(
            self.served(target, function, alias),
            [read(item, DisplacedVersion) for item in self._table.query(found, consistent=True, page=None)],
            gone,
        )

    def gone_since(self, target: Target, function: str, version: str, sha256: str) -> str | None:
        """Return when that version with that code was found to be gone (RFC 3339), or None."""
        item = self._table.get(keys.gone(target, function, version))
        gone = read(item, GoneVersion) if item else None
        return gone.since if gone and gone.sha256 == sha256 else None

    def serving_of(self, deployment: Deployment) -> Serving | None:
        """Return what the deployment's alias serves according to the record, under the same stage."""
        plan = deployment.plan
        key = keys.serving(plan.target, deployment.function, deployment.stage, plan.alias)
        item = self._table.get(key)
        return serving_of_item(item) if item else None

    def record_of(self, deployment: Deployment) -> VersionRecord:
        """Return what is known of the deployment's versions (a consistent read)."""
        plan, function = deployment.plan, deployment.function
        published = keys.published(plan.target, function, deployment.sha256)
        serving = keys.serving(plan.target, function, deployment.stage, plan.alias)
        newest = keys.newest_pipeline(deployment)
        items = self._table.get_many((published, serving, newest), consistent=True)
        found = {(item["pk"], item["sk"]): item for item in items}
        version, served, pipeline = (
            found.get((key["pk"], key["sk"])) for key in (published, serving, newest)
        )
        return VersionRecord(
            sha256=deployment.sha256,
            published=_published(version),
            serving=serving_of_item(served) if served else None,
            newest_pipeline=int(pipeline["pipeline"]) if pipeline else 0,
        )

    def places(self) -> list[ServingPlace]:
        """Return all aliases that Sluicegate has moved, by function and stage, without what they serve."""
        condition = Condition("pk = :pk", {":pk": "serving"})
        items = self._table.query(condition, attributes=("sk",), page=2_000)
        return [ServingPlace(*item["sk"].split("#")) for item in items]

    def serving_at(self, places: Sequence[ServingPlace]) -> list[Serving]:
        """Return what these aliases serve, in any order."""
        return [serving_of_item(item) for item in self._table.get_many([place.key for place in places])]

    def serving_again(self, serving: Serving) -> Serving | None:
        """Return what the alias serves now according to the record (a consistent read)."""
        item = self._table.get(serving_key(serving))
        return serving_of_item(item) if item else None

    def serving(self, function: str, *, consistent: bool = False) -> Iterator[Serving]:
        """Yield what the aliases of one function serve, a moment old at most unless `consistent`."""
        condition = Condition("pk = :pk AND begins_with(sk, :sk)", {":pk": "serving", ":sk": f"{function}#"})
        yield from map(serving_of_item, self._table.query(condition, consistent=consistent))

    def serving_like(self, prefix: str, after: str | None) -> Iterator[Serving]:
        """Yield what aliases serve, of functions whose names begin so and sort after `after`, by name."""
        low, high = max(prefix or " ", _past(after)), f"{prefix}~"  # "~" is past every character of a name
        if low < high:
            condition = Condition(
                "pk = :pk AND sk BETWEEN :low AND :high", {":pk": "serving", ":low": low, ":high": high}
            )
            yield from map(serving_of_item, self._table.query(condition))

    def serving_by(self, owner: Owner, after: str | None) -> Iterator[Serving]:
        """Yield what aliases serve by deployments of an owner, of functions after `after`, by name."""
        condition = Condition(
            "#key = :key AND id > :after", {":key": keys.serving_by(owner), ":after": _past(after)}
        )
        items = self._table.query(condition, index="by_project", names={"#key": "project"})
        yield from map(serving_of_item, items)

    def is_outdated(self, deployment: Deployment) -> bool:
        """Return whether a newer pipeline of the deployment's owner has succeeded behind its alias."""
        newest = self._table.get(keys.newest_pipeline(deployment))
        return newest is not None and newest["pipeline"] > proven_pipeline(deployment)

    # Parts of transactions

    def check_serving(self, tx: Transaction, serving: Serving) -> None:
        """Require that the alias still serves this. A conflict means ServingChanged."""
        same = Condition("deployment = :deployment", {":deployment": serving.deployment})
        tx.check(serving_key(serving), same, on_conflict=ServingChanged)

    def check_pipeline(self, tx: Transaction, deployment: Deployment) -> None:
        """Require that no newer pipeline of the project has succeeded there. A conflict means Outdated."""
        mine = {":mine": proven_pipeline(deployment)}
        in_order = Condition("attribute_not_exists(pk) OR pipeline <= :mine", mine)
        tx.check(keys.newest_pipeline(deployment), in_order, on_conflict=Outdated)

    def check_not_condemned(self, tx: Transaction, deployment: Deployment) -> None:
        """Require that the deployment's version is neither condemned nor pruned, or Condemned is raised."""
        key = keys.gone(deployment.plan.target, deployment.function, deployment.version or "")
        tx.check(key, not_condemned(deployment.sha256), on_conflict=Condemned)

    def add_published(self, tx: Transaction, deployment: Deployment, published: PublishedVersion) -> None:
        """Note the version that was published from the deployment's digest."""
        target, function = deployment.plan.target, deployment.function
        tx.put({**keys.published(target, function, deployment.sha256), **asdict(published)})
        # The item of a digest has its newest version alone; the pruner needs all of them.
        tx.put(
            {
                **keys.published_version(target, function, published.version),
                "version": published.version,
                "sha256": deployment.sha256,
                "deployment": deployment.id,
                "at": deployment.updated_at,
            }
        )

    def add_gone(self, tx: Transaction, deployment: Deployment, version: UnusableVersion) -> None:
        """Note that a version no longer exists. It may be noted any number of times."""
        key = keys.gone(deployment.plan.target, deployment.function, version.version)
        gone = GoneVersion(version.version, version.sha256, deployment.id, deployment.updated_at)
        # What the pruner has condemned stays so: it goes on there.
        tx.put({**key, **gone.attributes}, NOT_CONDEMNED, on_conflict=Resolution.DROP)

    def add_success(
        self, tx: Transaction, deployment: Deployment, newest_pipeline: int | None, *, reuses: bool = False
    ) -> None:
        """Note what the alias serves, what it served, and how far the project's pipelines are.

        What was seen there is not gone, whatever was noted before. If it `reuses` a version by this very
        write, it requires what `check_not_condemned` does: a transaction writes an item once.
        `newest_pipeline` is what has been noted, None if that was not read.
        """
        serving = serving_after(deployment)
        tx.put(serving_item(serving))
        served = ServedVersion(
            serving.version,
            deployment.sha256,
            deployment.id,
            withdrawn=False,
            built=deployment.built,
            order=serving.order,
        )
        tx.put({**_served_key(deployment, serving.version), **asdict(served)})
        target, function = deployment.plan.target, deployment.function
        gone = keys.gone(target, function, serving.version)
        if reuses:
            tx.delete(gone, not_condemned(deployment.sha256), on_conflict=Condemned)
        else:
            tx.delete(gone)
        for found in deployment.found:
            if found.version != serving.version:
                self._add_displaced(tx, deployment, found, serving.order)
                tx.delete(keys.gone(target, function, found.version))
        if deployment.action == "rollback":
            self._withdraw(tx, deployment)
        else:
            self._note_pipeline(tx, deployment, newest_pipeline)

    def _add_displaced(
        self, tx: Transaction, deployment: Deployment, found: FoundVersion, order: int
    ) -> None:
        """Note what somebody else had put there. A minor share replaces no note of a major one."""
        key = keys.found(deployment.plan.target, deployment.function, deployment.plan.alias, found.version)
        withdrawn = deployment.action == "rollback"
        displaced = DisplacedVersion(
            found.version, found.sha256, deployment.id, withdrawn, found.share, order
        )
        item = {**key, **asdict(displaced)}
        if found.share < SERVED_SHARE:
            tx.put(item, _NO_MAJOR_SHARE, on_conflict=Resolution.DROP)
        else:
            tx.put(item)

    def _withdraw(self, tx: Transaction, deployment: Deployment) -> None:
        """Mark what a rollback left: what the alias served, and what the record says that it served."""
        original = deployment.original
        left = {deployment.recorded, original.version if original else None} - {None, deployment.version}
        for version in sorted(filter(None, left)):
            key = _served_key(deployment, version)
            tx.update(key, {"withdrawn": True}, PRESENT, on_conflict=Resolution.DROP)

    def _note_pipeline(self, tx: Transaction, deployment: Deployment, noted: int | None) -> None:
        """Note the pipeline, unless it or a newer one is noted already, as may have been read.

        A number from the body of a delivery is not noted: an invented one would outdate all real pipelines.
        """
        if (pipeline := proven_pipeline(deployment)) and pipeline > (noted or 0):
            newer = Condition("attribute_not_exists(pk) OR pipeline < :mine", {":mine": pipeline})
            changes = {"pipeline": pipeline}
            tx.update(keys.newest_pipeline(deployment), changes, newer, on_conflict=Resolution.DROP)


def _published(item: Item | None) -> PublishedVersion | None:
    return read(item, PublishedVersion) if item and item.get("condemned") is None else None


def _past(function: str | None) -> str:
    """Return where functions after this one begin; "$" is the character after "#", which ends a name."""
    return f"{function}$" if function else " "


def _served_key(deployment: Deployment, version: str) -> Key:
    return keys.served(deployment.plan.target, deployment.function, deployment.plan.alias, version)
