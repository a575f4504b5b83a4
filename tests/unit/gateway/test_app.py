"""The router: every route has its endpoint, and every error becomes problem details."""

import inspect
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from sluicegate.gate.decoding import GateError
from sluicegate.gateway import app
from sluicegate.gateway.context import Context
from sluicegate.gateway.endpoints import health, webhooks
from sluicegate.gateway.http import GatewayRequest, GatewayResponse
from sluicegate.gateway.problems import conflict
from sluicegate.settings import MissingSetting

LAYER = Path(__file__).parents[3] / "layers" / "shared" / "python"


def request(method: str = "GET", resource: str = "/whoami") -> GatewayRequest:
    return GatewayRequest(method, resource, {}, {}, {}, b"", "request-1")


def raising(error: Exception) -> Callable[[], NoReturn]:
    def make_context() -> NoReturn:
        raise error

    return make_context


@pytest.mark.parametrize("route", app.ENDPOINTS)
def test_every_route_has_its_endpoint(route: app.Route) -> None:
    parameters = inspect.signature(app.endpoint(route)).parameters.values()
    assert [each.annotation for each in parameters][:2] == [Context, GatewayRequest]
    assert len(parameters) == 3


def test_health_answers_without_a_context() -> None:
    response = app.respond(request("GET", "/health"), raising(GateError("broken")))
    assert (response.status, response.value) == (200, health.read().value)


@pytest.mark.parametrize(
    ("error", "status", "code", "retry_after", "words"),
    [
        (GateError("a secret detail"), 503, "unavailable", "60", "every request is denied"),
        (MissingSetting("SLUICEGATE_TABLE"), 503, "unavailable", "60", "every request is denied"),
        (
            ClientError({"Error": {"Code": "Throttling", "Message": "a secret detail"}}, "GetItem"),
            503,
            "unavailable",
            "5",
            "An AWS service is temporarily unavailable. Retry the request.",
        ),
        (
            ClientError({"Error": {"Code": "ValidationException", "Message": "a secret detail"}}, "GetItem"),
            503,
            "unavailable",
            "60",
            "a retry does not help",
        ),
        (EndpointConnectionError(endpoint_url="a secret detail"), 503, "unavailable", "5", "An AWS service"),
        (ValueError("a secret detail"), 503, "unavailable", "5", "unexpected error"),
        (conflict("busy", "the detail", {"deployment": "1"}), 409, "busy", None, "the detail"),
    ],
)
def test_every_error_becomes_problem_details(
    error: Exception, status: int, code: str, retry_after: str | None, words: str
) -> None:
    response = app.respond(request(), raising(error))
    assert (response.status, response.value["code"]) == (status, code)
    assert response.value["request_id"] == "request-1"
    assert words in response.value["detail"]
    assert response.headers.get("Retry-After") == retry_after
    assert "a secret detail" not in repr(response)


def test_an_unknown_route_is_not_found_before_any_credential_is_read() -> None:
    response = app.respond(request("GET", "/nothing"), lambda: Any)  # type: ignore[arg-type, return-value]
    assert (response.status, response.value["code"]) == (404, "not_found")


def test_the_webhook_route_authenticates_by_its_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = GatewayResponse(200, {}, ())
    monkeypatch.setattr(webhooks, "receive", lambda *_: answer)
    assert app.respond(request(*app.WEBHOOK), lambda: Any) is answer  # type: ignore[arg-type, return-value]


def test_importing_the_router_imports_no_endpoint() -> None:
    code = "import sys, sluicegate.gateway.app; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(LAYER)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    parts = ("endpoints", "admission", "webhooks", "decisions", "render")
    assert [name for name in loaded if name.startswith(tuple(f"sluicegate.gateway.{p}" for p in parts))] == []
