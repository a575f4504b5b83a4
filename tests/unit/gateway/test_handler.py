"""functions/gateway/app.py: each function answers the calls that API Gateway passes to it, and no others."""

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from sluicegate.gateway.principals import read_principal
from support.own_metrics import handler

EVENTS = Path(__file__).parents[3] / "events"
ENVIRONMENT = {
    "AWS_REGION": "eu-central-1",
    "SLUICEGATE_ACCOUNT": "111111111111",
    "SLUICEGATE_BUCKET": "bucket",
    "SLUICEGATE_GATE": "/nowhere/gate.json",
    "SLUICEGATE_OWN_FUNCTIONS": "sluicegate-gateway",
    "SLUICEGATE_POLL_POOL": "shared",
    "SLUICEGATE_STATE_MACHINE_ARN": "arn",
    "SLUICEGATE_TABLE": "table",
    "SLUICEGATE_WAITS": "4",
}

pytestmark = pytest.mark.filterwarnings("ignore:No application metrics")


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    return handler("gateway")


def answered(app: ModuleType, event: dict[str, Any]) -> tuple[int, str]:
    answer = app.handler(event, None)
    return answer["statusCode"], json.loads(answer["body"])["code"]


@pytest.mark.parametrize("resource", ["/iam/whoami", "/iam/deployments", "/iam/", "/whoami", "/iamwhoami"])
@pytest.mark.parametrize("signed", ["true", "false"])
def test_an_event_of_the_other_functions_calls_is_no_call(
    app: ModuleType, monkeypatch: pytest.MonkeyPatch, signed: str, resource: str
) -> None:
    """A caller that API Gateway names is taken from the event: an event that somebody made up has none."""
    monkeypatch.setenv("SLUICEGATE_SIGNED_CALLS", signed)
    event = json.loads((EVENTS / "whoami.json").read_text()) | {"resource": resource}
    mine = resource.startswith("/iam/") is (signed == "true")
    # Only for calls of its own it asks for the gate file, which there is none of.
    assert answered(app, event) == ((503, "unavailable") if mine else (404, "not_found"))


def test_a_function_that_does_not_say_which_calls_are_its_own_answers_none(app: ModuleType) -> None:
    event = json.loads((EVENTS / "whoami.json").read_text())
    for resource in ("/whoami", "/iam/whoami"):
        assert answered(app, event | {"resource": resource}) == (503, "unavailable")


@pytest.mark.parametrize(
    ("name", "kind", "role", "session"),
    [
        ("iam-accepted", "role", "sluicegate-caller", "job-302"),
        ("iam-and-id-token", "role", "sluicegate-caller", "job-302"),
        ("iam-person", "sso", "AWSReservedSSO_Releases_0123456789abcdef", "ada@example.com"),
    ],
)
def test_the_events_of_signed_calls_name_their_callers(name: str, kind: str, role: str, session: str) -> None:
    event = json.loads((EVENTS / f"{name}.json").read_text())
    principal = read_principal(event["requestContext"], lambda *_: True)
    assert (principal.principal_type, principal.role, principal.session_name) == (kind, role, session)
    assert "Authorization" not in event["headers"]
    assert event["headers"].keys() == event["multiValueHeaders"].keys()
    assert event["resource"] == event["requestContext"]["resourcePath"]
    assert event["requestContext"]["path"] == f"/v1{event['path']}"
