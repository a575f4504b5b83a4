"""Read and verify a signed token, whatever it is for: its form, its times, its signature.

Each part is decoded and parsed once, strictly, and what was parsed is what is verified and used. PyJWT's
RS256 verifies the signature. Its `decode` would read all parts again, and more leniently.
Rules and numbers: security.md#id-tokens.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt.algorithms import RSAAlgorithm

from sluicegate.oidc.jwks import UnknownKey
from sluicegate.oidc.limits import LEEWAY, MAX_DEPTH, MAX_LIFETIME
from sluicegate.strict_json import JsonValue, StrictJsonError, loads
from sluicegate.text import base64url

_EPOCH_SECONDS = range(10**9, 10**11 + 1)

# Parameters that change how a token is read, or bring or name a key of the sender's choice (RFC 7515, 4.1).
_REFUSED_PARAMETERS = ("crit", "b64", "zip", "cty", "jku", "jwk", "x5u", "x5c")


# The one algorithm, whatever the token's header says: by its `alg`, a public key could become the secret of
# an HMAC (RFC 8725, 2.1).
_RS256: Final = RSAAlgorithm(RSAAlgorithm.SHA256)


@dataclass(frozen=True)
class SignedToken:
    """A token's parts. Nothing in them is verified before `verify_signature`."""

    header: dict[str, JsonValue]
    payload: dict[str, JsonValue]
    signed: bytes
    """What the signature is of: header and payload as they were sent (RFC 7515, section 5.2)."""
    signature: bytes


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


def read(token: str) -> SignedToken:
    """Return a token's parts, each decoded and parsed strictly. Raises InvalidToken."""
    parts = token.split(".")
    require(len(parts) == 3, "token", "not three parts")
    try:
        header, payload, signature = (base64url(part) for part in parts)
    except ValueError:
        raise InvalidToken("token", "a part is not unpadded base64url") from None
    signed = token.rpartition(".")[0].encode("ascii")
    return SignedToken(_object("header", header), _object("payload", payload), signed, signature)


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


def verify_signature(token: SignedToken, key: Callable[[], RSAPublicKey]) -> None:
    """Verify the signature of a token. Everything else about it is checked before.

    `key` is called only here, so that only a token that may be valid can cause a fetch. Raises InvalidToken,
    and KeysUnavailable from `key`.
    """
    try:
        public = key()
    except UnknownKey as error:
        raise InvalidToken("kid", str(error)) from None
    require(_RS256.check_key_length(public) is None, "token", "a key of fewer than 2048 bits")
    require(_RS256.verify(token.signed, public, token.signature), "signature", "does not verify")


def _object(part: str, data: bytes) -> dict[str, JsonValue]:
    try:
        value = loads(data, max_depth=MAX_DEPTH, control_characters=False)
    except StrictJsonError as error:
        raise InvalidToken(part, str(error)) from None
    if not isinstance(value, dict):
        raise InvalidToken(part, "not a JSON object")
    return value
