"""What GitLab was told, in the table: so that nothing is said twice, and no older word after a newer one.

    pk           sk            what
    told#HASH    status        the state that a commit status has, and by which deployment; who speaks now
    told#ID      deployment    GitLab's own deployment for this one, and its state

Whoever speaks of a status has claimed it: GitLab would take an old state for the beginning of a new status.
A claim is a lease. One that is not settled is left to run out, for GitLab may still be at what it was asked.
All is under `told#`: the notifier's role can write nothing else.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import astuple, dataclass
from typing import Any, Final

from botocore.exceptions import ClientError

from sluicegate.notifier.commit_status import Mirror, State, Subject, Told
from sluicegate.store.codec import Item, marshal, unmarshal
from sluicegate.store.store import digest

LEASE: Final = 30
"""Seconds of a claim. GitLab waits up to ten for its own lock, whether anybody still listens or not."""

KEPT: Final = 32 * 86_400
"""Seconds after which it is forgotten what was told; no event waits for that long."""


@dataclass(frozen=True)
class LedgerEntry:
    """What is known of a subject: what was told, since how many claims, and until when somebody speaks."""

    told: Told | None = None
    claims: int = 0
    until: float = 0


@dataclass(frozen=True)
class Lease:
    """The right to speak of a subject, until then (epoch seconds)."""

    subject: Subject
    number: int
    until: float


class Leased(Exception):
    """Somebody else speaks of it; ask again after so many seconds."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds


class StatusLedger:
    """Reads and writes what was told. `client` is a DynamoDB client, `clock` gives epoch seconds."""

    def __init__(self, client: Any, table: str, clock: Callable[[], float] = time.time) -> None:
        self._client = client
        self._table = table
        self._clock = clock

    def line(self, subject: Subject) -> LedgerEntry:
        """What is known of a subject."""
        item = self._get(_status_key(subject))
        if item is None:
            return LedgerEntry()
        state = item.get("state")
        told = Told(item["deployment"], State(state)) if state else None
        return LedgerEntry(told, int(item["claims"]), float(item["until"]))

    def claim(self, subject: Subject, line: LedgerEntry) -> Lease:
        """Begin to speak, if nobody else has since the line was read. Raises Leased."""
        now = self._clock()
        if line.until > now:
            raise Leased(line.until - now)
        claim = Lease(subject, line.claims + 1, now + LEASE)
        if not self._update(subject, line.claims, {"claims": claim.number, "until": claim.until}):
            raise Leased(LEASE)
        return claim

    def settle(self, claim: Lease, told: Told | None, *, until: float = 0) -> None:
        """Note what was told, and end the claim, or let it run `until` then.

        A claim that ran out, and is another's by now, changes nothing.
        """
        values: dict[str, Any] = {"until": until}
        if told is not None:
            values |= {"deployment": told.deployment, "state": told.state}
        self._update(claim.subject, claim.number, values)

    def mirror(self, deployment_id: str) -> Mirror | None:
        """GitLab's deployment for this one, where it was ever asked for."""
        item = self._get(_mirror_key(deployment_id))
        return Mirror(item["number"], State(item["state"])) if item else None

    def note(self, deployment_id: str, mirror: Mirror) -> None:
        """Note GitLab's deployment; by who has the claim, so that nobody else does."""
        item = {**_mirror_key(deployment_id), "number": mirror.number, "state": mirror.state}
        self._client.put_item(TableName=self._table, Item=marshal({**item, **self._expiry()}))

    def _update(self, subject: Subject, claims: int, values: Mapping[str, Any]) -> bool:
        """Set these, unless the item has been claimed since it had so many claims."""
        values = {**values, **self._expiry()}
        given = {f":{name}": value for name, value in values.items()}
        condition = "claims = :found" if claims else "attribute_not_exists(pk)"
        try:
            self._client.update_item(
                TableName=self._table,
                Key=marshal(_status_key(subject)),
                UpdateExpression="SET " + ", ".join(f"#{name} = :{name}" for name in values),
                ConditionExpression=condition,
                ExpressionAttributeNames={f"#{name}": name for name in values},
                ExpressionAttributeValues=marshal({**given, **({":found": claims} if claims else {})}),
            )
        except ClientError as error:
            if error.response["Error"]["Code"] == "ConditionalCheckFailedException":
                return False
            raise
        return True

    def _expiry(self) -> dict[str, int]:
        return {"expires_at": int(self._clock()) + KEPT}

    def _get(self, key: Item) -> Item | None:
        answer = self._client.get_item(TableName=self._table, Key=marshal(key), ConsistentRead=True)
        return unmarshal(answer["Item"]) if "Item" in answer else None


def _status_key(subject: Subject) -> Item:
    return {"pk": f"told#{digest(*astuple(subject))}", "sk": "status"}


def _mirror_key(deployment_id: str) -> Item:
    return {"pk": f"told#{deployment_id}", "sk": "deployment"}
