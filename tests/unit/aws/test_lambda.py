"""The Lambda API as deployments use it: what leaves the module, and what an error comes to."""

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
from sluicegate.aws.lambda_ import (
    Answered,
    Denied,
    FunctionApi,
    InProgress,
    LambdaError,
    NotFound,
    Refused,
    TooSlow,
    Unanswered,
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


def api(client: Any, patience: list[int] | None = None) -> FunctionApi:
    def patient(timeout: int) -> Any:
        if patience is not None:
            patience.append(timeout)
        return client

    return FunctionApi(client, "orders", patient)


def body(data: bytes) -> StreamingBody:
    return StreamingBody(io.BytesIO(data), len(data))


def invoked(client: Any, version: str | None = "2", limit: int = 100) -> Answered:
    return api(client).invoke(version, b'{"ping":true}', timeout=7, limit=limit)


@pytest.mark.parametrize(("version", "name"), [("2", "orders:2"), (None, "orders")])
def test_a_version_is_invoked_by_the_name_that_iam_sees_and_no_log_is_asked_for(
    client: Any, stub: Stubber, version: str | None, name: str
) -> None:
    """An exact match of arguments: neither LogType nor Qualifier."""
    stub.add_response(
        "invoke",
        {"StatusCode": 200, "Payload": body(b'{"ok":true}')},
        {"FunctionName": name, "Payload": b'{"ping":true}'},
    )
    patience: list[int] = []
    answer = api(client, patience).invoke(version, b'{"ping":true}', timeout=7, limit=100)
    assert answer == Answered(b'{"ok":true}', None)
    assert patience == [7]


def test_a_function_that_fails_says_so(client: Any, stub: Stubber) -> None:
    failed = {"StatusCode": 200, "FunctionError": "Unhandled", "Payload": body(b'{"errorMessage":"x"}')}
    stub.add_response("invoke", failed)
    assert invoked(client) == Answered(b'{"errorMessage":"x"}', "Unhandled")


def test_only_the_first_bytes_of_an_answer_are_taken(client: Any, stub: Stubber) -> None:
    stub.add_response("invoke", {"StatusCode": 200, "Payload": body(b"x" * 1_000)})
    assert invoked(client, limit=10).payload == b"x" * 10


class Failing:
    """A client, or an answer's body, that raises."""

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
        (READ_TIMEOUT, TooSlow),
        (ConnectTimeoutError(endpoint_url="https://lambda"), Unanswered),
        (EndpointConnectionError(endpoint_url="https://lambda"), Unanswered),
        (ResponseStreamingError(error="cut off"), Unanswered),
    ],
)
def test_what_comes_to_no_answer_is_told_apart(error: Exception, kind: type[LambdaError]) -> None:
    """Only what the function itself did not answer in time is its fault."""

    class Answering:
        def invoke(self, **_: Any) -> Any:
            return {"StatusCode": 200, "Payload": Failing(error)}

    for client in (Failing(error), Answering()):
        with pytest.raises(kind) as raised:
            invoked(client)
        assert type(raised.value) is kind


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("TooManyRequestsException", 429, Unanswered),
        ("ServiceException", 500, Unanswered),
        ("EC2ThrottledException", 502, Unanswered),
        ("ResourceNotFoundException", 404, NotFound),
        ("ResourceConflictException", 409, InProgress),
        ("SnapStartNotReadyException", 409, InProgress),
        ("AccessDeniedException", 403, Denied),
        ("InvalidRequestContentException", 400, Refused),
        ("RequestTooLargeException", 413, Refused),
    ],
)
def test_lambdas_refusals_are_told_apart(
    client: Any, stub: Stubber, code: str, status: int, kind: type[LambdaError]
) -> None:
    stub.add_client_error("invoke", code, "why", status)
    with pytest.raises(kind) as raised:
        invoked(client)
    assert type(raised.value) is kind
    assert (raised.value.code, raised.value.message) == (code, "why")


def test_the_client_of_a_smoke_test_asks_once_and_waits_as_long_as_it_is_told() -> None:
    config = clients.CONFIG.merge(clients.once(37))
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
