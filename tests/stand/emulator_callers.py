"""Signed calls of an API, from any account. Loaded by `launch_emulator`.

Differences, each one thing that AWS does and MiniStack 1.5.33 does not:

- An API belongs to its account and region, whichever account calls it. Another account's caller needs the
  API's resource policy and its own policies ("How API Gateway resource policies affect authorization
  workflow").
- The event names the caller's own account and organisation, and has no `Authorization` header.
- A signature is for `execute-api` and the API's region. What the caller may not do is the API's own gateway
  response `ACCESS_DENIED`.
- An account is in the organisation that the stand says (`STAND_ORGANISATIONS`).

Sources, read on 26 November 2026: API Gateway developer guide, "Control access to a REST API with IAM
permissions", "API Gateway resource policies", "Amazon API Gateway important notes"; the words about the
signature's scope: AWS general reference, "Troubleshooting AWS Signature Version 4 errors".
"""

import json
import os
import re
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from importlib import import_module
from typing import Any

Pinned = Callable[..., Callable[..., Any]]

ORGANISATIONS = "STAND_ORGANISATIONS"
"""Environment variable: the organisation's id by account, a JSON object."""


def install(pinned: Pinned) -> None:
    """Install all of them. `pinned` finds a function and stops where it has changed."""
    find_apis_of_all_accounts(pinned)
    name_callers_as_they_are(pinned)
    scope_signatures(pinned)
    hide_authorization(pinned)


def find_apis_of_all_accounts(pinned: Pinned) -> None:
    gateway: Any = import_module("ministack.services.apigateway_v1")
    arns: Any = import_module("ministack.core.arn")
    pinned(gateway, "find_api_scope", "api_id")
    arn_of = pinned(arns, "execute_api_arn", "region", "account_id", "api_id", "stage", "method", "path")

    def find_api_scope(api_id: str) -> tuple[str, str] | None:
        for (account, region, stored), _ in gateway._rest_apis.all_items():
            if stored == api_id:
                return account, region
        return None

    def execute_api_arn(region: str, account_id: str, api_id: str, stage: str, method: str, path: str) -> str:
        account_id, region = find_api_scope(api_id) or (account_id, region)
        return str(arn_of(region, account_id, api_id, stage, method, path))

    gateway.find_api_scope = find_api_scope
    arns.execute_api_arn = gateway.execute_api_arn = execute_api_arn


def name_callers_as_they_are(pinned: Pinned) -> None:
    evaluator: Any = import_module("ministack.core.iam_evaluator")
    responses: Any = import_module("ministack.core.responses")
    resolve = pinned(evaluator, "resolve_caller_identity", "access_key_id")
    organisation_of = pinned(evaluator, "_principal_org_id", "account_id")
    organisations: dict[str, str] = json.loads(os.environ.get(ORGANISATIONS) or "{}")

    def resolve_caller_identity(access_key_id: str) -> Any:
        account = account_of(access_key_id)
        if account is None:
            return resolve(access_key_id)
        with responses.request_scope(account, responses.get_region()):
            return resolve(access_key_id)

    def account_of(key: str) -> str | None:
        if re.fullmatch(r"\d{12}", key or ""):
            return key
        found: str | None = responses._account_from_sts_session(key)
        return found or evaluator.find_iam_access_key_account(key)

    def principal_org_id(account_id: str) -> Any:
        return organisations.get(account_id) or organisation_of(account_id)

    evaluator.resolve_caller_identity = resolve_caller_identity
    evaluator._principal_org_id = principal_org_id


SIGNED_PATH: ContextVar[str] = ContextVar("the path that was asked for, where it is another", default="")


def scope_signatures(pinned: Pinned) -> None:
    """Refuse a signature for another service or region, and verify it with the path that was signed.

    A refusal is one of the API's gateway responses.
    """
    app: Any = import_module("ministack.app")
    pin = pinned(app, "pin_signed_request", "method", "raw_path", "query_params", "raw_headers", "handshake")
    gateway: Any = import_module("ministack.services.apigateway_v1")
    evaluator: Any = import_module("ministack.core.iam_evaluator")
    names = ("api_id", "stage", "method", "execute_path", "headers", "query_params", "iam_action")
    enforce = pinned(app, "_enforce_execute_api", *names)

    def enforce_execute_api(
        api_id: str, stage: str, method: str, execute_path: str, headers: Any, query_params: Any, **more: Any
    ) -> Any:
        scope = gateway.find_api_scope(api_id)
        kind = scope and gateway.method_authorization_type(api_id, stage, method, execute_path)
        if scope and kind == "AWS_IAM" and (why := wrong_scope(headers.get("authorization", ""), scope[1])):
            error = evaluator.AuthError("SignatureDoesNotMatch", why)
            return gateway.authentication_error_response(api_id, stage, error, headers, query_params)
        answer = enforce(api_id, stage, method, execute_path, headers, query_params, **more)
        if not scope or kind != "AWS_IAM" or not answer or b'"AccessDeniedException"' not in answer[2]:
            return answer
        error = evaluator.AuthError("AccessDenied", json.loads(answer[2])["message"])
        return gateway.authentication_error_response(api_id, stage, error, headers, query_params)

    gateway._AUTHENTICATION_GATEWAY_ERRORS["AccessDenied"] = ("ACCESS_DENIED", "AccessDeniedException")

    def pin_signed_request(method: str, raw_path: str, query_params: Any, raw_headers: Any) -> None:
        pin(method, SIGNED_PATH.get() or raw_path, query_params, raw_headers)

    app._enforce_execute_api, app.pin_signed_request = enforce_execute_api, pin_signed_request


def wrong_scope(authorization: str, region: str) -> str | None:
    found = re.search(r"Credential=[^/,\s]+/\d{8}/([^/]+)/([^/]+)/aws4_request", authorization)
    if found is None:
        return None
    if found[1] != region:
        return "Credential should be scoped to a valid region. "
    if found[2] != "execute-api":
        return "Credential should be scoped to correct service: 'execute-api'. "
    return None


def hide_authorization(pinned: Pinned) -> None:
    gateway: Any = import_module("ministack.services.apigateway_v1")
    names = (
        *("api_id", "stage_name", "stage", "resource", "request_path", "method", "headers", "body"),
        *("query_params", "path_params", "binary_media_types", "authorizer_context", "caller_identity"),
    )
    build = pinned(gateway, "_build_lambda_event_v1", *names)

    def build_lambda_event(*given: Any, **more: Any) -> Any:
        event = build(*given, **more)
        if more.get("caller_identity"):
            for name in ("headers", "multiValueHeaders"):
                event[name] = without_authorization(event[name])
        return event

    gateway._build_lambda_event_v1 = build_lambda_event


def without_authorization(headers: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in headers.items() if name.lower() != "authorization"}
