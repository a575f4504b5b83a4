"""The stand-in GitLab as an OAuth and OpenID Connect provider: its users sign in and let applications know.

Sources, read on 2026-11-26: https://docs.gitlab.com/api/oauth2/ and
https://docs.gitlab.com/integration/openid_connect_provider/; in gitlabhq/gitlabhq
config/initializers/doorkeeper_openid_connect.rb (claims; `sub` is the user's id; only active users),
config/initializers/doorkeeper.rb (grants, refresh tokens, codes of 10 minutes by Doorkeeper's default),
app/controllers/oauth/authorizations_controller.rb and app/views/doorkeeper/authorizations/redirect.html.haml
(errors are shown and not sent to the application; a confidential application that has a token for the user is
not asked about again; the way back is a page with a script); in doorkeeper-gem/doorkeeper
lib/doorkeeper/oauth/{pre_authorization,authorization_code_request,helpers/uri_checker}.rb (PKCE, one use,
exact redirect); in doorkeeper-gem/doorkeeper-openid_connect lib/doorkeeper/openid_connect/id_token.rb and
oauth/token_response.rb (empty claims are left out; a refresh's ID token has no nonce).
"""

import hashlib
import html
import secrets
import threading
import time
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from typing import Any, Final
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

AUTHORIZE: Final = "/oauth/authorize"
TOKEN: Final = "/oauth/token"
SIGN_IN: Final = "/users/sign_in"
PATHS: Final = (AUTHORIZE, TOKEN, SIGN_IN)

CODE_SECONDS: Final = 600
ID_TOKEN_SECONDS: Final = 120
"""Of `openid_id_token_expire_in_seconds`, GitLab's default."""

_COOKIE: Final = "_gitlab_session"

Json = dict[str, Any]
Sign = Callable[[Json], str]


@dataclass
class Application:
    """An OAuth application. A trusted one, which an administrator made, asks nobody for consent."""

    uid: str
    secret: str
    redirect_uris: list[str]
    confidential: bool = True
    trusted: bool = False
    scopes: tuple[str, ...] = ("openid", "profile", "email")


@dataclass
class User:
    """A user. `state` is `active` or `blocked`."""

    id: int
    username: str
    name: str
    email: str
    confirmed: bool = True
    groups: list[str] = field(default_factory=list)
    state: str = "active"


def people() -> list[User]:
    """The users that every instance has."""
    return [
        User(7, "ada", "Ada Lovelace", "ada@example.com", groups=["acme", "acme/platform"]),
        User(8, "grace", "Grace Hopper", "grace@example.com", groups=["acme", "acme/release-managers"]),
        User(9, "mary", "Mary Jackson", "mary@example.com", confirmed=False, groups=["acme"]),
        User(10, "eve", "Eve", "eve@example.org"),
        User(11, "mallory", "Mallory", "mallory@example.com", groups=["acme"], state="blocked"),
        User(12, "many", "Many Groups", "many@example.com", groups=[f"acme/team-{n:03}" for n in range(300)]),
        User(91, "assistant", "An Assistant", "assistant@example.com", groups=["acme"]),
    ]


@dataclass
class Answer:
    """An HTTP answer."""

    status: int
    body: str | Json = ""
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class _Code:
    application: Application
    user: User
    redirect_uri: str
    scopes: str
    nonce: str
    challenge: str
    method: str
    expires_at: float
    used: bool = False


