"""The artifact bucket: `{function}/{sha256}.zip`, written once by presigned PUT, read by exact version."""

import base64
from dataclasses import dataclass
from typing import Any, Final

from botocore.exceptions import ClientError

UPLOAD_EXPIRES: Final = 300
"""Seconds that a presigned URL holds."""

MAX_SIZE: Final = 262_144_000
"""Bytes: Lambda's limit for a deployment package, unzipped; a larger zip can never be deployed."""

CONTENT_TYPE: Final = "application/zip"


@dataclass(frozen=True)
class Stored:
    """An object as it was found; `version` is None only in a bucket without versions."""

    version: str | None
    sha256: str


class Artifacts:
    """The artifact bucket, through an S3 client."""

    def __init__(self, client: Any, bucket: str) -> None:
        self._client = client
        self._bucket = bucket

    @property
    def bucket(self) -> str:
        return self._bucket

    def find(self, function: str, sha256: str) -> Stored | None:
        """The object's version and S3's own checksum of it, as hex; None where there is none."""
        try:
            answer = self._client.head_object(
                Bucket=self._bucket, Key=key(function, sha256), ChecksumMode="ENABLED"
            )
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
                return None
            raise
        checksum = answer.get("ChecksumSHA256", "")
        version = answer.get("VersionId")
        return Stored(None if version == "null" else version, base64.b64decode(checksum).hex())

    def presign(self, function: str, sha256: str, size: int) -> tuple[str, dict[str, str]]:
        """A URL and the headers to send with it: this key, this checksum, this length, and only once.

        S3 compares the body with the signed checksum and length, and does not overwrite. botocore signs only
        what is in `Params`, so each of them is there.
        """
        checksum = base64.b64encode(bytes.fromhex(sha256)).decode()
        url = self._client.generate_presigned_url(
            "put_object",
            Params={
                "Bucket": self._bucket,
                "Key": key(function, sha256),
                "ContentType": CONTENT_TYPE,
                "ContentLength": size,
                "ChecksumSHA256": checksum,
                "IfNoneMatch": "*",
            },
            ExpiresIn=UPLOAD_EXPIRES,
        )
        headers = {
            "content-type": CONTENT_TYPE,
            "content-length": str(size),
            "x-amz-checksum-sha256": checksum,
            "if-none-match": "*",
        }
        return url, headers


def key(function: str, sha256: str) -> str:
    """Made of a validated function name and a validated digest only."""
    return f"{function}/{sha256}.zip"
