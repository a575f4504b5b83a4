"""Sessions of people who signed in: found by a secret that only its holder has, ended at any moment.

security.md#sessions. The bearer is `sgs_USER_SECRET`: 16 bytes of a digest of the user, and 32 random bytes,
both base64url. The first part leads to the partition, so one read finds a session, and one query finds all
of a user. The table has the secret's SHA-256 alone.

A session begins and ends with a fact of the evidence, in one transaction. An ended one stays in the table
without its claims until its time is over: so the board, which writes facts, needs no right to delete them
(`DeleteItem` beside them in a transaction, where IAM may compare the keys of all items with each action).
"""

import hashlib
import re
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal

from sluicegate.evidence import sign_ins
from sluicegate.evidence.basis import Basis
from sluicegate.evidence.sign_ins import BoundedFact, SessionTraits, SessionUser
from sluicegate.store import keys
from sluicegate.store.codec import Item, read
from sluicegate.store.errors import StoreError
from sluicegate.store.facts import add_fact, commit_with
from sluicegate.store.keys import Key
from sluicegate.store.table import Condition, Resolution, Table, Transaction
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

_LASTS: Final = Condition("attribute_exists(pk) AND attribute_not_exists(ended)")

_CLIENTS: Final[Mapping[SessionClient, str]] = {"board": "browser", "cli": "terminal"}

_PART: Final = 90
"""Sessions that one transaction ends: it takes 100 items, with those of the facts."""


class SessionGone(StoreError):
    """The session has ended meanwhile."""


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

    def create(self, session: Session, person: SessionUser, *, instead_of: str | None = None) -> str:
        """Begin a person's session, and return its bearer. That of the bearer `instead_of` ends with it."""
        secret, now = new_secret(), self._clock()
        facts = [sign_ins.signed_in(person, _traits(session, _hash(secret)), now)]
        old = self._lasting(instead_of) if instead_of else None
        if old is not None:
            facts.append(_ended(person, old, "replaced", now))

        def write(tx: Transaction) -> None:
            self.add(tx, session, secret)
            if old is not None:
                _end(tx, old, SessionGone)

        try:
            self._write(write, *facts)
        except SessionGone:
            return self.create(session, person)
        return bearer_of(session.issuer, session.user_id, secret)

    def find(self, bearer: str) -> Session | None:
        """Return the session of a bearer; None if there is none, or none any more."""
        item = self._lasting(bearer)
        if item is None:
            return None
        session = read(item, Session)
        return session if bearer.startswith(_prefix(session.issuer, session.user_id)) else None

    def end(self, bearer: str, person: SessionUser) -> None:
        """End a session, as this person who has it. One that has ended is fine."""
        item = self._lasting(bearer)
        if item is not None:
            ended = _ended(person, item, "signed_out", self._clock())
            self._write(lambda tx: _end(tx, item, Resolution.TOOK_EFFECT), ended)

    def end_all(self, issuer: str, user_id: str, basis: Basis, own: SessionUser | None = None) -> int:
        """End all sessions of a user, and return how many there were.

        `basis` is that of the caller; `own` is given where these are the caller's own, and no rule is needed.
        A session that ends by itself meanwhile, or begins, is fine: nobody can keep the others from ending.
        """
        items = self._of_user(issuer, user_id)
        for start in range(0, len(items), _PART):
            part = items[start : start + _PART]
            self._end_part(issuer, user_id, part, basis, own)
        return len(items)

    def refuse(self, person: SessionUser, code: str, client: SessionClient, check: str | None = None) -> None:
        """Note that a sign-in was refused."""
        now = self._clock()
        fact = sign_ins.sign_in_refused(person, code, _CLIENTS[client], secrets.token_hex(16), now, check)
        commit_with(self._table, lambda _: None, [fact], now)

    def of_user(self, issuer: str, user_id: str) -> list[Session]:
        """Return the sessions of a user that have not expired."""
        found = [read(item, Session) for item in self._of_user(issuer, user_id)]
        return [session for session in found if self._clock() < session.expires_at]

    # Parts of transactions

    def add(self, tx: Transaction, session: Session, secret: str) -> None:
        """Write a session, whose `expires_at` is what DynamoDB deletes it by, too. Its fact is `began`."""
        key = keys.session(user_part(session.issuer, session.user_id), _hash(secret))
        item: dict[str, Any] = {**asdict(session), **key}
        tx.put(item, on_conflict=Resolution.RETRY)

    def require(self, tx: Transaction, key: Key, on_conflict: type[Any]) -> None:
        """Require that a session has not been ended. A conflict raises `on_conflict`."""
        tx.check(key, _LASTS, on_conflict=on_conflict)

    def began(self, person: SessionUser, session: Session, secret: str, given_by: Key) -> BoundedFact:
        """Return the fact that a terminal's session began, which the session of a key has given to it."""
        traits = _traits(session, _hash(secret))
        return sign_ins.signed_in(person, traits, self._clock(), _name(given_by.get("sk", "")) or None)

    # Parts

    def _write(self, write: Callable[[Transaction], None], *facts: BoundedFact) -> None:
        commit_with(self._table, write, facts, self._clock())

    def _lasting(self, bearer: str) -> Item | None:
        """Return the item of a bearer's session; None if there is none, or none any more."""
        key = key_of(bearer)
        item = self._table.get(key) if key else None
        if item is None or "ended" in item:
            return None
        lasts = item["created_at"] - _EARLY <= self._clock() < item["expires_at"]
        return item if lasts else None

    def _of_user(self, issuer: str, user_id: str) -> list[Item]:
        """Return the items of a user's sessions that nobody has ended."""
        condition = Condition("pk = :pk", {":pk": keys.sessions_partition(user_part(issuer, user_id))})
        found = self._table.query(condition, consistent=True)
        return [item for item in found if "ended" not in item]

    def _end_part(
        self, issuer: str, user_id: str, items: Sequence[Item], basis: Basis, own: SessionUser | None
    ) -> None:
        names, part, now = [_name(item["sk"]) for item in items], secrets.token_hex(16), self._clock()

        def end(tx: Transaction) -> None:
            for item in items:
                _end(tx, item, Resolution.DROP)
            if own is None:
                add_fact(tx, sign_ins.sessions_ended(issuer, user_id, basis, names, part, now))

        self._write(
            end, *([] if own is None else [sign_ins.own_sessions_ended(own, basis, names, part, now)])
        )


def _end(tx: Transaction, item: Item, on_conflict: Any) -> None:
    """End a session: what is left says that there was one."""
    key = {"pk": item["pk"], "sk": item["sk"]}
    tx.update(key, {"ended": True}, _LASTS, on_conflict=on_conflict, remove=("claims",))


def _ended(person: SessionUser, item: Item, code: str, now: float) -> BoundedFact:
    return sign_ins.session_ended(person, _traits(read(item, Session), item["sk"]), code, now)


def _traits(session: Session, secret_hash: str) -> SessionTraits:
    client = _CLIENTS[session.client]
    name = _name(secret_hash)
    return SessionTraits(name, session.issuer, session.user_id, client, session.expires_at)


def _name(secret_hash: str) -> str:
    """Return what names a session in the evidence: half of its key, 16 bytes."""
    return secret_hash[:32]


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
