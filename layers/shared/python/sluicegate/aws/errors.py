"""AWS errors, classified in one place by what can be done about them.

The table has every error that botocore's service models declare for the calls that we make (a test compares
them), and the errors that all services share: "Common errors" of each service's API reference, "Error
handling" of DynamoDB's developer guide, "Error responses" of Amazon S3's API reference (read on 2026-11-26).
"""

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from botocore import exceptions
from botocore.exceptions import ClientError

from sluicegate.text import clean


class ErrorKind(StrEnum):
    """What can be done about an error of AWS."""

    PERMANENT = "permanent"
    """AWS would refuse the same call again: it ends with AWS's own words."""

    DENIED = "denied"
    """Not allowed, or not yet: a change of IAM's takes seconds to spread. Worth a bounded time, not more.

    An explicit deny is no exception: taking it back spreads just as slowly (IAM user guide,
    "Changes that I make are not always immediately visible").
    """

    NOT_FOUND = "not_found"
    """What the call names does not exist."""

    CONFLICT = "conflict"
    """Somebody else changes it, or has since it was read: read again, then retry."""

    THROTTLED = "throttled"
    """Too many calls. It had no effect."""

    UNAVAILABLE = "unavailable"
    """The service failed, or nothing was answered. The call may have taken effect."""


_CODES: Final[Mapping[ErrorKind, str]] = {
    ErrorKind.DENIED: """
        403 AccessDenied AccessDeniedException AuthFailure AuthorizationError AuthorizationErrorException
        EC2AccessDeniedException ExpiredToken ExpiredTokenException Forbidden InvalidAccessKeyId
        InvalidClientTokenId InvalidSignatureException  KMSAccessDeniedException
        KMS.AccessDeniedException KmsAccessDenied KmsAccessDeniedException NotAuthorized SignatureDoesNotMatch
        TokenRefreshRequired UnauthorizedAccess UnauthorizedOperation UnrecognizedClient
        UnrecognizedClientException
    """,
    ErrorKind.NOT_FOUND: """
        404 AWS.SimpleQueueService.NonExistentQueue ExecutionDoesNotExist NoSuchBucket NoSuchKey NoSuchVersion
        ProvisionedConcurrencyConfigNotFoundException QueueDoesNotExist ResourceNotFound
        ResourceNotFoundException StateMachineDoesNotExist TaskDoesNotExist TaskTimedOut
    """,
    ErrorKind.CONFLICT: """
        409 412 CodeArtifactUserDeletedException CodeArtifactUserPendingException
        ConditionalCheckFailedException ConditionalRequestConflict ExecutionAlreadyExists OperationAborted
        PreconditionFailed PreconditionFailedException ReplicatedWriteConflictException
        ResourceConflictException ResourceNotReadyException SnapStartNotReadyException
        TransactionCanceledException TransactionConflictException
    """,
    ErrorKind.THROTTLED: """
        BandwidthLimitExceeded EC2ThrottledException ExecutionLimitExceeded KMS.ThrottlingException
        KmsThrottled KmsThrottlingException LimitExceededException PriorRequestNotComplete
        ProvisionedThroughputExceeded ProvisionedThroughputExceededException RequestLimitExceeded
        RequestThrottled RequestThrottledException SlowDown ThrottledException Throttling ThrottlingException
        TooManyRequestsException
    """,
    ErrorKind.UNAVAILABLE: """
        408 EC2UnexpectedException EFSIOException EFSMountConnectivityException EFSMountTimeoutException
        ENILimitReachedException ENINotReadyException InternalError InternalException InternalFailure
        InternalServerError InternalServerException InternalServiceError InternalServiceFault
        RequestExpired RequestTimeTooSkewed RequestTimeout RequestTimeoutException
        S3FilesMountConnectivityException S3FilesMountTimeoutException ServerException ServiceException
        ServiceUnavailable ServiceUnavailableException SnapStartTimeoutException
        SubnetIPAddressLimitReachedException TransactionInProgressException
    """,
    # Not what their status says: a server error that stays, or a 404 of something else than the call names.
    ErrorKind.PERMANENT: """
        AliasLimitExceededException CodeArtifactUserFailedException CodeSigningConfigNotFoundException
        CodeStorageExceededException CodeVerificationFailedException DecryptionFailure
        DurableExecutionAlreadyStartedException EFSMountFailureException EncryptionTypeMismatch
        FunctionVersionsPerCapacityProviderLimitExceededException IdempotentParameterMismatchException
        InvalidAddress InvalidArn InvalidCodeSignatureException InvalidExecutionInput InvalidMessageContents
        InvalidName InvalidNextToken InvalidObjectState InvalidOutput InvalidParameterException
        InvalidParameterValueException
        InvalidRequest InvalidRequestContentException InvalidRequestException InvalidRuntimeException
        InvalidSecurity InvalidSecurityGroupIDException InvalidSubnetIDException InvalidToken
        InvalidWriteOffset InvalidZipFileException ItemCollectionSizeLimitExceededException
        KMSDisabledException KMSInvalidStateException KMSNotFoundException KmsDisabled KmsInvalidKeyUsage
        KmsInvalidState KmsInvalidStateException KmsNotFound KmsOptInRequired MalformedPolicyDocument
        MalformedPolicyDocumentException MessageNotInflight ModeNotSupportedException
        NoPublishedVersionException OptInRequired PackedPolicyTooLarge PackedPolicyTooLargeException
        ReceiptHandleIsInvalid RecursiveInvocationException RegionDisabledException RequestTooLargeException
        S3FilesMountFailureException SerializedRequestEntityTooLargeException ServiceQuotaExceededException
        SnapStartException SnapStartRegenerationFailureException StateMachineDeleting TooManyParts
        UnsupportedMediaTypeException UnsupportedOperation ValidationError ValidationException
    """,
}

