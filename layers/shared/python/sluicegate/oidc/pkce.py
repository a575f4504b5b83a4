"""Proof Key for Code Exchange (RFC 7636): of the board to GitLab, and of a terminal to the board."""

import hashlib
from base64 import b32encode, urlsafe_b64encode
from typing import Final

from sluicegate.text import base64url

TERMINAL_CODE: Final = 12
"""Characters of base32 that name a terminal: 60 bits, so that nobody makes another one of the same name."""


def challenge_of(verifier: str) -> str:
    """Return the S256 challenge of a verifier (RFC 7636, section 4.2)."""
    return urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


def terminal_code(challenge: str) -> str:
    """Return the name of the terminal with this challenge: its first 60 bits, in base32.

    Raises ValueError for a text that is no challenge.
    """
    digest = base64url(challenge)
    if len(digest) != hashlib.sha256().digest_size:
        raise ValueError("not a challenge")
    return b32encode(digest).decode()[:TERMINAL_CODE]
