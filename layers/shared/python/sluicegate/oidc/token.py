"""Verify a GitLab job's ID token, and turn it into an identity.

PyJWT verifies the signature and the registered claims. This module refuses what PyJWT would still accept, and
tokens that are not a GitLab job's. Rules and numbers: security.md#id-tokens.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import jwt

from sluicegate.oidc import claims as gitlab
from sluicegate.oidc.identity import ClaimValue, Identity, Issuer
from sluicegate.oidc.jwks import KeySource, UnknownKey
from sluicegate.oidc.limits import LEEWAY, MAX_BYTES, MAX_DEPTH, MAX_LIFETIME
from sluicegate.strict_json import JsonValue, StrictJsonError, loads
from sluicegate.text import base64url, clean

_EPOCH_SECONDS = range(10**9, 10**11 + 1)

# Parameters that change how a token is read, or bring or name a key of the sender's choice (RFC 7515, 4.1).
_REFUSED_PARAMETERS = ("crit", "b64", "zip", "cty", "jku", "jwk", "x5u", "x5c")


class InvalidToken(Exception):
    """No credential, or one that does not verify (401).

    `check` names the check that failed: a claim, a header parameter, or a word. `detail` says why, in bounded
    and printable text; it never holds the token.
    """

    def __init__(self, check: str, detail: str) -> None:
        super().__init__(f"{check}: {detail}")
        self.check = check
        self.detail = detail


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
    _require(len(values) == 1, "id_token", f"{len(values)} Sluicegate-Id-Token headers, not one")
    return _verified(_of_length(values[0]), issuers, keys, now)


def _verified(token: str, issuers: Mapping[str, Issuer], keys: KeySource, now: float) -> Identity:
    """Verify one token. Its key is read last, so that only a token that may be valid can cause a fetch."""
    parts = _parts(token)
    kid = _key_id(_object("header", parts[0]))
    payload = _object("payload", parts[1])
    issuer = _issuer(payload, issuers)
    issued_at, expires_at = _times(payload, issuer, now)
    for claim, check in gitlab.REQUIRED.items():
        _require(check(payload.get(claim)), claim, "missing, or not as in a GitLab job's token")
    # PyJWT looks at it again, but only once it has the key, which might have to be fetched.
    _require(payload.get("aud") == issuer.audience, "aud", "not this issuer's audience, as one string")
    _verify_signature_and_registered_claims(token, payload, issuer, kid, keys)
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


def _require(holds: bool, check: str, detail: str) -> None:
    if not holds:
        raise InvalidToken(check, detail)


def _bearer(authorization: Sequence[str]) -> str:
    # Of two headers, a proxy might look at one and we at the other.
    _require(len(authorization) == 1, "authorization", f"{len(authorization)} Authorization headers, not one")
    scheme, _, token = authorization[0].partition(" ")
    _require(scheme.lower() == "bearer", "authorization", "the scheme is not Bearer")
    return _of_length(token)


def _of_length(token: str) -> str:
    _require(
        len(token) <= MAX_BYTES,
        "token",
        f"{len(token)} bytes, more than {MAX_BYTES}: it lists up to 200 groups that the job's user is in;"
        " let a user with fewer start the job",
    )
    return token


def _parts(token: str) -> list[bytes]:
    parts = token.split(".")
    _require(len(parts) == 3, "token", "not three parts")
    try:
        return [base64url(part) for part in parts]
    except ValueError:
        raise InvalidToken("token", "a part is not unpadded base64url") from None


def _object(part: str, data: bytes) -> dict[str, JsonValue]:
    try:
        value = loads(data, max_depth=MAX_DEPTH, control_characters=False)
    except StrictJsonError as error:
        raise InvalidToken(part, str(error)) from None
    if not isinstance(value, dict):
        raise InvalidToken(part, "not a JSON object")
    return value


def _key_id(header: Mapping[str, JsonValue]) -> str:
    for parameter in _REFUSED_PARAMETERS:
        _require(parameter not in header, parameter, "header parameter not accepted")
    _require(header.get("alg") == "RS256", "alg", "not RS256")
    _require(header.get("typ", "JWT") == "JWT", "typ", "not JWT")
    kid = header.get("kid")
    if not (isinstance(kid, str) and 1 <= len(kid) <= 128 and kid.isprintable()):
        raise InvalidToken("kid", "not 1 to 128 printable characters")
    return kid


def _issuer(payload: Mapping[str, JsonValue], issuers: Mapping[str, Issuer]) -> Issuer:
    iss = payload.get("iss")
    if not (isinstance(iss, str) and iss in issuers):
        raise InvalidToken("iss", f"{clean(str(iss))!r} is not one of the gate file's issuers")
    return issuers[iss]


def _times(payload: Mapping[str, JsonValue], issuer: Issuer, now: float) -> tuple[int, int]:
    """Return `iat` and `exp`, once exp, iat and nbf are checked at `now`."""
    exp, iat, nbf = (_seconds(payload, claim) for claim in ("exp", "iat", "nbf"))
    _require(iat < exp, "exp", "not after iat")
    _require(exp - iat <= MAX_LIFETIME, "exp", "more than 31 days after iat")
    _require(
        now < exp + LEEWAY, "exp", f"expired {now - exp:.0f} s ago: a token lives as long as its job may"
    )
    for claim, moment in (("nbf", nbf), ("iat", iat)):
        # Ours is AWS's clock: if they differ, it is GitLab's that is wrong.
        ahead = f"{moment - now:.0f} s in the future, by AWS's clock: GitLab's clock is ahead"
        _require(moment <= now + LEEWAY, claim, f"{ahead}; {LEEWAY} s are tolerated")
    if issuer.max_age is not None:
        aged = f"issued {now - iat:.0f} s ago, and the gate file's limit is {issuer.max_age} s"
        _require(now - iat <= issuer.max_age, "max_age", f"{aged}: a token is as old as its job")
    return iat, exp


def _seconds(payload: Mapping[str, JsonValue], claim: str) -> int:
    value = payload.get(claim)
    # `true` is an int in Python; the range keeps out milliseconds, and dates no clock will see.
    if not (type(value) is int and value in _EPOCH_SECONDS):
        raise InvalidToken(claim, "not an integer from 1e9 to 1e11")
    return value


class _ReadOnce(jwt.PyJWT):
    """PyJWT on the payload as this module read it: what is verified, checked and used is one value.

    PyJWT reads the header again, for `alg`, with the same result: no name is in it twice.
    """

    def __init__(self, payload: dict[str, JsonValue]) -> None:
        super().__init__()
        self._payload = payload

    def _decode_payload(self, decoded: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG002 (PyJWT's hook)
        return self._payload


def _verify_signature_and_registered_claims(
    token: str, payload: dict[str, JsonValue], issuer: Issuer, kid: str, keys: KeySource
) -> None:
    try:
        _ReadOnce(payload).decode(
            token,
            key=keys.key(issuer, kid),
            # Ours, never the token's: its `alg` would make the public key an HMAC secret (RFC 8725, 2.1).
            algorithms=["RS256"],
            issuer=issuer.url,
            audience=issuer.audience,
            # Many of these are PyJWT's defaults; they are here so that they cannot change.
            options={
                "verify_signature": True,
                "enforce_minimum_key_length": True,
                "require": ["iss", "aud", "exp", "iat", "nbf", "jti", "sub"],
                "verify_iss": True,
                "verify_aud": True,
                # A token for us and for somebody else is one that somebody else can bring to us.
                "strict_aud": True,
                "verify_sub": True,
                "verify_jti": True,
                # Against the caller's clock in _times; PyJWT can only look at the system's.
                "verify_exp": False,
                "verify_iat": False,
                "verify_nbf": False,
            },
        )
    except UnknownKey as error:
        raise InvalidToken("kid", str(error)) from None
    except jwt.InvalidSignatureError:
        raise InvalidToken("signature", "does not verify") from None
    except jwt.MissingRequiredClaimError as error:
        raise InvalidToken(error.claim, "missing") from None
    except jwt.InvalidAudienceError:
        raise InvalidToken("aud", "not this issuer's audience, as one string") from None
    except jwt.InvalidIssuerError:
        raise InvalidToken("iss", "not this issuer's url") from None
    except jwt.PyJWTError as error:
        raise InvalidToken("token", clean(str(error))) from None
