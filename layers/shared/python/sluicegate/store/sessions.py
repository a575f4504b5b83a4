"""Sessions of people who signed in: found by a secret that only its holder has, ended at any moment.

security.md#sessions. The bearer is `sgs_USER_SECRET`: 16 bytes of a digest of the user, and 32 random bytes,
both base64url. The first part leads to the partition, so one read finds a session, and one query finds all
of a user. The table has the secret's SHA-256 alone.
"""

import hashlib
import re
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal

from sluicegate.store import keys
from sluicegate.store.codec import read
from sluicegate.store.keys import Key
from sluicegate.store.table import PRESENT, Condition, Resolution, Table, Transaction
from sluicegate.text import base64url

SESSION_SECONDS: Final = 8 * 3_600
"""Seconds that a session lasts at most, from the sign-in."""

PREFIX: Final = "sgs_"
"""How every bearer of a session begins, and no ID token does: that begins with `{"` in base64url, `ey`."""

SessionClient = Literal["board", "cli"]
"""What holds the secret: a browser's cookie, or the command line's file."""

_BEARER: Final = re.compile(r"sgs_([A-Za-z0-9_-]{22})_([A-Za-z0-9_-]{43})", re.ASCII)
_EARLY: Final = 300
"""Seconds that another instance's clock may be ahead of ours."""


@dataclass(frozen=True)
class Session:
    """A person whom a GitLab signed in. Times are in epoch seconds.

    `issuer` is that of the gate file, `claims` are what rules may read. `signed_in_at` is when the person
    proved to GitLab who they are, `fresh_at` when GitLab said so to us last, `created_at` when this session
    began.
    """

    issuer: str
    user_id: str
    claims: Mapping[str, str | tuple[str, ...]] = field(repr=False)
    signed_in_at: int
    fresh_at: int
    created_at: int
    expires_at: int
    client: SessionClient


def is_bearer(text: str) -> bool:
    """Return whether a bearer is, or pretends to be, a session's: nothing else is tried then."""
    return text.startswith(PREFIX)


class Sessions:
    """The sessions of all people. `clock` gives epoch seconds."""

    def __init__(self, table: Table, clock: Callable[[], float]) -> None:
        self._table = table
        self._clock = clock

    def create(self, session: Session, *, instead_of: str | None = None) -> str:
        """Begin a session, and return its bearer. The session of the bearer `instead_of` ends with it."""
        secret = new_secret()
        tx = self._table.transaction()
        self.add(tx, session, secret)
        if instead_of is not None and (old := key_of(instead_of)):
            tx.delete(old)
        tx.commit()
        return bearer_of(session.issuer, session.user_id, secret)

    def find(self, bearer: str) -> Session | None:
        """Return the session of a bearer; None if there is none, or none any more."""
        key = key_of(bearer)
        item = self._table.get(key) if key else None
        if item is None:
            return None
        session = read(item, Session)
        now = self._clock()
        lasts = session.created_at - _EARLY <= now < session.expires_at
        return session if lasts and bearer.startswith(_prefix(session.issuer, session.user_id)) else None

    def end(self, bearer: str) -> None:
        """End a session. One that has ended is fine."""
        if key := key_of(bearer):
            self._table.delete(key)

    def end_all(self, issuer: str, user_id: str) -> int:
        """End all sessions of a user, and return how many there were."""
        user = user_part(issuer, user_id)
        condition = Condition("pk = :pk", {":pk": keys.sessions_partition(user)})
        found = [item["sk"] for item in self._table.query(condition, consistent=True)]
        for secret_hash in found:
            self._table.delete(keys.session(user, secret_hash))
        return len(found)

    def of_user(self, issuer: str, user_id: str) -> list[Session]:
        """Return the sessions of a user that have not expired."""
        condition = Condition("pk = :pk", {":pk": keys.sessions_partition(user_part(issuer, user_id))})
        found = [read(item, Session) for item in self._table.query(condition, consistent=True)]
        return [session for session in found if self._clock() < session.expires_at]

    # Parts of transactions

    def add(self, tx: Transaction, session: Session, secret: str) -> None:
        """Write a session, whose `expires_at` is what DynamoDB deletes it by, too."""
        key = keys.session(user_part(session.issuer, session.user_id), _hash(secret))
        item: dict[str, Any] = {**asdict(session), **key}
        tx.put(item, on_conflict=Resolution.RETRY)

    def require(self, tx: Transaction, key: Key, on_conflict: type[Any]) -> None:
        """Require that a session has not been ended. A conflict raises `on_conflict`."""
        tx.check(key, PRESENT, on_conflict=on_conflict)


def new_secret() -> str:
    """Return 32 random bytes in base64url: what the holder of a session or a ticket must know."""
    return secrets.token_urlsafe(32)


def bearer_of(issuer: str, user_id: str, secret: str) -> str:
    """Return the bearer of a user's session with this secret."""
    return f"{_prefix(issuer, user_id)}{secret}"


def key_of(bearer: str) -> Key | None:
    """Return the key of a bearer's session; None for a text that is none, in its one spelling."""
    found = _BEARER.fullmatch(bearer)
    if found is None:
        return None
    try:
        base64url(found[1]), base64url(found[2])
    except ValueError:
        return None
    return keys.session(found[1], _hash(found[2]))


def user_part(issuer: str, user_id: str) -> str:
    """Return 16 bytes of a digest of issuer and user in base64url, which names neither."""
    digest = bytes.fromhex(keys.digest("session", issuer, user_id))
    return urlsafe_b64encode(digest[:16]).rstrip(b"=").decode()


def _prefix(issuer: str, user_id: str) -> str:
    return f"{PREFIX}{user_part(issuer, user_id)}_"


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("ascii")).hexdigest()
