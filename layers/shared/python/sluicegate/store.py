"""The record: one DynamoDB table, and the transactions that keep its promises.

    pk                                   sk            what
    deployment#ID                        record        the deployment; the truth about it
    request#HASH                         request       (issuer, project, job, key) -> deployment, fingerprint
    token#HASH                           token         (issuer, jti, target, function, alias) -> deployment
    lock#ACCOUNT#REGION#FUNCTION         publish       who publishes this function (lease)
    lock#ACCOUNT#REGION#FUNCTION         alias#ALIAS   who rolls this alias out (until it is final)
    versions#ACCOUNT#REGION#FUNCTION     SHA256        the version published from this digest
    artifact#FUNCTION                    SHA256#HASH   who uploaded it, for which commit
    serving                              FUNCTION#...  what each alias serves, as far as Sluicegate moved it

Locks carry account and region (promise 2). Whatever must be true together is written together.
"""

import hashlib
import json
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from decimal import Decimal
from typing import Any, Final

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from botocore.exceptions import ClientError

from sluicegate.deployment import (
    AliasOutcome,
    AliasState,
    Deployment,
    Entry,
    Reason,
    Requester,
    Status,
    seconds,
)
from sluicegate.plan import Plan, Step, Target

PUBLISH_LEASE: Final = 120
"""Seconds that the publishing lock holds without being renewed, as it is before every change to Lambda."""

REQUEST_KEPT: Final = 32 * 86_400
"""Seconds after which a request is forgotten. No token verifies for that long, so none can ask twice."""

_CONFLICT_TRIES: Final = 6

Item = dict[str, Any]


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
    """The token has asked for something of this alias before: it is good for that one request (promise 5)."""

    def __init__(self, request: Request) -> None:
        super().__init__(request.deployment)
        self.request = request


class Busy(StoreError):
    """The alias is being rolled out by another deployment."""

    def __init__(self, deployment: str) -> None:
        super().__init__(deployment)
        self.deployment = deployment


class Changed(StoreError):
    """The record has moved on since it was read: read it again and decide anew."""


class Contended(StoreError):
    """Too many writers at once; nothing was written."""


