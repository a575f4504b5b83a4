"""The records of deployments, and the two transactions that create and change them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from typing import Any, Final, Literal

from botocore.exceptions import ClientError

from sluicegate.deployment.call_budget import CallWaiter
from sluicegate.deployment.durations import timestamp
from sluicegate.deployment.model import Deployment, Reason, Requester, Status
from sluicegate.deployment.plan import Target
from sluicegate.evidence import facts
from sluicegate.evidence.basis import Basis
from sluicegate.store import keys
from sluicegate.store.call_budget import CallBudget
from sluicegate.store.codec import Item, deployment_of, read, record, shown_deployment
from sluicegate.store.errors import StaleRevision, StoreError
from sluicegate.store.facts import add_fact
from sluicegate.store.locks import Locks, Supersession
from sluicegate.store.requests import REQUEST_KEPT, AcceptedRequest, CredentialUse, PermanentClaim, Requests
from sluicegate.store.serving import Serving
from sluicegate.store.slots import Slot, Slots
from sluicegate.store.table import ABSENT, Condition, Resolution, Table, Transaction
from sluicegate.store.versions import PublishedVersion, Versions

Index = Literal["by_function", "by_project", "by_time"]
"""An index of deployments, by time within one function, within one project, or within all."""

_PARTITIONS: Mapping[Index, str] = {"by_function": "function", "by_project": "project", "by_time": "kind"}


@dataclass(frozen=True)
class DeploymentSummary:
    """What lists and figures need of a deployment: its record without plan, timeline and observations."""

    id: str
    status: Status
    action: str
    function: str
    stage: str
    requested_by: Requester
    created_at: str
    updated_at: str
    release: str | None = None
    version: str | None = None
    promoted_from: str | None = None
    traffic_since: str | None = None
    finished_at: str | None = None
    reason: Reason | None = None
    description: str | None = None

    @property
    def requester(self) -> Requester:
        """Who asked for it."""
        return self.requested_by


@dataclass(frozen=True)
class UnfinishedDeployment:
    """What the index of unfinished deployments has of one; `project` is its owner's key (`owner_key`)."""

    id: str
    status: Status
    function: str
    stage: str
    project: str


@dataclass(frozen=True)
class WatchingDeployment:
    """A deployment that looks at alarms: their names, or patterns of these."""

    id: str
    alarms: tuple[str, ...]


SHORT: Final = 2_000
"""Items of a page of what an index has in short: less than the megabyte that DynamoDB reads at once."""

_SUMMARY: Final = tuple(field.name for field in fields(DeploymentSummary))


