"""Heads as signed notes (https://c2sp.org/signed-note, read on 2026-11-26), with Ed25519.

    sluicegate evidence head v1
    stack 111111111111/eu-central-1/sluicegate
    size 1204
    head 5c1e...
    time 2026-11-26T17:00:02.114Z

    — arn:aws:kms:eu-central-1:111111111111:key/... BASE64

A note is text. It is believed once a signature of a key that the reader already has verifies, and not before.
"""

import hashlib
import re
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

FIRST_LINE: Final = "sluicegate evidence head v1"
MAX_NOTE: Final = 8_192
"""Bytes of a note."""

MAX_SIGNATURES: Final = 16
_ED25519: Final = b"\x01"
_SIGNATURE: Final = re.compile(r"— ([^\s+]{1,256}) ([A-Za-z0-9+/]+={0,2})")
_HEAD: Final = re.compile(
    r"stack ([!-~]{1,256})\nsize ([1-9][0-9]{0,17})\nhead ([0-9a-f]{64})\n"
    r"time ([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]{8,15}Z)\n"
)


class NoteError(ValueError):
    """Not a note as we write them. The message says what is wrong, in plain text."""


@dataclass(frozen=True)
class SignedHead:
    """What a note says: the head of a stack's log at a size, and when it was signed (RFC 3339)."""

    stack: str
    size: int
    head: str
    time: str

    @property
    def text(self) -> str:
        """The text that is signed."""
        return f"{FIRST_LINE}\nstack {self.stack}\nsize {self.size}\nhead {self.head}\ntime {self.time}\n"


@dataclass(frozen=True)
class NoteSignature:
    """One signature of a note: the key's name and id, and the signature's bytes."""

    name: str
    key_id: bytes
    signature: bytes


@dataclass(frozen=True)
class PublicKey:
    """An Ed25519 public key: its 32 bytes, and its name where that is known."""

    data: bytes
    name: str | None = None

    def key_id(self, name: str) -> bytes:
        """Return the id that the key has under a name."""
        return hashlib.sha256(name.encode() + b"\n" + _ED25519 + self.data).digest()[:4]

    def signed(self, signature: NoteSignature) -> bool:
        """Return whether a signature says that it is this key's."""
        return self.name in (None, signature.name) and signature.key_id == self.key_id(signature.name)

    def verifies(self, signature: NoteSignature, text: str) -> bool:
        """Return whether the signature over the text verifies. Imports `cryptography`."""
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        try:
            Ed25519PublicKey.from_public_bytes(self.data).verify(signature.signature, text.encode())
        except (InvalidSignature, ValueError):
            return False
        return True

    def __str__(self) -> str:
        """The key as C2SP's notes write it: name, id, and type with the key's bytes."""
        name = self.name or "evidence"
        return f"{name}+{self.key_id(name).hex()}+{b64encode(_ED25519 + self.data).decode()}"


def signature_line(name: str, key: PublicKey, signature: bytes) -> str:
    """Return the line of a signature, with its newline. `name` is the key's."""
    return f"— {name} {b64encode(key.key_id(name) + signature).decode()}\n"


def note(head: SignedHead, signature_lines: Sequence[str]) -> str:
    """Return the whole note."""
    return f"{head.text}\n{''.join(signature_lines)}"


def read_note(text: str) -> tuple[SignedHead, tuple[NoteSignature, ...]]:
    """Return what a note says and its signatures, none of them verified. Raises NoteError."""
    if len(text) > MAX_NOTE:
        raise NoteError("the note is too long")
    body, separator, signed = text.rpartition("\n\n")
    lines = signed.removesuffix("\n").split("\n")
    if not separator or not signed.endswith("\n") or len(lines) > MAX_SIGNATURES:
        raise NoteError("the note has no signatures")
    first, _, rest = f"{body}\n".partition("\n")
    found = _HEAD.fullmatch(rest)
    if first != FIRST_LINE or found is None:
        raise NoteError("the note is not about a head")
    stack, size, head, time = found.groups()
    return SignedHead(stack, int(size), head, time), tuple(map(_signature, lines))


def _signature(line: str) -> NoteSignature:
    found = _SIGNATURE.fullmatch(line)
    if found is None:
        raise NoteError("a signature is not as notes have them")
    try:
        data = b64decode(found[2], validate=True)
    except Base64Error:
        raise NoteError("a signature is not base64") from None
    if len(data) != 4 + 64:
        raise NoteError("a signature has another length than Ed25519's")
    return NoteSignature(found[1], data[:4], data[4:])


def read_key(text: str) -> PublicKey:
    """Return a public key from a C2SP verifier key, PEM, or the base64 that `aws kms get-public-key` prints.

    Raises NoteError for anything else, and for a key that is not Ed25519. Imports `cryptography`.
    """
    text = text.strip()
    if text.count("+") >= 2 and "-----" not in text and (key := _verifier_key(text)):
        return key
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_der_public_key, load_pem_public_key

    try:
        if "-----" in text:
            key_object = load_pem_public_key(text.encode())
        else:
            key_object = load_der_public_key(b64decode("".join(text.split()), validate=True))
    except (ValueError, UnsupportedAlgorithm):
        raise NoteError("not a public key: give PEM, base64 of DER, or NAME+ID+KEY") from None
    if not isinstance(key_object, Ed25519PublicKey):
        raise NoteError("not an Ed25519 key")
    return PublicKey(key_object.public_bytes_raw())


def _verifier_key(text: str) -> PublicKey | None:
    """Return the key of a text in the form `name+id+base64`, None where it is not one."""
    name, _, rest = text.partition("+")
    key_id, _, encoded = rest.partition("+")
    try:
        data = b64decode(encoded, validate=True)
    except (Base64Error, ValueError):
        return None
    key = PublicKey(data[1:], name)
    if len(data) != 33 or data[:1] != _ED25519 or key.key_id(name).hex() != key_id:
        return None
    return key
