"""Kinesis streams as a source of events: retries that end, and Lambda's metrics. Loaded by `launch_emulator`.

Differences, each one thing that AWS does and MiniStack 1.5.33 does not:

- A batch fails whose function names items of it in `batchItemFailures`, if the mapping listens to that.
- A batch that fails after `MaximumRetryAttempts` more attempts is given up, and the shard goes on. Without an
  on-failure destination its events count as `DroppedEventCount`, with one as
  `OnFailureDestinationDeliveredEventCount`; where that cannot be reached, they are dropped, and
  `DestinationDeliveryFailures` is 1.
- `IteratorAge` is how old the last record of a batch is once it has been processed.
- With `EventCount` in its MetricsConfig a mapping counts the events that were polled, that invoked the
  function, at each attempt, and that failed.

Two things are simpler than on AWS: the whole batch comes again, where Lambda starts at the first record that
failed, and what arrives at a destination has the form of a DynamoDB stream's.

Sources, read on 26 November 2026: Lambda developer guide, "Types of metrics for Lambda functions" (event
source mapping metrics) and "Using Lambda to process records from Amazon Kinesis Data Streams"; Lambda API
reference, CreateEventSourceMapping.
"""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any

Pinned = Callable[..., Callable[..., Any]]


def install(pinned: Pinned) -> None:
    """Install it. `pinned` finds a function and stops where it has changed."""
    lambda_: Any = import_module("ministack.services.lambda_svc")
    launcher: Any = import_module("__main__")  # `within`
    metrics: Any = import_module("emulator_metrics")
    poll = pinned(lambda_, "_poll_kinesis")
    pinned(
        lambda_,
        "_send_ddb_stream_failure_record",
        *("esm", "func_rec", "batch", "stream_arn", "result", "condition"),
    )
    attempts: Counter[tuple[str, str]] = Counter()

    def execute(func: Any, event: Any) -> Any:
        records = event["Records"]
        mapping = mapping_of(lambda_, func, records)
        result = lambda_._execute_function(func, event)
        if mapping is None:
            return result
        arrived = float(records[-1]["kinesis"]["approximateArrivalTimestamp"])
        metrics.send_of_alias(
            "IteratorAge",
            mapping["FunctionName"],
            mapping["Qualifier"],
            (time.time() - arrived) * 1_000,
            "Milliseconds",
        )
        every = len(records)
        failed = every if result.get("error") else metrics.failures(result, mapping)
        count(
            metrics, mapping, PolledEventCount=every, InvokedEventCount=every, FailedInvokeEventCount=failed
        )
        batch = mapping["UUID"], records[0]["kinesis"]["sequenceNumber"]
        if not failed:
            attempts.pop(batch, None)
            return result
        attempts[batch] += 1
        most = mapping.get("MaximumRetryAttempts", -1)
        if most < 0 or attempts[batch] <= most:
            return {**result, "error": True, "body": {"errorType": "batchItemFailures", "errorMessage": ""}}
        del attempts[batch]
        give_up(func, mapping, records, result)
        return {"body": None}

    def give_up(func: Any, mapping: Any, records: Sequence[Any], result: Any) -> None:
        destination = (mapping.get("DestinationConfig") or {}).get("OnFailure", {}).get("Destination")
        if destination and metrics.can_be_reached(destination):
            given = (mapping, func, records, mapping["EventSourceArn"], result, "RetryAttemptsExhausted")
            lambda_._send_ddb_stream_failure_record(*given)
            count(metrics, mapping, OnFailureDestinationDeliveredEventCount=len(records))
            return
        if destination:
            metrics.send_of_alias(
                "DestinationDeliveryFailures", mapping["FunctionName"], mapping["Qualifier"], 1
            )
        count(metrics, mapping, DroppedEventCount=len(records))

    def poll_kinesis() -> Any:
        return launcher.within(poll, _execute_function=execute)()

    lambda_._poll_kinesis = poll_kinesis


def mapping_of(lambda_: Any, func: Any, records: Sequence[Mapping[str, Any]]) -> Any:
    """The mapping that these records of a stream invoke this version by; None where it has gone."""
    for mapping in lambda_._esms.values():
        if mapping["EventSourceArn"] == records[0]["eventSourceARN"]:
            invoked, _ = lambda_._get_func_record_for_qualifier(mapping["FunctionName"], mapping["Qualifier"])
            if invoked is func:
                return mapping
    return None


def count(metrics: Any, mapping: Mapping[str, Any], **numbers: int) -> None:
    """Send counts of a mapping's events, if it is to have them."""
    if "EventCount" in (mapping.get("MetricsConfig") or {}).get("Metrics", ()):
        for name, number in numbers.items():
            metrics.send(name, "EventSourceMappingUUID", mapping["UUID"], number)
