"""The API in template.yaml: its calls, and what API Gateway answers itself."""

import json
import re
from typing import Final

import pytest

from sluicegate.gateway import problems
from support.template import (
    FUNCTIONS,
    Json,
    properties,
)


def test_without_iam_the_api_has_these_calls_and_the_watcher_the_long_one() -> None:
    calls = {
        (event["Properties"]["Method"], event["Properties"]["Path"]): name
        for name in FUNCTIONS
        for event in properties(f"{name}Function").get("Events", {}).values()
        if event["Type"] == "Api"
    }
    assert calls == {
        ("POST", "/artifacts"): "Gateway",
        ("POST", "/deployments"): "Gateway",
        ("GET", "/deployments"): "Gateway",
        ("GET", "/deployments/{id}"): "Watcher",
        ("POST", "/deployments/{id}/abort"): "Gateway",
        ("POST", "/deployments/{id}/approve"): "Gateway",
        ("POST", "/deployments/{id}/reject"): "Gateway",
        ("GET", "/stages/{stage}/hold"): "Gateway",
        ("POST", "/stages/{stage}/hold"): "Gateway",
        ("DELETE", "/stages/{stage}/hold"): "Gateway",
        ("DELETE", "/session"): "Gateway",
        ("DELETE", "/sessions/{user}"): "Gateway",
        ("GET", "/functions"): "Gateway",
        ("GET", "/functions/{name}"): "Gateway",
        ("POST", "/webhooks/gitlab/{name}"): "Gateway",
        ("GET", "/whoami"): "Gateway",
        ("GET", "/health"): "Gateway",
        ("GET", "/board"): "Board",
        ("GET", "/board/{proxy+}"): "Board",
        ("POST", "/board/{proxy+}"): "Board",
    }
    assert properties("WatcherFunction")["CodeUri"] == properties("GatewayFunction")["CodeUri"]


@pytest.mark.parametrize("door", ["", "Iam"])
def test_the_watcher_outlives_the_longest_wait_and_not_the_api(door: str) -> None:
    assert 20 < properties(f"Watcher{door}Function")["Timeout"] < 29
    assert properties(f"Gateway{door}Function")["Timeout"] < 29


@pytest.mark.parametrize(("api", "prefix"), [("Api", "Api"), ("PrivateApi", "Iam")])
def test_an_api_is_throttled_and_traces_no_data(api: str, prefix: str) -> None:
    everything, *_ = settings = properties(api)["MethodSettings"]
    assert (everything["ResourcePath"], everything["HttpMethod"]) == ("/*", "*")
    assert everything["ThrottlingRateLimit"] == {"Ref": f"{prefix}Rate"}
    assert everything["ThrottlingBurstLimit"] == {"Ref": f"{prefix}Burst"}
    for each in settings:
        assert each["DataTraceEnabled"] is False
        assert each["LoggingLevel"] == "OFF"


def test_the_access_log_is_json_of_what_api_gateway_itself_says() -> None:
    setting = properties("Api")["AccessLogSetting"]
    assert setting["DestinationArn"] == {"Fn::GetAtt": ["ApiLog", "Arn"]}
    assert "\n" not in setting["Format"]
    variables = set(json.loads(setting["Format"]).values())
    assert variables <= {
        "$context.apiId",
        "$context.error.responseType",
        "$context.extendedRequestId",
        "$context.httpMethod",
        "$context.identity.accountId",
        "$context.identity.caller",
        "$context.identity.sourceIp",
        "$context.integration.latency",
        "$context.integration.status",
        "$context.requestId",
        "$context.requestTimeEpoch",
        "$context.resourcePath",
        "$context.responseLatency",
        "$context.responseLength",
        "$context.status",
    }


def test_bodies_reach_the_gateway_byte_for_byte() -> None:
    assert properties("Api")["BinaryMediaTypes"] == ["*~1*"]


RESPONSES: Final[Json] = properties("Api")["GatewayResponses"]


@pytest.mark.parametrize("kind", RESPONSES)
def test_what_api_gateway_answers_itself_is_a_problem(kind: str) -> None:
    response = RESPONSES[kind]
    [template] = response["ResponseTemplates"].values()
    body = json.loads(template)
    assert str(body["status"]) == response["StatusCode"]
    assert body["type"] == f"urn:sluicegate:problem:{body['code']}"
    assert body["title"] == problems.TITLES.get(body["code"], "Too many requests")
    assert body["request_id"] == "$context.requestId"
    headers = response["ResponseParameters"]["Headers"]
    assert headers["Content-Type"] == "'application/problem+json'"
    assert headers["Cache-Control"] == "'no-store'"
    assert headers["X-Frame-Options"] == "'DENY'"
    assert {"Content-Security-Policy", "Referrer-Policy", "Strict-Transport-Security"} <= headers.keys()
    assert ("Retry-After" in headers) == (response["StatusCode"] in {"429", "503"})


@pytest.mark.parametrize("kind", RESPONSES)
def test_what_api_gateway_answers_itself_repeats_nothing_that_was_sent(kind: str) -> None:
    """Its own messages can have the token in them (guarantees.md#7-no-secret-in-any-output)."""
    [template] = RESPONSES[kind]["ResponseTemplates"].values()
    assert set(re.findall(r"\$[\w.]+", template)) == {"$context.requestId"}


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("MISSING_AUTHENTICATION_TOKEN", "403"),
        ("INVALID_SIGNATURE", "403"),
        ("EXPIRED_TOKEN", "403"),
        ("ACCESS_DENIED", "403"),
        ("RESOURCE_NOT_FOUND", "404"),
        ("REQUEST_TOO_LARGE", "413"),
        ("UNSUPPORTED_MEDIA_TYPE", "415"),
        ("THROTTLED", "429"),
        ("DEFAULT_5XX", "503"),
    ],
)
def test_api_gateways_own_answers_have_the_designs_status(kind: str, status: str) -> None:
    assert RESPONSES[kind]["StatusCode"] == status


def test_one_answer_is_true_for_an_unknown_path_and_for_an_unsigned_call() -> None:
    """API Gateway has one response for both (developer guide, "Gateway response types", November 2026)."""
    [template] = RESPONSES["MISSING_AUTHENTICATION_TOKEN"]["ResponseTemplates"].values()
    body = json.loads(template)
    assert "no such path and method here, or it must be signed" in body["detail"]
    assert body["detail"] != problems.not_found().detail


def test_the_private_api_answers_in_the_same_words() -> None:
    assert properties("PrivateApi")["GatewayResponses"] == RESPONSES
