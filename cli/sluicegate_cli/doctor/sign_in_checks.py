"""Check that people can sign in with each GitLab that has `sign_in`.

The board itself is asked, as its function is what has to reach GitLab: a sign-in is begun, and ended with a
made-up code. The board redeems it with the application's id and secret, and GitLab looks at these before the
code (security.md#signing-in): it refuses the code alone, or the application. No secret is read here, nobody
signs in, and what was begun is used up by that.
"""

from collections.abc import Iterator
from http.cookies import CookieError, SimpleCookie
from typing import Final
from urllib.parse import parse_qs, quote, urlencode, urlsplit

import httpx2

from sluicegate.gate.policy import Gate
from sluicegate.oidc.identity import Issuer
from sluicegate_cli.api import http_client
from sluicegate_cli.doctor.findings import CheckVerdict, Finding

SIGN_IN: Final = "people can sign in"

_TIMEOUT: Final = httpx2.Timeout(connect=5, read=30, write=10, pool=5)
_CODE: Final = "sluicegate-doctor-made-this-up"
_GUIDE: Final = "docs/guides/sign-in.md"


def of_sign_ins(board: str, gate: Gate) -> Iterator[Finding]:
    """Begin and end a sign-in with each GitLab. `board` is the stack's output `Board`."""
    for issuer in gate.issuers.values():
        if issuer.sign_in is not None:
            yield from _of_issuer(board.rstrip("/"), issuer)


def _of_issuer(board: str, issuer: Issuer) -> Iterator[Finding]:
    name = quote(issuer.name, safe="")
    try:
        with http_client(board, _TIMEOUT) as http:
            begun = http.get(f"{board}/login?issuer={name}")
            page = urlsplit(begun.headers.get("location", ""))
            query = parse_qs(page.query)
            back, state = query.get("redirect_uri", [""])[0], query.get("state", [""])[0]
            authorize = f"{issuer.instance.rstrip('/')}/oauth/authorize"
            if begun.status_code != 303 or f"{page.scheme}://{page.netloc}{page.path}" != authorize:
                seen = f"the board does not lead to {authorize}: it answers {begun.status_code}"
                change = "The board's log has the reason."
                yield Finding(SIGN_IN, CheckVerdict.WRONG, seen, change)
                return
            yield Finding(
                SIGN_IN,
                CheckVerdict.OK,
                f"the redirect URI to register in {issuer.instance}, byte for byte, is {back}",
            )
            answer = http.get(
                f"{board}/callback/{name}?{urlencode({'code': _CODE, 'state': state})}",
                headers={"Cookie": _cookies(begun.headers.get_list("set-cookie"))},
            )
    except httpx2.HTTPError as error:
        yield Finding(SIGN_IN, CheckVerdict.UNKNOWN, f"could not ask the board: {type(error).__name__}")
        return
    yield _of_answer(issuer, answer.status_code, answer.text)
    yield _of_page(issuer, authorize)


def _cookies(lines: list[str]) -> str:
    """Return the cookies that were set. No jar takes `__Host-` cookies of a board without TLS."""
    jar: SimpleCookie = SimpleCookie()
    for line in lines:
        try:
            jar.load(line)
        except CookieError:
            continue
    return "; ".join(f"{name}={morsel.value}" for name, morsel in jar.items())


def _of_answer(issuer: Issuer, status: int, text: str) -> Finding:
    """Say what GitLab made of the application, as the board's page has it."""
    from sluicegate.board.notices import NOTICES

    shown = next((name for name, (heading, _) in NOTICES.items() if heading in text), "")
    match status, shown:
        case 400, "refused_there":
            seen = f"{issuer.instance} takes the application's id and secret, and refuses a made-up code"
            return Finding(SIGN_IN, CheckVerdict.OK, seen)
        case 503, "wrong_secret":
            seen = f"{issuer.instance} does not take the application's id or secret"
            change = f"Correct `client_id`, or put the secret there again: {_GUIDE}, steps 1 and 2."
            return Finding(SIGN_IN, CheckVerdict.WRONG, seen, change)
        case 503, "unavailable":
            seen = f"the board cannot ask {issuer.instance}/oauth/token, or cannot read the secret"
            change = "Open that address to AWS; the secret must be a text. The board's log says which it is."
            return Finding(SIGN_IN, CheckVerdict.WRONG, seen, change)
    return Finding(SIGN_IN, CheckVerdict.UNKNOWN, f"could not check: the board answered {status}")


def _of_page(issuer: Issuer, authorize: str) -> Finding:
    """Look for GitLab's page from here, as a person's browser does. It leads to its own sign-in."""
    try:
        with http_client(authorize, _TIMEOUT) as http:
            status = http.get(authorize).status_code
    except httpx2.HTTPError as error:
        seen = f"{authorize} cannot be reached from here: {type(error).__name__}"
        return Finding(SIGN_IN, CheckVerdict.WARNING, seen, "People's browsers must reach it.")
    if status >= 500 or status == 404:
        seen = f"{authorize} answers {status}"
        return Finding(SIGN_IN, CheckVerdict.WARNING, seen, f"Is `gitlab_url` of {issuer.name} right?")
    return Finding(SIGN_IN, CheckVerdict.OK, f"{authorize} can be reached from here")
