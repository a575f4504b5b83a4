"""The bucket and the key of the evidence as AWS answers them, with the methods of boto3's clients.

Sources: Amazon S3 user guide ("How to prevent object overwrites with conditional writes", "Locking objects
with Object Lock"), S3 API reference (PutObject, ListObjectVersions) and AWS KMS API reference (Sign,
GetPublicKey), read on 2026-11-26: a conditional write to a key whose current version is a delete marker
succeeds; a plain one puts a new version over a locked one, which stays; a delete without a version adds a
marker, and that of a locked version is refused.
"""

import base64
import hashlib
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any, Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from support.refusals import refused

DAY = 86_400


@dataclass(frozen=True)
class ObjectVersion:
    """A version of an object, or a delete marker where `body` is None. Locked until `locked_until`."""

    id: str
    body: bytes | None
    mode: Literal["GOVERNANCE", "COMPLIANCE"] | None = None
    locked_until: float = 0


@dataclass
class EvidenceBucketModel:
    """A versioned bucket with Object Lock and a default retention of so many `days`.

    Each of `failures` (code, status, whether it took effect) is answered once, before anything else.
    """

    mode: Literal["GOVERNANCE", "COMPLIANCE"] = "GOVERNANCE"
    days: int = 400
    now: float = 0
    objects: dict[str, list[ObjectVersion]] = field(default_factory=dict)
    failures: list[tuple[str, int, bool]] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)

    def put_object(self, *, Bucket: str, Key: str, Body: bytes, **given: str) -> dict[str, Any]:
        failure = self._failure("PutObject")
        if failure and not failure[2]:
            raise self._refuse(failure, "PutObject")
        if "ChecksumSHA256" not in given:
            message = "Content-MD5 OR x-amz-checksum- HTTP header is required for Put Object requests with"
            raise refused("InvalidRequest", f"{message} Object Lock parameters", 400, "PutObject")
        if given["ChecksumSHA256"] != base64.b64encode(hashlib.sha256(Body).digest()).decode():
            raise refused("BadDigest", "The SHA256 you specified did not match", 400, "PutObject")
        if given.get("IfNoneMatch") == "*" and self.current(Key) is not None:
            message = "At least one of the pre-conditions you specified did not hold"
            raise refused("PreconditionFailed", message, 412, "PutObject")
        self.overwrite(Key, Body)
        if failure:
            raise self._refuse(failure, "PutObject")
        return {}

    def overwrite(self, key: str, body: bytes) -> None:
        """Put a new version over whatever is there, as anybody may who has s3:PutObject."""
        versions = self.objects.setdefault(key, [])
        until = self.now + self.days * DAY
        versions.append(ObjectVersion(f"v{len(versions)}", body, self.mode, until))

    def get_object(self, *, Bucket: str, Key: str, VersionId: str = "") -> dict[str, Any]:
        if failure := self._failure("GetObject"):
            raise self._refuse(failure, "GetObject")
        versions = self.objects.get(Key, [])
        found = [one for one in versions if one.id == VersionId] if VersionId else versions[-1:]
        if not found or found[0].body is None:
            raise refused("NoSuchKey", "The specified key does not exist.", 404, "GetObject")
        return {"Body": BytesIO(found[0].body)}

    def delete_object(self, *, Bucket: str, Key: str, VersionId: str = "", **given: bool) -> dict[str, Any]:
        versions = self.objects.get(Key, [])
        if not VersionId:
            versions.append(ObjectVersion(f"v{len(versions)}", None))
            return {"DeleteMarker": True}
        found = next(one for one in versions if one.id == VersionId)
        bypassed = found.mode == "GOVERNANCE" and given.get("BypassGovernanceRetention", False)
        if found.locked_until > self.now and not bypassed:
            message = "Access Denied because object protected by object lock."
            raise refused("AccessDenied", message, 403, "DeleteObject")
        versions.remove(found)
        return {}

    def list_objects_v2(
        self, *, Bucket: str, Prefix: str, StartAfter: str = "", MaxKeys: int = 1_000
    ) -> dict[str, Any]:
        if failure := self._failure("ListObjectsV2"):
            raise self._refuse(failure, "ListObjectsV2")
        found = sorted(
            key for key in self.objects if key.startswith(Prefix) and key > StartAfter and self.current(key)
        )
        return {"Contents": [{"Key": key} for key in found[:MaxKeys]]} if found else {}

    def current(self, key: str) -> bytes | None:
        versions = self.objects.get(key)
        return versions[-1].body if versions else None

    def _failure(self, call: str) -> tuple[str, int, bool] | None:
        self.calls.append(call)
        return self.failures.pop(0) if self.failures else None

    def _refuse(self, failure: tuple[str, int, bool], call: str) -> Exception:
        return refused(failure[0], "Please reduce your request rate.", failure[1], call)


@dataclass
class KmsModel:
    """Ed25519 keys by ARN, of 32 bytes."""

    keys: dict[str, Ed25519PrivateKey] = field(default_factory=dict)
    failures: list[tuple[str, int]] = field(default_factory=list)
    signed: list[str] = field(default_factory=list)

    def add(self, arn: str, seed: bytes) -> None:
        self.keys[arn] = Ed25519PrivateKey.from_private_bytes(seed)

    def get_public_key(self, *, KeyId: str) -> dict[str, Any]:
        public = self._key(KeyId, "GetPublicKey").public_key()
        data = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return {"PublicKey": data, "KeySpec": "ECC_NIST_EDWARDS25519", "KeyUsage": "SIGN_VERIFY"}

    def sign(self, *, KeyId: str, Message: bytes, MessageType: str, SigningAlgorithm: str) -> dict[str, Any]:
        if self.failures:
            code, status = self.failures.pop(0)
            raise refused(code, "Rate exceeded", status, "Sign")
        key = self._key(KeyId, "Sign")
        if (SigningAlgorithm, MessageType) != ("ED25519_SHA_512", "RAW"):
            raise refused("InvalidKeyUsageException", "not for this key", 400, "Sign")
        if len(Message) > 4_096:
            raise refused("ValidationException", "1 validation error detected", 400, "Sign")
        self.signed.append(Message.decode())
        return {"Signature": key.sign(Message), "SigningAlgorithm": SigningAlgorithm}

    def _key(self, arn: str, call: str) -> Ed25519PrivateKey:
        if arn not in self.keys:
            raise refused("NotFoundException", f"Key '{arn}' does not exist", 400, call)
        return self.keys[arn]
