"""Start MiniStack with what the stand changes about it. Run by the emulator's own interpreter, as a script.

Differences, each one thing that AWS does and MiniStack 1.5.33 does not:

- Calls about aliases, concurrency and URLs are authorised, and recorded in CloudTrail, as what they are. It
  takes GetAlias, UpdateAlias and DeleteAlias for ListAliases, and GetProvisionedConcurrencyConfig,
  ListFunctionUrlConfigs, ListFunctionEventInvokeConfigs and ListDurableExecutionsByFunction for GetFunction,
  and asks for no right to GetAccountSettings.
- An alias is refused what it cannot be: a version that does not exist, two more versions beside its own,
  weights that name its own version or belong to $LATEST, weights together with provisioned concurrency.
- A state's timeout may be computed: `TimeoutSeconds` by JSONata, `TimeoutSecondsPath` by JSONPath.
- A task that waits for its token fails when its function does, and not at its timeout.
- A token that nobody waits for any more is TaskTimedOut, or InvalidToken where it is no token at all.
- An alarm looks at the metric with its own dimensions, and not at all metrics of that name.
- An alarm that changes says so on the default event bus (`CloudWatch Alarm State Change`), and a metric alarm
  has the time of that, as a composite one has (MetricAlarm, StateTransitionedTimestamp).
- What a function reports in `batchItemFailures` of a DynamoDB stream comes again, with its whole batch.
- The log that comes back with an invocation says how long it took (`REPORT`), without starting the worker.
- LookupEvents goes on from its NextToken.
- A function's session has its role's id in `aws:userid`, and not the role's name.
- An environment variable that names a file under `/opt` finds it. Lambda unpacks layers there, the emulator
  into a directory per worker.
- A record of a table's stream that a function reports as failed comes again, and with it its whole batch. It
  goes on instead, and the record is lost; Lambda goes back to that record.
- `/v1/...` is the deployed API's stage, as in its URL on AWS, beside the emulator's own longer path.
- What `emulator_versions` lists: how versions are authorised and deleted.
- What `emulator_answers` lists: the fences and words of Lambda, Step Functions, SQS and STS.
- What `emulator_cloudwatch` lists: statistics by thresholds, and the order of values.
- What `emulator_metrics`, `emulator_streams` and `emulator_front_doors` list: metric math, and the metrics of
  event sources, asynchronous invocations, durable executions, queues, function URLs and deployed APIs.
- What `emulator_logs` lists: what functions log, whole and in pages.
- What `emulator_retries` lists: delays of Step Functions.
- What `emulator_api` lists: gateway responses, and the settings of single methods.
- What `emulator_sessions`, `emulator_iam`, `emulator_callers`, `emulator_events` and `emulator_trail` list:
  sessions of STS, OIDC providers, signed calls of an API from any account, events that cross accounts, and
  CloudTrail's records.
- Requests count as sent over TLS, as policies ask for. Here loopback takes its place.

It pins what it changes: where the emulator no longer looks as expected, it stops and does not run
without them.
"""

import contextvars
import json
import os
import re
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from importlib import import_module
from inspect import signature
from pathlib import Path
from types import FunctionType
from typing import Any

Scope = MutableMapping[str, Any]
Application = Callable[[Scope, Any, Any], Awaitable[None]]

API_FILE = "STAND_API_FILE"
"""Environment variable: the file that holds the deployed API's id, written after each deployment."""

STAGE = "/v1"

SIGNED = f"{STAGE}/iam/"
"""Below it every call is the API's, whatever it is signed for."""

EXPIRE = "/_stand/expire/"
"""Ends the session of the access key that follows, as if its time were over."""

_FORWARDED = (b"x-forwarded-proto", b"https")


