"""functions/gateway/app.py: each function answers the calls that API Gateway passes to it, and no others."""

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

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
