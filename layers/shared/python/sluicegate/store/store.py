"""The record: one DynamoDB table, and the transactions that keep its promises.

    pk                                    sk           what
    deployment#ID                         record       the deployment; the truth about it
    deployment#ID                         wait         the task token of its rollout, while that waits
    deployment#ID                         identity     the claims of who asked, where an approval needs them
    request#HASH                          request      (issuer, project, job, key) -> deployment, fingerprint
    token#HASH                            token        (issuer, jti, target, function, alias) -> deployment
    lock#ACCOUNT#REGION#FUNCTION          publish      who publishes this function (lease)
    lock#ACCOUNT#REGION#FUNCTION          alias#ALIAS  who rolls this alias out, and its successor
    versions#ACCOUNT#REGION#FUNCTION      SHA256       the version published from this digest
    artifact#FUNCTION                     SHA256#HASH  who uploaded it, for which commit
    commit#FUNCTION#HASH                  SHA256       what was uploaded for (issuer, project, commit)
    tag#HASH                              tag          (webhook, tag) -> the commit that it was deployed at
    serving                               FUNCTION#... what each alias serves, as far as Sluicegate moved it
    served#ACCOUNT#REGION#FUNCTION#ALIAS  VERSION      a version that succeeded there; is it withdrawn?
    order#ACCOUNT#REGION#FUNCTION#ALIAS   PROJECT      the newest pipeline of a project that succeeded there
    hold#STAGE                            RULE         that a rule's functions are held in the stage, and why
    status#HASH, status#ID                             what GitLab was sent (`notifier.ledger`)

Locks carry account and region (guarantees.md#2-one-deployment-at-a-time). Whatever must be true together is
written together.
"""

import hashlib
import json
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Final

from botocore.exceptions import ClientError

from sluicegate.deployment.durations import seconds
from sluicegate.deployment.model import Deployment, Status
from sluicegate.deployment.plan import Target
from sluicegate.store.codec import Item, deployment_of, marshal, project_key, record, unmarshal

PUBLISH_LEASE: Final = 120
"""Seconds that the publishing lock holds without being renewed, as it is before every change to Lambda."""

REQUEST_KEPT: Final = 32 * 86_400
"""Seconds after which a request is forgotten. No token verifies for that long, so none can ask twice."""

_CONFLICT_TRIES: Final = 6
_CONDITION: Final = "ConditionalCheckFailed"
_NO_SUCCESSOR: Final = " AND attribute_not_exists(successor)"


@dataclass(frozen=True)
class Request:
    """What an idempotency key, or a token's use, stands for."""

    deployment: str
    fingerprint: str


class StoreError(Exception):
    """Base of what the store answers instead of writing."""


class RequestKnown(StoreError):
    """This request was accepted before."""


class TokenUsed(StoreError):
    """The token has asked for something of this alias before: it is good for that one request.

    guarantees.md#5-one-request-one-effect
    """

    def __init__(self, request: Request) -> None:
        super().__init__(request.deployment)
        self.request = request


class Busy(StoreError):
    """The alias is being rolled out by another deployment."""

    def __init__(self, deployment: str) -> None:
        super().__init__(deployment)
        self.deployment = deployment


class TagMoved(StoreError):
    """A webhook has deployed this tag at another commit before."""


class Outdated(StoreError):
    """A newer pipeline of the same project has succeeded there."""


class ServingChanged(StoreError):
    """The alias has come to serve something else since it was read."""


class StaleRevision(StoreError):
    """The record has moved on since it was read: read it again and decide anew."""


class Contended(StoreError):
    """Too many writers at once; nothing was written."""


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
class AliasLock:
    """Who rolls an alias out, and who takes over once that one has ended."""

    deployment: str
    successor: str | None = None


@dataclass(frozen=True)
class TokenUse:
    """What a token is bound to: `key` of (issuer, jti, ...), until `expires` (epoch seconds) and an hour."""

    key: str
    fingerprint: str
    expires: int


@dataclass(frozen=True)
class PermanentClaim:
    """That a request is known for good, and not only for as long as a token can ask again.

    `tag` is the key of a webhook's tag, which from then on stays at `sha`; None where it has none.
    """

    tag: str | None
    sha: str


