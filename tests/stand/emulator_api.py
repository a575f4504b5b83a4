"""What an API's OpenAPI document and its stage's settings say. Loaded by `launch_emulator`.

Differences, each one thing that AWS does and MiniStack 1.5.33 does not:

- Gateway responses in the document answer for API Gateway itself.
- A method's settings name its path with `~1` for each slash but the first.
- The event names the domain that was asked for.

Sources, read on 26 November 2026: API Gateway developer guide, "x-amazon-apigateway-gateway-responses
object", and "Variables for data models" (`$context.domainName`: "the same as the incoming Host header");
CloudFormation reference, AWS::ApiGateway::Stage MethodSetting, ResourcePath.
"""

from collections.abc import Callable, Mapping
from functools import wraps
from importlib import import_module
from typing import Any

Pinned = Callable[..., Callable[..., Any]]


def install(pinned: Pinned) -> None:
    """Install all of them. `pinned` finds a function and stops where it has changed."""
    take_gateway_responses(pinned)
    find_paths_of_settings(pinned)
    name_domain(pinned)


def take_gateway_responses(pinned: Pinned) -> None:
    gateway: Any = import_module("ministack.services.apigateway_v1")
    import_api = pinned(gateway, "_import_rest_api", "spec", "base_data")
    put = pinned(gateway, "_put_gateway_response", "api_id", "response_type", "data")

    def import_rest_api(spec: Any, base_data: Any = None) -> Any:
        api_id = import_api(spec, base_data)
        for kind, response in (spec.get("x-amazon-apigateway-gateway-responses") or {}).items():
            status, _, body = put(api_id, kind, response)
            if status >= 400:
                raise ValueError(f"gateway response {kind}: {body!r}")
        return api_id

    gateway._import_rest_api = import_rest_api


def find_paths_of_settings(pinned: Pinned) -> None:
    formation: Any = import_module("ministack.services.cloudformation.provisioners")
    settings_of = pinned(formation, "_apigw_method_settings", "raw")

    def method_settings(raw: Any) -> Any:
        return settings_of([decoded(each) for each in raw] if isinstance(raw, list) else raw)

    formation._apigw_method_settings = method_settings


def name_domain(pinned: Pinned) -> None:
    gateway: Any = import_module("ministack.services.apigateway_v1")
    names = (
        *("api_id", "stage_name", "stage", "resource", "request_path", "method", "headers", "body"),
        *("query_params", "path_params", "binary_media_types", "authorizer_context", "caller_identity"),
    )
    build = pinned(gateway, "_build_lambda_event_v1", *names)

    @wraps(build)
    def build_lambda_event(*given: Any, **more: Any) -> Any:
        event = build(*given, **more)
        headers: Mapping[str, Any] = {name.lower(): value for name, value in event["headers"].items()}
        event["requestContext"]["domainName"] = headers.get("host", "")
        return event

    gateway._build_lambda_event_v1 = build_lambda_event


def decoded(setting: Mapping[str, Any]) -> dict[str, Any]:
    """A method's setting with its path as it is: `/~1iam~1whoami` is `/iam/whoami`."""
    path = str(setting.get("ResourcePath", "/*"))
    return {**setting, "ResourcePath": path[1:].replace("~1", "/") if path.startswith("/~1") else path}
