"""What a presigned upload binds: host, key, checksum, length, and that it is the first."""

from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from sluicegate.aws import clients
from sluicegate.aws.errors import ErrorKind, classify, is_retryable
from sluicegate.aws.s3 import Artifacts
from support.s3_model import S3Model

SHA256 = "0f" * 32


def presigned(region: str) -> tuple[str, dict[str, str]]:
    config: Config = clients.CONFIG.merge(clients.S3_CONFIG)
    client = boto3.client(
        "s3", region_name=region, config=config, aws_access_key_id="a", aws_secret_access_key="b"
    )
    return Artifacts(client, "artifacts").presign("orders-api", SHA256, 1234)


@pytest.mark.parametrize("region", ["eu-central-1", "us-west-2", "ap-southeast-5", "us-gov-west-1"])
def test_the_host_is_the_bucket_in_its_region(region: str) -> None:
    """The host is signed, so an upload could not follow the global address' redirect."""
    url = urlsplit(presigned(region)[0])
    assert url.hostname == f"artifacts.s3.{region}.amazonaws.com"
    assert url.path == f"/orders-api/{SHA256}.zip"


def test_everything_that_binds_the_upload_is_signed() -> None:
    url, headers = presigned("eu-central-1")
    query = parse_qs(urlsplit(url).query)
    assert query["X-Amz-Algorithm"] == ["AWS4-HMAC-SHA256"]
    assert query["X-Amz-Expires"] == ["300"]
    assert set(query["X-Amz-SignedHeaders"][0].split(";")) == {"host", *headers}
    assert set(headers) == {"content-type", "content-length", "x-amz-checksum-sha256", "if-none-match"}
    assert headers["content-length"] == "1234"


def test_what_s3_hides_is_not_taken_for_missing() -> None:
    """Without s3:ListBucket, or before IAM has spread it, S3 answers 403 for an object that is missing."""
    s3 = S3Model()
    artifacts = Artifacts(cast(Any, s3), "artifacts")
    assert artifacts.find("orders", "0" * 64) is None
    s3.may_list = False
    with pytest.raises(ClientError) as hidden:
        artifacts.find("orders", "0" * 64)
    assert classify(hidden.value) is ErrorKind.DENIED


def test_a_bucket_that_asks_for_patience_is_asked_again() -> None:
    s3 = S3Model(failures=[("SlowDown", 503)])
    with pytest.raises(ClientError) as slowed:
        Artifacts(cast(Any, s3), "artifacts").find("orders", "0" * 64)
    assert is_retryable(slowed.value)
