"""Metrics of requests to function URLs and deployed APIs. Loaded by `launch_emulator`.

Differences, each one thing that AWS does and MiniStack 1.5.33 does not:

- A function URL deals its requests out by the weights of its alias, and counts them: `UrlRequestCount`,
  `Url4xxCount`, `Url5xxCount` and `UrlRequestLatency`, by function, by alias and by version. It does not say
  whether Lambda sends zeros, so there are none here, which is the harder case.
- A REST API counts requests: `Count`, and `4XXError` and `5XXError`, whose average is their rate, so 0 is
  sent as well; by the API's name, and by its stage.
- An HTTP API counts `Count`, `4xx` and `5xx` alike, by the API's id, and by its stage.

A request to a stage that does not exist is no stage's, and counts nowhere.

Sources, read on 26 November 2026: Lambda developer guide, "Monitoring Lambda function URLs"; API Gateway
developer guide, "Amazon API Gateway dimensions and metrics" and "Monitor CloudWatch metrics for HTTP APIs".
"""

import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any

Pinned = Callable[..., Callable[..., Any]]


def install(pinned: Pinned) -> None:
    """Install all of them. `pinned` finds a function and stops where it has changed."""
    count_url_requests(pinned)
    count_rest_requests(pinned)
    count_http_requests(pinned)


def count_url_requests(pinned: Pinned) -> None:
    lambda_: Any = import_module("ministack.services.lambda_svc")
    request = ("url_id", "method", "path", "headers", "body", "query_params")
    handle = pinned(lambda_, "handle_function_url_request", *request, "resolved", "source_ip")

    async def handle_function_url_request(
        url_id: str, *given: Any, resolved: Any = None, source_ip: Any = None
    ) -> Any:
        resolved = resolved or lambda_.resolve_function_url(url_id)
        if resolved is None:
            return await handle(url_id, *given, source_ip=source_ip)
        account, region, name, alias, config = resolved
        function = lambda_._functions.get_scoped(account, region, name) or {}
        version = deal((function.get("aliases") or {}).get(alias))
        began = time.monotonic()
        answer = await handle(
            url_id, *given, resolved=(account, region, name, version or alias, config), source_ip=source_ip
        )
        milliseconds = (time.monotonic() - began) * 1_000
        named = {"FunctionName": name, "Resource": f"{name}:{alias or '$LATEST'}"}
        every = [{"FunctionName": name}, named, {**named, "ExecutedVersion": version or "$LATEST"}]
        with scope(account, region):
            for dimensions in every:
                send("AWS/Lambda", "UrlRequestCount", 1, dimensions)
                send("AWS/Lambda", "UrlRequestLatency", milliseconds, dimensions, "Milliseconds")
                if answer[0] >= 400:
                    send("AWS/Lambda", f"Url{answer[0] // 100}xxCount", 1, dimensions)
        return answer

    lambda_.handle_function_url_request = handle_function_url_request


def deal(alias: Mapping[str, Any] | None) -> str | None:
    """The version that serves a request to an alias, by lot."""
    if alias is None:
        return None
    drawn = random.random()  # noqa: S311 - which version serves is no secret
    for version, weight in ((alias.get("RoutingConfig") or {}).get("AdditionalVersionWeights") or {}).items():
        drawn -= weight
        if drawn < 0:
            return str(version)
    return str(alias["FunctionVersion"])


def count_rest_requests(pinned: Pinned) -> None:
    gateway: Any = import_module("ministack.services.apigateway_v1")
    request = ("api_id", "stage_name", "method", "path", "headers", "body", "query_params")
    handle = pinned(gateway, "handle_execute", *request)

    async def handle_execute(api_id: str, stage_name: str, *given: Any) -> Any:
        answer = await handle(api_id, stage_name, *given)
        if of := gateway.find_api_scope(api_id):
            with scope(*of):
                if stage_name in gateway._stages_v1.get(api_id, {}):
                    api = {"ApiName": gateway._rest_apis[api_id]["name"]}
                    count(answer[0], "{}XXError", api, stage_name)
        return answer

    gateway.handle_execute = handle_execute


def count_http_requests(pinned: Pinned) -> None:
    gateway: Any = import_module("ministack.services.apigateway")
    request = ("api_id", "stage", "path", "method", "headers", "body", "query_params", "raw_query_string")
    handle = pinned(gateway, "handle_execute", *request)

    async def handle_execute(api_id: str, stage: str, *given: Any, **more: Any) -> Any:
        answer = await handle(api_id, stage, *given, **more)
        if of := gateway.find_api_scope(api_id):
            with scope(*of):
                if stage in gateway._stages.get(api_id, {}):
                    count(answer[0], "{}xx", {"ApiId": api_id}, stage)
        return answer

    gateway.handle_execute = handle_execute


def count(status: int, name: str, api: dict[str, str], stage: str) -> None:
    """Count a request to an API. `name` is that of a metric of errors, with the status's first digit open."""
    for dimensions in (api, {**api, "Stage": stage}):
        send("AWS/ApiGateway", "Count", 1, dimensions)
        for first in (4, 5):
            send("AWS/ApiGateway", name.format(first), float(status // 100 == first), dimensions)


@contextmanager
def scope(account: str, region: str) -> Iterator[None]:
    """The account and region whose metrics they are; a request's caller may have none."""
    responses: Any = import_module("ministack.core.responses")
    tokens = responses._request_account_id.set(account), responses._request_region.set(region)
    try:
        yield
    finally:
        responses._request_account_id.reset(tokens[0])
        responses._request_region.reset(tokens[1])


def send(namespace: str, name: str, value: float, dimensions: Mapping[str, str], unit: str = "Count") -> None:
    cloudwatch: Any = import_module("ministack.services.cloudwatch")
    cloudwatch.record_metric(namespace, name, value, unit, dict(dimensions))
