"""AWS errors, distinguished by what can be done about them: retry, or give up."""

from typing import Final

from botocore.exceptions import BotoCoreError, ClientError

from sluicegate.text import clean

_RETRYABLE_CODES: Final = frozenset(
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


def error_code(error: Exception) -> str:
    """Return the service's error code, or the class name of an error without a response."""
    if isinstance(error, ClientError):
        return str(error.response.get("Error", {}).get("Code", "Unknown"))
    return type(error).__name__


def error_message(error: Exception) -> str:
    """Return AWS's message, cleaned. Lambda's and S3's messages name resources and actions, never values."""
    if isinstance(error, ClientError):
        return clean(str(error.response.get("Error", {}).get("Message", "")))
    return type(error).__name__


def is_retryable(error: Exception) -> bool:
    """Return whether a retry can help: throttled, failing, or without a response.

    Without a response the call may have taken effect.
    """
    if not isinstance(error, ClientError):
        return isinstance(error, BotoCoreError)
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return status >= 500 or status == 429 or error_code(error) in _RETRYABLE_CODES
