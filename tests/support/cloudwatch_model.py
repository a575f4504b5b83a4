"""CloudWatch as AWS answers it, for alarms and Lambda's metrics, with the methods of boto3's clients.

Sources: Amazon CloudWatch API reference (GetMetricData, MetricDataResult, DescribeAlarms, MetricAlarm), read
on 26 November 2026.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sluicegate.deployment.plan import Metric
from sluicegate.rollout.analysis import AlarmState, VersionMetrics

Pages = Callable[..., Iterator[dict[str, Any]]]


@dataclass
class CloudWatchModel:
    """Alarms by name, metrics by version. `reads` counts the reads of alarms.

    An alarm that is MISSING is not answered. A metric without data has a result without values. `status` is
    that of each result, by metric. With `paged`, each metric arrives on two pages, the first of them partial.
    `failure` is raised instead of metrics.
    """

    alarms: dict[str, AlarmState] = field(default_factory=dict)
    metrics: dict[str, VersionMetrics] = field(default_factory=dict)
    reads: int = 0
    status: Callable[[str], str] = lambda _: "Complete"
    paged: bool = False
    failure: Exception | None = None

    def get_paginator(self, call: str) -> "_Paginator":
        calls: dict[str, Pages] = {"describe_alarms": self._alarms, "get_metric_data": self._data}
        return _Paginator(calls[call])

    def _alarms(self, *, AlarmNames: Sequence[str], AlarmTypes: Sequence[str]) -> Iterator[dict[str, Any]]:
        assert len(AlarmNames) <= 100
        assert set(AlarmTypes) <= {"MetricAlarm", "CompositeAlarm", "LogAlarm"}
        self.reads += 1
        found = [
            {"AlarmName": name, "StateValue": self.alarms[name].value}
            for name in AlarmNames
            if self.alarms.get(name, AlarmState.MISSING) is not AlarmState.MISSING
        ]
        yield {"MetricAlarms": found[:1], "CompositeAlarms": []}
        yield {"MetricAlarms": [], "CompositeAlarms": found[1:]}

    def _data(
        self, *, MetricDataQueries: Sequence[Any], StartTime: datetime, EndTime: datetime
    ) -> Iterator[dict[str, Any]]:
        if self.failure is not None:
            raise self.failure
        assert StartTime < EndTime
        periods = [query["MetricStat"]["Period"] for query in MetricDataQueries]
        assert all(period >= 60 and period % 60 == 0 for period in periods)
        if self.paged:
            yield {
                "MetricDataResults": [_result(query["Id"], [], "PartialData") for query in MetricDataQueries]
            }
        yield {
            "MetricDataResults": [
                _result(query["Id"], self._values(query["MetricStat"]), self.status(query["Id"]))
                for query in MetricDataQueries
            ]
        }

    def _values(self, stat: Any) -> list[float]:
        """Return the values: none where nothing happened."""
        [version] = [one["Value"] for one in stat["Metric"]["Dimensions"] if one["Name"] == "ExecutedVersion"]
        metrics = self.metrics.get(version, VersionMetrics())
        value: float | None = {
            ("Invocations", "Sum"): metrics.invocations,
            ("Errors", "Sum"): metrics.errors,
            ("Throttles", "Sum"): metrics.throttles,
            ("Duration", "p95"): metrics.duration_p95,
            ("Duration", "SampleCount"): metrics.samples(Metric.DURATION_P95),
        }[stat["Metric"]["MetricName"], stat["Stat"]]
        return [float(value)] if value else []


@dataclass(frozen=True)
class _Paginator:
    pages: Pages

    def paginate(self, **request: Any) -> Iterator[dict[str, Any]]:
        return self.pages(**request)


def _result(metric: str, values: list[float], status: str) -> dict[str, Any]:
    moments = [datetime.fromtimestamp(0, UTC)] * len(values)
    return {"Id": metric, "Label": metric, "Values": values, "Timestamps": moments, "StatusCode": status}
