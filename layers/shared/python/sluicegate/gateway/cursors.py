"""Cursors: where a list goes on, sealed, since it can be at something that the caller may not see.

security.md#visibility
"""

import base64
import binascii
import os
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from sluicegate.gateway.context import Context
from sluicegate.gateway.problems import invalid_request
from sluicegate.oidc.identity import Identity
from sluicegate.store.keys import digest

_NONCE: Final = 12


def seal(context: Context, identity: Identity, listed: str, position: str) -> str:
    """Return a cursor for the caller's owner in the list of this name. It does not tell the position."""
    nonce = os.urandom(_NONCE)
    padded = position.ljust(64).encode("ascii")  # of equal length, whatever the position's
    sealed = nonce + _cipher(context).encrypt(nonce, padded, _bound_to(identity, listed))
    return base64.urlsafe_b64encode(sealed).rstrip(b"=").decode("ascii")


def unseal(context: Context, identity: Identity, listed: str, cursor: str | None) -> str | None:
    """Return the position in a cursor. Raises 400 unless `seal` made it for this owner and list."""
    if cursor is None:
        return None
    try:
        sealed = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        nonce, text = sealed[:_NONCE], sealed[_NONCE:]
        return _cipher(context).decrypt(nonce, text, _bound_to(identity, listed)).decode("ascii").rstrip()
    except (binascii.Error, ValueError, InvalidTag):
        raise invalid_request([("cursor", "must be the next_cursor of an earlier response")]) from None


def _cipher(context: Context) -> AESGCM:
    return AESGCM(context.store.cursor_keys.key())


def _bound_to(identity: Identity, listed: str) -> bytes:
    owner = identity.owner
    return digest("cursor", listed, owner.kind, owner.realm, owner.id).encode("ascii")
