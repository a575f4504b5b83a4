"""What CloudWatch is asked, and how its responses are read."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, cast

import boto3
import pytest
from botocore.stub import Stubber
from hypothesis import given
from hypothesis import strategies as st

from sluicegate.aws.cloudwatch import CloudWatch
from sluicegate.deployment.strategy import MAX_BAKE, MAX_STEPS
from sluicegate.rollout.analysis import BASELINE_LOOKBACK, VersionMetrics

BEGAN = 1_780_000_030.0  # half a minute past


@pytest.fixture(scope="module")
def client() -> Any:
    return boto3.client(
        "cloudwatch", region_name="eu-central-1", aws_access_key_id="test", aws_secret_access_key="test"
    )


@pytest.fixture
def stub(client: Any) -> Iterator[Stubber]:
    with Stubber(client) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


def minute(at: float) -> datetime:
    return datetime.fromtimestamp(at // 60 * 60, UTC)


def queries(version: str, period: int) -> list[dict[str, Any]]:
    dimensions = [
        {"Name": "FunctionName", "Value": "orders"},
        {"Name": "Resource", "Value": "orders:prod"},
        {"Name": "ExecutedVersion", "Value": version},
    ]
    asked = {
        "invocations": ("Invocations", "Sum"),
        "errors": ("Errors", "Sum"),
        "throttles": ("Throttles", "Sum"),
        "duration": ("Duration", "p95"),
        "durations": ("Duration", "SampleCount"),
    }
    return [
        {
            "Id": name,
            "MetricStat": {
                "Metric": {"Namespace": "AWS/Lambda", "MetricName": metric, "Dimensions": dimensions},
                "Stat": statistic,
                "Period": period,
            },
            "ReturnData": True,
        }
        for name, (metric, statistic) in asked.items()
    ]


def results(status: str = "Complete", **values: list[float]) -> list[dict[str, Any]]:
    """A result for each metric that was asked for, as CloudWatch answers: empty where nothing happened."""
    return [
        {
            "Id": query["Id"],
            "Values": (found := values.get(query["Id"], [])),
            "Timestamps": [minute(BEGAN + 60 * index) for index in range(len(found))],
            "StatusCode": status,
        }
        for query in queries("2", 60)
    ]


def expect(stub: Stubber, version: str, since: float, until: float, period: int, **values: Any) -> None:
    stub.add_response(
        "get_metric_data",
        {"MetricDataResults": results(**values)},
        {
            "MetricDataQueries": queries(version, period),
            "StartTime": minute(since),
            "EndTime": minute(until + 60),
        },
    )


def test_each_version_has_metrics_from_its_own_start(client: Any, stub: Stubber) -> None:
    """Requests from an earlier deployment of the same version do not count."""
    until = BEGAN + 600
    since = {"2": BEGAN, "1": BEGAN - BASELINE_LOOKBACK}
    new = {
        "invocations": [100.0],
        "errors": [3.0],
        "throttles": [1.0],
        "duration": [12.5],
        "durations": [99.0],
    }
    old = {"invocations": [900.0, 100.0], "duration": [10.0, 11.0], "durations": [900.0, 100.0]}
    expect(stub, "2", BEGAN, until, 720, **new)
    expect(stub, "1", BEGAN - BASELINE_LOOKBACK, until, 4_320, **old)
    assert CloudWatch(client).version_metrics("orders", "prod", since, until) == {
        "2": VersionMetrics(100, 3, 1, 12.5, 99),
        "1": VersionMetrics(1_000, 0, 0, 11.0, 1_000),
    }


def test_no_data_is_no_requests(client: Any, stub: Stubber) -> None:
    expect(stub, "2", BEGAN, BEGAN, 120)
    assert CloudWatch(client).version_metrics("orders", "prod", {"2": BEGAN}, BEGAN) == {
        "2": VersionMetrics(durations=0)
    }


def paginating(pages: list[dict[str, Any]]) -> Any:
    class Client:
        def get_paginator(self, _: str) -> "Client":
            return self

        def paginate(self, **_: Any) -> list[dict[str, Any]]:
            return pages

    return Client()


@given(st.integers(0, MAX_STEPS * MAX_BAKE * 4))
def test_the_period_is_one_that_cloudwatch_keeps(length: int) -> None:
    """Whole minutes, up to a day; whole hours for data older than 15 days (GetMetricData, Period)."""
    asked: list[dict[str, Any]] = []

    class Client:
        def get_paginator(self, _: str) -> "Client":
            return self

        def paginate(self, **arguments: Any) -> list[Any]:
            asked.append(arguments)
            return [{"MetricDataResults": results()}]

    CloudWatch(cast(Any, Client())).version_metrics("orders", "prod", {"2": BEGAN}, BEGAN + length)
    [periods] = [{query["MetricStat"]["Period"] for query in one["MetricDataQueries"]} for one in asked]
    [period] = periods
    assert period % 60 == 0
    assert 60 <= period <= 86_400
    assert period >= min(86_400, length)
    if length >= 15 * 86_400:
        assert period % 3_600 == 0
