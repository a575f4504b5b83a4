"""TerminalGrants: a session that a signed-in person gives to the terminal that they sit at.

security.md#the-command-line. Nothing is written before a person has said so on the board. The terminal's
`verifier` is a secret of its own; the person sees or types `terminal_code`, which follows from it, and the
terminal needs the `code` that the board gives the person for it. Neither is enough alone.
"""

import hashlib
import hmac
from base64 import urlsafe_b64encode
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any, Final

from sluicegate.evidence.sign_ins import SessionUser
from sluicegate.oidc.pkce import challenge_of, terminal_code
from sluicegate.store.codec import Item, read
from sluicegate.store.errors import Contended, StoreError
from sluicegate.store.facts import commit_with
from sluicegate.store.sessions import Session, Sessions, bearer_of, key_of
from sluicegate.store.table import Condition, Table, Transaction
from sluicegate.store.tickets import KEPT, key

GRANT_SECONDS: Final = 5 * 60
"""Seconds in which a terminal must take what was granted: long enough to type eight characters."""

MAX_ATTEMPTS: Final = 5
"""How often a terminal may try a code, so that forty bits of it cannot be guessed."""


class GrantRefused(StoreError):
    """There is no such grant, or none any more; or the session that gave it has ended."""


class TerminalGrants:
    """Sessions on their way to a terminal."""

    def __init__(self, table: Table, sessions: Sessions, clock: Callable[[], float]) -> None:
        self._table = table
        self._sessions = sessions
        self._clock = clock

    def offer(
        self, terminal: str, code: str, session: Session, bearer: str, *, challenge: str | None = None
    ) -> None:
        """Grant the session's rights to the terminal of that code, in the place of an earlier grant to it.

        `bearer` is that of the session, which must last until the terminal takes it. `challenge` is the
        terminal's whole one, where the board has it.
        """
        giver = key_of(bearer) or {}
        until = int(self._clock()) + GRANT_SECONDS
        item: dict[str, Any] = {
            **key("grant", terminal),
            "code": _hash(code),
            "challenge": challenge,
            "session": asdict(replace(session, client="cli")),
            "giver": giver,
            "attempts": 0,
            "taken": False,
            "until": until,
            "expires_at": until + KEPT,
        }
        self._table.put(item)

    def take(self, verifier: str, code: str, admit: Callable[[Session], SessionUser]) -> tuple[str, Session]:
        """Return the bearer of the terminal's new session, and the session.

        `admit` says who it is, or raises: then nothing begins. It is called for the right code alone. Raises
        GrantRefused, or Contended where another attempt is under way: the same again is fine. The same
        verifier and code return the same session while the grant is valid, as an answer may be lost.
        """
        challenge = challenge_of(verifier)
        found = key("grant", terminal_code(challenge))
        item = self._table.get(found)
        if item is None or self._clock() >= item["until"] or item["attempts"] >= MAX_ATTEMPTS:
            raise GrantRefused
        # Counted before the comparison: guesses sent at once are no more than guesses one after the other.
        this = {":code": item["code"], ":before": item["attempts"]}
        same = Condition("#code = :code AND attempts = :before", this, {"#code": "code"})
        if not self._table.update(found, {"attempts": item["attempts"] + 1}, same):
            raise Contended
        whole = hmac.compare_digest(item["challenge"] or challenge, challenge)
        if not (hmac.compare_digest(item["code"], _hash(code)) and whole):
            raise GrantRefused
        given = read(item["session"], Session)
        person, secret = admit(given), _secret(verifier, code)
        bearer = bearer_of(given.issuer, given.user_id, secret)
        if item["taken"]:
            session = self._sessions.find(bearer)
            if session is None:
                raise GrantRefused
            return bearer, session
        session = replace(given, created_at=int(self._clock()))
        self._create(item, session, secret, person)
        return bearer, session

    def _create(self, item: Item, session: Session, secret: str, person: SessionUser) -> None:
        """Write the terminal's session, once, and only while the session that gave it lasts."""
        waiting = Condition(
            "#code = :code AND taken = :no", {":code": item["code"], ":no": False}, {"#code": "code"}
        )

        def write(tx: Transaction) -> None:
            key = {"pk": item["pk"], "sk": item["sk"]}
            tx.update(key, {"taken": True}, waiting, on_conflict=GrantRefused)
            self._sessions.require(tx, item["giver"], GrantRefused)
            self._sessions.add(tx, session, secret)

        began = self._sessions.began(person, session, secret, item["giver"])
        commit_with(self._table, write, [began], self._clock())


def _secret(verifier: str, code: str) -> str:
    """Return the secret of the terminal's session: it follows from what only the terminal has."""
    made = hmac.digest(verifier.encode(), b"session " + code.encode(), "sha256")
    return urlsafe_b64encode(made).rstrip(b"=").decode()


def _hash(code: str) -> str:
    return hashlib.sha256(code.encode()).hexdigest()