@dataclass(frozen=True)
class Supersession:
    """Whose place an accepted deployment takes: the lock as it was read, and records that change with it.

    `at_once`: the holder is among those that end by it; otherwise the new deployment is the lock's successor.
    """

    lock: AliasLock
    changes: tuple[tuple[Deployment, Deployment], ...]
    at_once: bool


@dataclass(frozen=True)
class Hold:
    """That new deployments of these functions (patterns) to a stage are held, by a rule's word."""

    stage: str
    rule: str
    functions: tuple[str, ...]
    reason: str
    since: str
    by: Mapping[str, str | None]


@dataclass(frozen=True)
class Upload:
    """An artifact that a job was given a place for."""

    function: str
    sha256: str
    size: int
    issuer: str
    project_id: str
    ref: str
    sha: str


@dataclass(frozen=True)
class Serving:
    """What an alias serves by Sluicegate's doing."""

    function: str
    stage: str
    alias: str
    account: str
    region: str
    version: str
    sha256: str
    weights: Mapping[str, float]
    deployment: str
    since: str
    issuer: str
    project_id: str
    project_path: str | None
    user_login: str | None
    ref: str | None
    sha: str | None


def digest(*parts: str | None) -> str:
    """SHA-256 of the parts, told apart unmistakably: a key of fixed length from values of any length."""
    return hashlib.sha256(json.dumps(parts, ensure_ascii=True).encode()).hexdigest()


