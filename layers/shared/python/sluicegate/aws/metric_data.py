"""Read CloudWatch's metrics (GetMetricData), so that missing data never looks like a metric of zero."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from math import isfinite
from typing import TYPE_CHECKING, Any, Final

from sluicegate.text import clean

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_cloudwatch.type_defs import MetricDataQueryTypeDef

MAX_QUERIES: Final = 500
"""Metrics of one call (GetMetricData, MetricDataQueries, read on 2026-11-26)."""

MAX_PAGES: Final = 50
"""Pages of one response that are read. One page has up to 100,800 values, more than any watch asks for."""


class LookFailed(Exception):
    """CloudWatch answered, but not with what was asked: nothing may be concluded from it.

    `code` is CloudWatch's status, or a word of ours; with `denied` it is a matter of permissions.
    """

    def __init__(self, code: str, message: str, *, denied: bool = False) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.denied = denied


def read_metric_data(
    client: "CloudWatchClient", queries: Sequence["MetricDataQueryTypeDef"], since: float, until: float
) -> dict[str, dict[int, float]]:
    """Return the values of each query by the beginning of their period, in epoch seconds.

    Queries with a `ReturnData` of False are only there for the expressions of others in the same call.
    `since` is inclusive and `until` exclusive, in epoch seconds; both are cut to whole minutes. A period
    without data has no value. Raises botocore's errors, and LookFailed unless everything asked for is there.
    """
    found: dict[str, dict[int, float]] = {}
    for start in range(0, len(queries), MAX_QUERIES):
        part = queries[start : start + MAX_QUERIES]
        pages = client.get_paginator("get_metric_data").paginate(
            MetricDataQueries=part, StartTime=_minute(since), EndTime=_minute(until)
        )
        found |= _values(pages, [query["Id"] for query in part if query.get("ReturnData", True)])
    return found


def _minute(moment: float) -> datetime:
    return datetime.fromtimestamp(moment // 60 * 60, UTC)


def _values(pages: Iterable[Mapping[str, Any]], ids: Sequence[str]) -> dict[str, dict[int, float]]:
    """Return all values of each metric. Raises LookFailed unless CloudWatch says that they are complete.

    A metric without values is one where nothing happened, so a metric whose values are missing must not look
    like one. Each metric has a status, and of several pages the last one counts: PartialData means that
    there is more on the next page (GetMetricData, MetricDataResult, read on 2026-11-26). Values come in any
    order, newest first by default, so each is kept by its own time.
    """
    values: dict[str, dict[int, float]] = {metric: {} for metric in ids}
    statuses: dict[str, str] = {}
    for number, page in enumerate(pages):
        if number == MAX_PAGES:
            raise LookFailed("TooManyPages", f"CloudWatch answered with more than {MAX_PAGES} pages")
        for message in page.get("Messages", ()):
            # "If there is a message, as much of the operation as possible is still executed."
            text = clean(str(message.get("Value", "")))
            raise LookFailed(clean(str(message.get("Code", "Message")), 100), f"CloudWatch says: {text}")
        for result in page.get("MetricDataResults", ()):
            metric = result.get("Id", "")
            if metric not in values:
                continue
            moments, found = result.get("Timestamps", ()), result.get("Values", ())
            if len(found) != len(moments) or not all(map(isfinite, found)):
                raise LookFailed("Unreadable", f"CloudWatch answered with values of {metric} that cannot be")
            values[metric].update(
                (int(moment.timestamp()), value) for moment, value in zip(moments, found, strict=True)
            )
            statuses[metric] = result.get("StatusCode", "Complete")
    for metric in ids:
        status = statuses.get(metric, "Missing")
        if status != "Complete":
            denied = status == "Forbidden"
            message = f"CloudWatch did not answer completely about {metric}: {clean(status, 100)}"
            raise LookFailed(clean(status, 100), message, denied=denied)
    return values
