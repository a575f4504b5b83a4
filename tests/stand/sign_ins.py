"""People who sign in on the stand's board: the applications in its GitLabs, and browsers without a screen."""

import html
import json
import re
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qsl, urljoin, urlsplit

import httpx2

from stand import places
from stand.emulator import Emulator
from stand.issuer import Issuer
from stand.say import StandError

_ATTRIBUTE: Final = re.compile(r'(\w+)=(?:"([^"]*)"|([^\s">]+))')

SECRET: Final = "the-application's-own"
"""What every application of the stand proves itself with."""


def prepare(emulator: Emulator, endpoint: str) -> None:
    """Make the applications that the installed gate file names, in those of its GitLabs that run here."""
    gate = json.loads((places.BUILD / "GateLayer" / "sluicegate" / "gate.json").read_text())
    for issuer in gate["issuers"]:
        application = issuer.get("sign_in")
        gitlab = Issuer(issuer["gitlab_url"] or issuer["url"])
        if not application or not gitlab.url.startswith("http://127.0.0.1") or not gitlab.answers():
            continue
        secrets = emulator.client("secretsmanager")
        try:
            secrets.create_secret(Name=application["secret"], SecretString=SECRET)
        except secrets.exceptions.ResourceExistsException:
            secrets.put_secret_value(SecretId=application["secret"], SecretString=SECRET)
        back = f"{endpoint}/board/callback/{issuer['name']}"
        gitlab.add_application(application["client_id"], SECRET, back)


@dataclass
class Browser:
    """A browser without a screen: it keeps cookies by host and port, and presses buttons."""

    board: str
    http: httpx2.Client = field(
        default_factory=lambda: httpx2.Client(trust_env=False, timeout=120, follow_redirects=False)
    )
    cookies: dict[str, dict[str, str]] = field(default_factory=dict)

    def get(self, url: str, **headers: str) -> httpx2.Response:
        """The page at an address of the board, or of anywhere."""
        return self._send("GET", urljoin(f"{self.board}/", url), headers=headers)

    def post(self, url: str, form: dict[str, str], **headers: str) -> httpx2.Response:
        """What a form of that very site gets."""
        at = urljoin(f"{self.board}/", url)
        origin = "{0.scheme}://{0.netloc}".format(urlsplit(at))
        return self._send(
            "POST", at, data=form, headers={"Origin": origin, "Sec-Fetch-Site": "same-origin"} | headers
        )

    def follow(self, response: httpx2.Response, *, within: str = "http://") -> httpx2.Response:
        """Where redirects lead, as long as they stay below an address."""
        for _ in range(10):
            if not response.is_redirect or not self._to(response).startswith(within):
                return response
            response = self.get(self._to(response))
        raise StandError("too many redirects")

    def sign_in(self, username: str = "ada", issuer: str = "stand", back: str = "") -> httpx2.Response:
        """Sign in with GitLab, saying yes wherever it asks; what the board shows then."""
        begun = self._send("GET", f"{self.board}/login", params={"issuer": issuer, "return": back})
        return self._signed_in(begun, username)

    def sign_in_at(self, address: str, username: str = "ada") -> httpx2.Response:
        """Open an address of the board, and sign in if it leads to GitLab."""
        return self._signed_in(self.get(address), username)

    def _signed_in(self, begun: httpx2.Response, username: str) -> httpx2.Response:
        page = self.follow(begun)
        for _ in range(4):
            at = str(page.url)
            if at.startswith(self.board):
                return page
            fields = hidden(page.text)
            if urlsplit(at).path == "/users/sign_in":
                page = self.follow(self.post(urljoin(at, "/users/sign_in"), {**fields, "username": username}))
            elif "name=allow" in page.text:
                page = self.follow(self.post(urljoin(at, "/oauth/authorize"), {**fields, "allow": "yes"}))
            elif found := re.search(r'id=go href="([^"]+)"', page.text):
                page = self.follow(self.get(html.unescape(found[1])))
            else:
                return page
        raise StandError("GitLab asks without end")

    @property
    def session(self) -> str:
        """The bearer in the board's cookie."""
        return self.cookies.get(urlsplit(self.board).netloc, {}).get("__Host-sg", "")

    def _send(self, method: str, url: str, **more: Any) -> httpx2.Response:
        mine = self.cookies.setdefault(urlsplit(url).netloc, {})
        headers = dict(more.pop("headers", {}))
        if mine:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in mine.items())
        self.http.cookies.clear()
        response = self.http.request(method, url, headers=headers, **more)
        for line in response.headers.get_list("set-cookie"):
            pair, *attributes = (part.strip() for part in line.split(";"))
            name, _, value = pair.partition("=")
            if "max-age=0" in [each.lower() for each in attributes]:
                mine.pop(name, None)
            else:
                mine[name] = value
        return response

    def _to(self, response: httpx2.Response) -> str:
        return urljoin(str(response.url), response.headers["location"])


def signed_in(board: str, username: str) -> Browser:
    """A browser in which this user of the stand's GitLab has signed in. Raises StandError otherwise."""
    browser = Browser(board)
    shown = browser.sign_in(username)
    if shown.status_code != 200 or not browser.session:
        raise StandError(f"{username} could not sign in: {shown.status_code} of {shown.url}")
    return browser


def hidden(page: str) -> dict[str, str]:
    """The hidden fields of a page's form."""
    fields = {}
    for tag in re.findall(r"<input[^>]*>", page):
        found = {name: quoted or plain for name, quoted, plain in _ATTRIBUTE.findall(tag)}
        if found.get("type") == "hidden":
            fields[found["name"]] = html.unescape(found.get("value", ""))
    return fields


def query_of(url: str) -> dict[str, str]:
    """The query of an address."""
    return dict(parse_qsl(urlsplit(url).query))
