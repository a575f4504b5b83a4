"""`/session` and `/sessions/{user}`: end sessions of people who signed in. security.md#sessions"""

import re
from typing import Final

from sluicegate.evidence.sign_ins import SessionUser
from sluicegate.gateway.authentication import session_bearer
from sluicegate.gateway.context import Context
from sluicegate.gateway.evidence import basis_of
from sluicegate.gateway.http import GatewayRequest, GatewayResponse
from sluicegate.gateway.problems import invalid_request, invalid_token, not_allowed, not_found
from sluicegate.gateway.requester import log_fields
from sluicegate.gateway.requests import queries
from sluicegate.gateway.sessions import person_of
from sluicegate.oidc.identity import Identity

_USER: Final = re.compile(r"[1-9][0-9]{0,18}", re.ASCII)


def end_own(context: Context, call: GatewayRequest) -> GatewayResponse:
    """End the session whose bearer this is. One that has ended is fine, and so is a denied person's."""
    bearer = session_bearer(call)
    if bearer is None:
        raise invalid_token("authorization", "not a session: an ID token ends by itself")
    queries.no_query(call.query)
    session = context.store.sessions.find(bearer)
    if session is not None:
        context.store.sessions.end(bearer, person_of(context.gate, session))
        context.log("session_ended", issuer=session.issuer, user_id=session.user_id, client=session.client)
    return _ended(int(session is not None))


def end_all(context: Context, call: GatewayRequest, identity: Identity) -> GatewayResponse:
    """End all sessions of a user: one's own, or with a rule for it anybody's of the rule's GitLab."""
    issuer = _issuer(context, identity, queries.issuer(call.query))
    user = call.path.get("user", "")
    if not _USER.fullmatch(user):
        raise not_found()
    own = identity.via == "session" and (identity.issuer, identity.text("user_id")) == (issuer, user)
    rules = [
        rule
        for rule in context.gate.rules_of(identity)
        if "end-sessions" in context.gate.actions_of(identity, rule) and rule.issuer in ("", issuer)
    ]
    if not own and not rules:
        context.log(
            "request_refused", code="not_allowed", action="end-sessions", **log_fields(context.gate, identity)
        )
        raise not_allowed("no rule allows this identity to end another person's sessions")
    rule = rules[0] if rules else None
    basis = basis_of(context, identity, ("end-sessions",), rule)
    person = None
    if own:
        actor = context.gate.principals.actor(identity)
        person = SessionUser(context.gate.digest, issuer, user, actor, context.gate.knows(identity))
    number = context.store.sessions.end_all(issuer, user, basis, person)
    context.log(
        "sessions_ended",
        of_issuer=issuer,
        of_user=user,
        number=number,
        rule=rule.name if rule else None,
        **log_fields(context.gate, identity),
    )
    return _ended(number)


def _issuer(context: Context, identity: Identity, named: str | None) -> str:
    """Return the URL of the issuer that the query names by name or URL. It may be left out if it is clear."""
    known = [issuer for issuer in context.gate.issuers.values() if issuer.sign_in]
    if named is None and identity.via == "session":
        return identity.issuer
    found = [issuer for issuer in known if named in (None, issuer.name, issuer.url)]
    if not found:
        raise not_found()
    if len(found) > 1:
        raise invalid_request([("issuer", "is missing: people sign in with more than one GitLab")])
    return found[0].url


def _ended(number: int) -> GatewayResponse:
    what = "session" if number == 1 else "sessions"
    return GatewayResponse(200, {"ended": number}, (f"{number} {what} ended",))
