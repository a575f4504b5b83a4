"""Clean text from outside, so that it is safe to store and print; decode base64url; write numbers."""

import math
import unicodedata
from base64 import urlsafe_b64decode, urlsafe_b64encode

_REPLACEMENT = "\ufffd"

# Control, format, surrogate, line separator, paragraph separator. With these a value could end a log line and
# forge the next one, move a terminal's cursor, or show text in another order than it has (Unicode TR 36).
_UNSAFE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def clean(text: str, limit: int = 256) -> str:
    """Return the text as it may be stored or printed: at most `limit` characters, unsafe ones as U+FFFD.

    Cleaning is idempotent, so everything that is printed is cleaned again, wherever it is from.
    Source: security.md#requests-and-replays.
    """
    text = text[:limit]
    if text.isprintable():
        return text
    return "".join(_REPLACEMENT if unicodedata.category(c) in _UNSAFE else c for c in text)


def number(value: float) -> str:
    """Format a measured value with the digits that count: `0.04`, `0.7`, `2.0`, `12`, `1,204`, `∞`."""
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else "∞" if value == math.inf else "?"
    if abs(value) >= 9.95:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 0.995 else plain_number(value)


def plain_number(value: float) -> str:
    """Format a small value with two digits that count, and no zeros at the end: `0.04`, `2.5`."""
    return f"{float(f'{value:.2g}'):.10f}".rstrip("0").rstrip(".")


def settled_by(requests: int) -> str:
    """Say what would settle an unclear comparison: so many more requests, or with 1 the time alone.

    A rollout spends its chance of a false rollback over all its looks, most of it on the last ones. So what
    is there may be enough, and a later look says so.
    """
    if requests <= 1:
        return "a later look needs less evidence"
    return f"about {requests:,} more requests would settle it"


def without_mark(data: bytes) -> bytes:
    """Return UTF-8 without the byte order mark that an editor put before it (RFC 8259, section 8.1)."""
    return data.removeprefix(b"\xef\xbb\xbf")


def base64url(text: str) -> bytes:
    """Decode unpadded base64url (RFC 7515, section 2). Raises ValueError for any other spelling.

    Encoding the result must give the text back. Otherwise padding, whitespace, foreign characters and stray
    bits in the last character would give one value many spellings, and a token many "different" copies.
    """
    data = text.encode("ascii")
    decoded = urlsafe_b64decode(data + b"=" * (-len(data) % 4))
    if urlsafe_b64encode(decoded).rstrip(b"=") != data:
        raise ValueError("not canonical unpadded base64url")
    return decoded