@dataclass(frozen=True)
class PublishedVersion:
    """A version that Sluicegate published, and what the function's configuration was then.

    `settings` maps the name of a setting to a salted digest of its value, so that a change can be named
    and no value is kept (promise 7).
    """

    version: str
    settings: Mapping[str, str]
    salt: str
    deployment: str


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

    def _used(self, token_key: str | None) -> Request:
        item = self._get(f"token#{token_key}", "token") or {}
        return Request(item.get("deployment", ""), item.get("fingerprint", ""))

    def accept(
        self,
        deployment: Deployment,
        *,
        request_key: str,
        fingerprint: str,
        token_key: str | None,
        token_expires: int,
    ) -> None:
        """Write the record, the request, the token's binding and the alias' lock, or nothing at all.

        Raises RequestKnown, TokenUsed, Busy, or Contended (nothing was written).
        """
        now = int(self._clock())
        lock = _alias_lock(deployment)
        puts = [
            self._put(_record(deployment), "attribute_not_exists(pk)"),
            self._put(
                {
                    "pk": f"request#{request_key}",
                    "sk": "request",
                    "deployment": deployment.id,
                    "fingerprint": fingerprint,
                    "expires_at": now + REQUEST_KEPT,
                },
                "attribute_not_exists(pk)",
            ),
            self._put({**lock, "deployment": deployment.id}, "attribute_not_exists(pk)"),
        ]
        if token_key is not None:
            puts.append(
                self._put(
                    {
                        "pk": f"token#{token_key}",
                        "sk": "token",
                        "deployment": deployment.id,
                        "fingerprint": fingerprint,
                        # Kept until nothing could verify any more, and an hour.
                        "expires_at": token_expires + 3_600,
                    },
                    # Nor the same once more under another key: it would undo what came after it.
                    "attribute_not_exists(pk)",
                )
            )
        for attempt in range(_CONFLICT_TRIES):
            refused = self._transact(puts)
            if not refused:
                return
            if refused[1] == "ConditionalCheckFailed":
                raise RequestKnown
            if len(refused) > 3 and refused[3] == "ConditionalCheckFailed":
                raise TokenUsed(self._used(token_key))
            if holder := self._get(lock["pk"], lock["sk"]):
                if holder["deployment"] == deployment.id:
                    return  # took effect unseen
                raise Busy(holder["deployment"])
            # Another transaction was at the same items, or the lock was freed just now.
            self._sleep(random.uniform(0, 0.02 * 2**attempt))  # noqa: S311 (jitter, not a secret)
        raise Contended

    # The record

    def deployment(self, deployment_id: str) -> Deployment | None:
        """The deployment as it is now (a consistent read)."""
        item = self._get(f"deployment#{deployment_id}", "record")
        return _deployment(item) if item else None

    def save(self, before: Deployment, after: Deployment, published: PublishedVersion | None = None) -> None:
        """Replace the record, and with it what must be true together.

        Entering `publishing` takes the publishing lock, leaving it frees it; a final status frees the alias'
        lock too, and `succeeded` notes what the alias serves. Raises Changed where the record has moved on,
        Busy where the publishing lock is somebody else's.
        """
        writes = [self._put(_record(after), "revision = :revision", {":revision": before.revision})]
        lock = _publish_lock(after)
        entering = after.status is Status.PUBLISHING and before.status is not Status.PUBLISHING
        if entering:
            now = int(self._clock())
            writes.append(
                self._put(
                    {**lock, "deployment": after.id, "lease": now + PUBLISH_LEASE},
                    "attribute_not_exists(pk) OR deployment = :me OR lease < :now",
                    {":me": after.id, ":now": now},
                )
            )
        if before.status is Status.PUBLISHING and after.status is not Status.PUBLISHING:
            writes.append(self._free(lock, after.id))
        if after.status.final:
            writes.append(self._free(_alias_lock(after), after.id))
        if after.status is Status.SUCCEEDED:
            writes.append(self._put(_serving(after)))
        if published is not None:
            writes.append(self._put(_published_item(after, published)))
        for attempt in range(_CONFLICT_TRIES):
            refused = self._transact(writes)
            if not refused:
                return
            if refused[0] == "ConditionalCheckFailed":
                if self.deployment(after.id) == after:
                    return  # took effect unseen
                raise Changed
            if entering and refused[1] == "ConditionalCheckFailed":
                holder = self._get(lock["pk"], lock["sk"])
                raise Busy(holder["deployment"] if holder else "another deployment")
            if any(code == "ConditionalCheckFailed" for code in refused[1:]):
                # A lock to free is somebody else's by now: its lease ran out. What it protected is fenced
                # by revision ids; freeing theirs would not be.
                writes = [
                    w for w, code in zip(writes, refused, strict=True) if code != "ConditionalCheckFailed"
                ]
                continue
            self._sleep(random.uniform(0, 0.02 * 2**attempt))  # noqa: S311 (jitter, not a secret)
        raise Contended

    def renew_publish_lock(self, deployment: Deployment) -> bool:
        """Extend the lease; False where it is not ours any more. Called before each change to Lambda."""
        lock = _publish_lock(deployment)
        try:
            self._client.update_item(
                TableName=self._table,
                Key=_marshal({"pk": lock["pk"], "sk": lock["sk"]}),
                UpdateExpression="SET lease = :lease",
                ConditionExpression="deployment = :me",
                ExpressionAttributeValues=_marshal(
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

    def alias_lock(self, target: Target, function: str, alias: str) -> str | None:
        """The deployment that rolls this alias out, if one does."""
        item = self._get(_lock_key(target, function), f"alias#{alias}")
        return item["deployment"] if item else None

    # Versions, artifacts, what is served

    def published(self, target: Target, function: str, sha256: str) -> PublishedVersion | None:
        """The version that Sluicegate published for this function from this digest."""
        item = self._get(_versions_key(target, function), sha256)
        if item is None:
            return None
        return PublishedVersion(item["version"], item["settings"], item["salt"], item["deployment"])

    def register(self, upload: Upload) -> None:
        """Note who uploads an artifact. Twice is once."""
        owner = digest(upload.issuer, upload.project_id, upload.ref, upload.sha)
        item = {
            "pk": f"artifact#{upload.function}",
            "sk": f"{upload.sha256}#{owner}",
            "created_at": int(self._clock()),
            **asdict(upload),
        }
        # `function` is the key of an index of deployments; an upload must not appear there.
        item.pop("function")
        self._client.put_item(TableName=self._table, Item=_marshal(item))

    def registered(self, function: str, sha256: str) -> bool:
        """Whether a place was given for this digest under this function."""
        answer = self._client.query(
            TableName=self._table,
            KeyConditionExpression="pk = :pk AND begins_with(sk, :sk)",
            ExpressionAttributeValues=_marshal({":pk": f"artifact#{function}", ":sk": f"{sha256}#"}),
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
            "ExpressionAttributeValues": _marshal({":pk": "serving", ":sk": sk}),
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
            "ExpressionAttributeValues": _marshal(values),
            "ScanIndexForward": False,
        }
        for item in self._query(query):
            yield _deployment(item)

    def unfinished(self) -> Iterator[Deployment]:
        """Deployments that are not final, oldest first (an index, so a moment old)."""
        query = {
            "IndexName": "open",
            "KeyConditionExpression": "#key = :key",
            "ExpressionAttributeNames": {"#key": "open"},
            "ExpressionAttributeValues": _marshal({":key": "open"}),
        }
        for item in self._query(query):
            yield _deployment(item)

    # DynamoDB

    def _get(self, pk: str, sk: str) -> Item | None:
        answer = self._client.get_item(
            TableName=self._table, Key=_marshal({"pk": pk, "sk": sk}), ConsistentRead=True
        )
        return _unmarshal(answer["Item"]) if "Item" in answer else None

    def _query(self, query: Mapping[str, Any], page: int = 100) -> Iterator[Item]:
        start: dict[str, Any] = {}
        while True:
            answer = self._client.query(TableName=self._table, Limit=page, **query, **start)
            yield from map(_unmarshal, answer["Items"])
            if "LastEvaluatedKey" not in answer:
                return
            start = {"ExclusiveStartKey": answer["LastEvaluatedKey"]}

    def _put(self, item: Item, condition: str | None = None, values: Mapping[str, Any] | None = None) -> Item:
        put: Item = {"TableName": self._table, "Item": _marshal(item)}
        if condition:
            put["ConditionExpression"] = condition
        if values:
            put["ExpressionAttributeValues"] = _marshal(values)
        return {"Put": put}

    def _free(self, lock: Item, owner: str) -> Item:
        return {
            "Delete": {
                "TableName": self._table,
                "Key": _marshal({"pk": lock["pk"], "sk": lock["sk"]}),
                "ConditionExpression": "attribute_not_exists(pk) OR deployment = :me",
                "ExpressionAttributeValues": _marshal({":me": owner}),
            }
        }

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
    sk = f"{deployment.function}#{deployment.stage}#{plan.target.account}#{plan.target.region}#{plan.alias}"
    return {"pk": "serving", "sk": sk, **item}


def project_key(issuer: str, project_id: str | None) -> str:
    """The index key of a project: always with its issuer."""
    return f"{project_id}@{issuer}"


def _record(deployment: Deployment) -> Item:
    item = asdict(deployment)
    by = deployment.requested_by
    item |= {
        "pk": f"deployment#{deployment.id}",
        "sk": "record",
        "project": project_key(by.issuer, by.project_id),
        "all": "deployments",
    }
    if not deployment.status.final:
        item["open"] = "open"
    return item


def _deployment(item: Item) -> Deployment:
    names = {f.name for f in fields(Deployment)}
    values = {key: value for key, value in item.items() if key in names}
    plan = values["plan"]
    values |= {
        "status": Status(values["status"]),
        "plan": Plan(
            Target(**plan["target"]),
            plan["alias"],
            tuple(Step(**step) for step in plan["steps"]),
            plan["gate"],
        ),
        "requested_by": Requester(**values["requested_by"]),
        "timeline": tuple(
            Entry(e["seq"], e["at"], Status(e["status"]), e["message"]) for e in values["timeline"]
        ),
        "found": _alias_state(values["found"]),
        "now": _alias_state(values["now"]),
        "outcome": values["outcome"] and AliasOutcome(values["outcome"]),
        "reason": values["reason"] and Reason(**values["reason"]),
    }
    return Deployment(**values)


def deployment_of(image: Mapping[str, Any]) -> Deployment:
    """The deployment in an image of its record, as the table's stream has it (DynamoDB's typed JSON)."""
    return _deployment(_unmarshal(image))


def _alias_state(value: Mapping[str, Any] | None) -> AliasState | None:
    return AliasState(value["version"], dict(value["weights"])) if value else None


def _plain(value: Any) -> Any:
    """To what boto3's serializer takes: decimals for floats, lists for tuples, plain strings for enums."""
    match value:
        case float():
            return Decimal(str(value))
        case Status() | AliasOutcome():
            return value.value
        case Mapping():
            return {key: _plain(item) for key, item in value.items()}
        case list() | tuple():
            return [_plain(item) for item in value]
        case _:
            return value


def _python(value: Any) -> Any:
    match value:
        case Decimal():
            return int(value) if value == value.to_integral_value() else float(value)
        case dict():
            return {key: _python(item) for key, item in value.items()}
        case list():
            return [_python(item) for item in value]
        case _:
            return value


_serializer: Final = TypeSerializer()
_deserializer: Final = TypeDeserializer()


def _marshal(item: Mapping[str, Any]) -> Item:
    return {key: _serializer.serialize(_plain(value)) for key, value in item.items()}


def _unmarshal(item: Mapping[str, Any]) -> Item:
    return {key: _python(_deserializer.deserialize(value)) for key, value in item.items()}


def age(deployment: Deployment, now: float) -> float:
    """Seconds since the deployment last changed."""
    return now - seconds(deployment.updated_at)
