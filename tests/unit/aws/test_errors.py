"""What can be done about each error of AWS."""

from collections.abc import Iterator
from functools import cache
from typing import Any, Final

import botocore.session
import pytest
from botocore import exceptions
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from sluicegate.aws.errors import KINDS, ErrorKind, classify, error_code, error_message, is_retryable

CALLS: Final = {
    "cloudwatch": "DescribeAlarms GetMetricData",
    "dynamodb": "DeleteItem GetItem PutItem Query TransactWriteItems UpdateItem",
    "events": "PutEvents",
    "lambda": "CreateAlias DeleteAlias GetAlias GetFunction GetProvisionedConcurrencyConfig Invoke"
    " PublishVersion UpdateAlias UpdateFunctionCode",
    "s3": "GetObject HeadObject PutObject",
    "secretsmanager": "GetSecretValue",
    "sqs": "ChangeMessageVisibility SendMessage",
    "stepfunctions": "DescribeExecution SendTaskSuccess StartExecution",
    "sts": "AssumeRole",
}
"""Every call to AWS of every function."""


@cache
def model(service: str) -> Any:
    return botocore.session.get_session().get_service_model(service)


def declared_errors() -> Iterator[tuple[str, str, str, int | None]]:
    """Every error that a service declares for a call: its code and its status, where it has one."""
    for service, operations in CALLS.items():
        for operation in operations.split():
            for shape in model(service).operation_model(operation).error_shapes:
                yield (
                    service,
                    operation,
                    shape.error_code,
                    shape.metadata.get("error", {}).get("httpStatusCode"),
                )


def client_error(code: str, status: int = 400, message: str = "no") -> ClientError:
    response: Any = {
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    return ClientError(response, "Call")


def test_every_declared_error_is_classified() -> None:
    """An error that is new in botocore's models fails here until somebody has decided about it."""
    unknown = {(service, call, code) for service, call, code, _ in declared_errors() if code not in KINDS}
    assert unknown == set()


def test_what_the_services_call_a_throttle_is_one() -> None:
    for _, _, code, status in declared_errors():
        throttled = status == 429 or any(word in code for word in ("Throttl", "ThroughputExceeded"))
        assert not throttled or KINDS[code] is ErrorKind.THROTTLED, code


def test_a_declared_mistake_of_the_caller_is_never_taken_for_a_failing_service() -> None:
    for _, _, code, status in declared_errors():
        if status == 400:
            assert KINDS[code] in (ErrorKind.PERMANENT, ErrorKind.DENIED), code


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        # Common errors of every service.
        ("AccessDeniedException", 400, ErrorKind.DENIED),
        ("InvalidClientTokenId", 403, ErrorKind.DENIED),
        ("UnrecognizedClientException", 400, ErrorKind.DENIED),
        ("ExpiredToken", 400, ErrorKind.DENIED),
        ("OptInRequired", 403, ErrorKind.PERMANENT),
        ("RequestExpired", 400, ErrorKind.UNAVAILABLE),
        ("ThrottlingException", 400, ErrorKind.THROTTLED),
        ("ValidationError", 400, ErrorKind.PERMANENT),
        # A HEAD has no body: S3's code is the status then.
        ("403", 403, ErrorKind.DENIED),
        ("404", 404, ErrorKind.NOT_FOUND),
        ("412", 412, ErrorKind.CONFLICT),
        ("503", 503, ErrorKind.UNAVAILABLE),
        ("301", 301, ErrorKind.PERMANENT),
        ("SlowDown", 503, ErrorKind.THROTTLED),
        ("PackedPolicyTooLarge", 400, ErrorKind.PERMANENT),
        ("KMSAccessDeniedException", 502, ErrorKind.DENIED),
        ("KMSDisabledException", 502, ErrorKind.PERMANENT),
        ("KMS.ThrottlingException", 400, ErrorKind.THROTTLED),
        ("CodeSigningConfigNotFoundException", 404, ErrorKind.PERMANENT),
        ("TransactionInProgressException", 400, ErrorKind.UNAVAILABLE),
        ("IdempotentParameterMismatchException", 400, ErrorKind.PERMANENT),
    ],
)
def test_an_error_has_the_kind_that_its_service_documents(code: str, status: int, kind: ErrorKind) -> None:
    assert classify(client_error(code, status)) is kind


