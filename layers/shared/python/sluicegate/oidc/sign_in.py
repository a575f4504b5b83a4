"""Sign a person in with GitLab: OpenID Connect's authorization code flow with PKCE, redeemed by us alone.

security.md#signing-in. GitLab's paths and answers: https://docs.gitlab.com/api/oauth2/ ("Authorization code
flow"), https://docs.gitlab.com/integration/openid_connect_provider/, its
config/initializers/doorkeeper_openid_connect.rb and config/initializers/doorkeeper.rb, and the gems
doorkeeper and doorkeeper-openid_connect (lib/doorkeeper/openid_connect/id_token.rb); read on 2026-11-26.
"""

import hmac
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import urlencode

from sluicegate.http_client import FetchError, exchange
from sluicegate.oidc.identity import ClaimValue, Issuer
from sluicegate.oidc.jwks import KeySource
from sluicegate.oidc.limits import LEEWAY
from sluicegate.oidc.pkce import challenge_of
from sluicegate.oidc.signed_token import (
    InvalidToken,
    check_not_ahead,
    check_times,
    key_id,
    read,
    require,
    seconds_of,
    verify_signature,
)
from sluicegate.strict_json import JsonValue, StrictJsonError, loads
from sluicegate.text import clean

SCOPES: Final = "openid profile email"

REDEEM_SECONDS: Final = 8.0
"""Seconds for the exchange of a code: the person waits, and API Gateway waits for 29 s at most."""

MAX_RESPONSE: Final = 512 * 1024
"""Bytes of the token endpoint's answer. An ID token names all groups that its user is a direct member of."""

_OF_JOBS: Final = ("jti", "project_id", "job_id", "pipeline_id", "ref", "pipeline_source")
"""Claims that a job's token has and a sign-in token never. Both have one issuer and one set of keys, and a
job may ask for any audience, our application's id included."""

_USER_ID: Final = re.compile(r"[1-9][0-9]{0,18}", re.ASCII)


class SignInRefused(Exception):
    """GitLab, or the token that it gave, does not sign this person in. `check` is a word for the log."""

    def __init__(self, check: str, detail: str) -> None:
        super().__init__(f"{check}: {detail}")
        self.check = check
        self.detail = detail


class ClientRefused(Exception):
    """GitLab does not accept the application's id and secret: the operator has to mend that."""


class SignInUnavailable(Exception):
    """GitLab gave no usable answer. The message says why, without any value that was sent."""


@dataclass(frozen=True, repr=False)
class SignInAttempt:
    """One begun sign-in. `state` and `nonce` must come back, `verifier` redeems the code (RFC 7636)."""

    url: str
    state: str
    nonce: str
    verifier: str


@dataclass(frozen=True)
class SignedIn:
    """What GitLab vouches for. `issued_at` is when it did, `signed_in_at` when the person proved it there.

    `claims` are what rules may read, by the names that a job's token has.
    """

    user_id: str
    claims: Mapping[str, ClaimValue]
    issued_at: int
    signed_in_at: int
    name: str


def begin(issuer: Issuer, client_id: str, redirect_uri: str) -> SignInAttempt:
    """Return a sign-in whose page is at `url` of the GitLab. Every secret of it is new."""
    state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
    query = {
        "client_id": client_id,
        "redirect_uri": redirect_uri,
        "response_type": "code",
        "scope": SCOPES,
        "state": state,
        "nonce": nonce,
        "code_challenge": challenge_of(verifier),
        "code_challenge_method": "S256",
    }
    url = f"{issuer.instance.removesuffix('/')}/oauth/authorize?{urlencode(query)}"
    return SignInAttempt(url, state, nonce, verifier)