def main() -> None:
    sys.path.insert(0, str(Path(__file__).parent))
    emulator: Any = import_module("ministack.app")
    import_module("emulator_logs").install(pinned)
    name_lambda_calls(emulator)
    refuse_impossible_aliases()
    compute_timeouts()
    fail_with_the_function()
    close_task_tokens()
    keep_dimensions_of_alarms_apart()
    announce_alarms()
    repeat_failed_records()
    report_durations()
    page_through_events()
    name_functions_by_role_id()
    find_layers_under_opt()
    for module in (
        "answers",
        "api",
        "sessions",
        "iam",
        "callers",
        "cloudwatch",
        "conditions",
        "events",
        "front_doors",
        "metrics",
        "policies",
        "retries",
        "s3",
        "streams",
        "trail",
        "versions",
        "workers",
    ):
        import_module(f"emulator_{module}").install(pinned)
    emulator.app = with_front_door(emulator.app, Path(os.environ[API_FILE]))
    emulator.main()


def pinned(module: Any, name: str, *parameters: str) -> Callable[..., Any]:
    """A function of the emulator, if it still takes what it took when this was written."""
    function: Callable[..., Any] | None = getattr(module, name, None)
    if function is None or tuple(signature(function).parameters) != parameters:
        raise SystemExit(f"the emulator's {module.__name__}.{name} has changed; this launcher must follow")
    return function


def within(function: Callable[..., Any], **names: Any) -> Callable[..., Any]:
    """The same function, which finds these under their names in the place of its module's own."""
    if not isinstance(function, FunctionType):
        raise TypeError(function)
    return FunctionType(function.__code__, {**function.__globals__, **names}, function.__name__)


def name_lambda_calls(app: Any) -> None:
    """Name a call for IAM and CloudTrail; the resource stays the function, as in Lambda's reference."""
    actions: Any = import_module("ministack.core.iam_actions")
    action = pinned(actions, "_lambda_action", "method", "path")
    event_name = pinned(app, "_ct_event_name", "service", "method", "path", "headers", "query_params")

    def lambda_action(method: str, path: str) -> str | None:
        named = lambda_call(method, path)
        return named if named else action(method, path)

    def ct_event_name(service: str, method: str, path: str, headers: Any, query_params: Any) -> str:
        named = lambda_call(method, path) if service == "lambda" else None
        return named or event_name(service, method, path, headers, query_params)

    actions._lambda_action = lambda_action
    app._ct_event_name = ct_event_name


_ALIAS = {"GET": "GetAlias", "PUT": "UpdateAlias", "DELETE": "DeleteAlias"}
_ALIASES = {"GET": "ListAliases", "POST": "CreateAlias"}
_CONCURRENCY = {
    "GET": "GetFunctionConcurrency",
    "PUT": "PutFunctionConcurrency",
    "DELETE": "DeleteFunctionConcurrency",
}
_PROVISIONED = {
    "GET": "GetProvisionedConcurrencyConfig",
    "PUT": "PutProvisionedConcurrencyConfig",
    "DELETE": "DeleteProvisionedConcurrencyConfig",
}


def lambda_call(method: str, path: str) -> str | None:
    """The name of a call to a function's aliases, concurrency or URLs, or to the account; None for others."""
    if path.rstrip("/").endswith("/account-settings"):
        return "GetAccountSettings"
    _, _, below = path.partition("/functions/")
    match [part for part in below.split("/") if part]:
        case [_, "aliases"]:
            return _ALIASES.get(method)
        case [_, "aliases", _]:
            return _ALIAS.get(method)
        case [_, "concurrency"]:
            return _CONCURRENCY.get(method)
        case [_, "provisioned-concurrency"]:
            return _PROVISIONED.get(method)
        case [_, "urls"]:
            return "ListFunctionUrlConfigs"
        case [_, "event-invoke-config", "list"]:
            return "ListFunctionEventInvokeConfigs"
        case [_, "durable-executions"]:
            return "ListDurableExecutionsByFunction"
    return None


