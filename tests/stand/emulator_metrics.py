"""Metrics that Lambda sends and MiniStack 1.5.33 does not, and metric math in GetMetricData.

- GetMetricData evaluates expressions: each names the ids of other queries of the call, and an error in one is
  a ValidationError of the whole call (CloudWatch API reference, MetricDataQuery).
- An event source mapping has a MetricsConfig, and with `EventCount` sends counts of its events under
  `EventSourceMappingUUID`. An event that the function names in `batchItemFailures` has failed. The mappings
  of an alias can be listed.
- An asynchronous invocation counts as received, with its age at each attempt, and as dropped after the last.
  A dead-letter queue or a destination that cannot be reached then counts as `DeadLetterErrors` or
  `DestinationDeliveryFailures` of the alias that was invoked.
- A queue's visible messages are counted each minute ("Available CloudWatch metrics for Amazon SQS").
- A durable execution counts when it starts and when it ends, by how it ends. A function is durable that is
  created with a DurableConfig: the API has no `Enabled` in it, on which MiniStack insists.

Sources, read on 2026-11-26: Lambda developer guide, "Types of metrics for Lambda functions" and "Monitoring
durable functions"; Lambda API reference, ListEventSourceMappings and EventSourceMappingMetricsConfig. The
guide names no dimensions of the last two kinds; here it is `FunctionName`, under which others have read them.
"""

import json
import threading
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from importlib import import_module
from typing import Any

Pinned = Callable[..., Callable[..., Any]]


def install(pinned: Pinned) -> None:
    """Install all of them. `pinned` finds a function and stops where it has changed."""
    evaluate_expressions(pinned)
    keep_settings_of_mappings(pinned)
    count_events_of_queues(pinned)
    count_asynchronous_events(pinned)
    count_durable_executions(pinned)
    count_visible_messages()


def send(name: str, dimension: str, value: str, number: float) -> None:
    """Send one value of a metric of Lambda's."""
    cloudwatch: Any = import_module("ministack.services.cloudwatch")
    cloudwatch.record_metric("AWS/Lambda", name, number, "Count", {dimension: value})


def send_of_alias(
    name: str, function: str, qualifier: str | None, number: float, unit: str = "Count"
) -> None:
    """Send one value of a metric of a function, and of the alias that was invoked."""
    cloudwatch: Any = import_module("ministack.services.cloudwatch")
    named = {"FunctionName": function}
    for dimensions in (named, {**named, "Resource": f"{function}:{qualifier}" if qualifier else function}):
        cloudwatch.record_metric("AWS/Lambda", name, number, unit, dimensions)


def can_be_reached(target: str) -> bool:
    """Whether a queue that events are sent to is there. Of what is no queue, nothing is known here."""
    sqs: Any = import_module("ministack.services.sqs")
    return ":sqs:" not in target or sqs._queue_by_arn(target) is not None


def evaluate_expressions(pinned: Pinned) -> None:
    """Evaluate the expressions of a call over its other queries."""
    cloudwatch: Any = import_module("ministack.services.cloudwatch")
    math: Any = import_module("metric_math")
    get = pinned(cloudwatch, "_get_metric_data", "params", "cbor_data", "is_cbor", "is_json")

    def get_metric_data(params: Any, cbor_data: Any, is_cbor: bool, is_json: bool = False) -> Any:
        queries = cbor_data.get("MetricDataQueries", []) if is_cbor or is_json else []
        if not any(query.get("Expression") for query in queries):
            return get(params, cbor_data, is_cbor, is_json)
        stats = [{**query, "ReturnData": True} for query in queries if not query.get("Expression")]
        _, _, body = get(params, {**cbor_data, "MetricDataQueries": stats}, False, True)
        found, series = {}, {}
        for result in json.loads(body)["MetricDataResults"]:
            series[result["Id"]] = points(result)
            times = [cloudwatch._ts_iso(at) for at in series[result["Id"]]]
            found[result["Id"]] = {**result, "Timestamps": times}
        results = []
        for query in queries:
            name = query["Id"]
            if query.get("Expression"):
                try:
                    value = math.evaluate(query["Expression"], name, series)
                except math.ExpressionError as error:
                    return cloudwatch._error(
                        "ValidationError", str(error), 400, use_json=is_json, use_cbor=is_cbor
                    )
                found[name] = {
                    "Id": name,
                    "Label": query.get("Label", name),
                    "Timestamps": [cloudwatch._ts_iso(at) for at in value],
                    "Values": list(value.values()),
                    "StatusCode": "Complete",
                }
            if query.get("ReturnData", True):
                results.append(found[name])
        if is_cbor:
            answer = [cloudwatch._cbor_metric_data_result(result) for result in results]
            return cloudwatch._cbor_ok({"MetricDataResults": answer})
        return cloudwatch._json_ok({"MetricDataResults": results})

    cloudwatch._get_metric_data = get_metric_data