def redeem(
    issuer: Issuer,
    client_id: str,
    client_secret: str,
    *,
    code: str,
    verifier: str,
    redirect_uri: str,
    seconds: float = REDEEM_SECONDS,
) -> str:
    """Return the ID token for a code, which GitLab takes once. What else comes with it is dropped.

    The access token is not revoked either: while GitLab knows one, it does not ask this person for consent
    again (Oauth::AuthorizationsController, `matching_token?`). Raises SignInRefused, ClientRefused or
    SignInUnavailable.
    """
    form = {
        "grant_type": "authorization_code",
        "client_id": client_id,
        "client_secret": client_secret,
        "code": code,
        "code_verifier": verifier,
        "redirect_uri": redirect_uri,
    }
    try:
        response = exchange(
            f"{issuer.instance.removesuffix('/')}/oauth/token",
            "POST",
            seconds=seconds,
            headers={"Content-Type": "application/x-www-form-urlencoded"},
            body=urlencode(form).encode(),
            most=MAX_RESPONSE,
        )
    except FetchError as error:
        raise SignInUnavailable(str(error)) from None
    answer = _object(response.body)
    refusal = answer.get("error")
    if response.status in (400, 401) and refusal == "invalid_client":
        raise ClientRefused
    if response.status in (400, 401, 403):
        raise SignInRefused("code", f"GitLab answers {clean(str(refusal or response.status), 64)}")
    token = answer.get("id_token")
    if response.status != 200:
        raise SignInUnavailable(f"status {response.status}")
    if not isinstance(token, str):
        raise SignInRefused("id_token", "GitLab gave none: the application needs the scope openid")
    return token


def verify_sign_in_token(
    token: str, *, issuer: Issuer, client_id: str, nonce: str, keys: KeySource, now: float
) -> SignedIn:
    """Return the person whom a redeemed ID token names, at `now` in epoch seconds.

    Its `iss` is the GitLab's own address, also where its job tokens have another one, and the keys are
    those that it publishes there. Raises InvalidToken or KeysUnavailable.
    """
    read_token = read(token)
    payload = read_token.payload
    kid = key_id(read_token.header)
    require(payload.get("iss") == issuer.instance, "iss", "not the address of this GitLab")
    require(payload.get("aud") == client_id, "aud", "not this application's id, as one string")
    require(payload.get("azp", client_id) == client_id, "azp", "not this application's id")
    for claim in _OF_JOBS:
        require(claim not in payload, claim, "a job's token signs nobody in")
    given = payload.get("nonce")
    same = isinstance(given, str) and given.isascii() and hmac.compare_digest(given, nonce)
    require(same, "nonce", "missing, or not of this sign-in")
    exp, iat, auth_time = (seconds_of(payload, claim) for claim in ("exp", "iat", "auth_time"))
    check_times(iat, exp, now)
    check_not_ahead("iat", iat, now)
    if "nbf" in payload:
        check_not_ahead("nbf", seconds_of(payload, "nbf"), now)
    require(auth_time <= iat + LEEWAY, "auth_time", "after iat")
    user_id = payload.get("sub")
    if not (isinstance(user_id, str) and _USER_ID.fullmatch(user_id)):
        raise InvalidToken("sub", "not a user's id in digits: this GitLab may be older than 12")
    login = payload.get("preferred_username") or payload.get("nickname")
    if not (isinstance(login, str) and login):
        raise InvalidToken("preferred_username", "missing: the application needs the scope profile")
    verify_signature(read_token, lambda: keys.key(replace(issuer, url=issuer.instance), kid))
    name = payload.get("name")
    return SignedIn(
        user_id=user_id,
        claims=_claims(user_id, login, payload),
        issued_at=iat,
        signed_in_at=auth_time,
        name=name if isinstance(name, str) else login,
    )


def _claims(user_id: str, login: str, payload: Mapping[str, JsonValue]) -> dict[str, ClaimValue]:
    """Return what rules may read. An email counts only as GitLab has verified it: `true`, nothing else."""
    claims: dict[str, ClaimValue] = {"user_id": user_id, "user_login": login}
    email, groups = payload.get("email"), payload.get("groups_direct")
    if isinstance(email, str) and email and payload.get("email_verified") is True:
        claims["email"] = email
    if isinstance(groups, list):
        claims["groups_direct"] = tuple(group for group in groups if isinstance(group, str))
    return claims


def _object(body: bytes) -> Mapping[str, JsonValue]:
    try:
        value = loads(body, max_depth=8)
    except StrictJsonError:
        raise SignInUnavailable("the answer is not JSON") from None
    if not isinstance(value, dict):
        raise SignInUnavailable("the answer is not a JSON object")
    return value