def refuse_impossible_aliases() -> None:
    """Refuse an alias, or provisioned concurrency for it, that Lambda would not take."""
    lambda_: Any = import_module("ministack.services.lambda_svc")
    create = pinned(lambda_, "_create_alias", "func_name", "data")
    update = pinned(lambda_, "_update_alias", "func_name", "alias_name", "data")
    provision = pinned(lambda_, "_put_provisioned_concurrency", "func_name", "qualifier", "data")
    exists = pinned(lambda_, "_validate_function_qualifier_exists", "func_name", "qualifier")

    def invalid(message: str) -> Any:
        return lambda_.error_response_json("InvalidParameterValueException", message, 400)

    def refused(name: str, alias: str | None, data: Mapping[str, Any]) -> Any:
        function = lambda_._functions.get(name) or {}
        merged = {**function.get("aliases", {}).get(alias, {}), **data}
        weights = weights_of(merged)
        for version in (merged.get("FunctionVersion"), *weights):
            if function and version in function["aliases"]:
                return invalid(f"{version} is an alias, and not a version.")
            if function and (error := exists(name, version)):
                return error
        if why := wrong_weights(merged.get("FunctionVersion"), weights):
            return invalid(why)
        if weights and function.get("provisioned_concurrency", {}).get(alias):
            return invalid(_WEIGHTS_AND_CONCURRENCY)
        return None

    def create_alias(func_name: str, data: Any) -> Any:
        return refused(func_name, None, data) or create(func_name, data)

    def update_alias(func_name: str, alias_name: str, data: Any) -> Any:
        return refused(func_name, alias_name, data) or update(func_name, alias_name, data)

    def put_provisioned_concurrency(func_name: str, qualifier: str, data: Any) -> Any:
        aliases = (lambda_._functions.get(func_name) or {}).get("aliases", {})
        if weights_of(aliases.get(qualifier, {})):
            return invalid(_WEIGHTS_AND_CONCURRENCY)
        return provision(func_name, qualifier, data)

    lambda_._create_alias, lambda_._update_alias = create_alias, update_alias
    lambda_._put_provisioned_concurrency = put_provisioned_concurrency


_WEIGHTS_AND_CONCURRENCY = "Alias with weights can not be used with Provisioned Concurrency"


def weights_of(alias: Mapping[str, Any]) -> Mapping[str, float]:
    return (alias.get("RoutingConfig") or {}).get("AdditionalVersionWeights") or {}


def wrong_weights(version: str | None, weights: Mapping[str, float]) -> str | None:
    """Why an alias of this version cannot have these weights; None if it can."""
    if len(weights) > 1:
        return "Number of items in AdditionalVersionWeights cannot be greater than 1"
    if any(not 0 <= weight <= 1 for weight in weights.values()):
        return "A weight is a number from 0 to 1"
    if version in weights:
        return (
            f"Invalid function version {version}. "
            f"Function version {version} is already included in routing configuration."
        )
    if weights and "$LATEST" in (version, *weights):
        return "$LATEST is not supported for an alias pointing to more than 1 version"
    return None


def compute_timeouts() -> None:
    """Give a task the timeout that its expression or path says, in whole seconds."""
    states: Any = import_module("ministack.services.stepfunctions")
    execute = pinned(states, "_execute_task", "state_def", "raw_input", "execution", "ctx")
    pinned(states, "_jsonata_state_field", "state_def", "field", "expected", "raw_input", "ctx")
    pinned(states, "_resolve_path_or_ctx", "path", "data", "ctx")

    def seconds(state: Mapping[str, Any], given: Any, ctx: Any) -> Any:
        if path := state.get("TimeoutSecondsPath"):
            return states._resolve_path_or_ctx(path, states._apply_input_path(state, given, ctx), ctx)
        return states._jsonata_state_field(state, "TimeoutSeconds", "number", given, ctx)

    def execute_task(state_def: Any, raw_input: Any, execution: Any, ctx: Any) -> Any:
        if "TimeoutSecondsPath" in state_def or isinstance(state_def.get("TimeoutSeconds"), str):
            timeout = seconds(state_def, raw_input, ctx)
            if not is_timeout(timeout):
                why = f"TimeoutSeconds is no whole number from 1 to {_LONGEST}: {json.dumps(timeout)}"
                raise states._ExecutionError("States.QueryEvaluationError", why)
            state_def = {**state_def, "TimeoutSeconds": int(timeout)}
        return execute(state_def, raw_input, execution, ctx)

    states._execute_task = execute_task