@given(st.integers(100, 599))
def test_an_unknown_code_is_judged_by_its_status(status: int) -> None:
    kind = classify(client_error("NeverHeardOfException", status))
    if status >= 500:
        assert kind is ErrorKind.UNAVAILABLE
    elif status == 429:
        assert kind is ErrorKind.THROTTLED
    elif status not in (401, 403, 404, 408, 409, 412):
        assert kind is ErrorKind.PERMANENT


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        (
            "Error occurred while GetObject. S3 Error Code: SlowDown. S3 Error Message: Reduce",
            ErrorKind.THROTTLED,
        ),
        ("Error occurred while GetObject. S3 Error Code: InternalError. S3 Error", ErrorKind.UNAVAILABLE),
        (
            "Error occurred while GetObject. S3 Error Code: NoSuchKey. S3 Error Message: The",
            ErrorKind.PERMANENT,
        ),
        ("unable to decrypt. KMS Exception: AccessDeniedExceptionKMS Message: The", ErrorKind.DENIED),
        (
            "the KMS key is invalid for CreateGrant. KMS Exception: AccessDeniedException KMS",
            ErrorKind.DENIED,
        ),
    ],
)
def test_lambda_repeats_the_error_of_the_service_that_it_called(message: str, kind: ErrorKind) -> None:
    """Texts as users report them in public (GitHub, read on 2026-11-26)."""
    assert classify(client_error("InvalidParameterValueException", 400, message)) is kind


@pytest.mark.parametrize(
    ("error", "retried"),
    [
        (exceptions.ConnectTimeoutError(endpoint_url="https://sts"), True),
        (exceptions.ReadTimeoutError(endpoint_url="https://sts"), True),
        (exceptions.EndpointConnectionError(endpoint_url="https://sts"), True),
        (exceptions.ConnectionClosedError(endpoint_url="https://sts"), True),
        (exceptions.IncompleteReadError(actual_bytes=1, expected_bytes=2), True),
        (exceptions.ParamValidationError(report="too long"), False),
        (exceptions.NoRegionError(), False),
        (ValueError("not botocore's"), False),
    ],
)
def test_a_call_without_an_answer_may_pass_and_a_call_that_was_never_sent_does_not(
    error: Exception, retried: bool
) -> None:
    assert is_retryable(error) is retried


def test_a_message_is_awss_own_without_anything_secret() -> None:
    """The canonical string of a refused signature has the session token in it."""
    message = (
        "The request signature we calculated does not match the signature you provided.\n\n"
        "The Canonical String for this request should have been\n'POST\n/\n\n"
        "x-amz-security-token:IQoJb3JpZ2luX2VjEJr'\n\nThe String-to-Sign should have been\n'AWS4'"
    )
    expected = "The request signature we calculated does not match the signature you provided."
    assert error_message(client_error("InvalidSignatureException", 403, message)) == expected
    encoded = error_message(
        client_error("AccessDenied", 403, f"Encoded authorization failure: {'q9_-' * 60}")
    )
    assert encoded == "Encoded authorization failure: …"
    denied = "User: arn:aws:sts::111111111111:assumed-role/sluicegate-target/01K is not authorized to perform"
    assert error_message(client_error("AccessDenied", 403, denied)) == denied


@given(st.text(max_size=6_000), st.text(max_size=300))
def test_text_of_any_kind_is_classified_and_cleaned(message: str, code: str) -> None:
    error = client_error(code, 400, message)
    classify(error)
    assert len(error_message(error)) <= 256
    assert len(error_code(error)) <= 100
