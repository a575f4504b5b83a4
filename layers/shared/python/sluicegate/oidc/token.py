"""Verify a GitLab job's ID token, and turn it into an identity.

This module refuses tokens that are not a GitLab job's; `signed_token` reads and verifies them. Rules and
numbers: security.md#id-tokens.
"""

from collections.abc import Mapping, Sequence

from sluicegate.oidc import claims as gitlab
from sluicegate.oidc.identity import ClaimValue, Identity, Issuer
from sluicegate.oidc.jwks import KeySource
from sluicegate.oidc.limits import MAX_BYTES
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
from sluicegate.strict_json import JsonValue
from sluicegate.text import clean


def verify(
    authorization: Sequence[str], *, issuers: Mapping[str, Issuer], keys: KeySource, now: float
) -> Identity:
    """Return the identity that a request's Authorization headers prove, at `now` in epoch seconds.

    `authorization` has the values of all of the request's Authorization headers; `issuers` is keyed by URL.
    Raises InvalidToken or KeysUnavailable.
    """
    return _verified(_bearer(authorization), issuers, keys, now)


def verify_beside_signature(
    values: Sequence[str], *, issuers: Mapping[str, Issuer], keys: KeySource, now: float
) -> Identity:
    """Return the identity that the one header `Sluicegate-Id-Token` proves, like `verify`.

    The header is the token itself: `Authorization` has the signature.
    """
    require(len(values) == 1, "id_token", f"{len(values)} Sluicegate-Id-Token headers, not one")
    return _verified(_of_length(values[0]), issuers, keys, now)


def _verified(token: str, issuers: Mapping[str, Issuer], keys: KeySource, now: float) -> Identity:
    """Verify one token. Its key is read last, so that only a token that may be valid can cause a fetch."""
    read_token = read(token)
    payload = read_token.payload
    kid = key_id(read_token.header)
    issuer = _issuer(payload, issuers)
    issued_at, expires_at = _times(payload, issuer, now)
    for claim, check in gitlab.REQUIRED.items():
        require(check(payload.get(claim)), claim, "missing, or not as in a GitLab job's token")
    # One string: a token for us and for somebody else is one that somebody else can bring to us.
    require(payload.get("aud") == issuer.audience, "aud", "not this issuer's audience, as one string")
    verify_signature(read_token, lambda: keys.key(issuer, kid))
    return Identity(
        via="id_token",
        issuer=issuer.url,
        claims=rule_claims(payload),
        jti=str(payload["jti"]),
        issued_at=issued_at,
        expires_at=expires_at,
        gitlab=issuer.gitlab_url,
    )


def rule_claims(payload: Mapping[str, JsonValue]) -> dict[str, ClaimValue]:
    """Return the claims that rules may read, as strings, without those that can never match."""
    claims: dict[str, ClaimValue] = {}
    for name, value in payload.items():
        if name in gitlab.NEVER_USABLE:
            continue
        match value:
            case str():
                claims[name] = value
            case bool():  # before int, which a bool is too
                claims[name] = "true" if value else "false"
            case int():
                claims[name] = str(value)
            case list() if name in gitlab.LISTS:
                claims[name] = tuple(element for element in value if isinstance(element, str))
    return claims


def _bearer(authorization: Sequence[str]) -> str:
    # Of two headers, a proxy might look at one and we at the other.
    require(len(authorization) == 1, "authorization", f"{len(authorization)} Authorization headers, not one")
    scheme, _, token = authorization[0].partition(" ")
    require(scheme.lower() == "bearer", "authorization", "the scheme is not Bearer")
    return _of_length(token)


def _of_length(token: str) -> str:
    require(
        len(token) <= MAX_BYTES,
        "token",
        f"{len(token)} bytes, more than {MAX_BYTES}: it lists up to 200 groups that the job's user is in;"
        " let a user with fewer start the job",
    )
    return token


def _issuer(payload: Mapping[str, JsonValue], issuers: Mapping[str, Issuer]) -> Issuer:
    iss = payload.get("iss")
    if not (isinstance(iss, str) and iss in issuers):
        raise InvalidToken("iss", f"{clean(str(iss))!r} is not one of the gate file's issuers")
    require(issuers[iss].url == iss, "iss", "not this issuer's url")
    return issuers[iss]


def _times(payload: Mapping[str, JsonValue], issuer: Issuer, now: float) -> tuple[int, int]:
    """Return `iat` and `exp`, once exp, iat and nbf are checked at `now`."""
    exp, iat, nbf = (seconds_of(payload, claim) for claim in ("exp", "iat", "nbf"))
    check_times(iat, exp, now)
    check_not_ahead("nbf", nbf, now)
    check_not_ahead("iat", iat, now)
    if issuer.max_age is not None:
        aged = f"issued {now - iat:.0f} s ago, and the gate file's limit is {issuer.max_age} s"
        require(now - iat <= issuer.max_age, "max_age", f"{aged}: a token is as old as its job")
    return iat, exp
