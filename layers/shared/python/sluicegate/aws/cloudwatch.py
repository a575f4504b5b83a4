"""What CloudWatch knows of a target: its alarms, and Lambda's metrics of each version behind an alias.

Lambda reports metrics with the dimensions `FunctionName`, `Resource` and `ExecutedVersion`, which tell the
versions behind an alias apart without any set-up (Lambda developer guide, "Types of metrics").
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from sluicegate.aws.alarms import read_alarms
from sluicegate.aws.metric_data import read_metric_data
from sluicegate.aws.version_metrics import SeriesRequest, VersionSeries, read_version_series
from sluicegate.deployment.observations import AlarmReading, AlarmState
from sluicegate.rollout.analysis import VersionMetrics

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


class CloudWatch:
    """Alarms and metrics of one target, through a CloudWatch client.

    Raises botocore's errors, and LookFailed.
    """

    def __init__(self, client: "CloudWatchClient") -> None:
        self._client = client

    def alarm_states(self, names: Sequence[str]) -> tuple[tuple[str, AlarmState], ...]:
        """Return the state of each alarm, by name or pattern, in the order of `names`."""
        return tuple((alarm.name, alarm.state) for alarm in self.alarm_readings(names))

    def alarm_readings(self, names: Sequence[str]) -> tuple[AlarmReading, ...]:
        """Return state, time, reason and link of each alarm, by name or pattern, in the order of `names`.

        One DescribeAlarms call reads all names, and one more each pattern.
        """
        return read_alarms(self._client, names)

    def version_series(
        self,
        function: str,
        alias: str,
        new: str,
        old: str | None,
        since: float,
        until: float,
        *,
        tau: float | None = None,
        over: float | None = None,
        steps_since: float | None = None,
        durations: bool = True,
    ) -> VersionSeries:
        """Return both versions minute by minute, from the new one's first traffic (`since`) to `until`.

        All times are in epoch seconds. `tau` is the threshold, in milliseconds, that an earlier look has
        reported, or None: then it is the old version's 95th percentile of the hour before. `over` is a limit
        in milliseconds. `steps_since` is when the new version's present share began. Without `durations`, no
        duration is read. It takes one GetMetricData call, with durations two, and without `tau` one more.
        """
        request = SeriesRequest(function, alias, new, old if old != new else None, since, max(since, until))
        return read_version_series(
            self._client, request, tau=tau, over=over, steps_since=steps_since, durations=durations
        )

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
        values = read_metric_data(self._client, queries, since, until + _MINUTE)
        return _aggregate({name: list(found.values()) for name, found in values.items()})


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