_LONGEST = 99_999_999


def is_timeout(seconds: Any) -> bool:
    number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    return number and seconds == int(seconds) and 1 <= seconds <= _LONGEST


_WAITING: contextvars.ContextVar[str | None] = contextvars.ContextVar("the token waited for", default=None)


def fail_with_the_function() -> None:
    """End a wait for a token at once when the function that was given the token fails."""
    states: Any = import_module("ministack.services.stepfunctions")
    wait = pinned(states, "_invoke_with_callback", "resource", "input_data", "token", "state_def")
    call = pinned(states, "_call_lambda", "func_ref", "event")

    def invoke_with_callback(resource: Any, input_data: Any, token: str, state_def: Any) -> Any:
        before = _WAITING.set(token)
        try:
            return wait(resource, input_data, token, state_def)
        finally:
            _WAITING.reset(before)

    def call_lambda(func_ref: Any, event: Any) -> Any:
        try:
            return call(func_ref, event)
        except states._ExecutionError as error:
            waiting = states._task_tokens.get(_WAITING.get())
            if waiting and not waiting["event"].is_set():
                waiting["error"] = {"Error": error.error, "Cause": error.cause}
                waiting["event"].set()
            raise

    states._invoke_with_callback, states._call_lambda = invoke_with_callback, call_lambda


def close_task_tokens() -> None:
    """Answer for a token that was used, has timed out or never was as Step Functions does."""
    states: Any = import_module("ministack.services.stepfunctions")

    def closing(send: Callable[..., Any]) -> Callable[..., Any]:
        def send_task(data: Any) -> Any:
            token = str(data.get("taskToken"))
            waiting = states._task_tokens.get(token)
            if waiting and not waiting["event"].is_set():
                return send(data)
            code, message = closed_token(token)
            return states.error_response_json(code, message, 400)

        return send_task

    for name in ("_send_task_success", "_send_task_failure", "_send_task_heartbeat"):
        setattr(states, name, closing(pinned(states, name, "data")))


def closed_token(token: str) -> tuple[str, str]:
    """The code and message for a token that nobody waits for. The emulator's tokens are UUIDs."""
    if re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", token):
        return "TaskTimedOut", "Task Timed Out: 'Provided task does not exist anymore'"
    return "InvalidToken", "Invalid Token: 'Invalid token'"


def keep_dimensions_of_alarms_apart() -> None:
    """Evaluate an alarm on the metric that has exactly the alarm's dimensions."""
    cloudwatch: Any = import_module("ministack.services.cloudwatch")
    evaluate = pinned(cloudwatch, "_evaluate_alarm", "alarm")
    pinned(cloudwatch, "_dims_key", "dims")
    pinned(cloudwatch, "_dims_from_list", "dimensions")

    def evaluate_alarm(alarm: Any) -> None:
        dimensions = cloudwatch._dims_key(cloudwatch._dims_from_list(alarm.get("Dimensions") or []))
        own = {key: points for key, points in cloudwatch._metrics.items() if key[2] == dimensions}
        within(evaluate, _metrics=own)(alarm)

    cloudwatch._evaluate_alarm = evaluate_alarm


