"""Sign in on the board with GitLab, and out again. security.md#signing-in"""

import hmac
import re
import secrets
import time
from typing import Any, Final
from urllib.parse import urlencode

from sluicegate.aws.secrets import SecretsUnavailable
from sluicegate.board import addresses
from sluicegate.board.context import ROOT, BoardContext
from sluicegate.board.notices import show
from sluicegate.board.refused_sign_ins import note_refusal
from sluicegate.board.responses import BoardResponse, redirect
from sluicegate.board.viewers import SESSION_COOKIE, Viewer, cookie, digest_of
from sluicegate.evidence.sign_ins import SessionUser
from sluicegate.gateway.http import GatewayRequest
from sluicegate.gateway.sessions import identity_of, person_of
from sluicegate.oidc import sign_in
from sluicegate.oidc.identity import Issuer, SignIn
from sluicegate.oidc.jwks import KeysUnavailable
from sluicegate.oidc.sign_in import ClientRefused, SignedIn, SignInRefused, SignInUnavailable
from sluicegate.oidc.signed_token import InvalidToken
from sluicegate.store.sessions import SESSION_SECONDS, Session

LOGIN_COOKIE: Final = "__Host-sg-login"
_ATTRIBUTES: Final = "Path=/; Secure; HttpOnly; SameSite=Lax"
LOGIN_SECONDS: Final = 10 * 60
"""Seconds in which a person must have signed in: as long as GitLab's codes are valid."""

_REDEEM_SECONDS: Final = 12.0
"""Seconds for redeeming a code, a changed client secret included."""

_BROWSER: Final = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)
_CODE: Final = re.compile(r"[\x21-\x7e]{1,512}", re.ASCII)


def start(context: BoardContext, request: GatewayRequest) -> BoardResponse:
    """`GET /board/login?issuer=&return=`: begin a sign-in, and lead the browser to GitLab."""
    issuer = _issuer(context, _one(request, "issuer"))
    if issuer is None or issuer.sign_in is None:
        return _notice(context, 404, "no_such_gitlab")
    begun = sign_in.begin(issuer, issuer.sign_in.client_id, addresses.callback_of(request, issuer.name))
    # One browser may begin several sign-ins, in several tabs: they share the cookie that binds them to it.
    browser = cookie(request, LOGIN_COOKIE)
    if not _BROWSER.fullmatch(browser):
        browser = secrets.token_urlsafe(32)
    ticket = {
        "issuer": issuer.url,
        "nonce": begun.nonce,
        "verifier": begun.verifier,
        "browser": digest_of(browser),
        "back": addresses.back_within(_one(request, "return")),
    }
    context.store.tickets.issue("login", begun.state, ticket, LOGIN_SECONDS)
    bound = f"{LOGIN_COOKIE}={browser}; Max-Age={LOGIN_SECONDS}; {_ATTRIBUTES}"
    return redirect(begun.url, cookies=(bound,))


def finish(context: BoardContext, request: GatewayRequest, name: str) -> BoardResponse:
    """`GET /board/callback/{issuer}`: redeem GitLab's code, and begin a session of a new id."""
    issuer, state, code = _issuer(context, name), _one(request, "state"), _one(request, "code")
    ticket = context.store.tickets.find("login", state) if state else None
    browser = cookie(request, LOGIN_COOKIE)
    if ticket is None or issuer is None or issuer.sign_in is None:
        return _refused(context, "state", "sign_in_over")
    if not hmac.compare_digest(digest_of(browser), ticket["browser"]):
        return _refused(context, "browser", "other_browser")
    if ticket["issuer"] != issuer.url:
        return _refused(context, "issuer", "sign_in_over")
    # Taken before the code is redeemed: of two callbacks, one goes on.
    if context.store.tickets.redeem("login", state) is None:
        return _refused(context, "state", "sign_in_over")
    if refusal := _one(request, "error"):
        denied = refusal == "access_denied"
        return _refused(context, "error", "denied_there" if denied else "refused_there")
    if not _CODE.fullmatch(code):
        return _refused(context, "code", "sign_in_over")
    try:
        person = _person(context, request, issuer, issuer.sign_in, ticket, code)
    except InvalidToken as error:
        # GitLab redeemed the code: somebody with an account there is behind it, and nobody says who.
        note_refusal(
            context, SessionUser(context.gate.digest, issuer.url, None), "token", "board", error.check
        )
        return _refused(context, error.check, "refused_there", detail=error.detail)
    except SignInRefused as error:
        return _refused(context, error.check, "refused_there", detail=error.detail)
    except ClientRefused:
        return _refused(context, "client", "wrong_secret", status=503)
    except (SignInUnavailable, KeysUnavailable, SecretsUnavailable) as error:
        return _refused(context, "unavailable", "unavailable", status=503, detail=str(error))
    return _begin_session(context, request, issuer, person, addresses.back_within(str(ticket["back"])))