class Deployments:
    """All reads and writes of records. Whatever must be true together with a record is written with it."""

    def __init__(
        self,
        table: Table,
        locks: Locks,
        versions: Versions,
        requests: Requests,
        slots: Slots,
        calls: CallBudget,
        clock: Callable[[], float],
    ) -> None:
        self._table = table
        self._locks = locks
        self._versions = versions
        self._requests = requests
        self._slots = slots
        self._calls = calls
        self._clock = clock

    def get(self, deployment_id: str) -> Deployment | None:
        """Return the deployment as it is now (a consistent read), or None."""
        item = self._table.get(keys.record(deployment_id))
        return deployment_of(item) if item else None

    def identity(self, deployment_id: str) -> Item | None:
        """Return the requester's identity, as `accept` was given it."""
        return self._table.get(keys.identity(deployment_id))

    def newest(self, index: Index, key: str, before: str | None) -> Iterator[Deployment]:
        """Yield deployments of one function, one project or all, newest first, older than the id `before`.

        They are for views: each has its newest observation alone.
        """
        values = {":key": key} | ({":before": before} if before else {})
        condition = Condition("#key = :key" + (" AND id < :before" if before else ""), values)
        items = self._table.query(
            condition, index=index, names={"#key": _PARTITIONS[index]}, newest_first=True
        )
        yield from map(shown_deployment, items)

    def summaries(
        self, index: Index, key: str, *, before: str | None = None, after: str | None = None
    ) -> Iterator[DeploymentSummary]:
        """Yield the same in short, newest first; with `after`, those with newer ids than that."""
        bounds = {name: value for name, value in ((":before", before), (":after", after)) if value}
        text = {"": "", ":before": " AND id < :before", ":after": " AND id > :after"}.get("".join(bounds))
        if text is None:
            raise ValueError("one bound at most")
        items = self._table.query(
            Condition(f"#key = :key{text}", {":key": key, **bounds}),
            index=index,
            names={"#key": _PARTITIONS[index]},
            newest_first=True,
            page=500 if after else 100,
            attributes=_SUMMARY,
        )
        yield from (read(item, DeploymentSummary) for item in items)

    def unfinished(self) -> Iterator[UnfinishedDeployment]:
        """Yield the deployments that are not final, in short, in any order (an index, so a moment old)."""
        condition = Condition("unfinished = :yes", {":yes": keys.UNFINISHED})
        items = self._table.query(condition, index="unfinished", page=SHORT)
        yield from (read(item, UnfinishedDeployment) for item in items)

    def due(self, now: float) -> Iterator[str]:
        """Yield the ids of those that the janitor looks at by now, the longest due first."""
        values = {":yes": keys.UNFINISHED, ":now": timestamp(now)}
        condition = Condition("unfinished = :yes AND due < :now", values)
        yield from (item["id"] for item in self._table.query(condition, index="unfinished"))

    def put_off(self, deployment: Deployment, due: float) -> None:
        """Have the janitor look at it then, unless it changes before; `due` in epoch seconds."""
        changes = {"due": timestamp(due)}
        try:
            self._table.update(keys.record(deployment.id), changes, _unchanged(deployment))
        except ClientError as error:
            if error.response["Error"]["Code"] != "TransactionConflictException":  # it changes just now
                raise

    def watching(self, target: Target) -> Iterator[WatchingDeployment]:
        """Yield the deployments of a target that look at alarms (an index, so a moment old)."""
        condition = Condition("watching = :target", {":target": keys.watching(target)})
        items = self._table.query(condition, index="watching", page=SHORT)
        yield from (read(item, WatchingDeployment) for item in items)

    def several(self, ids: Sequence[str]) -> list[Deployment]:
        """Return those of these deployments that there are, a moment old at most, in any order."""
        return [deployment_of(item) for item in self._table.get_many([keys.record(each) for each in ids])]

    def accept(
        self,
        deployment: Deployment,
        *,
        request_key: str,
        fingerprint: str,
        uses: Sequence[CredentialUse] = (),
        supersession: Supersession | None = None,
        identity: Mapping[str, Any] | None = None,
        still_serving: Serving | None = None,
        claim: PermanentClaim | None = None,
        slots: Sequence[Slot] = (),
        basis: Basis | None = None,
    ) -> None:
        """Write the record, the request, the uses of its credentials and the alias' lock, or nothing at all.

        What was decided goes into the evidence with it: `basis` is what the acceptance rests on. `identity`
        is kept with it where an approval will need it; `still_serving` is what an alias must still serve;
        `claim` has the request never forgotten; `slots` are those that its rule's limits need.

        Raises, and where several apply the first of: RequestKnown, CredentialUsed, TagMoved, Outdated,
        ServingChanged, Condemned; then, with a supersession, StaleRevision where the lock or a record of it
        has changed, and without one, Busy where another deployment has the alias; last SlotTaken. Contended
        where other transactions were at the same items at every attempt. Nothing was written then.
        """
        tx = self._table.transaction()
        self._requests.add(tx, request_key, AcceptedRequest(deployment.id, fingerprint), claim)
        for use in uses:
            self._requests.use(tx, deployment.id, use)
        if claim is not None:
            self._requests.pin_tag(tx, claim)
        if deployment.plan.ordered and deployment.action != "rollback":
            self._versions.check_pipeline(tx, deployment)
        if still_serving is not None:
            self._versions.check_serving(tx, still_serving)
        if deployment.version is not None:
            self._versions.check_not_condemned(tx, deployment)
        self._locks.take_alias(tx, deployment, supersession)
        alias_conflict = partial(self._locks.alias_conflict, deployment, supersession)
        tx.put(record(deployment), ABSENT, on_conflict=alias_conflict)
        for before, after in supersession.changes if supersession else ():
            tx.put(record(after), _unchanged(before), on_conflict=alias_conflict)
            self._leave_line(tx, before, after)
        if identity is not None:
            tx.put(self._identity_item(deployment, identity))
        for slot in slots:
            self._slots.take(tx, slot, deployment.id)
        if deployment.evidence:
            add_fact(tx, facts.accepted(deployment, basis))
        for before, after in supersession.changes if supersession else ():
            for fact in facts.changes(before, after, basis):
                add_fact(tx, fact)
        tx.commit()

    def save(
        self,
        before: Deployment,
        after: Deployment,
        published: PublishedVersion | None = None,
        uses: Sequence[CredentialUse] = (),
        basis: Basis | None = None,
        newest_pipeline: int | None = None,
        joins: CallWaiter | None = None,
    ) -> frozenset[str]:
        """Replace the record, and with it what must be true together. Return who waited for a lock it frees.

        A decision and an end go into the evidence with it; `basis` is that of the caller who decided.

        Entering `publishing` takes the publishing lock, leaving it frees it; entering `shifting` needs the
        alias' lock; a final status frees that too, or leaves it to its successor, and `succeeded` notes what
        the alias serves. A version that was found to be gone is noted. `newest_pipeline` is what was read of
        that (0 for none): a number that is no larger is not written. `joins` is a place in line for the
        target's control plane.

        Raises, and where several apply the first of: StaleRevision where the record has changed, Busy where
        another deployment has the publishing lock, AliasLockLost where it has the alias', Condemned where it
        reuses a version that the pruner deletes, CredentialUsed where one was used before. Contended where
        other transactions were at the same items at every attempt.
        """
        tx, waiting = self._table.transaction(), set[str]()
        tx.put(record(after), _unchanged(before), on_conflict=partial(self._changed, after))
        if after.status is Status.PUBLISHING and before.status is not Status.PUBLISHING:
            self._locks.take_publish_lock(tx, after)
        if after.status is Status.SHIFTING and before.status is not Status.SHIFTING:
            self._locks.check_alias(tx, after)
        reuses = published is None and after.version not in (None, before.version)
        if reuses and after.status is not Status.SUCCEEDED:
            self._versions.check_not_condemned(tx, after)
        for use in uses:
            self._requests.use(tx, after.id, use)
        if before.status is Status.PUBLISHING and after.status is not Status.PUBLISHING:
            self._locks.release_publish_lock(tx, after, waiting)
        self._leave_line(tx, before, after)
        if joins is not None and after.is_waiting:
            self._calls.join(tx, after.plan.target, joins)
        if after.status.final:
            self._locks.release_alias(tx, after, waiting)
        if after.status is Status.SUCCEEDED:
            self._versions.add_success(tx, after, newest_pipeline, reuses=reuses)
        if published is not None:
            self._versions.add_published(tx, after, published)
        for unusable in after.unusable[len(before.unusable) :]:
            if unusable.gone:
                self._versions.add_gone(tx, after, unusable)
        for fact in facts.changes(before, after, basis):
            add_fact(tx, fact)
        tx.commit()
        return frozenset(waiting)

    def _leave_line(self, tx: Transaction, before: Deployment, after: Deployment) -> None:
        """Leave the line for the target's control plane, where the change ends the wait."""
        if before.in_line and before.is_waiting and not after.is_waiting:
            self._calls.leave(tx, after.plan.target, after.id)

    def _changed(self, after: Deployment) -> StoreError | Resolution:
        """Say why the record is no longer at the revision that was read."""
        return Resolution.TOOK_EFFECT if self.get(after.id) == after else StaleRevision()

    def _identity_item(self, deployment: Deployment, identity: Mapping[str, Any]) -> Item:
        expires = int(self._clock()) + (deployment.plan.approval or 0) + REQUEST_KEPT
        return {**keys.identity(deployment.id), **identity, "expires_at": expires}


def _unchanged(deployment: Deployment) -> Condition:
    """The record is still at the revision that was read."""
    return Condition("revision = :revision", {":revision": deployment.revision})
