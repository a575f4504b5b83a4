"""Facts about people who sign in: a session began or ended, or a sign-in was refused.

Anybody with an account on gitlab.com may sign in where that is an issuer, without any right here. So these
facts are bounded: of a person whom a rule names, some are lines in an hour, and the others are a number; all
people whom none names share one bound for each GitLab (security.md#evidence).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final, Literal

from sluicegate.deployment.durations import timestamp
from sluicegate.evidence.basis import Basis
from sluicegate.evidence.facts import Fact
from sluicegate.evidence.line import canonical, line
from sluicegate.oidc.identity import Actor

MOST_OF_PERSON: Final = 10
"""Lines of one kind in an hour, of a person whom a rule names."""

MOST_OF_OTHERS: Final = 100
"""Lines of one kind in an hour, of all people of a GitLab whom no rule names."""

SessionFactKind = Literal["signed_in", "session_ended", "sign_in_refused"]

_NUMBERS: Final[Mapping[SessionFactKind, str]] = {
    "signed_in": "sign_ins",
    "session_ended": "session_ends",
    "sign_in_refused": "refusals",
}
"""The kind of the line that has an hour's number."""


@dataclass(frozen=True)
class SessionUser:
    """The user who signs in, or ends a session. `gate` is the digest of the gate file in force.

    `known` says whether some rule names the person. `user_id` is None where GitLab's word for it failed.
    """

    gate: str
    issuer: str
    user_id: str | None
    actor: Actor = "person"
    known: bool = False

    @property
    def ids(self) -> dict[str, str]:
        """The ids of a line's `by`."""
        return _ids(self.issuer, self.user_id)

    @property
    def fields(self) -> dict[str, Any]:
        """The fields of a line."""
        return {"gate": self.gate, "via": "session", "actor": self.actor, "by": self.ids}


@dataclass(frozen=True)
class SessionTraits:
    """What a line says of a session: no secret of it. `name` follows from the secret, and not back.

    `client` is `browser` or `terminal`; `expires_at` is in epoch seconds.
    """

    name: str
    issuer: str
    user_id: str
    client: str
    expires_at: int


@dataclass(frozen=True)
class BoundedFact:
    """A fact that is a line while its subject has less than `most` in the hour, and is counted after that.

    `subject` tells what is counted together, `number` is the kind of the hour's line, `counted` its fields.
    """

    fact: Fact
    subject: str
    most: int
    number: str
    counted: Mapping[str, Any]


def signed_in(
    person: SessionUser, session: SessionTraits, at: float, given_by: str | None = None
) -> BoundedFact:
    """Return the fact that a session began. `given_by` names the browser's that gave it to a terminal."""
    fields = {
        **person.fields,
        "client": session.client,
        "session": session.name,
        "expires": timestamp(session.expires_at),
        "given_by": given_by,
    }
    return _bounded("signed_in", person, fields, session.name, at)


def session_ended(person: SessionUser, session: SessionTraits, code: str, at: float) -> BoundedFact:
    """Return the fact that a person ended a session before its time: `signed_out`, or `replaced`."""
    owner = _ids(session.issuer, session.user_id)
    ended = {"code": code, "client": session.client, "session": session.name, "owner": owner}
    return _bounded("session_ended", person, person.fields | ended, session.name, at)


def own_sessions_ended(
    person: SessionUser, basis: Basis, names: Sequence[str], part: str, at: float
) -> BoundedFact:
    """Return the fact that a person ended all their sessions. `part` tells parts of one request apart."""
    ended = _all(person.ids, names)
    return _bounded("session_ended", person, basis.fields | ended, part, at, kind="sessions_ended")


def sessions_ended(
    issuer: str, user_id: str, basis: Basis, names: Sequence[str], part: str, at: float
) -> Fact:
    """Return the fact that a rule's caller ended a user's sessions. No stranger makes one: so no bound."""
    owner = _ids(issuer, user_id)
    text = line("sessions_ended", at, basis.fields | _all(owner, names))
    return Fact(_partition(issuer, user_id), f"{part}#sessions_ended", text, timestamp(at))


def sign_in_refused(
    person: SessionUser, code: str, client: str, name: str, at: float, check: str | None = None
) -> BoundedFact:
    """Return the fact that a sign-in was refused. `check` is what failed of GitLab's token."""
    failed = {"code": code, "check": check, "client": client}
    return _bounded("sign_in_refused", person, person.fields | failed, name, at, code=code)


def _all(owner: Mapping[str, str], names: Sequence[str]) -> dict[str, Any]:
    return {"owner": owner, "count": len(names), "sessions": list(names)}


def _bounded(
    bound: SessionFactKind,
    person: SessionUser,
    fields: Mapping[str, Any],
    name: str,
    at: float,
    *,
    kind: str | None = None,
    code: str | None = None,
) -> BoundedFact:
    user_id = person.user_id if person.known else None
    text = line(kind or bound, at, fields)
    fact = Fact(_partition(person.issuer, person.user_id), f"{name}#{kind or bound}", text, timestamp(at))
    return BoundedFact(
        fact,
        _digest(bound, code, person.issuer, user_id),
        MOST_OF_PERSON if person.known else MOST_OF_OTHERS,
        _NUMBERS[bound],
        {"via": "session", "code": code, "by": _ids(person.issuer, user_id)},
    )


def _partition(issuer: str, user_id: str | None) -> str:
    return f"fact#sign-in#{_digest(issuer, user_id)}"


def _digest(*parts: str | None) -> str:
    return sha256(canonical(parts).encode()).hexdigest()[:32]


def _ids(issuer: str, user_id: str | None) -> dict[str, str]:
    return {"issuer": issuer, **({"user_id": user_id} if user_id else {})}