class Store:
    """All reads and writes of the table. `client` is a DynamoDB client, `clock` gives epoch seconds."""

    def __init__(
        self,
        client: Any,
        table: str,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client = client
        self._table = table
        self._clock = clock
        self._sleep = sleep

    # Acceptance

    def request(self, key: str) -> Request | None:
        """What this request has accepted before."""
        item = self._get(f"request#{key}", "request")
        return Request(item["deployment"], item["fingerprint"]) if item else None

    def _used(self, token_key: str) -> Request:
        item = self._get(f"token#{token_key}", "token") or {}
        return Request(item.get("deployment", ""), item.get("fingerprint", ""))

    def accept(
        self,
        deployment: Deployment,
        *,
        request_key: str,
        fingerprint: str,
        binding: TokenUse | None,
        takeover: Supersession | None = None,
        identity: Mapping[str, Any] | None = None,
        leaves: Serving | None = None,
        once: PermanentClaim | None = None,
    ) -> None:
        """Write the record, the request, the token's binding and the alias' lock, or nothing at all.

        `identity` is kept with it where an approval will need it; `leaves` is what must be served still;
        `once` has it never forgotten. Raises RequestKnown, TokenUsed, TagMoved, Outdated, ServingChanged,
        Busy, or Contended (nothing was written); with a takeover, StaleRevision where its records have moved
        on.
        """
        now = int(self._clock())
        known = "attribute_not_exists(pk)"
        request: Item = {
            "pk": f"request#{request_key}",
            "sk": "request",
            "deployment": deployment.id,
            "fingerprint": fingerprint,
        }
        if once is None:
            request["expires_at"] = now + REQUEST_KEPT
        writes = {
            "record": self._put(record(deployment), known),
            "request": self._put(request, known),
            "lock": self._take_alias(deployment, takeover),
        }
        if binding is not None:
            writes["token"] = self._bind(deployment, binding)
        if once is not None and once.tag is not None:
            writes["tag"] = self._stay(once.tag, once.sha)
        if identity is not None:
            writes["identity"] = self._put(_identity_item(deployment, identity, now))
        if deployment.plan.ordered and deployment.action != "rollback":
            writes["order"] = self._in_order(deployment)
        if leaves is not None:
            writes["leaves"] = self._still_serves(leaves)
        for number, (before, after) in enumerate(takeover.changes if takeover else ()):
            writes[f"change {number}"] = self._replace(before, after)
        for attempt in range(_CONFLICT_TRIES):
            refused = self._refused(writes)
            if not refused:
                return
            if refused.get("request") == _CONDITION:
                raise RequestKnown
            if refused.get("token") == _CONDITION and binding:
                raise TokenUsed(self._used(binding.key))
            if refused.get("tag") == _CONDITION:
                raise TagMoved
            if refused.get("order") == _CONDITION:
                raise Outdated
            if refused.get("leaves") == _CONDITION:
                raise ServingChanged
            if takeover and _CONDITION in refused.values():
                if self._holds_or_inherits(deployment):
                    return  # took effect unseen
                raise StaleRevision
            if holder := self.alias_lock(deployment.plan.target, deployment.function, deployment.plan.alias):
                if holder.deployment == deployment.id:
                    return  # took effect unseen
                raise Busy(holder.deployment)
            # Another transaction was at the same items, or the lock was freed just now.
            self._back_off(attempt)
        raise Contended

    def _take_alias(self, deployment: Deployment, takeover: Supersession | None) -> Item:
        lock = _alias_lock(deployment)
        if takeover is None:
            return self._put({**lock, "deployment": deployment.id}, "attribute_not_exists(pk)")
        found = takeover.lock
        values = {":holder": found.deployment} | ({":successor": found.successor} if found.successor else {})
        same_successor = "successor = :successor" if found.successor else "attribute_not_exists(successor)"
        owners = (
            {"deployment": deployment.id}
            if takeover.at_once
            else {"deployment": found.deployment, "successor": deployment.id}
        )
        return self._put({**lock, **owners}, f"deployment = :holder AND {same_successor}", values)

    def _bind(self, deployment: Deployment, binding: TokenUse) -> Item:
        item = {
            "pk": f"token#{binding.key}",
            "sk": "token",
            "deployment": deployment.id,
            "fingerprint": binding.fingerprint,
            # Kept until nothing could verify any more, and an hour.
            "expires_at": binding.expires + 3_600,
        }
        # Nor the same once more under another key: it would undo what came after it.
        return self._put(item, "attribute_not_exists(pk)")

    def _stay(self, tag: str, sha: str) -> Item:
        item = {"pk": f"tag#{tag}", "sk": "tag", "sha": sha}
        return self._put(item, "attribute_not_exists(pk) OR sha = :sha", {":sha": sha})

    def _in_order(self, deployment: Deployment) -> Item:
        return {
            "ConditionCheck": {
                "TableName": self._table,
                "Key": marshal(_order_key(deployment)),
                "ConditionExpression": "attribute_not_exists(pk) OR pipeline <= :mine",
                "ExpressionAttributeValues": marshal(
                    {":mine": int(deployment.requested_by.pipeline_id or 0)}
                ),
            }
        }

    def _still_serves(self, serving: Serving) -> Item:
        return {
            "ConditionCheck": {
                "TableName": self._table,
                "Key": marshal(_serving_key(serving)),
                "ConditionExpression": "deployment = :deployment",
                "ExpressionAttributeValues": marshal({":deployment": serving.deployment}),
            }
        }

    def _holds_or_inherits(self, deployment: Deployment) -> bool:
        lock = self.alias_lock(deployment.plan.target, deployment.function, deployment.plan.alias)
        return lock is not None and deployment.id in (lock.deployment, lock.successor)

    # The record

    def deployment(self, deployment_id: str) -> Deployment | None:
        """The deployment as it is now (a consistent read)."""
        item = self._get(f"deployment#{deployment_id}", "record")
        return deployment_of(item) if item else None

    def save(
        self,
        before: Deployment,
        after: Deployment,
        published: PublishedVersion | None = None,
        binding: TokenUse | None = None,
    ) -> None:
        """Replace the record, and with it what must be true together.

        Entering `publishing` takes the publishing lock, leaving it frees it; a final status frees the alias'
        lock too, or leaves it to its successor, and `succeeded` notes what the alias serves. Raises
        StaleRevision where the record has moved on, Busy where the publishing lock is somebody else's,
        TokenUsed where the binding's token is bound already.
        """
        entering = after.status is Status.PUBLISHING and before.status is not Status.PUBLISHING
        writes = {"record": self._replace(before, after)}
        if entering:
            writes["turn"] = self._take_publish_lock(after)
        if before.status is Status.PUBLISHING and after.status is not Status.PUBLISHING:
            writes["publish lock"] = self._free(_publish_lock(after), after.id)
        if after.status.final:
            writes["alias lock"] = self._free(_alias_lock(after), after.id, _NO_SUCCESSOR)
        if after.status is Status.SUCCEEDED:
            writes |= self._success(after)
        if published is not None:
            writes["published"] = self._put(_published_item(after, published))
        if binding is not None:
            writes["token"] = self._bind(after, binding)
        for attempt in range(_CONFLICT_TRIES):
            refused = self._refused(writes)
            if not refused:
                return
            if refused.get("record") == _CONDITION:
                if self.deployment(after.id) == after:
                    return  # took effect unseen
                raise StaleRevision
            if refused.get("turn") == _CONDITION:
                lock = _publish_lock(after)
                holder = self._get(lock["pk"], lock["sk"])
                raise Busy(holder["deployment"] if holder else "another deployment")
            if refused.get("token") == _CONDITION and binding:
                raise TokenUsed(self._used(binding.key))
            failed = [name for name, code in refused.items() if code == _CONDITION]
            for name in failed:
                # A lock to free is somebody else's by now: its lease ran out. What it protected is fenced
                # by revision ids; freeing theirs would not be. Or a newer pipeline is noted already.
                del writes[name]
            if "alias lock" in failed and (left := self._leave_alias(after)):
                writes["alias lock"] = left
            if not failed:
                self._back_off(attempt)
        raise Contended

    def _take_publish_lock(self, deployment: Deployment) -> Item:
        now = int(self._clock())
        return self._put(
            {**_publish_lock(deployment), "deployment": deployment.id, "lease": now + PUBLISH_LEASE},
            "attribute_not_exists(pk) OR deployment = :me OR lease < :now",
            {":me": deployment.id, ":now": now},
        )

    def _leave_alias(self, deployment: Deployment) -> Item | None:
        """The lock goes to the successor; or stays with its holder, without an successor that has ended
        first.

        None where it is somebody else's altogether. It may have been left to this deployment just now.
        """
        plan, lock = deployment.plan, _alias_lock(deployment)
        found = self.alias_lock(plan.target, deployment.function, plan.alias)
        if found is None or deployment.id not in (found.deployment, found.successor):
            return None
        if found.successor is None:
            return self._free(lock, deployment.id, _NO_SUCCESSOR)
        stays = found.successor if deployment.id == found.deployment else found.deployment
        return self._put(
            {**lock, "deployment": stays},
            "deployment = :holder AND successor = :successor",
            {":holder": found.deployment, ":successor": found.successor},
        )

    def _success(self, deployment: Deployment) -> dict[str, Item]:
        """What the alias serves, that it did so, what a rollback withdrew, and how far the pipelines are."""
        found, pipeline = deployment.original, deployment.requested_by.pipeline_id or ""
        writes = {
            "serving": self._put(_serving(deployment)),
            "served": self._put(
                {
                    "pk": _served_key(deployment.plan.target, deployment.function, deployment.plan.alias),
                    "sk": deployment.version,
                    **asdict(
                        ServedVersion(deployment.version or "", deployment.sha256, deployment.id, False)
                    ),
                }
            ),
        }
        if deployment.action != "rollback":
            if pipeline.isdecimal() and pipeline.isascii():
                writes["order"] = self._update(
                    _order_key(deployment),
                    "SET pipeline = :mine",
                    "attribute_not_exists(pk) OR pipeline < :mine",
                    {":mine": int(pipeline)},
                )
        elif found and found.version != deployment.version:
            key = _served_key(deployment.plan.target, deployment.function, deployment.plan.alias)
            writes["withdrawn"] = self._update(
                {"pk": key, "sk": found.version},
                "SET withdrawn = :yes",
                "attribute_exists(pk)",
                {":yes": True},
            )
        return writes

    def renew_publish_lock(self, deployment: Deployment) -> bool:
        """Extend the lease; False where it is not ours any more. Called before each change to Lambda."""
        lock = _publish_lock(deployment)
        try:
            self._client.update_item(
                TableName=self._table,
                Key=marshal({"pk": lock["pk"], "sk": lock["sk"]}),
                UpdateExpression="SET lease = :lease",
                ConditionExpression="deployment = :me",
                ExpressionAttributeValues=marshal(
                    {":lease": int(self._clock()) + PUBLISH_LEASE, ":me": deployment.id}
                ),
            )
        except ClientError as error:
            if error.response["Error"]["Code"] == "ConditionalCheckFailedException":
                return False
            raise
        return True

    def holds_alias(self, deployment: Deployment) -> bool:
        """Whether the alias' lock is this deployment's."""
        lock = _alias_lock(deployment)
        item = self._get(lock["pk"], lock["sk"])
        return item is not None and item["deployment"] == deployment.id

    def alias_lock(self, target: Target, function: str, alias: str) -> AliasLock | None:
        """Who rolls this alias out, if anybody does."""
        item = self._get(_lock_key(target, function), f"alias#{alias}")
        return AliasLock(item["deployment"], item.get("successor")) if item else None

    # Waiting

    def wait(self, deployment_id: str, token: str, expires: int) -> None:
        """Note the task token that wakes the rollout; `expires` in epoch seconds."""
        key = {"pk": f"deployment#{deployment_id}", "sk": "wait"}
        item = {**key, "token": token, "expires_at": expires}
        self._client.put_item(TableName=self._table, Item=marshal(item))

    def waiting(self, deployment_id: str) -> str | None:
        """The task token of the rollout's last wait, over or not."""
        item = self._get(f"deployment#{deployment_id}", "wait")
        return item["token"] if item else None

    def identity(self, deployment_id: str) -> Item | None:
        """Who asked, as `accept` was given it."""
        return self._get(f"deployment#{deployment_id}", "identity")

    # Holds

    def hold(self, hold: Hold) -> None:
        """Put a hold, in the place of an earlier one of the same rule."""
        item = {"pk": f"hold#{hold.stage}", "sk": hold.rule, **asdict(hold)}
        self._client.put_item(TableName=self._table, Item=marshal(item))

    def holds(self, stage: str) -> list[Hold]:
        """The holds of a stage, as they are now."""
        query = {
            "KeyConditionExpression": "pk = :pk",
            "ExpressionAttributeValues": marshal({":pk": f"hold#{stage}"}),
            "ConsistentRead": True,
        }
        names = [field.name for field in fields(Hold)]
        found = [{name: item[name] for name in names} for item in self._query(query)]
        return [Hold(**{**item, "functions": tuple(item["functions"])}) for item in found]

    def release(self, hold: Hold) -> None:
        """Take a hold away; one that is gone is fine."""
        key = {"pk": f"hold#{hold.stage}", "sk": hold.rule}
        self._client.delete_item(TableName=self._table, Key=marshal(key))

    # Versions, artifacts, what is served

    def published(self, target: Target, function: str, sha256: str) -> PublishedVersion | None:
        """The version that Sluicegate published for this function from this digest."""
        item = self._get(_versions_key(target, function), sha256)
        if item is None:
            return None
        return PublishedVersion(item["version"], item["settings"], item["salt"], item["deployment"])

    def served(self, target: Target, function: str, alias: str) -> list[ServedVersion]:
        """The versions that succeeded behind an alias, the one that did so last first."""
        query = {
            "KeyConditionExpression": "pk = :pk",
            "ExpressionAttributeValues": marshal({":pk": _served_key(target, function, alias)}),
            "ConsistentRead": True,
        }
        names = [field.name for field in fields(ServedVersion)]
        found = [ServedVersion(**{name: item[name] for name in names}) for item in self._query(query)]
        # Ids of deployments sort by time, and one alias has one deployment at a time.
        return sorted(found, key=lambda one: one.deployment, reverse=True)

    def register(self, upload: Upload) -> None:
        """Note who uploads an artifact, and for which commit. Twice is once."""
        owner = digest(upload.issuer, upload.project_id, upload.ref, upload.sha)
        item = {
            "pk": f"artifact#{upload.function}",
            "sk": f"{upload.sha256}#{owner}",
            "created_at": int(self._clock()),
            **asdict(upload),
        }
        # `function` is the key of an index of deployments; an upload must not appear there.
        item.pop("function")
        self._client.put_item(TableName=self._table, Item=marshal(item))
        if upload.sha:
            pk = _commit_key(upload.function, upload.issuer, upload.project_id, upload.sha)
            commit = {"pk": pk, "sk": upload.sha256, "created_at": item["created_at"]}
            self._client.put_item(TableName=self._table, Item=marshal(commit))

    def of_commit(self, function: str, issuer: str, project_id: str, sha: str) -> list[str]:
        """The SHA-256 of what jobs of the project announced for a commit, the newest first."""
        query = {
            "KeyConditionExpression": "pk = :pk",
            "ExpressionAttributeValues": marshal({":pk": _commit_key(function, issuer, project_id, sha)}),
            "ConsistentRead": True,
        }
        found = sorted(self._query(query), key=lambda item: (item["created_at"], item["sk"]), reverse=True)
        return [item["sk"] for item in found]

    def registered(self, function: str, sha256: str) -> bool:
        """Whether a place was given for this digest under this function."""
        answer = self._client.query(
            TableName=self._table,
            KeyConditionExpression="pk = :pk AND begins_with(sk, :sk)",
            ExpressionAttributeValues=marshal({":pk": f"artifact#{function}", ":sk": f"{sha256}#"}),
            Limit=1,
            ConsistentRead=True,
        )
        return bool(answer["Items"])

    def serving(self, function: str | None = None, after: str | None = None) -> Iterator[Serving]:
        """What aliases serve: of one function, or of all whose names come after `after`, by name."""
        if function is not None:
            condition, sk = "pk = :pk AND begins_with(sk, :sk)", f"{function}#"
        else:
            # "$" is the character after "#": past all stages of that function, before any longer name.
            condition, sk = "pk = :pk AND sk > :sk", f"{after}$" if after else " "
        query = {
            "KeyConditionExpression": condition,
            "ExpressionAttributeValues": marshal({":pk": "serving", ":sk": sk}),
        }
        names = {f.name for f in fields(Serving)}
        for item in self._query(query):
            yield Serving(**{**{k: v for k, v in item.items() if k in names}, "function": item["name"]})

    # Lists

    def deployments(self, index: str, key: str, before: str | None) -> Iterator[Deployment]:
        """Deployments of one function, one project or all, newest first, older than the id `before`."""
        attribute = {"by_function": "function", "by_project": "project", "by_time": "all"}[index]
        values = {":key": key} | ({":before": before} if before else {})
        query = {
            "IndexName": index,
            "KeyConditionExpression": "#key = :key" + (" AND id < :before" if before else ""),
            "ExpressionAttributeNames": {"#key": attribute},
            "ExpressionAttributeValues": marshal(values),
            "ScanIndexForward": False,
        }
        for item in self._query(query):
            yield deployment_of(item)

    def unfinished(self) -> Iterator[Deployment]:
        """Deployments that are not final, oldest first (an index, so a moment old)."""
        query = {
            "IndexName": "open",
            "KeyConditionExpression": "#key = :key",
            "ExpressionAttributeNames": {"#key": "open"},
            "ExpressionAttributeValues": marshal({":key": "open"}),
        }
        for item in self._query(query):
            yield deployment_of(item)

    # DynamoDB

    def _get(self, pk: str, sk: str) -> Item | None:
        answer = self._client.get_item(
            TableName=self._table, Key=marshal({"pk": pk, "sk": sk}), ConsistentRead=True
        )
        return unmarshal(answer["Item"]) if "Item" in answer else None

    def _query(self, query: Mapping[str, Any], page: int = 100) -> Iterator[Item]:
        start: dict[str, Any] = {}
        while True:
            answer = self._client.query(TableName=self._table, Limit=page, **query, **start)
            yield from map(unmarshal, answer["Items"])
            if "LastEvaluatedKey" not in answer:
                return
            start = {"ExclusiveStartKey": answer["LastEvaluatedKey"]}

    def _put(self, item: Item, condition: str | None = None, values: Mapping[str, Any] | None = None) -> Item:
        put: Item = {"TableName": self._table, "Item": marshal(item)}
        if condition:
            put["ConditionExpression"] = condition
        if values:
            put["ExpressionAttributeValues"] = marshal(values)
        return {"Put": put}

    def _replace(self, before: Deployment, after: Deployment) -> Item:
        return self._put(record(after), "revision = :revision", {":revision": before.revision})

    def _update(self, key: Item, expression: str, condition: str, values: Mapping[str, Any]) -> Item:
        return {
            "Update": {
                "TableName": self._table,
                "Key": marshal(key),
                "UpdateExpression": expression,
                "ConditionExpression": condition,
                "ExpressionAttributeValues": marshal(values),
            }
        }

    def _free(self, lock: Item, owner: str, condition: str = "") -> Item:
        return {
            "Delete": {
                "TableName": self._table,
                "Key": marshal({"pk": lock["pk"], "sk": lock["sk"]}),
                "ConditionExpression": f"attribute_not_exists(pk) OR (deployment = :me{condition})",
                "ExpressionAttributeValues": marshal({":me": owner}),
            }
        }

    def _back_off(self, attempt: int) -> None:
        self._sleep(random.uniform(0, 0.02 * 2**attempt))  # noqa: S311 (jitter, not a secret)

    def _refused(self, writes: Mapping[str, Item]) -> dict[str, str]:
        """Write all or nothing. Empty: written; else why not, by the names of the writes in the way."""
        reasons = self._transact(list(writes.values()))
        return {name: code for name, code in zip(writes, reasons, strict=False) if code != "None"}

    def _transact(self, writes: Sequence[Item]) -> list[str]:
        """Write all or nothing. Empty: written; else the reason of each write, `None` where it was fine.

        botocore sends one ClientRequestToken with all its own retries, so a retry of a transaction that took
        effect unseen is answered as a success (DynamoDB developer guide, TransactWriteItems).
        """
        try:
            self._client.transact_write_items(TransactItems=list(writes))
        except ClientError as error:
            if error.response["Error"]["Code"] != "TransactionCanceledException":
                raise
            return [reason.get("Code", "None") for reason in error.response["CancellationReasons"]]
        return []


def _lock_key(target: Target, function: str) -> str:
    return f"lock#{target.account}#{target.region}#{function}"


def _served_key(target: Target, function: str, alias: str) -> str:
    return f"served#{target.account}#{target.region}#{function}#{alias}"


def _order_key(deployment: Deployment) -> Item:
    target, by = deployment.plan.target, deployment.requested_by
    pk = f"order#{target.account}#{target.region}#{deployment.function}#{deployment.plan.alias}"
    return {"pk": pk, "sk": project_key(by.issuer, by.project_id)}


def _identity_item(deployment: Deployment, identity: Mapping[str, Any], now: int) -> Item:
    key = {"pk": f"deployment#{deployment.id}", "sk": "identity"}
    return {**key, **identity, "expires_at": now + (deployment.plan.approval or 0) + REQUEST_KEPT}


def _commit_key(function: str, issuer: str, project_id: str, sha: str) -> str:
    return f"commit#{function}#{digest(issuer, project_id, sha)}"


def _versions_key(target: Target, function: str) -> str:
    return f"versions#{target.account}#{target.region}#{function}"


def _publish_lock(deployment: Deployment) -> Item:
    return {"pk": _lock_key(deployment.plan.target, deployment.function), "sk": "publish"}


def _alias_lock(deployment: Deployment) -> Item:
    plan = deployment.plan
    return {"pk": _lock_key(plan.target, deployment.function), "sk": f"alias#{plan.alias}"}


def _published_item(deployment: Deployment, published: PublishedVersion) -> Item:
    key = _versions_key(deployment.plan.target, deployment.function)
    return {"pk": key, "sk": deployment.sha256, **asdict(published)}


def _serving(deployment: Deployment) -> Item:
    plan, by = deployment.plan, deployment.requested_by
    serving = Serving(
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
    item = asdict(serving)
    item["name"] = item.pop("function")
    return {**_serving_key(serving), **item}


def _serving_key(serving: Serving) -> Item:
    where = (serving.function, serving.stage, serving.account, serving.region, serving.alias)
    return {"pk": "serving", "sk": "#".join(where)}


def age(deployment: Deployment, now: float) -> float:
    """Seconds since the deployment last changed."""
    return now - seconds(deployment.updated_at)
