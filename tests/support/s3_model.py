"""S3 as AWS answers it, for a versioned bucket of artifacts, with the methods of boto3's clients.

Sources: Amazon S3 API reference (HeadObject, PutObject, "Error responses") and user guide ("Conditional
requests"), read on 26 November 2026. Recorded answers: localstack/localstack,
`tests/aws/services/s3/test_s3.snapshot.json`, of 21 February 2026.
"""

import base64
import hashlib
from dataclasses import dataclass, field
from io import BytesIO
from typing import IO, Any

from support.refusals import refused


@dataclass
class S3Model:
    """Objects by key; each has one version.

    Without `may_list`, which is s3:ListBucket, S3 does not say that an object is missing: 403 instead of 404.
    Each of `failures` (code, status) is answered once, before anything else.
    """

    objects: dict[str, bytes] = field(default_factory=dict)
    may_list: bool = True
    failures: list[tuple[str, int]] = field(default_factory=list)

    def put_object(
        self,
        *,
        Bucket: str,
        Key: str,
        Body: bytes | IO[bytes],
        IfNoneMatch: str = "",
        ChecksumSHA256: str = "",
        ContentType: str = "",
    ) -> dict[str, Any]:
        self._fail("PutObject")
        body = Body if isinstance(Body, bytes) else Body.read()
        if ChecksumSHA256 and ChecksumSHA256 != _checksum(body):
            message = "The SHA256 you specified did not match the calculated checksum."
            raise refused("BadDigest", message, 400, "PutObject")
        if IfNoneMatch == "*" and Key in self.objects:
            message = "At least one of the pre-conditions you specified did not hold"
            raise refused("PreconditionFailed", message, 412, "PutObject")
        self.objects[Key] = body
        return {"VersionId": _version(Key, body), "ChecksumSHA256": _checksum(body)}

    def head_object(self, *, Bucket: str, Key: str, ChecksumMode: str = "") -> dict[str, Any]:
        """A HEAD has no body, so its error has the status as its code."""
        self._fail("HeadObject", head=True)
        if Key not in self.objects:
            code, message = ("404", "Not Found") if self.may_list else ("403", "Forbidden")
            raise refused(code, message, int(code), "HeadObject")
        body = self.objects[Key]
        checksum = {"ChecksumSHA256": _checksum(body)} if ChecksumMode == "ENABLED" else {}
        return {"ContentLength": len(body), "VersionId": _version(Key, body), **checksum}

    def get_object(self, *, Bucket: str, Key: str, VersionId: str = "") -> dict[str, Any]:
        self._fail("GetObject")
        if Key not in self.objects:
            if not self.may_list:
                raise refused("AccessDenied", "Access Denied", 403, "GetObject")
            raise refused("NoSuchKey", "The specified key does not exist.", 404, "GetObject")
        return {"Body": BytesIO(self.objects[Key])}

    def _fail(self, call: str, *, head: bool = False) -> None:
        if self.failures:
            code, status = self.failures.pop(0)
            raise refused(str(status) if head else code, "Please reduce your request rate.", status, call)


def _checksum(body: bytes) -> str:
    return base64.b64encode(hashlib.sha256(body).digest()).decode()


def _version(key: str, body: bytes) -> str:
    return hashlib.sha256(key.encode() + body).hexdigest()[:32]
