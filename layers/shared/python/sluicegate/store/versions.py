"""Versions: what was published from which digest, what each alias serves, and what succeeded there before."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from sluicegate.deployment.model import Deployment
from sluicegate.deployment.plan import Target
from sluicegate.store import keys
from sluicegate.store.codec import Item, read
from sluicegate.store.errors import Outdated, ServingChanged
from sluicegate.store.keys import Key
from sluicegate.store.table import PRESENT, Condition, Resolution, Table, Transaction


@dataclass(frozen=True)
class PublishedVersion:
    """A version that Sluicegate published, and what the function's configuration was then.

    `settings` maps the name of a setting to a salted digest of its value, so that a change can be named
    and no value is kept (guarantees.md#7-no-secret-in-any-output).
    """

    version: str
    settings: Mapping[str, str]
    salt: str
    deployment: str


@dataclass(frozen=True)
class ServedVersion:
    """A version that succeeded in a stage, last by `deployment`; `withdrawn` since a rollback left it."""

    version: str
    sha256: str
    deployment: str
    withdrawn: bool


@dataclass(frozen=True)
class Serving:
    """What an alias serves since a deployment of Sluicegate's."""

    function: str
    stage: str
    alias: str
    account: str
    region: str
    version: str
    sha256: str
    weights: Mapping[str, int | float]
    deployment: str
    since: str
    issuer: str
    project_id: str
    project_path: str | None
    user_login: str | None
    ref: str | None
    sha: str | None


class Versions:
    """Published versions, and the history of each alias."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def published(self, target: Target, function: str, sha256: str) -> PublishedVersion | None:
        """Return the version that Sluicegate published for this function from this digest, or None."""
        item = self._table.get(keys.published(target, function, sha256))
        return read(item, PublishedVersion) if item else None

    def served(self, target: Target, function: str, alias: str) -> list[ServedVersion]:
        """Return the versions that succeeded behind an alias, the one that did so last first."""
        partition = keys.served_partition(target, function, alias)
        items = self._table.query(Condition("pk = :pk", {":pk": partition}), consistent=True)
        # Ids of deployments sort by time, and one alias has one deployment at a time.
        return sorted((read(item, ServedVersion) for item in items), key=_deployment, reverse=True)

    def serving(self, function: str | None = None, after: str | None = None) -> Iterator[Serving]:
        """Yield what aliases serve: of one function, or of all whose names sort after `after`, by name."""
        if function is not None:
            condition, sk = "pk = :pk AND begins_with(sk, :sk)", f"{function}#"
        else:
            # "$" is the character after "#": past all stages of that function, before any longer name.
            condition, sk = "pk = :pk AND sk > :sk", f"{after}$" if after else " "
        for item in self._table.query(Condition(condition, {":pk": "serving", ":sk": sk})):
            yield read({**item, "function": item["name"]}, Serving)

    def is_outdated(self, deployment: Deployment) -> bool:
        """Return whether a newer pipeline of the deployment's project has succeeded behind its alias."""
        newest = self._table.get(keys.newest_pipeline(deployment))
        return newest is not None and newest["pipeline"] > int(deployment.requested_by.pipeline_id or 0)

    # Parts of transactions

    def check_serving(self, tx: Transaction, serving: Serving) -> None:
        """Require that the alias still serves this. A conflict means ServingChanged."""
        same = Condition("deployment = :deployment", {":deployment": serving.deployment})
        tx.check(_serving_key(serving), same, on_conflict=ServingChanged)

    def check_pipeline(self, tx: Transaction, deployment: Deployment) -> None:
        """Require that no newer pipeline of the project has succeeded there. A conflict means Outdated."""
        mine = {":mine": int(deployment.requested_by.pipeline_id or 0)}
        in_order = Condition("attribute_not_exists(pk) OR pipeline <= :mine", mine)
        tx.check(keys.newest_pipeline(deployment), in_order, on_conflict=Outdated)

    def add_published(self, tx: Transaction, deployment: Deployment, published: PublishedVersion) -> None:
        """Note the version that was published from the deployment's digest."""
        key = keys.published(deployment.plan.target, deployment.function, deployment.sha256)
        tx.put({**key, **asdict(published)})

    def add_success(self, tx: Transaction, deployment: Deployment) -> None:
        """Note what the alias serves, what a rollback withdrew, and how far the project's pipelines are."""
        serving = _serving_after(deployment)
        tx.put(_serving_item(serving))
        served = ServedVersion(serving.version, deployment.sha256, deployment.id, withdrawn=False)
        tx.put({**_served_key(deployment, serving.version), **asdict(served)})
        if deployment.action == "rollback":
            self._withdraw(tx, deployment)
        else:
            self._note_pipeline(tx, deployment)

    def _withdraw(self, tx: Transaction, deployment: Deployment) -> None:
        """Mark the version that a rollback left, where it is in the history."""
        left = deployment.original
        if left is not None and left.version != deployment.version:
            key = _served_key(deployment, left.version)
            tx.update(key, {"withdrawn": True}, PRESENT, on_conflict=Resolution.DROP)

    def _note_pipeline(self, tx: Transaction, deployment: Deployment) -> None:
        """Note the pipeline, unless a newer one is noted already.

        A number from the body of a delivery is not noted: an invented one would outdate all real pipelines.
        """
        pipeline = deployment.requested_by.pipeline_id or ""
        if not deployment.requested_by.pipeline_is_proven:
            return
        if pipeline.isdecimal() and pipeline.isascii():
            newer = Condition("attribute_not_exists(pk) OR pipeline < :mine", {":mine": int(pipeline)})
            changes = {"pipeline": int(pipeline)}
            tx.update(keys.newest_pipeline(deployment), changes, newer, on_conflict=Resolution.DROP)


def _deployment(served: ServedVersion) -> str:
    return served.deployment


def _served_key(deployment: Deployment, version: str) -> Key:
    return keys.served(deployment.plan.target, deployment.function, deployment.plan.alias, version)


def _serving_after(deployment: Deployment) -> Serving:
    plan, by = deployment.plan, deployment.requested_by
    return Serving(
        function=deployment.function,
        stage=deployment.stage,
        alias=plan.alias,
        account=plan.target.account,
        region=plan.target.region,
        version=deployment.version or "",
        sha256=deployment.sha256,
        weights={},
        deployment=deployment.id,
        since=deployment.updated_at,
        issuer=by.issuer,
        project_id=by.project_id,
        project_path=by.project_path,
        user_login=by.user_login,
        ref=by.ref,
        sha=by.sha,
    )


def _serving_item(serving: Serving) -> Item:
    item: dict[str, Any] = asdict(serving)
    # `function` is the key of an index of deployments; this must not appear there.
    item["name"] = item.pop("function")
    return {**_serving_key(serving), **item}


def _serving_key(serving: Serving) -> Key:
    target = Target(serving.account, serving.region)
    return keys.serving(target, serving.function, serving.stage, serving.alias)
