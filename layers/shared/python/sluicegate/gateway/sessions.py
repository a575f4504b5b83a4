"""The identity of a signed-in person: a session, by the gate file in force. security.md#sessions"""

from typing import Final

from sluicegate.deployment.durations import duration
from sluicegate.evidence.sign_ins import SessionUser
from sluicegate.gate.policy import Gate
from sluicegate.gateway.problems import Problem, sign_in_required
from sluicegate.oidc.identity import Identity
from sluicegate.store.sessions import Session, Sessions

FRESH_SECONDS: Final = 15 * 60
"""Seconds since GitLab signed a person in, in which they may approve on a protected stage."""


def identity_of(gate: Gate, session: Session) -> Identity | None:
    """Return the session's identity; None where nobody can sign in with its issuer any more."""
    issuer = gate.issuers.get(session.issuer)
    if issuer is None or issuer.sign_in is None:
        return None
    return Identity(
        via="session",
        issuer=session.issuer,
        claims=session.claims,
        jti=None,
        issued_at=session.fresh_at,
        expires_at=session.expires_at,
        gitlab=issuer.gitlab_url,
    )


def person_of(gate: Gate, session: Session) -> SessionUser:
    """Return who has a session, as the evidence names them."""
    identity = identity_of(gate, session)
    if identity is None:
        return SessionUser(gate.digest, session.issuer, session.user_id)
    actor, known = gate.principals.actor(identity), gate.knows(identity)
    return SessionUser(gate.digest, session.issuer, session.user_id, actor, known)


def signed_in(gate: Gate, sessions: Sessions, bearer: str) -> Identity:
    """Return the identity of a session's bearer. Raises 401 for one that is none, or none any more."""
    session = sessions.find(bearer)
    identity = identity_of(gate, session) if session else None
    if identity is None:
        raise ended()
    return identity


def ended() -> Problem:
    """401: the session has ended, or there never was one. Which of the two is nobody's to learn."""
    return sign_in_required("session", "the session has ended: sign in again")


def check_fresh(identity: Identity, now: float, limit: int = FRESH_SECONDS) -> None:
    """Raise 401 unless GitLab has signed the person in within `limit` seconds: it knows groups and blocks.

    RFC 9470 has the challenge: the caller signs in again, and then asks the same.
    """
    if now - identity.issued_at > limit:
        detail = f"this needs a sign-in of the last {duration(limit)}: sign in again"
        raise sign_in_required("fresh", detail, max_age=limit)
