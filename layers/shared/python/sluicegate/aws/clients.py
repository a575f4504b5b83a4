"""AWS clients, with short timeouts."""

from functools import cache
from typing import TYPE_CHECKING, Any, Final, Literal, overload

import boto3
from botocore.config import Config

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_kms import KMSClient
    from mypy_boto3_lambda.client import LambdaClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_stepfunctions import SFNClient
    from mypy_boto3_sts import STSClient

READ_TIMEOUT: Final = 10
"""Seconds that an answer may take."""

CONFIG: Final = Config(
    connect_timeout=2,
    read_timeout=READ_TIMEOUT,
    retries={"mode": "standard", "total_max_attempts": 3},
    user_agent_extra="sluicegate",
)

S3_CONFIG: Final = Config(
    # A presigned URL contains the signed host. Without these options it is the global host, which redirects
    # requests for new buckets to another host, or signs in a way that newer regions reject.
    signature_version="s3v4",
    s3={"addressing_style": "virtual"},
)


TRANSFER_CONFIG: Final = Config(
    # urllib3 sends with the connection's timeout. What fails is tried again from the start.
    connect_timeout=10,
    read_timeout=60,
    retries={"mode": "standard", "total_max_attempts": 1},
)
"""For an object that is written to another region."""


def single_attempt(read_timeout: int) -> Config:
    """Return the configuration for a call that must not be repeated; `read_timeout` is in seconds."""
    return Config(read_timeout=read_timeout, retries={"mode": "standard", "total_max_attempts": 1})


@overload
def client(service: Literal["dynamodb"]) -> "DynamoDBClient": ...
@overload
def client(service: Literal["events"]) -> "EventBridgeClient": ...
@overload
def client(service: Literal["kms"]) -> "KMSClient": ...
@overload
def client(service: Literal["lambda"]) -> "LambdaClient": ...
@overload
def client(service: Literal["s3"]) -> "S3Client": ...
@overload
def client(service: Literal["secretsmanager"]) -> "SecretsManagerClient": ...
@overload
def client(service: Literal["sqs"]) -> "SQSClient": ...
@overload
def client(service: Literal["stepfunctions"]) -> "SFNClient": ...
@overload
def client(service: Literal["sts"]) -> "STSClient": ...
def client(service: Any) -> Any:
    """Return the process's client for a service: made at first use, then kept."""
    return _client(service)


@cache
def sts_of(region: str | None) -> "STSClient":
    """Return the process's client for STS in another region, or with None in its own.

    The tokens of a regional endpoint are valid in every region (IAM user guide, "Manage AWS STS in an AWS
    Region").
    """
    return client("sts") if region is None else boto3.client("sts", region_name=region, config=CONFIG)


@cache
def _client(service: Any) -> Any:
    return boto3.client(service, config=CONFIG.merge(S3_CONFIG) if service == "s3" else CONFIG)
