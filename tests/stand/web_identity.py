"""A web identity token as AWS STS checks it, for the emulator and for the model in memory.

Sources, read on 26 November 2026:

- STS API reference, AssumeRoleWithWebIdentity (botocore's model of 2011-06-15): the errors with their
  status, 4 to 20,000 characters, RS256 to RS512 and ES256 to ES512, timestamps that are integers.
- Messages as callers reported them: aws/aws-sdk-java-v2#5709 of 12 November 2024 (expired);
  aws-actions/configure-aws-credentials#775 of 18 July 2023 (audience); mozilla-iam/mozilla-aws-cli#127 of
  20 November 2019 (no provider, with the token's `iss` to the last slash); aws/aws-sdk-js-v3#3052 of 22
  November 2021 (keys).
- The provider's ARN and its condition keys keep a slash at the end of its URL:
  gist.github.com/gene1wood/54611c45a3298504f8e33d95e317ae5c.
- `azp`, where there is one, takes the place of `aud` (aws/aws-sdk-net#3071 of 17 October 2023: a token
  whose `aud` is a client id and whose `azp` is not one is refused), and `oaud` is the condition key of the
  token's `aud`.
- Session tags and source identity in a token: IAM user guide, "Passing session tags using
  AssumeRoleWithWebIdentity" and "Monitor and control actions taken with assumed roles".

STS does not say which of the role's conditions failed. Not documented, and so not modelled: how long STS
keeps a provider's keys, how old `iat` may be.
"""

import base64
import binascii
import json
import urllib.request
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

SHORTEST, LONGEST = 4, 20_000
"""Characters of a token."""

TAGS: Final = "https://aws.amazon.com/tags"
SOURCE_IDENTITY: Final = "https://aws.amazon.com/source_identity"

_HASHES: Final[Mapping[str, hashes.HashAlgorithm]] = {
    "256": hashes.SHA256(),
    "384": hashes.SHA384(),
    "512": hashes.SHA512(),
}
_CURVES: Final[Mapping[str, ec.EllipticCurve]] = {
    "P-256": ec.SECP256R1(),
    "P-384": ec.SECP384R1(),
    "P-521": ec.SECP521R1(),
}
_NO_KEY: Final = (
    "Couldn't retrieve verification key from your identity provider,  "
    "please reference AssumeRoleWithWebIdentity documentation for requirements"
)
_NOT_VALID: Final = "The web identity token that was passed could not be validated by Amazon Web Services"
_NO_TOKEN: Final = (
    "The ID Token provided is not a valid JWT. (You may see this error if you sent an Access Token)"
)


class RejectedToken(Exception):
    """What STS answers."""

    def __init__(self, message: str, code: str = "InvalidIdentityToken", status: int = 400) -> None:
        super().__init__(message)
        self.message, self.code, self.status = message, code, status


@dataclass(frozen=True)
class WebIdentity:
    """What a verified token says."""

    issuer: str
    subject: str
    audience: str
    """`azp`, or the one of `aud` that is a client id of the provider."""

    keys: Mapping[str, Any]
    """The condition keys of the role's trust policy, in lower case."""

    tags: Mapping[str, str] = field(default_factory=dict)
    source_identity: str | None = None

    @property
    def host(self) -> str:
        """The provider's URL without its scheme: the last part of its ARN."""
        return host_of(self.issuer)


def host_of(url: str) -> str:
    return url.split("://", 1)[-1]


def verify(
    token: str,
    providers: Mapping[str, Collection[str]],
    now: float,
    fetch: Callable[[str], bytes],
) -> WebIdentity:
    """Verify a token with the client ids of the role's account's OIDC providers, by URL.

    `fetch` reads a URL, or raises OSError or ValueError. Raises RejectedToken.
    """
    header, claims, signed, signature = _parsed(token)
    issuer = claims.get("iss")
    if not isinstance(issuer, str) or issuer not in providers:
        raise RejectedToken(f"No OpenIDConnect provider found in your account for {issuer}")
    if not any(_is_signed(jwk, header, signed, signature) for jwk in _keys(issuer, header, fetch)):
        raise RejectedToken(_NOT_VALID)
    expires, subject = claims.get("exp"), claims.get("sub")
    if not isinstance(expires, int) or not _is_time(claims.get("iat")) or not isinstance(subject, str):
        raise RejectedToken(_NOT_VALID)
    if now >= expires:
        times = f"current date/time {int(now)} must be before the expiration date/time {expires}"
        raise RejectedToken(f"Token expired: {times}", "ExpiredTokenException")
    if _is_time(claims.get("nbf")) and now < claims["nbf"]:
        raise RejectedToken(_NOT_VALID)
    audience, keys = _audience(claims, providers[issuer])
    host = host_of(issuer)
    return WebIdentity(
        issuer,
        subject,
        audience,
        {f"{host}:{name}".lower(): value for name, value in {**keys, "sub": subject}.items()},
        _tags(claims),
        claims.get(SOURCE_IDENTITY),
    )