def announce_alarms() -> None:
    """Send an event to the default bus at every change of an alarm's state, and keep its time."""
    cloudwatch: Any = import_module("ministack.services.cloudwatch")
    events: Any = import_module("ministack.services.eventbridge")
    parameters = ("alarm_name", "old_state", "new_state", "reason", "alarm_type", "reason_data")
    record = pinned(cloudwatch, "_record_history", *parameters)
    put = pinned(events, "_put_events", "data", "allow_aws_source")

    def record_history(
        alarm_name: str, old_state: str, new_state: str, reason: str, *more: Any, **named: Any
    ) -> None:
        record(alarm_name, old_state, new_state, reason, *more, **named)
        alarm = cloudwatch._alarms.get(alarm_name) or cloudwatch._composite_alarms.get(alarm_name) or {}
        alarm["StateTransitionedTimestamp"] = time.time()
        put({"Entries": [alarm_event(alarm, old_state, new_state, reason)]}, allow_aws_source=True)

    cloudwatch._record_history = record_history


def alarm_event(alarm: Mapping[str, Any], old: str, new: str, reason: str) -> dict[str, Any]:
    """The entry for PutEvents. Source: CloudWatch's guide, "Alarm events and EventBridge"."""
    at = time.strftime("%Y-%m-%dT%H:%M:%S.000+0000", time.gmtime())
    detail = {
        "alarmName": alarm.get("AlarmName"),
        "configuration": {"description": alarm.get("AlarmDescription") or ""},
        "previousState": {"value": old},
        "state": {"value": new, "reason": reason, "timestamp": at},
    }
    return {
        "Source": "aws.cloudwatch",
        "DetailType": "CloudWatch Alarm State Change",
        "Detail": json.dumps(detail),
        "Resources": [alarm.get("AlarmArn", "")],
    }


def repeat_failed_records() -> None:
    """Take a batch of a DynamoDB stream for failed when the function reports failures in it.

    The whole batch comes again: Lambda would start at the first record that failed.
    """
    lambda_: Any = import_module("ministack.services.lambda_svc")
    poll = pinned(lambda_, "_poll_dynamodb_streams")
    execute = pinned(lambda_, "_execute_function", "func", "event")

    def reports(stream: str) -> bool:
        mappings = [one for one in lambda_._esms.values() if one.get("EventSourceArn") == stream]
        return any("ReportBatchItemFailures" in (one.get("FunctionResponseTypes") or []) for one in mappings)

    def execute_function(func: Any, event: Any) -> Any:
        result = execute(func, event)
        if failed_records(result) and reports(event["Records"][0].get("eventSourceARN", "")):
            return {**result, "error": True, "body": {"errorType": "batchItemFailures", "errorMessage": ""}}
        return result

    def poll_dynamodb_streams() -> Any:
        return within(poll, _execute_function=execute_function)()

    lambda_._poll_dynamodb_streams = poll_dynamodb_streams


def failed_records(result: Mapping[str, Any]) -> bool:
    """Whether what a function answered, as text or as a value, names failed records."""
    body = result.get("body")
    if isinstance(body, str | bytes):
        try:
            body = json.loads(body)
        except ValueError:
            return False
    return isinstance(body, dict) and bool(body.get("batchItemFailures"))


def report_durations() -> None:
    """Put a REPORT line below the log that `Invoke` returns, with the time of the handler alone."""
    lambda_: Any = import_module("ministack.services.lambda_svc")
    worker: Any = import_module("ministack.core.lambda_runtime").Worker
    execute = pinned(lambda_, "_execute_function", "func", "event")
    parameters = ("event", "request_id", "trace_id", "depth", "durable", "invoked_function_arn")
    invoke = pinned(worker, "invoke", "self", *parameters)
    spawn = pinned(worker, "_spawn", "self")
    drain = pinned(worker, "_drain_stderr_bounded", "self", "first_line_wait", "idle_confirm", "hard_cap")
    mine = threading.local()  # of the thread that runs the invocation

    def worker_spawn(self: Any) -> None:
        began = time.perf_counter()
        spawn(self)
        mine.began = time.perf_counter()
        mine.init = mine.began - began

    def worker_drain(self: Any, *waits: float, **named: float) -> Any:
        mine.ended = time.perf_counter()  # answered; what follows waits for its output
        return drain(self, *waits, **named)

    def worker_invoke(self: Any, event: Any, request_id: str, **named: Any) -> Any:
        mine.began, mine.ended, mine.init = time.perf_counter(), None, None
        try:
            return invoke(self, event, request_id, **named)
        finally:
            took = (mine.ended or time.perf_counter()) - mine.began
            mine.report = report(request_id, took, mine.init)

    def execute_function(func: Any, event: Any) -> Any:
        result = execute(func, event)
        line, mine.report = getattr(mine, "report", None), None
        return {**result, "log": f"{result.get('log') or ''}\n{line}".lstrip()} if line else result

    lambda_._execute_function = execute_function
    worker._spawn, worker._drain_stderr_bounded, worker.invoke = worker_spawn, worker_drain, worker_invoke


