"""What CloudWatch knows of a target: its alarms, and Lambda's metrics of each version behind an alias.

Lambda reports metrics with the dimensions `FunctionName`, `Resource` and `ExecutedVersion`, which tell the
versions behind an alias apart without any set-up (Lambda developer guide, "Types of metrics").
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from math import isfinite
from typing import TYPE_CHECKING, Any, Final

from sluicegate.rollout.analysis import AlarmState, VersionMetrics
from sluicegate.text import clean

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_cloudwatch.type_defs import DimensionTypeDef, MetricDataQueryTypeDef

_MINUTE: Final = 60
_DAY: Final = 86_400
_METRICS: Final = (
    ("invocations", "Invocations", "Sum"),
    ("errors", "Errors", "Sum"),
    ("throttles", "Throttles", "Sum"),
    ("duration", "Duration", "p95"),
    ("durations", "Duration", "SampleCount"),
)

MAX_PAGES: Final = 20
"""Pages of one response that are read: five metrics have a handful of values each."""


class LookFailed(Exception):
    """CloudWatch answered, but not with what was asked: nothing may be concluded from it.

    `code` is CloudWatch's status, or a word of ours; with `denied` it is a matter of permissions.
    """

    def __init__(self, code: str, message: str, *, denied: bool = False) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.denied = denied


class CloudWatch:
    """Alarms and metrics of one target, through a CloudWatch client.

    Raises botocore's errors, and LookFailed.
    """

    def __init__(self, client: "CloudWatchClient") -> None:
        self._client = client

    def alarm_states(self, names: Sequence[str]) -> tuple[tuple[str, AlarmState], ...]:
        """Return the state of each metric or composite alarm, in the order of `names` (DescribeAlarms)."""
        if not names:
            return ()
        pages = self._client.get_paginator("describe_alarms").paginate(
            AlarmNames=list(names), AlarmTypes=["MetricAlarm", "CompositeAlarm"]
        )
        states = {
            alarm["AlarmName"]: _alarm_state(alarm)
            for page in pages
            for alarm in (*page.get("MetricAlarms", ()), *page.get("CompositeAlarms", ()))
        }
        return tuple((name, states.get(name, AlarmState.MISSING)) for name in names)

    def version_metrics(
        self, function: str, alias: str, since: Mapping[str, float], until: float
    ) -> dict[str, VersionMetrics]:
        """Return the metrics of each version from its own `since` to `until`, in epoch seconds.

        One GetMetricData call per version: a call has one start time, and requests before a version's own
        start must not count. CloudWatch has the numbers a minute or two after the requests.
        """
        return {
            version: self._metrics(list(_queries(function, alias, version, until - start)), start, until)
            for version, start in since.items()
        }

    def _metrics(
        self, queries: Sequence["MetricDataQueryTypeDef"], since: float, until: float
    ) -> VersionMetrics:
        pages = self._client.get_paginator("get_metric_data").paginate(
            MetricDataQueries=queries,
            StartTime=_whole_minute(since),
            EndTime=_whole_minute(until) + timedelta(minutes=1),
        )
        return _aggregate(_values(pages, [query["Id"] for query in queries]))


def _values(pages: Iterable[Mapping[str, Any]], ids: Sequence[str]) -> dict[str, list[float]]:
    """Return all values of each metric. Raises LookFailed unless CloudWatch says that they are complete.

    A metric without values is one where nothing happened, so a metric whose values are missing must not look
    like one. Each metric has a status, and of several pages the last one counts: PartialData means that
    there is more on the next page (GetMetricData, MetricDataResult, read on 2026-11-26).
    """
    values: dict[str, list[float]] = {metric: [] for metric in ids}
    statuses: dict[str, str] = {}
    for number, page in enumerate(pages):
        if number == MAX_PAGES:
            raise LookFailed("TooManyPages", f"CloudWatch answered with more than {MAX_PAGES} pages")
        for message in page.get("Messages", ()):
            # "If there is a message, as much of the operation as possible is still executed."
            text = clean(str(message.get("Value", "")))
            raise LookFailed(clean(str(message.get("Code", "Message")), 100), f"CloudWatch says: {text}")
        for result in page.get("MetricDataResults", ()):
            metric, found = result.get("Id", ""), result.get("Values", [])
            if metric not in values:
                continue
            if len(found) != len(result.get("Timestamps", found)) or not all(map(_is_measured, found)):
                raise LookFailed("Unreadable", f"CloudWatch answered with values of {metric} that cannot be")
            values[metric] += found
            statuses[metric] = result.get("StatusCode", "Complete")
    for metric in ids:
        status = statuses.get(metric, "Missing")
        if status != "Complete":
            denied = status == "Forbidden"
            message = f"CloudWatch did not answer completely about {metric}: {clean(status, 100)}"
            raise LookFailed(clean(status, 100), message, denied=denied)
    return values


def _is_measured(value: float) -> bool:
    return isfinite(value) and value >= 0


def _alarm_state(alarm: Mapping[str, Any]) -> AlarmState:
    """Return the state. Raises LookFailed for an alarm that CloudWatch itself cannot evaluate.

    Suppressed actions of a composite alarm change nothing: its state is what counts.
    """
    name, state = clean(alarm["AlarmName"]), str(alarm["StateValue"])
    evaluation = str(alarm.get("EvaluationState", ""))
    if evaluation in ("EVALUATION_ERROR", "EVALUATION_FAILURE") and state != AlarmState.ALARM:
        raise LookFailed(evaluation, f"CloudWatch cannot evaluate alarm {name}: it would warn nobody")
    if state not in (AlarmState.OK, AlarmState.ALARM, AlarmState.INSUFFICIENT_DATA):
        raise LookFailed("Unreadable", f"alarm {name} is in a state that CloudWatch does not document")
    return AlarmState(state)


def _whole_minute(moment: float) -> datetime:
    return datetime.fromtimestamp(moment, UTC).replace(second=0, microsecond=0)


def _queries(function: str, alias: str, version: str, length: float) -> "Iterator[MetricDataQueryTypeDef]":
    """Yield one query per metric, with one period for the whole time, up to a day.

    Percentiles of several periods cannot be combined into one.
    """
    period = min(_DAY, _MINUTE * (int(length // _MINUTE) + 2))
    dimensions: list[DimensionTypeDef] = [
        {"Name": "FunctionName", "Value": function},
        {"Name": "Resource", "Value": f"{function}:{alias}"},
        {"Name": "ExecutedVersion", "Value": version},
    ]
    for name, metric, statistic in _METRICS:
        yield {
            "Id": name,
            "MetricStat": {
                "Metric": {"Namespace": "AWS/Lambda", "MetricName": metric, "Dimensions": dimensions},
                "Stat": statistic,
                "Period": period,
            },
            "ReturnData": True,
        }


def _aggregate(values: Mapping[str, Sequence[float]]) -> VersionMetrics:
    """Add up the periods. Of several percentiles, take the worst."""
    invocations, errors, throttles, durations = (
        int(sum(values[name])) for name, _, statistic in _METRICS if statistic != "p95"
    )
    return VersionMetrics(invocations, errors, throttles, max(values["duration"], default=None), durations)