def read_url(url: str) -> bytes:
    """Read a provider's document: no proxy, five seconds, 1 MiB. Raises OSError or ValueError."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=5) as response:
        content: bytes = response.read(1 << 20)
    return content


def _parsed(token: str) -> tuple[dict[str, Any], dict[str, Any], bytes, bytes]:
    parts = token.split(".")
    if len(parts) != 3:
        raise RejectedToken(_NO_TOKEN)
    try:
        header, claims = (json.loads(decoded(part)) for part in parts[:2])
        signature = decoded(parts[2])
    except ValueError:
        raise RejectedToken(_NO_TOKEN) from None
    if not isinstance(header, dict) or not isinstance(claims, dict):
        raise RejectedToken(_NO_TOKEN)
    return header, claims, f"{parts[0]}.{parts[1]}".encode(), signature


def decoded(text: str) -> bytes:
    """Decode base64url without padding. Raises ValueError."""
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except binascii.Error as error:
        raise ValueError(text) from error


def _keys(issuer: str, header: Mapping[str, Any], fetch: Callable[[str], bytes]) -> list[dict[str, Any]]:
    """The provider's keys that the token names. Raises RejectedToken where there are none."""
    try:
        discovery = json.loads(fetch(f"{issuer.rstrip('/')}/.well-known/openid-configuration"))
        found = json.loads(fetch(discovery["jwks_uri"]))["keys"]
        keys = [jwk for jwk in found if "kid" not in header or jwk.get("kid") == header["kid"]]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise RejectedToken(_NO_KEY) from None
    if not keys:
        raise RejectedToken(_NO_KEY)
    return keys


def _is_signed(jwk: Mapping[str, Any], header: Mapping[str, Any], signed: bytes, signature: bytes) -> bool:
    """Whether this key signed the token, by an algorithm that STS takes and that the key is of."""
    algorithm = str(header.get("alg"))
    digest = _HASHES.get(algorithm[2:])
    if digest is None:
        return False
    try:
        match algorithm[:2], jwk.get("kty"):
            case "RS", "RSA":
                key = rsa.RSAPublicNumbers(_number(jwk["e"]), _number(jwk["n"])).public_key()
                key.verify(signature, signed, padding.PKCS1v15(), digest)
                return True
            case "ES", "EC":
                numbers = ec.EllipticCurvePublicNumbers(
                    _number(jwk["x"]), _number(jwk["y"]), _CURVES[jwk["crv"]]
                )
                half = len(signature) // 2
                pair = (int.from_bytes(part, "big") for part in (signature[:half], signature[half:]))
                numbers.public_key().verify(encode_dss_signature(*pair), signed, ec.ECDSA(digest))
                return True
    except (InvalidSignature, KeyError, TypeError, ValueError):
        return False
    return False


def _number(text: str) -> int:
    return int.from_bytes(decoded(text), "big")


def _is_time(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _audience(claims: Mapping[str, Any], client_ids: Collection[str]) -> tuple[str, dict[str, Any]]:
    """The audience that counts, and the condition keys of audiences."""
    given = claims.get("aud")
    listed = [given] if isinstance(given, str) else given if isinstance(given, list) else []
    authorized = claims.get("azp")
    candidates = [authorized] if isinstance(authorized, str) else listed
    matching = [one for one in candidates if isinstance(one, str) and one in client_ids]
    if not listed or not matching:
        raise RejectedToken("Incorrect token audience")
    of_aud = listed[0] if len(listed) == 1 else listed
    return matching[0], {"aud": of_aud} if authorized is None else {"aud": authorized, "oaud": of_aud}


def _tags(claims: Mapping[str, Any]) -> dict[str, str]:
    """The session tags in a token: each value a list of one."""
    given = claims.get(TAGS)
    tags = given.get("principal_tags") if isinstance(given, dict) else None
    if not isinstance(tags, dict):
        return {}
    return {str(key): str(value[0] if isinstance(value, list) else value) for key, value in tags.items()}
