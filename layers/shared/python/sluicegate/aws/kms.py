"""Signatures by a key of KMS that never leaves it: Ed25519 over the raw text.

Source: AWS KMS API reference, Sign (`ED25519_SHA_512` needs the message type `RAW`, at most 4,096 bytes) and
GetPublicKey (DER), read on 2026-11-26.
"""

from typing import TYPE_CHECKING, Final

from sluicegate.evidence.notes import PublicKey

if TYPE_CHECKING:
    from mypy_boto3_kms import KMSClient

_DER_PREFIX: Final = bytes.fromhex("302a300506032b6570032100")
"""What comes before the 32 bytes of an Ed25519 key in DER (RFC 8410, section 4)."""


class SigningKey:
    """A key by its ARN."""

    def __init__(self, client: "KMSClient", arn: str) -> None:
        self._client = client
        self.arn = arn
        self._public: PublicKey | None = None

    @property
    def public(self) -> PublicKey:
        """The public key, read once. Raises ValueError if it is not an Ed25519 key."""
        if self._public is None:
            data = self._client.get_public_key(KeyId=self.arn)["PublicKey"]
            if len(data) != len(_DER_PREFIX) + 32 or not data.startswith(_DER_PREFIX):
                raise ValueError("the key of the evidence is not an Ed25519 key")
            self._public = PublicKey(data[len(_DER_PREFIX) :], self.arn)
        return self._public

    def sign(self, text: str) -> bytes:
        """Return the signature over a text."""
        return self._client.sign(
            KeyId=self.arn,
            Message=text.encode(),
            MessageType="RAW",
            SigningAlgorithm="ED25519_SHA_512",
        )["Signature"]
