"""A bucket of artifacts: `{function}/{sha256}.zip`, written once, read by exact version.

The stack's own is written by presigned PUT. A target's is a cache, written by the deployer.
"""

import base64
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Final

from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from botocore.response import StreamingBody
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import (
        GetObjectRequestTypeDef,
        HeadObjectRequestTypeDef,
        PutObjectRequestTypeDef,
    )

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
    """A bucket of artifacts, through an S3 client.

    With an `owner` (an account), S3 refuses every call if the bucket is somebody else's: the names of buckets
    are global, and anybody may take one that is free (S3 user guide, "Verifying bucket ownership with bucket
    owner condition").
    """

    def __init__(self, client: "S3Client", bucket: str, owner: str | None = None) -> None:
        self._client = client
        self._bucket = bucket
        self._owner = owner

    @property
    def bucket(self) -> str:
        return self._bucket

    def find(self, function: str, sha256: str) -> StoredArtifact | None:
        """Return the object's version and S3's own checksum of it, in hex; None if it does not exist."""
        try:
            request: HeadObjectRequestTypeDef = {
                "Bucket": self._bucket,
                "Key": object_key(function, sha256),
                "ChecksumMode": "ENABLED",
            }
            if self._owner:
                request["ExpectedBucketOwner"] = self._owner
            response = self._client.head_object(**request)
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
                return None
            raise
        return _stored(response.get("VersionId"), response.get("ChecksumSHA256"))

    def check(self) -> None:
        """Raise botocore's ClientError unless the bucket exists, is its owner's, and may be listed."""
        if self._owner:
            self._client.head_bucket(Bucket=self._bucket, ExpectedBucketOwner=self._owner)
        else:
            self._client.head_bucket(Bucket=self._bucket)

    def open(self, function: str, sha256: str, version: str | None) -> "StreamingBody":
        """Return the object's bytes as a stream. The caller compares their digest."""
        request: GetObjectRequestTypeDef = {"Bucket": self._bucket, "Key": object_key(function, sha256)}
        if version:
            request["VersionId"] = version
        return self._client.get_object(**request)["Body"]

    def write(self, function: str, sha256: str, body: IO[bytes]) -> None:
        """Write the object in one part, unless there is one of that name already: `find` says which.

        S3 compares the bytes with the digest. The checksum of an object in several parts would not be its
        digest (S3 user guide, "Checking object integrity").
        """
        request: PutObjectRequestTypeDef = {
            "Bucket": self._bucket,
            "Key": object_key(function, sha256),
            "Body": body,
            "ContentType": CONTENT_TYPE,
            "ChecksumSHA256": _base64(sha256),
            "IfNoneMatch": "*",
        }
        if self._owner:
            request["ExpectedBucketOwner"] = self._owner
        try:
            self._client.put_object(**request)
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] != 412:
                raise

    def presign(self, function: str, sha256: str, size: int) -> tuple[str, dict[str, str]]:
        """Return a URL, and the headers to send with it, for one upload of exactly these bytes.

        S3 compares the body with the signed checksum and length, and does not overwrite an object. botocore
        signs only what is in `Params`, so each of them is there.
        """
        checksum = _base64(sha256)
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


def _stored(version: str | None, checksum: str | None) -> StoredArtifact:
    digest = base64.b64decode(checksum or "").hex()
    return StoredArtifact(None if version == "null" else version, digest)


def _base64(sha256: str) -> str:
    return base64.b64encode(bytes.fromhex(sha256)).decode()
