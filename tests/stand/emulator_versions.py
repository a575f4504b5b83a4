"""How Lambda names and deletes versions, where MiniStack 1.5.33 differs. `launch_emulator` loads it there.

- DeleteFunction and GetPolicy with a qualifier are authorised on the function with that qualifier (Lambda
  developer guide, "Fine-tuning the Resources and Conditions sections of policies", read on 27 November 2026).
- ListProvisionedConcurrencyConfigs has the path of GetProvisionedConcurrencyConfig, and `?List=ALL`. It lists
  what there is; without a qualifier it can be nothing else.
- DeleteFunction of a version that is absent answers 204, as for one that is there (floci-io/floci#2824).
- It refuses what an alias names in Lambda's words (go-lambda-cleanup#45, 12 December 2022).
"""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

Pinned = Callable[..., Callable[..., Any]]

_REQUEST = ("service", "method", "path", "headers", "body", "query_params")


def install(pinned: Pinned) -> None:
    """Install all of them. `pinned` finds a function and stops where it has changed."""
    qualify_resources(pinned)
    name_lists_of_provisioned_concurrency(pinned)
    delete_as_lambda_does(pinned)


def qualifier_of(method: str, path: str, query: Mapping[str, Any]) -> str:
    """Return the qualifier on which a call is authorised, or "" for the function itself."""
    _, found, below = path.partition("/functions/")
    parts = [part for part in below.split("/") if part]
    one_version = (method == "DELETE" and len(parts) == 1) or (method == "GET" and parts[1:] == ["policy"])
    return parameter(query, "Qualifier") if found and one_version else ""


def parameter(query: Mapping[str, Any], name: str) -> str:
    """Return a parameter of the query, which the emulator has as a text or a list."""
    value = query.get(name) or ""
    return str(value[0]) if isinstance(value, list) else str(value)


def qualify_resources(pinned: Pinned) -> None:
    actions: Any = import_module("ministack.core.iam_actions")
    resource = pinned(actions, "extract_resource_arn", *_REQUEST, "region", "account_id")

    def extract_resource_arn(service: str, method: str, path: str, *others: Any, **named: Any) -> Any:
        found = resource(service, method, path, *others, **named)
        query = named.get("query_params", others[2] if len(others) > 2 else {})
        qualifier = qualifier_of(method, path, query) if service == "lambda" else ""
        return f"{found}:{qualifier}" if qualifier and found.count(":") == 6 else found

    actions.extract_resource_arn = extract_resource_arn


def name_lists_of_provisioned_concurrency(pinned: Pinned) -> None:
    actions: Any = import_module("ministack.core.iam_actions")
    action = pinned(actions, "extract_iam_action", *_REQUEST)

    def extract_iam_action(service: str, method: str, path: str, *others: Any, **named: Any) -> Any:
        query = named.get("query_params", others[2] if len(others) > 2 else {})
        if service == "lambda" and path.endswith("/provisioned-concurrency") and parameter(query, "List"):
            return "lambda:ListProvisionedConcurrencyConfigs"
        return action(service, method, path, *others, **named)

    actions.extract_iam_action = extract_iam_action
    lambda_: Any = import_module("ministack.services.lambda_svc")
    get = pinned(lambda_, "_get_provisioned_concurrency", "func_name", "qualifier")

    def get_or_list(func_name: str, qualifier: str | None) -> Any:
        function = lambda_._functions.get(func_name)
        if qualifier or function is None:
            return get(func_name, qualifier)
        arn = lambda_._func_arn(func_name)
        configs = function.get("provisioned_concurrency", {})
        listed = [{**config, "FunctionArn": f"{arn}:{name}"} for name, config in configs.items()]
        return lambda_.json_response({"ProvisionedConcurrencyConfigs": listed})

    lambda_._get_provisioned_concurrency = get_or_list


def delete_as_lambda_does(pinned: Pinned) -> None:
    lambda_: Any = import_module("ministack.services.lambda_svc")
    delete = pinned(lambda_, "_delete_function", "name", "query_params", "path_qualifier")

    def delete_function(name: str, query_params: Mapping[str, Any], path_qualifier: str | None = None) -> Any:
        function = lambda_._functions.get(name)
        qualifier = path_qualifier or parameter(query_params, "Qualifier")
        if function and qualifier.isdecimal():
            if qualifier not in function.get("versions", {}):
                return 204, {}, b""
            naming = [
                alias
                for alias, one in function.get("aliases", {}).items()
                if one.get("FunctionVersion") == qualifier
            ]
            if naming:
                message = "Unable to delete version because the following aliases reference it: "
                text = f"{message}[{', '.join(naming)}]"
                return lambda_.error_response_json("ResourceConflictException", text, 409)
        return delete(name, query_params, path_qualifier)

    lambda_._delete_function = delete_function
