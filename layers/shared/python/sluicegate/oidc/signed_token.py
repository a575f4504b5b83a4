"""Read and verify a signed token, whatever it is for: its form, its times, its signature.

PyJWT verifies the signature and the registered claims. This module refuses what PyJWT would still accept.
Rules and numbers: security.md#id-tokens.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from sluicegate.oidc.jwks import UnknownKey
from sluicegate.oidc.limits import LEEWAY, MAX_DEPTH, MAX_LIFETIME
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


def require(holds: bool, check: str, detail: str) -> None:
    """Raise InvalidToken unless it holds."""
    if not holds:
        raise InvalidToken(check, detail)


def parts_of(token: str) -> tuple[dict[str, JsonValue], dict[str, JsonValue]]:
    """Return header and payload, each parsed once and strictly. Nothing in them is verified yet."""
    parts = token.split(".")
    require(len(parts) == 3, "token", "not three parts")
    try:
        header, payload, _ = (base64url(part) for part in parts)
    except ValueError:
        raise InvalidToken("token", "a part is not unpadded base64url") from None
    return _object("header", header), _object("payload", payload)


def key_id(header: Mapping[str, JsonValue]) -> str:
    """Return `kid`, once the header is one that is accepted."""
    for parameter in _REFUSED_PARAMETERS:
        require(parameter not in header, parameter, "header parameter not accepted")
    require(header.get("alg") == "RS256", "alg", "not RS256")
    require(header.get("typ", "JWT") == "JWT", "typ", "not JWT")
    kid = header.get("kid")
    if not (isinstance(kid, str) and 1 <= len(kid) <= 128 and kid.isprintable()):
        raise InvalidToken("kid", "not 1 to 128 printable characters")
    return kid


def seconds_of(payload: Mapping[str, JsonValue], claim: str) -> int:
    """Return a claim that is a time, in epoch seconds."""
    value = payload.get(claim)
    # `true` is an int in Python; the range keeps out milliseconds, and dates no clock will see.
    if not (type(value) is int and value in _EPOCH_SECONDS):
        raise InvalidToken(claim, "not an integer from 1e9 to 1e11")
    return value


def check_times(iat: int, exp: int, now: float) -> None:
    """Check that the token was issued, and has not expired, at `now`."""
    require(iat < exp, "exp", "not after iat")
    require(exp - iat <= MAX_LIFETIME, "exp", "more than 31 days after iat")
    require(now < exp + LEEWAY, "exp", f"expired {now - exp:.0f} s ago: a token lives as long as its job may")


def check_not_ahead(claim: str, moment: int, now: float) -> None:
    """Check that a time is not in the future."""
    # Ours is AWS's clock: if they differ, it is GitLab's that is wrong.
    ahead = f"{moment - now:.0f} s in the future, by AWS's clock: GitLab's clock is ahead"
    require(moment <= now + LEEWAY, claim, f"{ahead}; {LEEWAY} s are tolerated")


def verify_signature(
    token: str,
    payload: dict[str, JsonValue],
    key: Callable[[], RSAPublicKey],
    *,
    issuer: str,
    audience: str,
    required: Sequence[str],
) -> None:
    """Verify the signature and the registered claims of a token whose payload was read by `parts_of`.

    `key` is called last, so that only a token that may be valid can cause a fetch. Raises InvalidToken, and
    KeysUnavailable from `key`.
    """
    try:
        _ReadOnce(payload).decode(
            token,
            key=key(),
            # Ours, never the token's: its `alg` would make the public key an HMAC secret (RFC 8725, 2.1).
            algorithms=["RS256"],
            issuer=issuer,
            audience=audience,
            # Many of these are PyJWT's defaults; they are here so that they cannot change.
            options={
                "verify_signature": True,
                "enforce_minimum_key_length": True,
                "require": list(required),
                "verify_iss": True,
                "verify_aud": True,
                # A token for us and for somebody else is one that somebody else can bring to us.
                "strict_aud": True,
                "verify_sub": True,
                "verify_jti": True,
                # Against the caller's clock; PyJWT can only look at the system's.
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


class _ReadOnce(jwt.PyJWT):
    """PyJWT on the payload as this module read it: what is verified, checked and used is one value.

    PyJWT reads the header again, for `alg`, with the same result: no name is in it twice.
    """

    def __init__(self, payload: dict[str, JsonValue]) -> None:
        super().__init__()
        self._payload = payload

    def _decode_payload(self, decoded: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG002 (PyJWT's hook)
        return self._payload


def _object(part: str, data: bytes) -> dict[str, JsonValue]:
    try:
        value = loads(data, max_depth=MAX_DEPTH, control_characters=False)
    except StrictJsonError as error:
        raise InvalidToken(part, str(error)) from None
    if not isinstance(value, dict):
        raise InvalidToken(part, "not a JSON object")
    return value
