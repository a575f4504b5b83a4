"""Fetch an issuer's key set by OpenID Connect Discovery 1.0. Rules and numbers: security.md#keys."""

import time
from typing import Final

from sluicegate.http_client import FetchError, get, origin
from sluicegate.strict_json import StrictJsonError, loads
from sluicegate.text import clean, without_mark

DEADLINE: Final = 3.0
"""Seconds for the discovery document and the key set together."""

_MAX_DEPTH: Final = 8


def fetch_key_set(issuer: str, *, seconds: float = DEADLINE) -> bytes:
    """Return the issuer's JWKS document (OpenID Connect Discovery 1.0, section 4), within `seconds`.

    Raises FetchError unless discovery names this very issuer, and a `jwks_uri` on its scheme, host and port:
    a forged discovery document must not be able to send us elsewhere for keys.
    """
    deadline = time.monotonic() + seconds
    url = issuer.removesuffix("/") + "/.well-known/openid-configuration"
    jwks_uri = _jwks_uri(issuer, get(url, seconds=seconds))
    return get(jwks_uri, seconds=deadline - time.monotonic())


def _jwks_uri(issuer: str, data: bytes) -> str:
    try:
        document = loads(without_mark(data), max_depth=_MAX_DEPTH)
        if not isinstance(document, dict) or document.get("issuer") != issuer:
            raise FetchError("discovery: `issuer` is not this issuer")
        jwks_uri = document.get("jwks_uri")
        if not isinstance(jwks_uri, str) or origin(jwks_uri) != origin(issuer):
            raise FetchError("discovery: `jwks_uri` is not on the issuer's scheme, host and port")
    except StrictJsonError as error:
        raise FetchError(f"discovery: {error}") from None
    except ValueError as error:  # a malformed URL
        raise FetchError(clean(f"{type(error).__name__}: {error}")) from error
    return jwks_uri
