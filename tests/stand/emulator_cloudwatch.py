"""What CloudWatch answers and MiniStack 1.5.33 does not: metrics, and since when an alarm has its state.

- `TC(a:b)` counts the values above a, up to and with b, and `PR(a:b)` is their part in percent; either bound
  may be left out. MiniStack answers the average instead (CloudWatch user guide, "CloudWatch statistics
  definitions"; the API reference's PutAnomalyDetector has the pattern of both forms).
- A statistic that does not exist is a ValidationError of the whole call.
- The newest value comes first, unless it is asked otherwise (ScanBy), and a start is cut to its minute
  (StartTime).
- A metric alarm has the time of its state from its creation on, and keeps it when it is written again
  (recorded: localstack's test_describe_minimal_metric_alarm, 19 September 2025).

All read on 26 November 2026.
"""

import json
import re
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

Pinned = Callable[..., Callable[..., Any]]

_NUMBER = r"(\d+(?:\.\d{0,10})?(?:[Ee][+-]?\d+)?)?"
_THRESHOLDS = re.compile(rf"(TC|PR)\({_NUMBER}:{_NUMBER}\)")
_BASIC = ("Average", "Maximum", "Minimum", "SampleCount", "Sum")
_PERCENTILE = re.compile(r"p(?:\d{1,2}(?:\.\d{0,10})?|100)")


def install(pinned: Pinned) -> None:
    """Install all of them. `pinned` finds a function and stops where it has changed."""
    read_as_documented(pinned)
    keep_the_time_of_a_state(pinned)


def read_as_documented(pinned: Pinned) -> None:
    cloudwatch: Any = import_module("ministack.services.cloudwatch")
    value = pinned(cloudwatch, "_stat_value", "stats", "stat_name", "points")
    samples = pinned(cloudwatch, "_percentile_samples", "points")
    get = pinned(cloudwatch, "_get_metric_data", "params", "cbor_data", "is_cbor", "is_json")

    def stat_value(stats: Any, stat_name: str, points: Any = None) -> Any:
        if bounds := thresholds(stat_name):
            raw = samples(points or [])
            return ranged(stat_name[:2], *bounds, raw) if raw else None
        return value(stats, stat_name, points)

    def get_metric_data(params: Any, cbor_data: Any, is_cbor: bool, is_json: bool = False) -> Any:
        queries = cbor_data.get("MetricDataQueries", []) if is_cbor or is_json else []
        for query in queries:
            statistic = query.get("MetricStat", {}).get("Stat", "Sum")
            if not exists(statistic):
                message = f"The value {statistic} for parameter Stat is not valid."
                return cloudwatch._error("ValidationError", message, 400, use_json=is_json, use_cbor=is_cbor)
        start = cloudwatch._parse_ts(cbor_data.get("StartTime")) if is_cbor or is_json else None
        if start is None:
            return get(params, cbor_data, is_cbor, is_json)
        status, headers, body = get(params, {**cbor_data, "StartTime": start // 60 * 60}, False, True)
        if status != 200:
            return status, headers, body
        answer = json.loads(body)
        newest_first = cbor_data.get("ScanBy") != "TimestampAscending"
        for result in answer["MetricDataResults"]:
            pairs = sorted(zip(result["Timestamps"], result["Values"], strict=True), reverse=newest_first)
            result["Timestamps"] = [at for at, _ in pairs]
            result["Values"] = [value for _, value in pairs]
        if is_json:
            return cloudwatch._json_ok(answer)
        results = [cloudwatch._cbor_metric_data_result(result) for result in answer["MetricDataResults"]]
        return cloudwatch._cbor_ok({"MetricDataResults": results})

    cloudwatch._stat_value, cloudwatch._get_metric_data = stat_value, get_metric_data


def keep_the_time_of_a_state(pinned: Pinned) -> None:
    cloudwatch: Any = import_module("ministack.services.cloudwatch")
    put = pinned(cloudwatch, "_put_metric_alarm", "params", "cbor_data", "is_cbor", "is_json")
    transitioned = "StateTransitionedTimestamp"

    def put_metric_alarm(params: Any, cbor_data: Any, is_cbor: bool, is_json: bool = False) -> Any:
        before = {name: alarm.get(transitioned) for name, alarm in cloudwatch._alarms.items()}
        response = put(params, cbor_data, is_cbor, is_json)
        for name, alarm in cloudwatch._alarms.items():
            alarm.setdefault(transitioned, before.get(name) or alarm["StateUpdatedTimestamp"])
        return response

    cloudwatch._put_metric_alarm = put_metric_alarm


def exists(statistic: str) -> bool:
    """Whether it is a statistic that the emulator can answer."""
    return (
        statistic in _BASIC
        or _PERCENTILE.fullmatch(statistic) is not None
        or thresholds(statistic) is not None
    )


def thresholds(statistic: str) -> tuple[float, float] | None:
    """The bounds of `TC(a:b)` and `PR(a:b)`, of which one may be left out."""
    found = _THRESHOLDS.fullmatch(statistic)
    if found is None or not (found[2] or found[3]):
        return None
    return float(found[2] or "-inf"), float(found[3] or "inf")


def ranged(kind: str, low: float, high: float, samples: Sequence[tuple[float, float]]) -> float:
    """How many values are above `low` and not above `high`, or for PR, which percentage of them is."""
    count = sum(count for value, count in samples if low < value <= high)
    return count if kind == "TC" else 100 * count / sum(count for _, count in samples)
