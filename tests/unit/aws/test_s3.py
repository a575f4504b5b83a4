"""What a presigned upload binds: host, key, checksum, length, and that it is the first."""

from urllib.parse import parse_qs, urlsplit

import boto3
import pytest
from botocore.config import Config

from sluicegate.aws import clients
from sluicegate.aws.s3 import Artifacts

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
