"""What an alias serves by the record: since which deployment, and for whom."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from sluicegate.deployment.durations import seconds
from sluicegate.deployment.model import Deployment, Origin, Requester
from sluicegate.deployment.plan import Target
from sluicegate.store import keys
from sluicegate.store.codec import Item, read
from sluicegate.store.history import Positioned
from sluicegate.store.keys import Key


@dataclass(frozen=True)
class Serving(Positioned):
    """What an alias serves since a deployment of Sluicegate's, and who asked for that.

    `built` is whose request had the version published first, None if that is unknown. `target_name` is that
    of the gate file, None for the stack's own target. `revision` is Lambda's of the alias,
    at the last move; None in items of earlier releases. `by` is who asked for `deployment`; in items of
    earlier releases it is None, and the single fields say so of a project's job.
    """

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
    action: str | None = None
    job_id: str | None = None
    gitlab: str | None = None
    built: Origin | None = None
    target_name: str | None = None
    by: Requester | None = None
    revision: str | None = None
    order: int = 0

    @property
    def requester(self) -> Requester:
        """Who asked for `deployment`."""
        return self.by or Requester(
            issuer=self.issuer,
            project_id=self.project_id,
            project_path=self.project_path,
            user_login=self.user_login,
            job_id=self.job_id,
            ref=self.ref,
            sha=self.sha,
            gitlab=self.gitlab,
        )


@dataclass(frozen=True)
class ServingPlace:
    """An alias that Sluicegate has moved: where there is a `Serving`."""

    function: str
    stage: str
    account: str
    region: str
    alias: str

    @property
    def key(self) -> Key:
        """The key of what it serves."""
        return keys.serving(Target(self.account, self.region), self.function, self.stage, self.alias)


def place_of(one: Serving) -> ServingPlace:
    """Return where a version serves."""
    return ServingPlace(one.function, one.stage, one.account, one.region, one.alias)


def serving_of_item(item: Item) -> Serving:
    """Return what an item says that its alias serves."""
    return read({**item, "function": item["name"]}, Serving)


def serving_after(deployment: Deployment) -> Serving:
    """Return what the alias of a deployment that has succeeded serves.

    One that an earlier release has published has no position yet, and takes the time of its end.
    """
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
        action=deployment.action,
        job_id=by.job_id,
        gitlab=by.gitlab,
        built=deployment.built,
        target_name=plan.target_name,
        by=by,
        revision=deployment.alias_revision,
        order=deployment.order or round(seconds(deployment.updated_at) * 1_000),
    )


def serving_item(serving: Serving) -> Item:
    """Return the item that says so, with the keys of the index that it is in."""
    item: dict[str, Any] = asdict(serving)
    # `function` is the key of an index of deployments; this must not appear there.
    item["name"] = item.pop("function")
    key = serving_key(serving)
    index = {"project": keys.serving_by(serving.requester.owner), "id": key["sk"]}
    return {**key, **index, **item}


def serving_key(serving: Serving) -> Key:
    """Return the key of that item."""
    target = Target(serving.account, serving.region)
    return keys.serving(target, serving.function, serving.stage, serving.alias)
