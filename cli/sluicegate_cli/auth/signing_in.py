"""Sign in from a terminal, through the board: security.md#the-command-line.

The terminal makes a verifier. A person who is signed in on the board says that the terminal of this name is
theirs, and the board's code comes back: to a port of this machine, or by the person's own hands.
"""

import hmac
import os
import re
import secrets
import sys
import threading
import webbrowser
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Empty, SimpleQueue
from typing import Any, Final
from urllib.parse import parse_qs, urlencode, urlsplit

import click

from sluicegate.oidc.pkce import challenge_of, terminal_code
from sluicegate_cli.api import ApiClient
from sluicegate_cli.auth.stored import StoredSession
from sluicegate_cli.errors import ApiError
from sluicegate_cli.exit_codes import ExitCode
from sluicegate_cli.responses import ClientResponse

WAIT_SECONDS: Final = 10 * 60
"""Seconds for signing in with GitLab and saying yes on the board."""

ATTEMPTS: Final = 3
"""How often a person may mistype the board's code; the board allows a few more."""

_DONE: Final = b"""<!doctype html><html lang="en"><meta charset="utf-8"><title>Sluicegate</title>
<p>The terminal has what it needs. You can close this page.</p></html>
"""
_CONNECTION_SECONDS: Final = 5


@dataclass(frozen=True)
class SignInTerms:
    """What signing in shows and asks. `browser` opens an address, `ask` reads a line."""

    notice: Callable[[str], None]
    browser: Callable[[str], bool]
    ask: Callable[[], str]


def with_browser(url: str, terms: SignInTerms, seconds: float = WAIT_SECONDS) -> StoredSession:
    """Sign in with a browser of this machine, and return the session. Raises ApiError."""
    verifier, state = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
    with _Listener(state) as listener:
        query = {"challenge": challenge_of(verifier), "port": str(listener.port), "state": state}
        address = f"{url}/board/cli?{urlencode(query)}"
        if not terms.browser(address):
            terms.notice("No browser opened.")
        terms.notice(f"Sign in in the browser. It must show the code {name_of(verifier)}. The address is:")
        terms.notice(address)
        terms.notice("If the browser is on another machine: Ctrl-C, then `sluicegate login --no-browser`.")
        code = listener.wait(seconds)
    if code is None:
        detail = f"nobody has signed in on the board within {seconds / 60:.0f} minutes"
        raise ApiError(
            ExitCode.REFUSED, {"code": "sign_in_required", "title": "Not signed in", "detail": detail}
        )
    return _session(url, _redeem(url, verifier, code, terms.notice).document)


def with_typed_code(url: str, terms: SignInTerms) -> StoredSession:
    """Sign in with a browser that is anywhere, and return the session. Raises ApiError."""
    verifier = secrets.token_urlsafe(32)
    name = name_of(verifier)
    terms.notice(f"Open {url}/board/cli on any device, sign in, and enter the code {name}.")
    terms.notice("The board shows a code then. Type it here.")
    for attempt in range(1, ATTEMPTS + 1):
        code = re.sub(r"[\s-]", "", terms.ask())
        try:
            return _session(url, _redeem(url, verifier, code, terms.notice).document)
        except ApiError as error:
            if attempt == ATTEMPTS or error.document.get("check") != "code":
                raise
            terms.notice("The board knows no such code for this terminal. Try again.")
    raise AssertionError("the last attempt returns or raises")


def name_of(verifier: str) -> str:
    """Return the terminal's name as people compare it: `ABCD-EFGH-IJKL`."""
    name = terminal_code(challenge_of(verifier))
    return "-".join(name[at : at + 4] for at in range(0, len(name), 4))


def has_browser(environment: Mapping[str, str] = os.environ, platform: str = sys.platform) -> bool:
    """Return whether this machine seems to have a browser with windows. A remote shell has none."""
    if platform in ("darwin", "win32"):
        return not environment.get("SSH_CONNECTION")
    return bool(environment.get("DISPLAY") or environment.get("WAYLAND_DISPLAY"))


def open_browser(address: str) -> bool:
    """Open an address; return whether a browser was found."""
    try:
        return webbrowser.open(address)
    except webbrowser.Error:
        return False


def terms_of(notice: Callable[[str], None]) -> SignInTerms:
    """Return the terms of a real terminal."""
    return SignInTerms(notice, open_browser, lambda: str(click.prompt("Code of the board", err=True)))


def _redeem(url: str, verifier: str, code: str, notice: Callable[[str], None]) -> ClientResponse:
    """Exchange verifier and code for a session. The same again gets the same, so that it may be retried."""
    with ApiClient(url, "", notice=notice) as api:
        return api.post("board", "session", body={"verifier": verifier, "code": code})


def _session(url: str, answer: Mapping[str, Any]) -> StoredSession:
    names = ("token", "issuer", "user_id", "user_login", "expires_at")
    return StoredSession(url=url, **{name: str(answer[name]) for name in names})


class _Listener:
    """Waits on a port of 127.0.0.1 for the one request that has our state. Nobody else can cause anything."""

    def __init__(self, state: str) -> None:
        self._codes: SimpleQueue[str] = SimpleQueue()
        codes = self._codes

        class Handler(BaseHTTPRequestHandler):
            timeout = _CONNECTION_SECONDS

            def do_GET(self) -> None:
                code = self._code()
                body = _DONE if code else b"Not found\n"
                self.send_response(200 if code else 404)
                headers = {
                    "Content-Type": "text/html; charset=utf-8" if code else "text/plain",
                    "Content-Length": str(len(body)),
                    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
                    "Referrer-Policy": "no-referrer",
                    "Cache-Control": "no-store",
                    "Connection": "close",
                }
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)
                if code:
                    codes.put(code)

            def _code(self) -> str | None:
                """Return the code of the board's request; None for any other one."""
                at = urlsplit(self.path)
                query = parse_qs(at.query, max_num_fields=8) if len(at.query) < 1_024 else {}
                given, found = query.get("state", []), query.get("code", [])
                ours = at.path == "/" and self.headers.get_all("Host") == [f"127.0.0.1:{port}"]
                if not ours or len(given) != 1 or len(found) != 1 or not given[0].isascii():
                    return None
                return found[0] if hmac.compare_digest(given[0], state) else None

            def log_message(self, format: str, *args: Any) -> None:
                """Log nothing: the address has the code."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        port = self.port
        self._server.daemon_threads = True

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def wait(self, seconds: float) -> str | None:
        """Return the code, or None if none has arrived in so many seconds."""
        try:
            return self._codes.get(timeout=seconds)
        except Empty:
            return None

    def __enter__(self) -> "_Listener":
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
