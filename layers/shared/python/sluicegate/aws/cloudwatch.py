"""What CloudWatch says of a target: its alarms, and what Lambda measured of each version of an alias.

Source of the dimensions: Lambda developer guide, "Types of metrics": by `FunctionName`, `Resource` and
`ExecutedVersion`, the versions that share an alias are told apart with no set-up by anybody.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sluicegate.rollout.analysis import AlarmState, VersionMetrics

_MINUTE: Final = 60
_METRICS: Final = (
    ("invocations", "Invocations", "Sum"),
    ("errors", "Errors", "Sum"),
    ("throttles", "Throttles", "Sum"),
    ("duration", "Duration", "p95"),
)


class CloudWatch:
    """Alarms and metrics of one target, through a CloudWatch client. Raises botocore's errors."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def alarms(self, names: Sequence[str]) -> tuple[tuple[str, AlarmState], ...]:
        """Each alarm's state, metric alarms and composite ones, in the order asked (DescribeAlarms)."""
        if not names:
            return ()
        answer = self._client.describe_alarms(
            AlarmNames=list(names), AlarmTypes=["MetricAlarm", "CompositeAlarm"]
        )
        found = {
            alarm["AlarmName"]: AlarmState(alarm["StateValue"])
            for alarm in (*answer.get("MetricAlarms", ()), *answer.get("CompositeAlarms", ()))
        }
        return tuple((name, found.get(name, AlarmState.MISSING)) for name in names)

    def measured(
        self, function: str, alias: str, since: Mapping[str, float], until: float
    ) -> dict[str, VersionMetrics]:
        """By version, what was measured from its `since` to `until`, all in epoch seconds (GetMetricData).

        A call for each: one has one start, and what a version did before its own would count for it.
        CloudWatch has the numbers a minute or two after the requests.
        """
        return {
            version: self._measured(list(_queries(function, alias, version, until - began)), began, until)
            for version, began in since.items()
        }

    def _measured(self, queries: Sequence[Mapping[str, Any]], since: float, until: float) -> VersionMetrics:
        values: dict[str, list[float]] = {query["Id"]: [] for query in queries}
        pages = self._client.get_paginator("get_metric_data").paginate(
            MetricDataQueries=queries,
            StartTime=_minute(since),
            EndTime=_minute(until) + timedelta(minutes=1),
        )
        for page in pages:
            for result in page["MetricDataResults"]:
                values[result["Id"]] += result["Values"]
        return _summed(values)


def _minute(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC).replace(second=0, microsecond=0)


def _queries(function: str, alias: str, version: str, length: float) -> Iterator[dict[str, Any]]:
    """One period over all of the time, a day at most: a percentile of percentiles is none."""
    period = min(86_400, _MINUTE * (int(length // _MINUTE) + 2))
    dimensions = [
        {"Name": "FunctionName", "Value": function},
        {"Name": "Resource", "Value": f"{function}:{alias}"},
        {"Name": "ExecutedVersion", "Value": version},
    ]
    for name, metric, statistic in _METRICS:
        of = {"Namespace": "AWS/Lambda", "MetricName": metric, "Dimensions": dimensions}
        yield {
            "Id": name,
            "MetricStat": {"Metric": of, "Stat": statistic, "Period": period},
            "ReturnData": True,
        }


def _summed(values: Mapping[str, Sequence[float]]) -> VersionMetrics:
    """Sums over the periods that there are; of percentiles, should there be two periods, the worse."""
    invocations, errors, throttles = (
        int(sum(values[name])) for name, _, statistic in _METRICS if statistic == "Sum"
    )
    return VersionMetrics(invocations, errors, throttles, max(values["duration"], default=None))
