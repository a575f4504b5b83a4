"""Read where messages go from the text of a secret: a URL, and the keys that sign a webhook.

The secret's text appears in no error: with the URL of a channel, anybody can write into it.
"""

import re
from base64 import b64decode
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from sluicegate import http_client
from sluicegate.delivery.errors import PermanentError
from sluicegate.gate.notifications import NotificationType
from sluicegate.strict_json import StrictJsonError, loads

FORM: Final = re.compile(r"[\t\n\r\x20-\x7e]{1,8192}")
"""What a secret's text looks like."""

MAX_KEYS: Final = 3
"""Keys that sign at once, while one replaces another."""

_URL: Final = re.compile(r"https?://[A-Za-z0-9.:\[\]-]{1,300}(?:[/?][\x21-\x7e]{0,2000})?")
_KEY: Final = re.compile(r"whsec_([A-Za-z0-9+/]{32,88}={0,2})")


@dataclass(frozen=True)
class Destination:
    """Where messages go. `keys` sign a webhook; a channel has none. Never in a log or a traceback."""

    url: str
    keys: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return "Destination(...)"


def parse(kind: NotificationType, text: str, name: str) -> Destination:
    """Return the destination in a secret's text; `name` is the secret's. Raises PermanentError.

    For a channel the text is the URL, for a webhook `{"url": "https://…", "key": "whsec_…"}`; `key` can be a
    list.
    """
    if kind != "webhook":
        return Destination(_checked_url(text, name))
    try:
        found = loads(text.encode(), max_depth=3)
    except StrictJsonError:
        raise PermanentError("secret", f"{name} is not JSON") from None
    if not isinstance(found, dict) or set(found) != {"url", "key"}:
        raise PermanentError("secret", f"{name} has not exactly the fields url and key")
    keys = found["key"] if isinstance(found["key"], list) else [found["key"]]
    if not 0 < len(keys) <= MAX_KEYS or not all(_is_key(key) for key in keys):
        raise PermanentError(
            "secret", f"{name}: a key is whsec_ and 24 to 64 bytes in base64, and there are 1 to {MAX_KEYS}"
        )
    return Destination(_checked_url(found["url"], name), tuple(str(key) for key in keys))


def _checked_url(url: object, name: str) -> str:
    """Return the URL. Which schemes and hosts are allowed, `http_client` says: https, or this machine."""
    if isinstance(url, str) and _URL.fullmatch(url):
        try:
            if http_client.is_allowed(urlsplit(url)):
                return url
        except ValueError:
            pass
    raise PermanentError("secret", f"{name} holds no https URL")


def _is_key(key: object) -> bool:
    """Return whether it is a key (Standard Webhooks, "Signature scheme": 24 to 64 bytes)."""
    match = _KEY.fullmatch(key) if isinstance(key, str) else None
    try:
        return match is not None and 24 <= len(b64decode(match[1], validate=True)) <= 64
    except ValueError:
        return False