def sign_out(context: BoardContext, request: GatewayRequest) -> BoardResponse:
    """`POST /board/logout`: end the session, here and at once. GitLab keeps its own."""
    if not addresses.is_same_origin(request):
        return _refused(context, "origin", "other_site", status=403)
    bearer = cookie(request, SESSION_COOKIE)
    session = context.store.sessions.find(bearer)
    if session is not None:
        context.store.sessions.end(bearer, person_of(context.gate, session))
        context.log("session_ended", issuer=session.issuer, user_id=session.user_id, client="board")
    gone = f"{SESSION_COOKIE}=; Max-Age=0; {_ATTRIBUTES}"
    return redirect(f"{ROOT}/bye", cookies=(gone,))


def bye(context: BoardContext, _: GatewayRequest) -> BoardResponse:
    """`GET /board/bye`: say that the person is signed out here, and still signed in to GitLab."""
    return _notice(context, 200, "signed_out")


def again(context: BoardContext, request: GatewayRequest, viewer: Viewer | None) -> BoardResponse:
    """Lead the browser through GitLab and back to this very address, silently as a rule.

    Without a viewer, and with several GitLabs, the person chooses one.
    """
    from sluicegate.board.pages import sign_in as page

    offered = [issuer for issuer in context.gate.issuers.values() if issuer.sign_in]
    if viewer is not None:
        offered = [issuer for issuer in offered if issuer.url == viewer.session.issuer]
    if len(offered) != 1:
        return page.show(context, request)
    return redirect(login_address(offered[0].name, addresses.here(request)))


def login_address(issuer: str, back: str) -> str:
    """Return where signing in with the GitLab of that name begins."""
    return f"{ROOT}/login?{urlencode({'issuer': issuer, 'return': back})}"


# Parts


def _person(
    context: BoardContext,
    request: GatewayRequest,
    issuer: Issuer,
    application: SignIn,
    ticket: Any,
    code: str,
) -> SignedIn:
    """Return the person for whom GitLab gave the code. Of everything else that it gives, nothing is kept."""
    tokens: list[str] = []
    ends = time.monotonic() + _REDEEM_SECONDS

    def redeems(secret: str) -> bool:
        # GitLab looks at the application before the code: a wrong secret leaves the code as it is.
        try:
            token = sign_in.redeem(
                issuer,
                application.client_id,
                secret,
                code=code,
                verifier=ticket["verifier"],
                redirect_uri=addresses.callback_of(request, issuer.name),
                seconds=min(sign_in.REDEEM_SECONDS, max(0.1, ends - time.monotonic())),
            )
        except ClientRefused:
            return False
        tokens.append(token)
        return True

    if not context.secrets.verifies(application.secret, redeems):
        raise ClientRefused
    return sign_in.verify_sign_in_token(
        tokens[0],
        issuer=issuer,
        client_id=application.client_id,
        nonce=ticket["nonce"],
        keys=context.keys,
        now=context.clock(),
    )


def _begin_session(
    context: BoardContext, request: GatewayRequest, issuer: Issuer, person: SignedIn, back: str
) -> BoardResponse:
    now = int(context.clock())
    session = Session(
        issuer=issuer.url,
        user_id=person.user_id,
        claims=person.claims,
        signed_in_at=person.signed_in_at,
        fresh_at=min(person.issued_at, now),
        created_at=now,
        expires_at=now + SESSION_SECONDS,
        client="board",
    )
    identity, somebody = identity_of(context.gate, session), person_of(context.gate, session)
    if identity is None or context.gate.denied(identity):
        note_refusal(context, somebody, "denied", "board")
        return _refused(context, "denied", "denied_here", status=403, user_id=person.user_id)
    earlier = cookie(request, SESSION_COOKIE) or None
    bearer = context.store.sessions.create(session, somebody, instead_of=earlier)
    context.log("signed_in", issuer=issuer.url, user_id=person.user_id, client="board")
    kept = f"{SESSION_COOKIE}={bearer}; Max-Age={SESSION_SECONDS}; {_ATTRIBUTES}"
    return redirect(addresses.to(back), cookies=(kept,))


def _issuer(context: BoardContext, name: str) -> Issuer | None:
    """Return the GitLab of that name with which people sign in."""
    found = (one for one in context.gate.issuers.values() if one.name == name and one.sign_in)
    return next(found, None)


def _one(request: GatewayRequest, name: str) -> str:
    """Return the query's one value of that name; "" where there is none, or more than one."""
    values = request.query.get(name, [])
    return values[0] if len(values) == 1 else ""


def _refused(
    context: BoardContext, check: str, notice: str, *, status: int = 400, **fields: Any
) -> BoardResponse:
    context.log("sign_in_refused", check=check, **fields)
    return _notice(context, status, notice)


def _notice(context: BoardContext, status: int, notice: str) -> BoardResponse:
    return show(context, status, notice)
