"""How AWS is called: clients with short timeouts, and errors told apart by what can be done about them."""

from functools import cache
from typing import Any, Final, Literal

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from sluicegate.text import clean

CONFIG: Final = Config(
    connect_timeout=2,
    read_timeout=10,
    retries={"mode": "standard", "total_max_attempts": 3},
    user_agent_extra="sluicegate",
)

S3: Final = Config(
    # A presigned URL has the signed host: without these it is the global one, which redirects new buckets'
    # requests to another, or signs in a way that newer regions do not know.
    signature_version="s3v4",
    s3={"addressing_style": "virtual"},
)


def once(timeout: int) -> Config:
    """For a call that must not be made twice, and whose answer is waited for so many seconds."""
    return Config(read_timeout=timeout, retries={"mode": "standard", "total_max_attempts": 1})


_RETRYABLE: Final = frozenset(
    {
        "InternalError",
        "InternalFailure",
        "InternalServerError",
        "InternalServerException",
        "LimitExceededException",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestTimeout",
        "ServiceException",
        "ServiceUnavailable",
        "ServiceUnavailableException",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
        "TransactionInProgressException",
    }
)


Service = Literal["dynamodb", "events", "s3", "secretsmanager", "sqs", "stepfunctions", "sts"]


@cache
def client(service: Service) -> Any:
    """The function's own client for a service, made at first use and kept."""
    return boto3.client(service, config=CONFIG.merge(S3) if service == "s3" else CONFIG)


def error_code(error: Exception) -> str:
    """The service's error code, or the class of an error that came before any answer."""
    if isinstance(error, ClientError):
        return str(error.response.get("Error", {}).get("Code", "Unknown"))
    return type(error).__name__


def is_retryable(error: Exception) -> bool:
    """Return whether a retry can help: throttled, failing, or unanswered (and so perhaps in effect)."""
    if not isinstance(error, ClientError):
        return isinstance(error, BotoCoreError)
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return status >= 500 or status == 429 or error_code(error) in _RETRYABLE


def error_message(error: Exception) -> str:
    """What AWS said, cleaned. Lambda's and S3's messages name resources and actions, never values."""
    if isinstance(error, ClientError):
        return clean(str(error.response.get("Error", {}).get("Message", "")))
    return type(error).__name__
