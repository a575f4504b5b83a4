"""The Lambda API as deployments use it: what leaves the module, and which error is raised."""

import io
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import (
    ConnectTimeoutError,
    EndpointConnectionError,
    ReadTimeoutError,
    ResponseStreamingError,
)
from botocore.response import StreamingBody
from botocore.stub import Stubber

from sluicegate.aws import clients
from sluicegate.aws.call_meter import CallMeter
from sluicegate.aws.lambda_ import (
    EventSource,
    FunctionApi,
    InvocationResult,
    InvocationTimeout,
    LambdaAccessDenied,
    LambdaConflict,
    LambdaError,
    LambdaNotFound,
    LambdaRejected,
    LambdaThrottled,
    LambdaUnavailable,
)


@pytest.fixture(scope="module")
def client() -> Any:
    return boto3.client(
        "lambda", region_name="eu-central-1", aws_access_key_id="test", aws_secret_access_key="test"
    )


@pytest.fixture
def stub(client: Any) -> Iterator[Stubber]:
    with Stubber(client) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


def api(client: Any, timeouts: list[int] | None = None) -> FunctionApi:
    def single_attempt_client(timeout: int) -> Any:
        if timeouts is not None:
            timeouts.append(timeout)
        return client

    return FunctionApi(client, "orders", single_attempt_client, CallMeter())


def test_the_event_sources_of_an_alias_are_its_own(client: Any, stub: Stubber) -> None:
    """Documented: FunctionName may be that of an alias; not whether the list has mappings of others."""
    arn = "arn:aws:lambda:eu-central-1:111111111111:function:orders"
    one, two = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"
    stub.add_response(
        "list_event_source_mappings",
        {
            "EventSourceMappings": [
                {"UUID": one, "FunctionArn": f"{arn}:prod", "MetricsConfig": {"Metrics": ["EventCount"]}},
                {"UUID": "33333333-3333-4333-8333-333333333333", "FunctionArn": arn},
                {"UUID": "44444444-4444-4444-8444-444444444444", "FunctionArn": f"{arn}:dev"},
            ],
            "NextMarker": "more",
        },
        {"FunctionName": "orders:prod"},
    )
    stub.add_response(
        "list_event_source_mappings",
        {"EventSourceMappings": [{"UUID": two, "FunctionArn": f"{arn}:prod"}]},
        {"FunctionName": "orders:prod", "Marker": "more"},
    )
    assert api(client).event_sources("prod") == (EventSource(one, True), EventSource(two, False))


def test_event_sources_are_not_listed_without_end(client: Any, stub: Stubber) -> None:
    for _ in range(10):
        stub.add_response("list_event_source_mappings", {"EventSourceMappings": [], "NextMarker": "more"})
    assert api(client).event_sources("prod") is None


def body(data: bytes) -> StreamingBody:
    return StreamingBody(io.BytesIO(data), len(data))


def invoke(client: Any, version: str | None = "2", limit: int = 100) -> InvocationResult:
    return api(client).invoke(version, b'{"ping":true}', timeout=7, limit=limit)


@pytest.mark.parametrize(("version", "name"), [("2", "orders:2"), (None, "orders")])
def test_a_version_is_invoked_by_the_name_that_iam_sees_without_its_log(
    client: Any, stub: Stubber, version: str | None, name: str
) -> None:
    """An exact match of arguments: neither LogType nor Qualifier."""
    stub.add_response(
        "invoke",
        {"StatusCode": 200, "Payload": body(b'{"ok":true}')},
        {"FunctionName": name, "Payload": b'{"ping":true}'},
    )
    timeouts: list[int] = []
    result = api(client, timeouts).invoke(version, b'{"ping":true}', timeout=7, limit=100)
    assert result == InvocationResult(b'{"ok":true}', None)
    assert timeouts == [7]


def test_a_function_error_is_returned(client: Any, stub: Stubber) -> None:
    failed = {"StatusCode": 200, "FunctionError": "Unhandled", "Payload": body(b'{"errorMessage":"x"}')}
    stub.add_response("invoke", failed)
    assert invoke(client) == InvocationResult(b'{"errorMessage":"x"}', "Unhandled")


def test_only_the_first_bytes_of_a_response_are_read(client: Any, stub: Stubber) -> None:
    stub.add_response("invoke", {"StatusCode": 200, "Payload": body(b"x" * 1_000)})
    assert invoke(client, limit=10).payload == b"x" * 10


class Failing:
    """A client, or a response body, that raises."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def invoke(self, **_: Any) -> Any:
        raise self.error

    def read(self, _: int) -> bytes:
        raise self.error


READ_TIMEOUT = ReadTimeoutError(endpoint_url="https://lambda")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (READ_TIMEOUT, InvocationTimeout),
        (ConnectTimeoutError(endpoint_url="https://lambda"), LambdaUnavailable),
        (EndpointConnectionError(endpoint_url="https://lambda"), LambdaUnavailable),
        (ResponseStreamingError(error="cut off"), LambdaUnavailable),
    ],
)
def test_a_timeout_of_the_function_is_not_one_of_lambda(error: Exception, kind: type[LambdaError]) -> None:
    """Only a response that the function itself did not give in time is its fault."""

    class Answering:
        def invoke(self, **_: Any) -> Any:
            return {"StatusCode": 200, "Payload": Failing(error)}

    for client in (Failing(error), Answering()):
        with pytest.raises(kind) as raised:
            invoke(client)
        assert type(raised.value) is kind


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("TooManyRequestsException", 429, LambdaThrottled),
        ("ServiceException", 500, LambdaUnavailable),
        ("EC2ThrottledException", 502, LambdaThrottled),
        ("ResourceNotFoundException", 404, LambdaNotFound),
        ("ResourceConflictException", 409, LambdaConflict),
        ("SnapStartNotReadyException", 409, LambdaConflict),
        ("AccessDeniedException", 403, LambdaAccessDenied),
        ("InvalidRequestContentException", 400, LambdaRejected),
        ("RequestTooLargeException", 413, LambdaRejected),
    ],
)
def test_each_error_code_has_its_class(
    client: Any, stub: Stubber, code: str, status: int, kind: type[LambdaError]
) -> None:
    stub.add_client_error("invoke", code, "why", status)
    with pytest.raises(kind) as raised:
        invoke(client)
    assert type(raised.value) is kind
    assert (raised.value.code, raised.value.message) == (code, "why")


def test_the_client_of_a_smoke_test_tries_once_with_the_given_timeout() -> None:
    config = clients.CONFIG.merge(clients.single_attempt(37))
    assert config.read_timeout == 37  # type: ignore[attr-defined]
    assert config.retries == {"mode": "standard", "total_max_attempts": 1}  # type: ignore[attr-defined]
    assert config.connect_timeout == 2  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("code", "has"),
    [
        (None, True),
        ("ProvisionedConcurrencyConfigNotFoundException", False),
        ("ResourceNotFoundException", False),
    ],
)
def test_an_alias_has_provisioned_concurrency_or_not(
    client: Any, stub: Stubber, code: str | None, has: bool
) -> None:
    if code:
        stub.add_client_error("get_provisioned_concurrency_config", code, http_status_code=404)
    else:
        stub.add_response(
            "get_provisioned_concurrency_config",
            {"Status": "READY"},
            {"FunctionName": "orders", "Qualifier": "prod"},
        )
    assert api(client).has_provisioned_concurrency("prod") is has
