"""Signed notes: what is read, what verifies, and what does not."""

from base64 import b64decode, b64encode
from contextlib import suppress

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from sluicegate.evidence.notes import (
    MAX_NOTE,
    NoteError,
    NoteSignature,
    PublicKey,
    SignedHead,
    note,
    read_key,
    read_note,
    signature_line,
)

NAME = "arn:aws:kms:eu-central-1:111111111111:key/0b1c2d3e-0000-0000-0000-000000000000"
HEAD = SignedHead("111111111111/eu-central-1/sluicegate", 17, "ab" * 32, "2026-11-26T17:00:02.114Z")
PRIVATE = Ed25519PrivateKey.from_private_bytes(b"\x01" * 32)
KEY = PublicKey(PRIVATE.public_key().public_bytes_raw(), NAME)


def signed(head: SignedHead = HEAD, *, private: Ed25519PrivateKey = PRIVATE, name: str = NAME) -> str:
    key = PublicKey(private.public_key().public_bytes_raw())
    return note(head, [signature_line(name, key, private.sign(head.text.encode()))])


def verified(text: str, key: PublicKey = KEY) -> bool:
    head, signatures = read_note(text)
    return any(key.signed(one) and key.verifies(one, head.text) for one in signatures)


def test_a_note_says_what_was_signed() -> None:
    head, signatures = read_note(signed())
    assert head == HEAD
    assert [one.name for one in signatures] == [NAME]
    assert verified(signed())


def test_the_key_id_is_that_of_go_and_of_the_specification() -> None:
    """The example of golang.org/x/mod/sumdb/note, in its note_test.go (read on 2026-11-26)."""
    key = read_key("PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW")
    text = (
        "If you think cryptography is the answer to your problem,\n"
        "then you don't know what your problem is.\n"
    )
    data = b64decode(
        "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM="
    )
    assert key.key_id("PeterNeumann") == data[:4] == bytes.fromhex("c74f20a3")
    assert key.verifies(NoteSignature("PeterNeumann", data[:4], data[4:]), text)
    assert not key.verifies(NoteSignature("PeterNeumann", data[:4], data[4:]), text + "x")
    assert str(key) == "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"


def test_a_key_is_read_in_every_form_that_people_have() -> None:
    public = PRIVATE.public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    der = b64encode(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()
    for text in (pem, der, f"{der[:40]}\n{der[40:]}\n", str(KEY), f" {KEY}\n"):
        assert read_key(text).data == KEY.data
    assert verified(signed(), read_key(pem))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "a+b+c",
        NAME,
        str(KEY)[:-4],
        str(KEY).replace("arn", "brn"),
        "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----",
        generate_private_key(SECP256R1())
        .public_key()
        .public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        .decode(),
    ],
)
def test_anything_else_is_no_key(text: str) -> None:
    with pytest.raises(NoteError):
        read_key(text)


def test_the_signature_of_another_key_or_name_is_not_ours() -> None:
    other = Ed25519PrivateKey.from_private_bytes(b"\x02" * 32)
    assert not verified(signed(private=other))
    assert not verified(signed(name="evidence"))
    # Under our name and id, with another key's signature: it says it is ours, and does not verify.
    forged = note(HEAD, [signature_line(NAME, KEY, other.sign(HEAD.text.encode()))])
    head, (signature,) = read_note(forged)
    assert KEY.signed(signature)
    assert not KEY.verifies(signature, head.text)


def test_a_change_of_keys_is_a_note_with_both_signatures() -> None:
    other = Ed25519PrivateKey.from_private_bytes(b"\x02" * 32)
    lines = [
        signature_line(
            name, PublicKey(private.public_key().public_bytes_raw()), private.sign(HEAD.text.encode())
        )
        for name, private in (("old", PRIVATE), ("new", other))
    ]
    text = note(HEAD, lines)
    assert verified(text, PublicKey(KEY.data))
    assert verified(text, PublicKey(other.public_key().public_bytes_raw()))


@pytest.mark.parametrize(
    "text",
    [
        "",
        HEAD.text,
        HEAD.text + "\n",
        signed().replace("head v1", "head v2"),
        signed().replace("size 17", "size 017"),
        signed().replace("size 17", "size 0"),
        signed().replace("size 17", "size 17\nsize 18"),
        signed().replace("stack ", "stack  "),
        signed().replace("— ", "- "),
        signed().replace("ab" * 32, "AB" * 32),
        signed() + "x",
        signed() + "\n",
        signed()[:-1],
        signed()[:-6] + "\n",
        HEAD.text + "\n" + "— a AAAA\n",
        HEAD.text + "\n" + signed().rpartition("\n\n")[2] * 17,
        "x" * (MAX_NOTE + 1),
    ],
)
def test_what_is_no_note_is_refused(text: str) -> None:
    with pytest.raises(NoteError):
        read_note(text)


@given(st.data())
def test_no_changed_note_verifies(data: st.DataObject) -> None:
    text = signed()
    at = data.draw(st.integers(0, len(text) - 1))
    changed = (
        text[:at]
        + data.draw(st.characters(exclude_categories=["Cs"]).filter(lambda c: c != text[at]))
        + text[at + 1 :]
    )
    with suppress(NoteError):
        assert not verified(changed)
