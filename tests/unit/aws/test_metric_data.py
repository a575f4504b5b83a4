"""What CloudWatch does not answer must never look like a metric of zero."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from sluicegate.aws.metric_data import MAX_PAGES, MAX_QUERIES, LookFailed, read_metric_data
from sluicegate.aws.version_metrics import SeriesRequest, read_version_series

BEGAN = 1_780_000_020.0  # a whole minute

Pages = list[dict[str, Any]]


class Client:
    """Answers each call with the pages for it, and keeps the request."""

    def __init__(self, *calls: Pages) -> None:
        self.calls = list(calls)
        self.requests: list[dict[str, Any]] = []

    def get_paginator(self, _: str) -> "Client":
        return self

    def paginate(self, **request: Any) -> Pages:
        self.requests.append(request)
        return self.calls.pop(0)


def query(name: str) -> Any:
    metric = {"Namespace": "AWS/Lambda", "MetricName": "Errors", "Dimensions": []}
    return {"Id": name, "MetricStat": {"Metric": metric, "Stat": "Sum", "Period": 60}, "ReturnData": True}


def result(name: str, *values: float, status: str = "Complete", first: float = BEGAN) -> dict[str, Any]:
    """A result with a value a minute, the newest first."""
    moments = [datetime.fromtimestamp(first + 60 * index, UTC) for index in range(len(values))]
    return {
        "Id": name,
        "Values": list(values)[::-1],
        "Timestamps": moments[::-1],
        "StatusCode": status,
    }


def page(*results: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"MetricDataResults": list(results), **more}


def read(pages: Pages, names: Sequence[str] = ("errors",)) -> dict[str, dict[int, float]]:
    client = cast(Any, Client(pages))
    return read_metric_data(client, [query(name) for name in names], BEGAN, BEGAN + 600)


def test_each_value_has_its_own_time_whatever_the_order() -> None:
    """ScanBy: the newest value is the first by default (GetMetricData, read on 2026-11-26)."""
    assert read([page(result("errors", 1.0, 2.0, 3.0))]) == {
        "errors": {BEGAN: 1.0, BEGAN + 60: 2.0, BEGAN + 120: 3.0}
    }


def test_pages_complete_each_other() -> None:
    pages = [
        page(result("errors", 1.0, status="PartialData"), result("calls", 5.0)),
        page(result("errors", 2.0, first=BEGAN + 60)),
    ]
    assert read(pages, ("errors", "calls")) == {
        "errors": {BEGAN: 1.0, BEGAN + 60: 2.0},
        "calls": {BEGAN: 5.0},
    }


def test_a_metric_without_data_has_no_values() -> None:
    assert read([page(result("errors"))]) == {"errors": {}}


def test_a_call_has_at_most_500_queries() -> None:
    """GetMetricData, MetricDataQueries: "as many as 500" (read on 2026-11-26)."""
    names = [f"m{index}" for index in range(MAX_QUERIES + 1)]
    client = Client([page(*map(result, names[:MAX_QUERIES]))], [page(result(names[-1]))])
    found = read_metric_data(cast(Any, client), [query(name) for name in names], BEGAN, BEGAN + 60)
    assert list(found) == names
    assert [len(request["MetricDataQueries"]) for request in client.requests] == [500, 1]


def test_times_are_whole_minutes() -> None:
    client = Client([page(result("errors"))])
    read_metric_data(cast(Any, client), [query("errors")], BEGAN + 59.9, BEGAN + 125)
    [request] = client.requests
    assert request["StartTime"] == datetime.fromtimestamp(BEGAN, UTC)
    assert request["EndTime"] == datetime.fromtimestamp(BEGAN + 120, UTC)


@pytest.mark.parametrize(
    ("pages", "code", "denied"),
    [
        ([page(result("errors", status="InternalError"))], "InternalError", False),
        ([page(result("errors", 500.0, status="PartialData"))], "PartialData", False),
        ([page(result("errors", status="Forbidden"))], "Forbidden", True),
        ([page(result("errors", status="NewStatus"))], "NewStatus", False),
        ([page(result("another"))], "Missing", False),
        ([page()], "Missing", False),
        ([], "Missing", False),
        (
            [page(result("errors"), Messages=[{"Code": "Exceeded", "Value": "too many"}])],
            "Exceeded",
            False,
        ),
        # Complete at first, and then not: the last page counts.
        ([page(result("errors")), page(result("errors", status="InternalError"))], "InternalError", False),
        ([page(result("errors", float("nan")))], "Unreadable", False),
        ([page(result("errors") | {"Values": [1.0, 2.0]})], "Unreadable", False),
        ([page(result("errors", status="PartialData"))] * 1_000, "TooManyPages", False),
    ],
)
def test_what_cloudwatch_does_not_answer_is_never_taken_for_no_errors(
    pages: Pages, code: str, denied: bool
) -> None:
    """MetricDataResult's StatusCode and GetMetricData's Messages (API reference, read on 2026-11-26)."""
    with pytest.raises(LookFailed) as failed:
        read(pages)
    assert (failed.value.code, failed.value.denied) == (code, denied)


def test_as_many_pages_as_are_read() -> None:
    partial = page(result("errors", status="PartialData"))
    assert read([partial] * (MAX_PAGES - 1) + [page(result("errors", 1.0))]) == {"errors": {BEGAN: 1.0}}


def test_a_negative_count_is_unreadable() -> None:
    names = [f"{whose}_{name}" for whose in ("new", "old") for name in ("invocations", "errors", "throttles")]
    client = Client([page(*(result(name, -1.0) for name in names))])
    look = SeriesRequest("orders", "prod", "2", "1", BEGAN, BEGAN + 60)
    with pytest.raises(LookFailed, match="Unreadable"):
        read_version_series(cast(Any, client), look, tau=None, over=None, steps_since=None, durations=False)
