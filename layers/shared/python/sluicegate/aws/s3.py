"""The artifact bucket: `{function}/{sha256}.zip`, written once by presigned PUT, read by exact version."""

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

UPLOAD_EXPIRES: Final = 300
"""Seconds that a presigned upload URL is valid."""

MAX_SIZE: Final = 262_144_000
"""Bytes: Lambda's limit for an unzipped deployment package. A larger zip can never be deployed."""

CONTENT_TYPE: Final = "application/zip"


@dataclass(frozen=True)
class StoredArtifact:
    """An object in the bucket. `version` is None only in a bucket without versioning."""

    version: str | None
    sha256: str


class Artifacts:
    """The artifact bucket, through an S3 client."""

    def __init__(self, client: "S3Client", bucket: str) -> None:
        self._client = client
        self._bucket = bucket

    @property
    def bucket(self) -> str:
        return self._bucket

    def find(self, function: str, sha256: str) -> StoredArtifact | None:
        """Return the object's version and S3's own checksum of it, in hex; None if it does not exist."""
        try:
            response = self._client.head_object(
                Bucket=self._bucket, Key=object_key(function, sha256), ChecksumMode="ENABLED"
            )
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
                return None
            raise
        checksum = response.get("ChecksumSHA256", "")
        version = response.get("VersionId")
        return StoredArtifact(None if version == "null" else version, base64.b64decode(checksum).hex())

    def presign(self, function: str, sha256: str, size: int) -> tuple[str, dict[str, str]]:
        """Return a URL, and the headers to send with it, for one upload of exactly these bytes.

        S3 compares the body with the signed checksum and length, and does not overwrite an object. botocore
        signs only what is in `Params`, so each of them is there.
        """
        checksum = base64.b64encode(bytes.fromhex(sha256)).decode()
        url = self._client.generate_presigned_url(
            "put_object",
            Params={
                "Bucket": self._bucket,
                "Key": object_key(function, sha256),
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


def object_key(function: str, sha256: str) -> str:
    """Return the key. Both parts must have been validated."""
    return f"{function}/{sha256}.zip"