def keep_settings_of_mappings(pinned: Pinned) -> None:
    """Keep a mapping's MetricsConfig, and list the mappings of an alias alone where one is named.

    A cluster of Kafka may be the source of a mapping, which is not polled.
    """
    lambda_: Any = import_module("ministack.services.lambda_svc")
    launcher: Any = import_module("__main__")  # `within`
    validate = pinned(lambda_, "_validate_event_source_arn", "event_source_arn")

    def validate_source(arn: str) -> Any:
        return (lambda_.parse_arn(arn), None) if ":kafka:" in arn else validate(arn)

    create = launcher.within(
        pinned(lambda_, "_create_esm", "data"), _validate_event_source_arn=validate_source
    )
    update = pinned(lambda_, "_update_esm", "esm_id", "data")
    listed = pinned(lambda_, "_list_esms", "query_params")

    def create_esm(data: Any) -> Any:
        status, headers, body = create(data)
        if status == 202 and "MetricsConfig" in data:
            mapping = lambda_._esms[json.loads(body)["UUID"]]
            mapping["MetricsConfig"] = data["MetricsConfig"]
            return lambda_.json_response(lambda_._esm_response(mapping), 202)
        return status, headers, body

    def update_esm(esm_id: str, data: Any) -> Any:
        if esm_id in lambda_._esms and "MetricsConfig" in data:
            lambda_._esms[esm_id]["MetricsConfig"] = data["MetricsConfig"]
        return update(esm_id, data)

    def list_esms(query_params: Any) -> Any:
        status, headers, body = listed(query_params)
        _, qualifier = lambda_._resolve_request_scoped_name_and_qualifier(
            lambda_._qp_first(query_params, "FunctionName") or ""
        )
        if status != 200 or not qualifier:
            return status, headers, body
        answer = json.loads(body)
        answer["EventSourceMappings"] = [
            one for one in answer["EventSourceMappings"] if one.get("Qualifier") == qualifier
        ]
        return lambda_.json_response(answer)

    lambda_._create_esm, lambda_._update_esm, lambda_._list_esms = create_esm, update_esm, list_esms


def count_events_of_queues(pinned: Pinned) -> None:
    """Count the events of a queue's mapping that invoked the function, and those that failed."""
    lambda_: Any = import_module("ministack.services.lambda_svc")
    launcher: Any = import_module("__main__")  # `within`
    parameters = ("esm", "func_rec", "event", "batch", "queue_url", "queue_name")
    run = pinned(lambda_, "_run_sqs_batch", *parameters)

    def run_sqs_batch(esm: Any, func_rec: Any, event: Any, *more: Any) -> None:
        def execute(func: Any, event: Any) -> Any:
            result = lambda_._execute_function(func, event)
            if "EventCount" in (esm.get("MetricsConfig") or {}).get("Metrics", ()):
                every, failed = len(event["Records"]), failures(result, esm)
                for name, number in (
                    ("PolledEventCount", every),
                    ("InvokedEventCount", every),
                    ("FailedInvokeEventCount", every if result.get("error") else failed),
                ):
                    send(name, "EventSourceMappingUUID", esm["UUID"], number)
            return result

        launcher.within(run, _execute_function=execute)(esm, func_rec, event, *more)

    lambda_._run_sqs_batch = run_sqs_batch


def failures(result: Mapping[str, Any], mapping: Mapping[str, Any]) -> int:
    """How many events the function names in `batchItemFailures`, if the mapping listens to that."""
    body = result.get("body")
    if isinstance(body, str | bytes):
        try:
            body = json.loads(body)
        except ValueError:
            return 0
    listens = "ReportBatchItemFailures" in (mapping.get("FunctionResponseTypes") or ())
    named = body.get("batchItemFailures") if isinstance(body, dict) else None
    return len(named) if listens and isinstance(named, list) else 0


