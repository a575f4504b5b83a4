"""What a token says of itself, unverified, for messages: never the token."""

import base64
import json
from typing import Any, Final

from sluicegate.text import clean

_SHOWN: Final = ("iss", "aud", "sub")
_MAX: Final = 16_384  # characters of a token


def describe_token(token: str) -> str:
    """Return `iss …, aud …, sub …` of a token, which nobody has verified; or that it is none."""
    claims = _claims(token)
    if claims is None:
        return "no claims: it is not a token"
    return ", ".join(f"{name} {_shown(claims.get(name))}" for name in _SHOWN)


def _claims(token: str) -> dict[str, Any] | None:
    parts = token.split(".")
    if len(parts) != 3 or len(token) > _MAX:
        return None
    try:
        found = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _shown(value: object) -> str:
    if value is None:
        return "(none)"
    return clean(value if isinstance(value, str) else json.dumps(value), 256)
