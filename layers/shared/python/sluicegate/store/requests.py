"""Accepted requests, the one use of each token and session, and what is known for good.

guarantees.md#5-one-request-one-effect
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Final, Literal

from sluicegate.store import keys
from sluicegate.store.codec import read
from sluicegate.store.errors import CredentialUsed, RequestKnown, TagMoved
from sluicegate.store.table import ABSENT, Condition, Table, Transaction

REQUEST_KEPT: Final = 32 * 86_400
"""Seconds after which a request is forgotten. No token verifies for that long, so none can ask twice."""

LONGEST_SESSION: Final = 12 * 3_600
"""Seconds that a role's session lasts at most (IAM API reference, CreateRole, read on 2026-11-26)."""

_USE_KEPT: Final = 3_600
"""Seconds for which the use of an expired token or session is remembered."""


@dataclass(frozen=True)
class AcceptedRequest:
    """The deployment that an idempotency key, or a credential, stands for, and what was asked."""

    deployment: str
    fingerprint: str


@dataclass(frozen=True)
class CredentialUse:
    """The one thing that a token or a session is used for, until it `expires` (epoch seconds).

    `key` is of (issuer, jti, ...) or of (account, access key, ...).
    """

    key: str
    fingerprint: str
    expires: int
    credential: Literal["token", "session"] = "token"


@dataclass(frozen=True)
class PermanentClaim:
    """That a request is known for good, and not only for as long as a token can ask again.

    `tag` is the key of a webhook's tag, which from then on stays at `sha`; None where it has none. `proven`:
    a job's token has shown that the tag is at `sha`. What only a delivery has said, a proof overrules: a
    forged delivery must not keep the tag from its commit.
    """

    tag: str | None
    sha: str
    proven: bool = False


class Requests:
    """Idempotency: what was accepted for which request and which credential."""

    def __init__(self, table: Table, clock: Callable[[], float]) -> None:
        self._table = table
        self._clock = clock

    def get(self, request_key: str) -> AcceptedRequest | None:
        """Return what this request has accepted before, or None."""
        item = self._table.get(keys.request(request_key))
        return read(item, AcceptedRequest) if item else None

    def add(
        self, tx: Transaction, request_key: str, request: AcceptedRequest, claim: PermanentClaim | None
    ) -> None:
        """Remember a request, with a claim for good. A conflict means RequestKnown."""
        item: dict[str, Any] = {**keys.request(request_key), **asdict(request)}
        if claim is None:
            item["expires_at"] = int(self._clock()) + REQUEST_KEPT
        tx.put(item, ABSENT, on_conflict=RequestKnown)

    def use(self, tx: Transaction, deployment_id: str, use: CredentialUse) -> None:
        """Bind a token or session to its one use. A conflict means CredentialUsed.

        It is bound also against the same request under another key, which would undo what came after it. An
        expired entry binds nothing: a user's access key is the same for years.
        """
        item = {
            **keys.use(use.key),
            "deployment": deployment_id,
            "fingerprint": use.fingerprint,
            "expires_at": use.expires + _USE_KEPT,
        }
        free = Condition("attribute_not_exists(pk) OR expires_at < :now", {":now": int(self._clock())})
        tx.put(item, free, on_conflict=partial(self._used, use))

    def pin_tag(self, tx: Transaction, claim: PermanentClaim) -> None:
        """Fix a webhook's tag to its commit. A conflict means TagMoved."""
        if claim.tag is None:
            return
        item: dict[str, Any] = {**keys.tag(claim.tag), "sha": claim.sha}
        if claim.proven:
            item["proven"] = True
            unmoved = "attribute_not_exists(proven) OR sha = :sha"
        else:
            unmoved = "attribute_not_exists(pk) OR (sha = :sha AND attribute_not_exists(proven))"
        tx.put(item, Condition(unmoved, {":sha": claim.sha}), on_conflict=TagMoved)

    def settle(self, request_key: str, request: AcceptedRequest, claim: PermanentClaim) -> None:
        """Note for good that what a request asks for was done for another one.

        A job's token has shown what a delivery had only said of a tag. The request is noted last: if that
        fails, the next repetition does both.
        """
        if claim.tag is not None:
            same = Condition("sha = :sha", {":sha": claim.sha})
            self._table.update(keys.tag(claim.tag), {"proven": True}, same)
        self._table.update(keys.request(request_key), asdict(request), ABSENT)

    def is_free(self, use: CredentialUse) -> bool:
        """Return whether the token or session could be bound to this use now."""
        item = self._table.get(keys.use(use.key))
        return item is None or bool(item["expires_at"] < int(self._clock()))

    def use_of(self, use: CredentialUse) -> AcceptedRequest | None:
        """Return what the credential has been used for, or None."""
        item = self._table.get(keys.use(use.key))
        return read(item, AcceptedRequest) if item else None

    def _used(self, use: CredentialUse) -> CredentialUsed:
        return CredentialUsed(use, self.use_of(use) or AcceptedRequest("", ""))