def count_asynchronous_events(pinned: Pinned) -> None:
    """Count events that were queued, their age at each attempt, and those that were dropped."""
    lambda_: Any = import_module("ministack.services.lambda_svc")
    launcher: Any = import_module("__main__")  # `within`
    run = pinned(lambda_, "invoke_async_with_retry", "func", "event")
    pinned(lambda_, "_route_async_failure", "target_arn", "func_name", "event", "result")

    def invoke_async_with_retry(func: Any, event: Any) -> None:
        config = func.get("config") or func
        name, received = config["FunctionName"], time.time()
        # Each qualifier has settings of its own (Lambda API reference, PutFunctionEventInvokeConfig).
        qualifier = config.get("FunctionArn", "").split(":")[7:]
        of = lambda_._functions.get(name) or func
        settings = lambda_._event_invoke_config(of, qualifier[0] if qualifier else None) or {}
        func = {**func, "event_invoke_config": settings}
        attempts = 1 + int(settings.get("MaximumRetryAttempts", 2))
        failed: list[Any] = []

        def execute(func: Any, event: Any) -> Any:
            send("AsyncEventAge", "FunctionName", name, (time.time() - received) * 1_000)
            result = lambda_._execute_function(func, event)
            if result.get("error"):
                failed.append(result)
                if len(failed) == attempts:
                    send("AsyncEventsDropped", "FunctionName", name, 1)
            return result

        def route(target: str, *given: Any) -> None:
            if can_be_reached(target):
                lambda_._route_async_failure(target, *given)
                return
            on_failure = (settings.get("DestinationConfig") or {}).get("OnFailure")
            metric = "DestinationDeliveryFailures" if on_failure else "DeadLetterErrors"
            send_of_alias(metric, name, qualifier[0] if qualifier else None, 1)

        send("AsyncEventsReceived", "FunctionName", name, 1)
        launcher.within(run, _execute_function=execute, _route_async_failure=route)(func, event)

    lambda_.invoke_async_with_retry = invoke_async_with_retry


def count_visible_messages() -> None:
    """Count the messages that can be received, in each queue, once a minute."""
    sqs: Any = import_module("ministack.services.sqs")
    cloudwatch: Any = import_module("ministack.services.cloudwatch")
    responses: Any = import_module("ministack.core.responses")

    def work() -> None:
        while True:
            time.sleep(60 - time.time() % 60)
            now = time.time()
            for (account, region, _), queue in list(sqs._queues.all_items()):
                responses._request_account_id.set(account)
                responses._request_region.set(region)
                visible = sum(message["visible_at"] <= now for message in list(queue["messages"]))
                dimensions = {"QueueName": queue["name"]}
                cloudwatch.record_metric(
                    "AWS/SQS", "ApproximateNumberOfMessagesVisible", visible, "Count", dimensions
                )

    threading.Thread(target=work, name="queues", daemon=True).start()


def count_durable_executions(pinned: Pinned) -> None:
    """Count executions that start, succeed, fail and time out."""
    lambda_: Any = import_module("ministack.services.lambda_svc")
    build = pinned(lambda_, "_build_config", "name", "data", "code_zip")

    def build_config(name: str, data: Any, code_zip: bytes | None = None) -> Any:
        config = data.get("DurableConfig")
        return build(
            name, {**data, "DurableConfig": {**config, "Enabled": True}} if config else data, code_zip
        )

    lambda_._build_config = build_config
    durable: Any = import_module("ministack.services.lambda_durable")
    parameters = ("function_arn", "version", "input_payload", "name", "trace_id", "execution_timeout")
    create = pinned(durable, "create_execution_for_invoke", *parameters)
    complete = pinned(durable, "mark_execution_completed", "arn", "result_payload", "error")
    end = pinned(durable, "_time_out_execution", "rec")

    def count(name: str, function_arn: str) -> None:
        send(name, "FunctionName", function_arn.split(":")[6], 1)

    def create_execution_for_invoke(function_arn: str, *more: Any, **named: Any) -> Any:
        count("DurableExecutionStarted", function_arn)
        return create(function_arn, *more, **named)

    def mark_execution_completed(arn: str, result_payload: Any, error: Any) -> None:
        record = durable._executions.get(arn)
        runs = record and record.get("Status") == "RUNNING"
        complete(arn, result_payload, error)
        if runs:
            count("DurableExecutionFailed" if error else "DurableExecutionSucceeded", record["FunctionArn"])

    def time_out_execution(rec: Any) -> None:
        if rec.get("Status") == "RUNNING":
            count("DurableExecutionTimedOut", rec["FunctionArn"])
        end(rec)

    durable.create_execution_for_invoke = create_execution_for_invoke
    durable.mark_execution_completed, durable._time_out_execution = (
        mark_execution_completed,
        time_out_execution,
    )


def points(result: Mapping[str, Any]) -> dict[int, float]:
    """A result's values by their time, in seconds since the epoch; JSON has a number or a text."""
    times = [
        int(datetime.fromisoformat(at).timestamp() if isinstance(at, str) else at)
        for at in result["Timestamps"]
    ]
    return dict(zip(times, result["Values"], strict=True))
