"""The bucket of the evidence: an object is written once, and never replaced.

With Object Lock nobody can delete a version before its time. Somebody with the right to write could put
another version over it, which `sluicegate audit export` shows: here that is refused by a conditional write
(Amazon S3 user guide, "Conditional requests", read on 2026-11-26).
"""

import base64
import hashlib
from typing import TYPE_CHECKING, Final

from botocore.exceptions import ClientError

from sluicegate.aws.errors import error_code

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

MAX_OBJECT: Final = 16 * 1024 * 1024
"""Bytes of an object that is read back: many times what a segment can have."""


class EvidenceBucket:
    """The bucket by its name."""

    def __init__(self, client: "S3Client", name: str) -> None:
        self._client = client
        self._name = name

    def put_once(self, key: str, body: bytes) -> bytes | None:
        """Write an object that is not there; return what is there instead, None where there was nothing."""
        try:
            self._client.put_object(
                Bucket=self._name,
                Key=key,
                Body=body,
                IfNoneMatch="*",
                ChecksumSHA256=base64.b64encode(hashlib.sha256(body).digest()).decode(),
            )
        except ClientError as error:
            if error_code(error) not in ("412", "PreconditionFailed"):
                raise
            return self._client.get_object(Bucket=self._name, Key=key)["Body"].read(MAX_OBJECT + 1)
        return None

    def has_after(self, prefix: str, key: str) -> str | None:
        """Return the first key with the prefix that sorts after `key`, None where there is none."""
        answer = self._client.list_objects_v2(Bucket=self._name, Prefix=prefix, StartAfter=key, MaxKeys=1)
        found = answer.get("Contents", [])
        return found[0]["Key"] if found else None
