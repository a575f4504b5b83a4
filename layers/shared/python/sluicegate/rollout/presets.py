"""Metrics for what Lambda's `Errors` cannot see, by the kind of function: the gate file's `presets`.

A failed invocation is an error. A batch whose items failed, a durable execution that ended badly, an event
that Lambda dropped, and a response with status 500 are not: the invocation succeeded, or there was none. Each
preset watches the metrics that AWS has for one of these kinds.

Only a metric with the dimension `ExecutedVersion` tells the versions behind an alias apart, so only that can
be compared with the old version:

| metrics | dimensions |
| --- | --- |
| `Errors`, `Invocations`, `Throttles`, `Duration` | `FunctionName`, `Resource`, `ExecutedVersion` |
| `Url5xxCount`, `UrlRequestCount`, `UrlRequestLatency` | the same |
| `IteratorAge`, `DeadLetterErrors`, `DestinationDeliveryFailures` | `FunctionName`, `Resource` (the alias) |
| `FailedInvokeEventCount` and others of event source mappings | `EventSourceMappingUUID` |
| `AsyncEventsReceived`, `AsyncEventAge`, `AsyncEventsDropped` | not documented: `FunctionName` |
| `DurableExecutionStarted` and others | not documented: `FunctionName` |
| API Gateway's `5XXError`, `Count` (REST) | `ApiName`, `Stage` |
| API Gateway's `5xx`, `Count` (HTTP) | `ApiId`, `Stage` |
| a queue's `ApproximateNumberOfMessagesVisible` | `QueueName` |

All others have limits against a constant. They see a bad version by what it does to the whole: with 10
percent of the traffic, one that always fails adds 10 percent. So the shares have a limit of 5 percent. Sums
and ages must be beyond their limit in three minutes in a row, so that a single event ends no rollout.

Sources, read on 2026-11-26: Lambda developer guide, "Types of metrics for Lambda functions", "Viewing
metrics for Lambda functions", "Monitoring durable functions", "Monitoring Lambda function URLs"; API Gateway
developer guide, "Amazon API Gateway dimensions and metrics", "Monitor CloudWatch metrics for HTTP APIs"; SQS
developer guide, "Available CloudWatch metrics". Dimensions also as in CloudWatch's own directory of metrics,
which @aws-cdk/aws-service-spec 0.1.216 has (2026-09-29); those that are not documented as programs on GitHub
read them on AWS. There may be other sets of dimensions too.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sluicegate.deployment.observations import Verdict
from sluicegate.deployment.plan import Better, CustomMetric, MetricSource

MAX_SHARE: Final = 0.05
"""The largest share of failures."""

MAX_AGE: Final = 300_000.0
"""Milliseconds that an event may wait: a failed asynchronous one is retried after one and two minutes more
(Lambda developer guide, "How Lambda handles errors and retries with asynchronous invocation")."""

_LAMBDA: Final = "AWS/Lambda"
_API: Final = "AWS/ApiGateway"

_Dimensions = tuple[tuple[str, str], ...]
_FUNCTION: Final[_Dimensions] = (("FunctionName", "{function}"),)
_ALIAS: Final[_Dimensions] = (*_FUNCTION, ("Resource", "{function}:{alias}"))
_VERSION: Final[_Dimensions] = (*_ALIAS, ("ExecutedVersion", "{version}"))
_MAPPING: Final[_Dimensions] = (("EventSourceMappingUUID", "{event_source}"),)


class PresetError(ValueError):
    """A preset lacks an option, or has one that it cannot use; the message says which."""


@dataclass(frozen=True)
class PresetOptions:
    """What a preset needs to know beyond its name.

    `api` is the name of a REST API or `api_id` the id of an HTTP API, and `api_stage` its stage;
    `dead_letter_queue` is a queue's name. All take the placeholders of dimensions.
    """

    api: str | None = None
    api_id: str | None = None
    api_stage: str | None = None
    dead_letter_queue: str | None = None


NO_OPTIONS: Final = PresetOptions()


def expand(name: str, options: PresetOptions = NO_OPTIONS) -> tuple[CustomMetric, ...]:
    """Return the metrics of a preset. Raises KeyError if there is none, and PresetError."""
    takes, make = _PRESETS[name]
    for option in ("api", "api_id", "api_stage", "dead_letter_queue"):
        if getattr(options, option) is not None and option not in takes:
            raise PresetError(f"`{name}` takes no `{option}`")
    return make(options)


def _batch(options: PresetOptions) -> tuple[CustomMetric, ...]:
    """Queues and streams with `ReportBatchItemFailures`: the invocation succeeds, its items do not.

    `FailedInvokeEventCount` "includes any event with a non-empty `BatchItemFailures`". Lambda sends the
    counts of a mapping only if its `MetricsConfig` has `EventCount`. Dropped events and those for a
    destination are of streams and Kafka; a queue's own dead-letter queue needs its name. A message that SQS
    moves there counts as none that was sent, so what is taken is how the number of visible messages grows.
    """
    found = (
        _share("batch_failed", "batch", _counts("FailedInvokeEventCount", _MAPPING, "InvokedEventCount")),
        _beyond("batch_iterator_age", "batch", _source("IteratorAge", _ALIAS, "Maximum"), MAX_AGE),
        _beyond("batch_dropped", "batch", _source("DroppedEventCount", _MAPPING)),
        _beyond("batch_undelivered", "batch", _source("OnFailureDestinationDeliveredEventCount", _MAPPING)),
    )
    if options.dead_letter_queue is None:
        return found
    queue = (("QueueName", options.dead_letter_queue),)
    visible = _source("ApproximateNumberOfMessagesVisible", queue, "Maximum", "AWS/SQS")
    return (*found, _beyond("batch_dead_letters", "batch", visible, expression="DIFF(value)"))


def _async(_: PresetOptions) -> tuple[CustomMetric, ...]:
    """Asynchronous invocations: events that Lambda drops, keeps waiting, or cannot hand on."""
    return (
        _share("async_dropped", "async", _counts("AsyncEventsDropped", _FUNCTION, "AsyncEventsReceived")),
        _beyond("async_age", "async", _source("AsyncEventAge", _FUNCTION, "Maximum"), MAX_AGE),
        _beyond("async_dead_letter_errors", "async", _source("DeadLetterErrors", _ALIAS)),
        _beyond("async_delivery_failures", "async", _source("DestinationDeliveryFailures", _ALIAS)),
    )


def _durable(_: PresetOptions) -> tuple[CustomMetric, ...]:
    """Durable functions: executions, each of which is many invocations. "Errors: tracks function invocation
    failures. Use DurableExecutionFailed for execution-level failures."
    """
    return (
        _share(
            "durable_failed",
            "durable",
            _counts("DurableExecutionFailed", _FUNCTION, "DurableExecutionStarted"),
        ),
        _share(
            "durable_timed_out",
            "durable",
            _counts("DurableExecutionTimedOut", _FUNCTION, "DurableExecutionStarted"),
        ),
    )


def _url(_: PresetOptions) -> tuple[CustomMetric, ...]:
    """Function URLs: "server-side errors, such as function errors and timeouts", of each version."""
    failed = _counts("Url5xxCount", _VERSION, "UrlRequestCount")
    return (_share("url_5xx", "url", failed, max_ratio=2.0),)


def _api(options: PresetOptions) -> tuple[CustomMetric, ...]:
    """A REST API, or an HTTP API: what its callers see. Other functions behind it count as well."""
    if (options.api is None) == (options.api_id is None) or options.api_stage is None:
        what = "`api` (a REST API's name) or `api_id` (an HTTP API's id), and `api_stage`"
        raise PresetError(f"`api` needs {what}: {{name: api, api: orders, api_stage: prod}}")
    if options.api is not None:
        of: _Dimensions = (("ApiName", options.api), ("Stage", options.api_stage))
        failed = _counts("5XXError", of, "Count", _API, "SampleCount")
    else:
        of = (("ApiId", options.api_id or ""), ("Stage", options.api_stage))
        failed = _counts("5xx", of, "Count", _API, "SampleCount")
    return (_share("api_5xx", "api", failed),)


_PRESETS: Final[Mapping[str, tuple[tuple[str, ...], Callable[[PresetOptions], tuple[CustomMetric, ...]]]]] = {
    "batch": (("dead_letter_queue",), _batch),
    "async": ((), _async),
    "durable": ((), _durable),
    "url": ((), _url),
    "api": (("api", "api_id", "api_stage"), _api),
}
NAMES: Final = tuple(_PRESETS)


def _source(
    metric: str, dimensions: _Dimensions, stat: str = "Sum", namespace: str = _LAMBDA, name: str = "value"
) -> MetricSource:
    return MetricSource(name, namespace, metric, stat, dimensions)


def _counts(
    failed: str, dimensions: _Dimensions, of: str, namespace: str = _LAMBDA, stat: str = "Sum"
) -> tuple[MetricSource, MetricSource]:
    return (
        _source(failed, dimensions, namespace=namespace, name="failed"),
        _source(of, dimensions, stat, namespace, "every"),
    )


def _share(
    name: str, preset: str, sources: tuple[MetricSource, ...], max_ratio: float | None = None
) -> CustomMetric:
    return _metric(
        name,
        preset,
        sources,
        expression="failed/every",
        most=MAX_SHARE,
        max_ratio=max_ratio,
        missing=Verdict.UNCLEAR,
    )


def _beyond(
    name: str, preset: str, source: MetricSource, most: float = 0, expression: str | None = None
) -> CustomMetric:
    """Make a metric whose values may not stay beyond a constant. Without one, nothing happened."""
    return _metric(name, preset, (source,), expression=expression, most=most, missing=Verdict.GOOD)


def _metric(name: str, preset: str, sources: tuple[MetricSource, ...], **more: Any) -> CustomMetric:
    return CustomMetric(name=name, sources=sources, better=Better.LOWER, preset=preset, **more)
