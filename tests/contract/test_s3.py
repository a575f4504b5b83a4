"""S3 as AWS answers it: artifacts are written once, and found by their checksum.

Recorded: localstack/localstack, `tests/aws/services/s3/test_s3.snapshot.json`, of 21 February 2026.
Documented: Amazon S3 user guide, "Conditional requests", read on 26 November 2026.
"""

import base64
import hashlib
from typing import Any

import pytest

from contract.witness import Emulator, Witness, bucket_of, refusal, unique


@pytest.fixture
def bucket(witness: Witness) -> str:
    return bucket_of(witness) if isinstance(witness, Emulator) else "artifacts"


def checksum(body: bytes) -> str:
    return base64.b64encode(hashlib.sha256(body).digest()).decode()


def upload(bucket: str, key: str, body: bytes = b"code", **changed: str) -> dict[str, Any]:
    """Arguments of PutObject as a presigned upload sends it."""
    once = {"IfNoneMatch": "*", "ChecksumSHA256": checksum(body)}
    return {"Bucket": bucket, "Key": key, "Body": body, **once, **changed}


def test_an_object_is_written_once(witness: Witness, bucket: str) -> None:
    """Recorded and documented: 412 where an object of that key exists, in a versioned bucket too."""
    s3, key = witness.client("s3"), unique()
    s3.put_object(**upload(bucket, key))
    answer = refusal(s3.put_object, **upload(bucket, key, b"other"))
    assert answer[:2] == ("PreconditionFailed", 412)
    assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == b"code"


def test_other_bytes_than_announced_are_refused(witness: Witness, bucket: str) -> None:
    """Recorded: test_put_object_checksum[SHA256], put-wrong-checksum-value."""
    s3, key = witness.client("s3"), unique()
    answer = refusal(s3.put_object, **upload(bucket, key, ChecksumSHA256=checksum(b"other")))
    assert answer[:2] == ("BadDigest", 400)
    assert refusal(s3.head_object, Bucket=bucket, Key=key)[1] == 404


def test_an_object_tells_its_version_and_its_checksum(witness: Witness, bucket: str) -> None:
    s3, key = witness.client("s3"), unique()
    written = s3.put_object(**upload(bucket, key))
    head = s3.head_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED")
    assert head["ChecksumSHA256"] == checksum(b"code")
    assert head["VersionId"] == written["VersionId"]


def test_an_object_that_does_not_exist_is_404(witness: Witness, bucket: str) -> None:
    """Recorded: test_head_object_fields, head-object-404: code and message are the status."""
    answer = refusal(witness.client("s3").head_object, Bucket=bucket, Key=unique(), ChecksumMode="ENABLED")
    assert answer == ("404", 404, "Not Found")
