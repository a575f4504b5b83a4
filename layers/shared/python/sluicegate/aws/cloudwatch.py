"""What CloudWatch knows of a target: its alarms, and Lambda's metrics of each version behind an alias.

Lambda reports metrics with the dimensions `FunctionName`, `Resource` and `ExecutedVersion`, which tell the
versions behind an alias apart without any set-up (Lambda developer guide, "Types of metrics").
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sluicegate.aws.alarms import read_alarms
from sluicegate.aws.custom_metrics import MetricReadings, read_custom_metrics
from sluicegate.aws.version_metrics import SeriesRequest, VersionSeries, read_version_series
from sluicegate.deployment.observations import AlarmReading
from sluicegate.deployment.plan import CustomMetric

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient


class CloudWatch:
    """Alarms and metrics of one target, through a CloudWatch client.

    Raises botocore's errors, and LookFailed.
    """

    def __init__(self, client: "CloudWatchClient") -> None:
        self._client = client

    def alarm_readings(self, names: Sequence[str]) -> tuple[AlarmReading, ...]:
        """Return state, time, reason and link of each alarm, by name or pattern, in the order of `names`.

        One DescribeAlarms call reads all names, and one more each pattern.
        """
        return read_alarms(self._client, names)

    def custom_metrics(
        self,
        request: SeriesRequest,
        metrics: Sequence[CustomMetric],
        event_sources: Sequence[str],
        steps_since: float | None = None,
    ) -> MetricReadings:
        """Return the user's own metrics, minute by minute; the rest is as for `read_custom_metrics`."""
        return read_custom_metrics(self._client, request, metrics, event_sources, steps_since)

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
        shares: Sequence[tuple[float, float]] = (),
        durations: bool = True,
    ) -> VersionSeries:
        """Return both versions minute by minute, from the new one's first traffic (`since`) to `until`.

        All times are in epoch seconds. `tau` is the threshold, in milliseconds, that an earlier look has
        reported, or None: then it is the old version's 95th percentile of the hour before. `over` is a limit
        in milliseconds. `steps_since` is when the new version's share became what it is, and `shares` are all
        times at which it grew after the first traffic, and to which part (above 0, to 1). Without
        `durations`, no duration is read. It takes one GetMetricData call, with durations two, and without
        `tau` one more.
        """
        request = SeriesRequest(
            function, alias, new, old if old != new else None, since, max(since, until), tuple(shares)
        )
        return read_version_series(
            self._client, request, tau=tau, over=over, steps_since=steps_since, durations=durations
        )