KINDS: Final[Mapping[str, ErrorKind]] = {
    code: kind for kind, codes in _CODES.items() for code in codes.split()
}
"""The kind of each error code that we know."""

_STATUSES: Final[Mapping[int, ErrorKind]] = {
    401: ErrorKind.DENIED,
    403: ErrorKind.DENIED,
    404: ErrorKind.NOT_FOUND,
    408: ErrorKind.UNAVAILABLE,
    409: ErrorKind.CONFLICT,
    412: ErrorKind.CONFLICT,
    429: ErrorKind.THROTTLED,
}

_WITHOUT_ANSWER: Final = (
    exceptions.HTTPClientError,
    exceptions.ConnectionError,
    exceptions.IncompleteReadError,
    exceptions.ChecksumError,
    exceptions.PaginationError,
    exceptions.CredentialRetrievalError,
    exceptions.MetadataRetrievalError,
)
"""Errors of botocore's that may pass. Any other is our mistake: the request was never sent."""

_INNER_CODE: Final = re.compile(r"(?:S3 Error Code: |KMS Exception: )(\w+?)(?=KMS Message|\W|$)", re.ASCII)
"""Lambda answers InvalidParameterValueException, and names the code of the service that it called."""

_RETRIED: Final = frozenset({ErrorKind.DENIED, ErrorKind.THROTTLED, ErrorKind.UNAVAILABLE})

_PASSING_REASONS: Final = frozenset(
    {
        "ConditionalCheckFailed",
        "None",
        "ProvisionedThroughputExceeded",
        "ThrottlingError",
        "TransactionConflict",
    }
)
"""Why DynamoDB cancels a transaction that may succeed later (API reference, TransactionCanceledException)."""

_SIGNING_DETAILS: Final = re.compile(r"\s*The (?:Canonical String|String-to-Sign)\b.*", re.DOTALL)
"""A signature's canonical string has the session token in it."""

_OPAQUE: Final = re.compile(r"[A-Za-z0-9+/=_-]{80,}", re.ASCII)
"""Longer than any name: a token, or an encoded authorization message."""


def classify(error: Exception) -> ErrorKind:
    """Return what can be done about an error: by its code, and for an unknown one by the HTTP status.

    A call without an answer is UNAVAILABLE, and any other exception is PERMANENT.
    """
    if not isinstance(error, ClientError):
        return ErrorKind.UNAVAILABLE if isinstance(error, _WITHOUT_ANSWER) else ErrorKind.PERMANENT
    inner = _INNER_CODE.search(_raw_message(error))
    if inner and KINDS.get(inner[1]) in _RETRIED:
        return KINDS[inner[1]]
    reasons = {reason.get("Code", "None") for reason in error.response.get("CancellationReasons", ())}
    if reasons - _PASSING_REASONS:
        return ErrorKind.PERMANENT
    if kind := KINDS.get(error_code(error)):
        return kind
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return ErrorKind.UNAVAILABLE if status >= 500 else _STATUSES.get(status, ErrorKind.PERMANENT)


def is_retryable(error: Exception) -> bool:
    """Return whether a retry can help: throttled, failing, or without a response.

    Without a response the call may have taken effect. What is denied is not included: `classify` tells.
    """
    return classify(error) in (ErrorKind.THROTTLED, ErrorKind.UNAVAILABLE)


def error_code(error: Exception) -> str:
    """Return the service's error code, or the class name of an error without a response."""
    if isinstance(error, ClientError):
        return clean(str(error.response.get("Error", {}).get("Code", "Unknown")), 100)
    return type(error).__name__


def error_message(error: Exception) -> str:
    """Return AWS's own words, cleaned: they name resources and actions.

    What was signed, and every long run of letters and digits, is left out: it could be a session token
    (guarantees.md#7-no-secret-in-any-output).
    """
    if not isinstance(error, ClientError):
        return type(error).__name__
    return clean(_OPAQUE.sub("…", _SIGNING_DETAILS.sub("", _raw_message(error))))


def _raw_message(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Message", ""))[:4_096]