def report(request_id: str, seconds: float, init: float | None) -> str:
    """Lambda's last line about an invocation, as far as the stand knows it."""
    line = f"REPORT RequestId: {request_id}\tDuration: {seconds * 1000:.2f} ms"
    return line if init is None else f"{line}\tInit Duration: {init * 1000:.2f} ms"


def page_through_events() -> None:
    """Let LookupEvents go on where its last answer ended; it gives the newest 50, and no more."""
    trail: Any = import_module("ministack.services.cloudtrail")
    lookup = within(pinned(trail, "_lookup_events", "body"), min=lambda *_: trail._MAX_EVENTS)

    def lookup_events(body: Any) -> Any:
        _, _, text = lookup(body)
        found, start, size = (
            json.loads(text)["Events"],
            int(body.get("NextToken") or 0),
            body.get("MaxResults"),
        )
        end = start + min(int(size or 50), 50)
        more = {"NextToken": str(end)} if end < len(found) else {}
        return trail._ok({"Events": found[start:end], **more})

    trail._DISPATCH["LookupEvents"] = lookup_events


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


def with_front_door(application: Application, api_file: Path) -> Application:
    """Serve the deployed API at `/v1`. Calls signed for another service than the API keep their path.

    Every request is taken as one that came over TLS, by the header that load balancers say it with.
    """

    async def front_door(scope: Scope, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["path"].startswith(EXPIRE):
            status = 204 if expire(scope["path"].removeprefix(EXPIRE)) else 404
            await send({"type": "http.response.start", "status": status, "headers": []})
            await send({"type": "http.response.body", "body": b""})
            return
        if scope["type"] == "http":
            others = [header for header in scope["headers"] if header[0].lower() != _FORWARDED[0]]
            scope = {**scope, "headers": [*others, _FORWARDED]}
        if scope["type"] == "http" and is_for_api(scope) and api_file.is_file():
            path = f"/restapis/{api_file.read_text()}{STAGE}/_user_request_"
            # Signed is the path that was asked for.
            import_module("emulator_callers").SIGNED_PATH.set(
                (scope.get("raw_path") or b"").decode("latin-1")
            )
            raw: bytes = scope.get("raw_path") or scope["path"].encode()
            scope = {
                **scope,
                "path": path + scope["path"][len(STAGE) :],
                "raw_path": path.encode() + raw[len(STAGE) :],
            }
        await application(scope, receive, send)

    return front_door


def expire(access_key: str) -> bool:
    """Let a session's time be over; whether there is one."""
    sessions: Any = import_module("ministack.services.sts")._sessions
    if access_key not in sessions:
        return False
    sessions[access_key]["Expiration"] = time.time() - 1
    return True


def is_for_api(scope: Scope) -> bool:
    path: str = scope["path"]
    if path != STAGE and not path.startswith(STAGE + "/"):
        return False
    if path.startswith(SIGNED):
        return True
    for name, value in scope["headers"]:
        if name.lower() == b"authorization" and value.startswith(b"AWS4-"):
            return b"/execute-api/aws4_request" in value
    return b"X-Amz-Credential" not in scope.get("query_string", b"")


if __name__ == "__main__":
    main()
