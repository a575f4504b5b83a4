"""Give a terminal a session of its own: `sluicegate login`. security.md#the-command-line

A code that arrives at a port of this machine, or is read from the board and typed, proves that the person who
says yes on the board sits at the terminal. The terminal's own verifier never leaves it before that.
"""

import re
import secrets
from base64 import b32encode
from typing import Any, Final
from urllib.parse import parse_qs, urlencode

from sluicegate.board import addresses
from sluicegate.board.context import BoardContext, page
from sluicegate.board.notices import show
from sluicegate.board.refused_sign_ins import note_refusal
from sluicegate.board.responses import BoardResponse, as_json, redirect
from sluicegate.board.signing_in import again
from sluicegate.board.viewers import Viewer, viewer_of
from sluicegate.deployment.durations import timestamp
from sluicegate.evidence.sign_ins import SessionUser
from sluicegate.gateway.http import GatewayRequest
from sluicegate.gateway.problems import Problem, problem_response, sign_in_required, unavailable
from sluicegate.gateway.requests import bodies
from sluicegate.gateway.requests.envelope import check_size_and_type
from sluicegate.gateway.requests.fields import Fields, text_of
from sluicegate.gateway.sessions import identity_of, person_of
from sluicegate.oidc.pkce import TERMINAL_CODE, terminal_code
from sluicegate.store.errors import Contended
from sluicegate.store.grants import GRANT_SECONDS, GrantRefused
from sluicegate.store.sessions import Session, new_secret

FRESH_SECONDS: Final = 5 * 60
"""Seconds since the sign-in in which a person may give a session away."""

TYPED_CODE: Final = 8
"""Characters of base32 that a person types: 40 bits, for five attempts in five minutes."""

MAX_FORM: Final = 4_096

_CHALLENGE: Final = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)
_STATE: Final = re.compile(r"[A-Za-z0-9_-]{22,64}", re.ASCII)
_PORT: Final = range(1_024, 65_536)
_TERMINAL: Final = re.compile(rf"[A-Z2-7]{{{TERMINAL_CODE}}}", re.ASCII)
_LOOPBACK: Final = "http://127.0.0.1"


def ask(context: BoardContext, request: GatewayRequest) -> BoardResponse:
    """`GET /board/cli`: say what a terminal wants, and ask the person whether it is theirs.

    With `challenge`, `port` and `state` the terminal listens on this machine. Otherwise the person types the
    terminal's code, or `code` has it. A person who has not just signed in does so first.
    """
    viewer = viewer_of(context, request)
    if viewer is None or context.clock() - viewer.session.fresh_at > FRESH_SECONDS:
        return again(context, request, viewer)
    wanted = _wanted(request)
    if wanted is None:
        return show(context, 400, "bad_terminal")
    return _form(context, viewer, wanted)