class OAuth:
    """Users, applications, browsers and codes of one instance. Safe for the server's threads."""

    def __init__(self, issuer: str, sign: Sign, clock: Callable[[], float] = time.time) -> None:
        self.issuer = issuer
        self.users = {user.username: user for user in people()}
        self.applications: dict[str, Application] = {}
        self.changed_claims: Json = {}
        """Claims that the next ID tokens have instead; None leaves one out."""
        self._sign = sign
        self._clock = clock
        self._browsers: dict[str, tuple[User, int]] = {}
        self._codes: dict[str, _Code] = {}
        self._refresh: dict[str, tuple[Application, User, str]] = {}
        self._known: set[tuple[str, int, str]] = set()  # what a user has let an application know
        self._lock = threading.RLock()

    def answer(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """The answer to a request for one of PATHS."""
        url = urlsplit(target)
        query = dict(parse_qsl(url.query))
        form = dict(parse_qsl(body.decode("utf-8", "replace")))
        with self._lock:
            match method, url.path:
                case "GET", "/oauth/authorize":
                    return self._authorize(target, query, headers)
                case "POST", "/oauth/authorize":
                    return self._decide(form, headers)
                case "POST", "/oauth/token":
                    return self._token(form, headers)
                case "GET", "/users/sign_in":
                    return self._sign_in_page(query.get("return_to", "/"))
                case "POST", "/users/sign_in":
                    return self._sign_in(form)
        return Answer(404, "404")

    # The browser

    def _sign_in_page(self, return_to: str, message: str = "") -> Answer:
        buttons = "".join(
            f'<button name="username" value="{html.escape(name)}">{html.escape(user.name)}</button>'
            for name, user in self.users.items()
        )
        return Answer(
            200,
            _page(
                f"<h1>Sign in</h1><p>{html.escape(message)}</p><form method=post action={SIGN_IN}>"
                f'<input type=hidden name=return_to value="{html.escape(return_to)}">{buttons}</form>'
            ),
        )

    def _sign_in(self, form: Mapping[str, str]) -> Answer:
        user, return_to = self.users.get(form.get("username", "")), form.get("return_to", "/")
        if user is None:
            return self._sign_in_page(return_to, "Invalid login or password.")
        if user.state != "active":
            return self._sign_in_page(return_to, "Your account has been blocked. Contact your administrator.")
        browser = secrets.token_hex(16)
        self._browsers[browser] = (user, int(self._clock()))
        cookie = f"{_COOKIE}={browser}; Path=/; HttpOnly; SameSite=Lax"
        return Answer(302, "", {"Location": return_to, "Set-Cookie": cookie})

    def _browser(self, headers: Mapping[str, str]) -> tuple[User, int] | None:
        cookies = SimpleCookie(headers.get("Cookie") or headers.get("cookie") or "")
        found = self._browsers.get(cookies[_COOKIE].value) if _COOKIE in cookies else None
        # Devise signs a user out who has been blocked since.
        return found if found and found[0].state == "active" else None

    def _authorize(self, target: str, query: Mapping[str, str], headers: Mapping[str, str]) -> Answer:
        browser = self._browser(headers)
        if browser is None:
            return Answer(302, "", {"Location": f"{SIGN_IN}?return_to={quote(target, safe='')}"})
        problem = self._refused(query)
        if problem:
            return Answer(200, _page(f"<h1>An error has occurred</h1><p>{problem}</p>"))
        user, application = browser[0], self.applications[query["client_id"]]
        known = (application.uid, user.id, query["scope"]) in self._known
        if application.trusted or (known and application.confidential):
            to = html.escape(self._redirect(application, user, query))
            way = f'<h1>Redirecting</h1><a id=go href="{to}">Click here to redirect</a>'
            return Answer(
                200, _page(f"{way}<script>window.location = document.getElementById('go').href</script>")
            )
        fields = "".join(
            f'<input type=hidden name="{html.escape(name)}" value="{html.escape(value)}">'
            for name, value in query.items()
        )
        form = f"<form method=post action={AUTHORIZE}>{fields}<button name=allow value=yes>Authorize</button>"
        return Answer(200, _page(f"<h1>Authorize</h1>{form}<button name=allow value=no>Deny</button></form>"))

    def _refused(self, query: Mapping[str, str]) -> str:
        application = self.applications.get(query.get("client_id", ""))
        if query.get("response_type") != "code":
            return "The authorization server does not support this response type."
        if application is None:
            return "Client authentication failed due to unknown client, no client authentication included."
        scopes = set((query.get("scope") or "").split())
        if not scopes or not scopes <= set(application.scopes):
            return "The requested scope is invalid, unknown, or malformed."
        if query.get("redirect_uri") not in application.redirect_uris:
            return "The redirect URI included is not valid."
        if query.get("code_challenge") and query.get("code_challenge_method") not in ("S256", "plain"):
            return "The code challenge method must be plain or S256."
        return ""

    def _decide(self, form: Mapping[str, str], headers: Mapping[str, str]) -> Answer:
        browser = self._browser(headers)
        if browser is None or self._refused(form):
            return Answer(302, "", {"Location": SIGN_IN})
        if form.get("allow") != "yes":
            denied = {"error": "access_denied", "state": form.get("state", "")}
            denied["error_description"] = "The resource owner or authorization server denied the request."
            return Answer(302, "", {"Location": f"{form['redirect_uri']}?{urlencode(denied)}"})
        application = self.applications[form["client_id"]]
        return Answer(302, "", {"Location": self._redirect(application, browser[0], form)})

    def _redirect(self, application: Application, user: User, query: Mapping[str, str]) -> str:
        code = secrets.token_hex(32)
        self._codes[code] = _Code(
            application,
            user,
            query["redirect_uri"],
            query["scope"],
            query.get("nonce", ""),
            query.get("code_challenge", ""),
            query.get("code_challenge_method", "plain"),
            self._clock() + CODE_SECONDS,
        )
        self._known.add((application.uid, user.id, query["scope"]))
        given = {"code": code, **({"state": query["state"]} if query.get("state") else {})}
        return f"{query['redirect_uri']}?{urlencode(given)}"

    # The application

    def _token(self, form: Mapping[str, str], headers: Mapping[str, str]) -> Answer:
        application = self._client(form, headers)
        if application is None:
            return _error(401, "invalid_client", "Client authentication failed due to unknown client.")
        match form.get("grant_type"):
            case "authorization_code":
                return self._of_code(application, form)
            case "refresh_token":
                return self._of_refresh(application, form)
        return _error(400, "unsupported_grant_type", "The authorization grant type is not supported.")

    def _client(self, form: Mapping[str, str], headers: Mapping[str, str]) -> Application | None:
        uid, secret = form.get("client_id", ""), form.get("client_secret", "")
        basic = headers.get("Authorization", "")
        if basic.startswith("Basic "):
            uid, _, secret = b64decode(basic.removeprefix("Basic ")).decode().partition(":")
        application = self.applications.get(uid)
        if application is None or (application.confidential and application.secret != secret):
            return None
        return application

    def _of_code(self, application: Application, form: Mapping[str, str]) -> Answer:
        found = self._codes.get(form.get("code", ""))
        if not form.get("redirect_uri"):
            return _error(400, "invalid_request", "Missing required parameter: redirect_uri.")
        if (
            found is None
            or found.application is not application
            or found.used
            or self._clock() >= found.expires_at
            or found.redirect_uri != form["redirect_uri"]
            or not _proven(found, form.get("code_verifier", ""))
        ):
            return _error(
                400, "invalid_grant", "The provided authorization grant is invalid, expired, revoked."
            )
        found.used = True
        return self._tokens(application, found.user, found.scopes, found.nonce)

    def _of_refresh(self, application: Application, form: Mapping[str, str]) -> Answer:
        known = self._refresh.pop(form.get("refresh_token", ""), None)
        if known is None or known[0] is not application:
            return _error(
                400, "invalid_grant", "The provided authorization grant is invalid, expired, revoked."
            )
        return self._tokens(*known, "")

    def _tokens(self, application: Application, user: User, scopes: str, nonce: str) -> Answer:
        if user.state != "active":
            # `User.active.find_by` finds nobody, whose id is asked for.
            return Answer(500, "500")
        refresh = secrets.token_hex(32)
        self._refresh[refresh] = (application, user, scopes)
        given = {
            "access_token": secrets.token_hex(32),
            "token_type": "Bearer",
            "expires_in": 7_200,
            "refresh_token": refresh,
            "scope": scopes,
            "created_at": int(self._clock()),
        }
        if "openid" in scopes.split():
            given["id_token"] = self._sign(self.claims(application, user, scopes, nonce))
        return Answer(200, given)

    def claims(self, application: Application, user: User, scopes: str, nonce: str) -> Json:
        """The claims of an ID token. What is empty text is left out, an empty list is not."""
        now = int(self._clock())
        signed_in = max((at for one, at in self._browsers.values() if one is user), default=now)
        claims: Json = {
            "iss": self.issuer,
            "sub": str(user.id),
            "aud": application.uid,
            "exp": now + ID_TOKEN_SECONDS,
            "iat": now,
            "nonce": nonce,
            "auth_time": signed_in,
            "sub_legacy": hashlib.sha256(f"{user.id}-key".encode()).hexdigest(),
            "name": user.name,
            "nickname": user.username,
            "preferred_username": user.username,
            "profile": f"{self.issuer}/{user.username}",
            "picture": f"{self.issuer}/uploads/-/system/user/avatar/{user.id}/avatar.png",
            "groups_direct": list(user.groups),
        }
        if "email" in scopes.split():
            claims |= {"email": user.email, "email_verified": user.confirmed}
        claims |= self.changed_claims
        return {name: value for name, value in claims.items() if value is not None and value != ""}


def _proven(code: _Code, verifier: str) -> bool:
    """Whether the verifier is that of the challenge; where there was none, there must be none."""
    if not code.challenge:
        return not verifier
    made = urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    return code.challenge == (made if code.method == "S256" else verifier)


def _error(status: int, error: str, description: str) -> Answer:
    return Answer(status, {"error": error, "error_description": description})


def _page(content: str) -> str:
    return f"<!doctype html><html lang=en><title>GitLab</title><body>{content}</body></html>"
