"""A GitLab on loopback that signs people in, and what their browsers do there."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Thread
from typing import Final
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

from sluicegate.oidc import sign_in
from sluicegate.oidc.identity import Issuer
from stand.gitlab import GitLab, Handler, Server
from stand.gitlab_oauth import Application

CLIENT: Final = "5f1d"
BACK: Final = "https://board.example.com/v1/board/callback/corp"
CLIENT_SECRET: Final = "the application's own"


@dataclass
class Site:
    """The GitLab, and the gate file's issuer for it."""

    gitlab: GitLab
    issuer: Issuer

    def browser(self, username: str = "ada") -> str:
        """The cookie of a person who has signed in to GitLab."""
        form = urlencode({"username": username, "return_to": "/"}).encode()
        answer = self.gitlab.oauth.answer("POST", "/users/sign_in", {}, form)
        return answer.headers["Set-Cookie"].partition(";")[0]

    def back(self, url: str, username: str = "ada", allow: str = "yes") -> dict[str, str]:
        """What the person's browser brings back from that page of GitLab's."""
        at = urlsplit(url)
        form = urlencode([*parse_qsl(at.query), ("allow", allow)]).encode()
        cookie = {"Cookie": self.browser(username)}
        location = self.gitlab.oauth.answer("POST", at.path, cookie, form).headers["Location"]
        return dict(parse_qsl(urlsplit(location).query))

    def code(self, url: str, username: str = "ada") -> str:
        """The code that it brings back, with the state that was sent."""
        brought = self.back(url, username)
        assert parse_qs(urlsplit(url).query)["state"] == [brought["state"]]
        return brought["code"]

    def redeem(self, code: str, verifier: str, given: str = "", back: str = BACK) -> str:
        """The ID token for a code."""
        secret = given or CLIENT_SECRET
        return sign_in.redeem(self.issuer, CLIENT, secret, code=code, verifier=verifier, redirect_uri=back)


@contextmanager
def gitlab_site() -> Iterator[Site]:
    """A GitLab with an application for the board of `BACK`."""
    server = Server(("127.0.0.1", 0), Handler)
    address = f"http://127.0.0.1:{server.server_address[1]}"
    gitlab = GitLab(address, "https://deploy.example.com")
    gitlab.oauth.applications[CLIENT] = Application(CLIENT, CLIENT_SECRET, [BACK])
    server.RequestHandlerClass = type("OfThis", (Handler,), {"gitlab": gitlab, "log_message": _quiet})
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield Site(gitlab, Issuer(name="corp", url=address, audience="https://deploy.example.com"))
    finally:
        server.shutdown()
        server.server_close()


def _quiet(*_: object) -> None:
    """Say nothing."""