def give(context: BoardContext, request: GatewayRequest) -> BoardResponse:
    """`POST /board/cli`: the person's yes. The terminal still has to prove that it is the one."""
    viewer = viewer_of(context, request)
    if not addresses.is_same_origin(request):
        context.log("sign_in_refused", check="origin")
        return show(context, 403, "other_site")
    if viewer is None or context.clock() - viewer.session.fresh_at > FRESH_SECONDS:
        return again(context, request, viewer)
    form = _fields(request)
    intent = context.store.tickets.redeem("intent", form.get("intent", ""))
    # An intent is of the session that it was shown to, and of nothing else.
    if intent is None or intent.get("session") != viewer.bearer_hash or intent.get("action") != "cli":
        return show(context, 409, "used_up")
    wanted = dict(intent["wanted"])
    terminal = str(wanted["terminal"] or re.sub(r"[\s-]", "", form.get("terminal", "")).upper())
    if not _TERMINAL.fullmatch(terminal):
        return _form(context, viewer, wanted, mistyped=True)
    port = wanted["port"]
    code = new_secret() if port else b32encode(secrets.token_bytes(5)).decode()
    context.store.grants.offer(
        terminal, code, viewer.session, viewer.bearer, challenge=wanted["challenge"] or None
    )
    context.log("session_granted", issuer=viewer.session.issuer, user_id=viewer.session.user_id)
    if port:
        query = urlencode({"code": code, "state": wanted["state"]})
        return redirect(f"{_LOOPBACK}:{port}/?{query}")
    return page(context, "terminal_code.html", code=spaced(code), minutes=GRANT_SECONDS // 60)


def take(context: BoardContext, request: GatewayRequest) -> BoardResponse:
    """`POST /board/session {verifier, code}`: what was granted, for the terminal that proves to be the one.

    It needs no cookie and takes none. The same request again gets the same session.
    """
    try:
        return as_json(200, _taken(context, request), {"Cache-Control": "no-store"})
    except Problem as problem:
        answer = problem_response(problem, request.request_id)
        return as_json(answer.status, answer.value, answer.headers)


def spaced(code: str) -> str:
    """Return a code in groups of four: `ABCD-EFGH`."""
    return "-".join(code[at : at + 4] for at in range(0, len(code), 4))


# Parts


def _taken(context: BoardContext, request: GatewayRequest) -> dict[str, Any]:
    check_size_and_type(request)
    fields = Fields(bodies.parse(request.body))
    verifier: str = fields.take("verifier", _verifier, needed=True)
    code: str = fields.take("code", text_of(64), needed=True)
    fields.done()
    if len(code) <= 2 * TYPED_CODE:
        code = re.sub(r"[\s-]", "", code).upper()
    try:
        bearer, session = context.store.grants.take(verifier, code, lambda given: _admitted(context, given))
    except GrantRefused:
        context.log("sign_in_refused", check="grant")
        raise sign_in_required("code", "no such code, or no longer: run `sluicegate login` again") from None
    except Contended:
        raise unavailable("Another attempt is under way. Retry the request.", 1) from None
    context.log("signed_in", issuer=session.issuer, user_id=session.user_id, client="cli")
    return {
        "token": bearer,
        "issuer": session.issuer,
        "user_id": session.user_id,
        "user_login": session.claims.get("user_login"),
        "expires_at": timestamp(session.expires_at),
    }


def _admitted(context: BoardContext, session: Session) -> SessionUser:
    """Return whose session it is. Raises 401 for a person who may not sign in any more."""
    identity, person = identity_of(context.gate, session), person_of(context.gate, session)
    if identity is None or context.gate.denied(identity):
        note_refusal(context, person, "denied", "cli")
        raise sign_in_required("denied", "this account may not sign in")
    return person


def _verifier(value: Any) -> str | None:
    return None if isinstance(value, str) and _CHALLENGE.fullmatch(value) else "must have 43 characters"


def _wanted(request: GatewayRequest) -> dict[str, Any] | None:
    """Return what the terminal asks for; None for what no terminal of ours sends."""
    given = {name: values[0] for name, values in request.query.items() if len(values) == 1}
    if not given.keys() <= {"challenge", "port", "state", "code"} or len(given) != len(request.query):
        return None
    if "challenge" not in given:
        terminal = re.sub(r"[\s-]", "", given.get("code", "")).upper()
        if (terminal and not _TERMINAL.fullmatch(terminal)) or given.keys() - {"code"}:
            return None
        return {"terminal": terminal, "challenge": "", "port": 0, "state": ""}
    challenge, port, state = given["challenge"], given.get("port", ""), given.get("state", "")
    if not (
        _CHALLENGE.fullmatch(challenge) and port.isascii() and port.isdecimal() and _STATE.fullmatch(state)
    ):
        return None
    try:
        terminal = terminal_code(challenge)
    except ValueError:
        return None
    if len(port) > 5 or int(port) not in _PORT:
        return None
    return {"terminal": terminal, "challenge": challenge, "port": int(port), "state": state}


def _form(
    context: BoardContext, viewer: Viewer, wanted: dict[str, Any], *, mistyped: bool = False
) -> BoardResponse:
    intent = new_secret()
    content = {"action": "cli", "session": viewer.bearer_hash, "wanted": wanted}
    context.store.tickets.issue("intent", intent, content, GRANT_SECONDS)
    targets = (f"{_LOOPBACK}:{wanted['port']}",) if wanted["port"] else ()
    return page(
        context,
        "terminal.html",
        status=422 if mistyped else 200,
        form_targets=targets,
        login=viewer.identity.text("user_login"),
        intent=intent,
        terminal=spaced(wanted["terminal"]),
        here_already=bool(wanted["port"]),
        mistyped=mistyped,
        ends=timestamp(viewer.session.expires_at),
    )


def _fields(request: GatewayRequest) -> dict[str, str]:
    """Return the form's fields that were sent once."""
    if len(request.body) > MAX_FORM:
        return {}
    try:
        sent = parse_qs(request.body.decode("ascii"), strict_parsing=True, max_num_fields=16)
    except ValueError:
        return {}
    return {name: values[0] for name, values in sent.items() if len(values) == 1}
