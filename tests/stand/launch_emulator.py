"""Start MiniStack with what the stand changes about it. Run by the emulator's own interpreter, as a script.

Six differences, each one thing that AWS does and MiniStack 1.5.33 does not:

- Alias calls are authorised as what they are. It takes GetAlias, UpdateAlias and DeleteAlias for ListAliases.
- A function's session has its role's id in `aws:userid`, and not the role's name.
- An environment variable that names a file under `/opt` finds it. Lambda unpacks layers there, the emulator
  into a directory per worker.
- A record of a table's stream that a function reports as failed comes again, and with it its whole batch. It
  goes on instead, and the record is lost; Lambda goes back to that record.
- `/v1/...` is the deployed API's stage, as in its URL on AWS, beside the emulator's own longer path.
- Requests count as sent over TLS, as policies ask for. Here loopback takes its place.

It pins what it changes: where the emulator no longer looks as expected, it stops and does not run
without them.
"""

import os
from collections.abc import Awaitable, Callable, MutableMapping
from importlib import import_module
from pathlib import Path
from typing import Any

Scope = MutableMapping[str, Any]
Application = Callable[[Scope, Any, Any], Awaitable[None]]

API_FILE = "STAND_API_FILE"
"""Environment variable: the file that holds the deployed API's id, written after each deployment."""

STAGE = "/v1"

_FORWARDED = (b"x-forwarded-proto", b"https")


def main() -> None:
    authorise_alias_calls()
    name_functions_by_role_id()
    find_layers_under_opt()
    give_failed_records_again()
    emulator: Any = import_module("ministack.app")
    emulator.app = with_front_door(emulator.app, Path(os.environ[API_FILE]))
    emulator.main()


def authorise_alias_calls() -> None:
    """Name the action of each alias call; the resource stays the function, as in Lambda's reference."""
    actions: Any = import_module("ministack.core.iam_actions")
    original: Callable[[str, str], str | None] = actions._lambda_action

    def lambda_action(method: str, path: str) -> str | None:
        parts = [part for part in path.split("/") if part]
        if "functions" in parts:
            rest = parts[parts.index("functions") + 1 :]
            if len(rest) > 1 and rest[1] == "aliases":
                return alias_action(method, named=len(rest) > 2)
        return original(method, path)

    actions._lambda_action = lambda_action


def alias_action(method: str, *, named: bool) -> str | None:
    """The IAM action of a call to `/functions/NAME/aliases` or, named, `/functions/NAME/aliases/ALIAS`."""
    if named:
        return {"GET": "GetAlias", "PUT": "UpdateAlias", "DELETE": "DeleteAlias"}.get(method)
    return {"GET": "ListAliases", "POST": "CreateAlias"}.get(method)


def name_functions_by_role_id() -> None:
    """Give a function's session the user id that it has on AWS, which bucket policies know it by."""
    sts: Any = import_module("ministack.services.sts")
    iam: Any = import_module("ministack.services.iam")
    original: Callable[[str, dict[str, Any]], None] = sts.register_session

    def register_session(access_key: str, session: dict[str, Any]) -> None:
        account, name = session["Arn"].split(":")[4], session["Arn"].split("/")[1]
        role = iam._roles.get_scoped(account, None, name)
        if role and session["UserId"].startswith(f"{name}:"):
            session["UserId"] = role["RoleId"] + session["UserId"].removeprefix(name)
        original(access_key, session)

    sts.register_session = register_session


_INSERT_BEFORE = "    # After sys.path is complete (so a function that bundles its own botocore"
_FIND_LAYERS = """\
    for _name, _value in list(os.environ.items()):
        for _ld in filter(None, os.environ.get("_LAMBDA_LAYERS_DIRS", "").split(os.pathsep)):
            if _value.startswith("/opt/") and os.path.exists(_ld + _value[len("/opt"):]):
                os.environ[_name] = _ld + _value[len("/opt"):]
"""


def find_layers_under_opt() -> None:
    """Point variables at the worker's copy of the layer, before the handler is imported."""
    runtime: Any = import_module("ministack.core.lambda_runtime")
    script: str = runtime._PYTHON_WORKER_SCRIPT
    if script.count(_INSERT_BEFORE) != 1:
        raise SystemExit("the emulator's worker script has changed, and this launcher must follow")
    runtime._PYTHON_WORKER_SCRIPT = script.replace(_INSERT_BEFORE, _FIND_LAYERS + _INSERT_BEFORE)


def give_failed_records_again() -> None:
    """Take a batch of a table's stream as failed where the function says that part of it is."""
    functions: Any = import_module("ministack.services.lambda_svc")
    original: Callable[..., dict[str, Any]] = functions._execute_function

    def execute_function(function: dict[str, Any], event: Any) -> dict[str, Any]:
        result = original(function, event)
        return {**result, "error": True} if reports_failures(event, result) else result

    functions._execute_function = execute_function


def reports_failures(event: Any, result: dict[str, Any]) -> bool:
    """Whether a function has answered to a batch of a table's stream that a record failed."""
    records = event.get("Records") if isinstance(event, dict) else None
    body = result.get("body")
    return (
        isinstance(records, list)
        and bool(records)
        and isinstance(records[0], dict)
        and records[0].get("eventSource") == "aws:dynamodb"
        and isinstance(body, dict)
        and bool(body.get("batchItemFailures"))
    )


def with_front_door(application: Application, api_file: Path) -> Application:
    """Serve the deployed API at `/v1`. Calls signed for another service than the API keep their path.

    Every request is taken as one that came over TLS, by the header that load balancers say it with.
    """

    async def front_door(scope: Scope, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            others = [header for header in scope["headers"] if header[0].lower() != _FORWARDED[0]]
            scope = {**scope, "headers": [*others, _FORWARDED]}
        if scope["type"] == "http" and is_for_api(scope) and api_file.is_file():
            path = f"/restapis/{api_file.read_text()}{STAGE}/_user_request_"
            raw: bytes = scope.get("raw_path") or scope["path"].encode()
            scope = {
                **scope,
                "path": path + scope["path"][len(STAGE) :],
                "raw_path": path.encode() + raw[len(STAGE) :],
            }
        await application(scope, receive, send)

    return front_door


def is_for_api(scope: Scope) -> bool:
    path: str = scope["path"]
    if path != STAGE and not path.startswith(STAGE + "/"):
        return False
    for name, value in scope["headers"]:
        if name.lower() == b"authorization" and value.startswith(b"AWS4-"):
            return b"/execute-api/aws4_request" in value
    return b"X-Amz-Credential" not in scope.get("query_string", b"")


if __name__ == "__main__":
    main()
