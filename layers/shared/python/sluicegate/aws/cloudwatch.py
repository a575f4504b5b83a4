"""What CloudWatch knows of a target: its alarms, and Lambda's metrics of each version behind an alias.

Lambda reports metrics with the dimensions `FunctionName`, `Resource` and `ExecutedVersion`, which tell the
versions behind an alias apart without any set-up (Lambda developer guide, "Types of metrics").
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from sluicegate.rollout.analysis import AlarmState, VersionMetrics

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
)


class CloudWatch:
    """Alarms and metrics of one target, through a CloudWatch client. Raises botocore's errors."""

    def __init__(self, client: "CloudWatchClient") -> None:
        self._client = client

    def alarm_states(self, names: Sequence[str]) -> tuple[tuple[str, AlarmState], ...]:
        """Return the state of each metric or composite alarm, in the order of `names` (DescribeAlarms)."""
        if not names:
            return ()
        response = self._client.describe_alarms(
            AlarmNames=list(names), AlarmTypes=["MetricAlarm", "CompositeAlarm"]
        )
        states = {
            alarm["AlarmName"]: AlarmState(alarm["StateValue"])
            for alarm in (*response.get("MetricAlarms", ()), *response.get("CompositeAlarms", ()))
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
        values: dict[str, list[float]] = {query["Id"]: [] for query in queries}
        pages = self._client.get_paginator("get_metric_data").paginate(
            MetricDataQueries=queries,
            StartTime=_whole_minute(since),
            EndTime=_whole_minute(until) + timedelta(minutes=1),
        )
        for page in pages:
            for result in page["MetricDataResults"]:
                values[result["Id"]] += result["Values"]
        return _aggregate(values)


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
    invocations, errors, throttles = (
        int(sum(values[name])) for name, _, statistic in _METRICS if statistic == "Sum"
    )
    return VersionMetrics(invocations, errors, throttles, max(values["duration"], default=None))
