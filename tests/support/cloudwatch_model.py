"""CloudWatch as AWS answers it, for alarms and metrics, with the methods of boto3's clients.

Sources: Amazon CloudWatch API reference (GetMetricData, MetricDataResult, DescribeAlarms, MetricAlarm) and
user guide ("CloudWatch statistics definitions"), read on 26 November 2026.
"""

import re
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from botocore.exceptions import ClientError

from sluicegate.deployment.observations import AlarmState
from stand.metric_math import ExpressionError, evaluate
from support.statistics_model import Sample, is_statistic, statistic

Pages = Callable[..., Iterator[dict[str, Any]]]

MetricKey = tuple[str, str, frozenset[tuple[str, str]]]
"""Namespace, name and dimensions: a metric with other dimensions is another metric."""

MINUTE: Final = 60
DAY: Final = 86_400


@dataclass(frozen=True)
class Requests:
    """Requests to one version: so many ran, of them some failed, and others were throttled."""

    invocations: int = 0
    errors: int = 0
    throttles: int = 0
    duration: float = 10.0
    """Milliseconds that each invocation took."""


@dataclass
class CloudWatchModel:
    """Alarms by name, and metrics by raw values. `reads` counts the reads of alarms, `calls` GetMetricData's.

    An alarm that is MISSING is not answered; `details` are further fields of alarms, `composites` the
    children of composite ones. A metric without data has a result without values. `status` is that of each
    result, by metric. With `paged`, each metric arrives on two pages, the first of them partial. `failure` is
    raised instead of metrics. Statistics that begin with a prefix in `refused` are a ValidationError; those
    in `unanswered` never have values. `metrics` are requests to a version, all in a call's newest minute.
    """

    alarms: dict[str, AlarmState] = field(default_factory=dict)
    details: dict[str, dict[str, Any]] = field(default_factory=dict)
    composites: dict[str, list[str]] = field(default_factory=dict)
    metrics: dict[str, Requests] = field(default_factory=dict)
    samples: dict[MetricKey, list[tuple[float, Sample]]] = field(default_factory=lambda: defaultdict(list))
    reads: int = 0
    calls: list[dict[str, Any]] = field(default_factory=list)
    status: Callable[[str], str] = lambda _: "Complete"
    paged: bool = False
    failure: Exception | None = None
    refused: tuple[str, ...] = ()
    unanswered: tuple[str, ...] = ()

    def put(
        self,
        namespace: str,
        name: str,
        dimensions: Mapping[str, str],
        at: float,
        value: float,
        count: float = 1,
    ) -> None:
        """Receive a value that was there so often (PutMetricData, Values and Counts)."""
        self.samples[namespace, name, frozenset(dimensions.items())].append((at, (value, count)))

    def serve(
        self,
        function: str,
        alias: str,
        version: str,
        at: float,
        durations: Mapping[float, int],
        *,
        errors: int = 0,
        throttles: int = 0,
    ) -> None:
        """Receive what Lambda reports of requests: how many took how many milliseconds."""
        dimensions = {
            "FunctionName": function,
            "Resource": f"{function}:{alias}",
            "ExecutedVersion": version,
        }
        invocations = sum(durations.values())
        for name, counts in {
            "Invocations": {1.0: invocations},
            "Errors": {0.0: invocations - errors, 1.0: errors},
            "Throttles": {0.0: invocations, 1.0: throttles},
            "Duration": durations,
        }.items():
            for value, count in counts.items():
                if count:
                    self.put("AWS/Lambda", name, dimensions, at, value, count)

    def put_metric_data(self, **request: Any) -> None:
        for metric in request["MetricData"]:
            dimensions = {one["Name"]: one["Value"] for one in metric.get("Dimensions", ())}
            at = metric["Timestamp"].timestamp() if "Timestamp" in metric else time.time()
            values = metric.get("Values") or [metric["Value"]]
            for value, count in zip(values, metric.get("Counts") or [1.0] * len(values), strict=True):
                self.put(request["Namespace"], metric["MetricName"], dimensions, at, value, count)

    def put_metric_alarm(self, **request: Any) -> None:
        """An alarm that CloudWatch has not evaluated yet.

        Recorded: localstack, tests/aws/services/cloudwatch, test_describe_minimal_metric_alarm, 2025-09-19.
        """
        self.alarms[request["AlarmName"]] = AlarmState.INSUFFICIENT_DATA
        self.details[request["AlarmName"]] = {"StateTransitionedTimestamp": datetime.now(UTC)}

    def put_composite_alarm(self, **request: Any) -> None:
        """A composite alarm of rules such as `ALARM(a) OR ALARM(b)`. It begins as the rule is."""
        self.composites[request["AlarmName"]] = re.findall(r'ALARM\("?([^")]+)"?\)', request["AlarmRule"])
        self.alarms[request["AlarmName"]] = self._of_children(request["AlarmName"])

    def set_alarm_state(self, **request: Any) -> None:
        """Set a state, as an evaluation would. Its time moves with it, and parents look at their rules.

        A composite alarm's reason is recorded in the CloudWatch user guide, "Alarm events and EventBridge".
        """
        name, state = request["AlarmName"], AlarmState(request["StateValue"])
        now = datetime.now(UTC)
        details = self.details.setdefault(name, {})
        details |= {"StateReason": request["StateReason"], "StateUpdatedTimestamp": now}
        if self.alarms[name] is state:
            return
        self.alarms[name] = state
        details["StateTransitionedTimestamp"] = now
        for parent, children in self.composites.items():
            if name in children and self._of_children(parent) is not self.alarms[parent]:
                arn = self._alarm(name)["AlarmArn"]
                reason = f"{arn} transitioned to {state} at {now:%A %d %B, %Y %H:%M:%S} UTC"
                self.set_alarm_state(
                    AlarmName=parent, StateValue=self._of_children(parent), StateReason=reason
                )

    def delete_alarms(self, **request: Any) -> None:
        for name in request["AlarmNames"]:
            self.alarms.pop(name, None)
            self.composites.pop(name, None)

    def _of_children(self, name: str) -> AlarmState:
        ringing = any(self.alarms.get(child) is AlarmState.ALARM for child in self.composites[name])
        return AlarmState.ALARM if ringing else AlarmState.OK

    def get_paginator(self, call: str) -> "_Paginator":
        calls: dict[str, Pages] = {"describe_alarms": self._alarms, "get_metric_data": self._data}
        return _Paginator(calls[call])

    def _alarms(
        self,
        *,
        AlarmTypes: Sequence[str],
        AlarmNames: Sequence[str] | None = None,
        AlarmNamePrefix: str | None = None,
        PaginationConfig: Mapping[str, int] | None = None,
    ) -> Iterator[dict[str, Any]]:
        """Answer metric alarms first, at most MaxRecords a page; those that do not exist are left out."""
        assert AlarmNames is None or AlarmNamePrefix is None
        assert set(AlarmTypes) <= {"MetricAlarm", "CompositeAlarm", "LogAlarm"}
        self.reads += 1
        if AlarmNames is not None:
            assert len(AlarmNames) <= 100
            names = [name for name in AlarmNames if name in self.alarms]
        else:
            assert AlarmNamePrefix
            names = [name for name in sorted(self.alarms) if name.startswith(AlarmNamePrefix)]
        names = [name for name in names if self.alarms[name] is not AlarmState.MISSING]
        size = (PaginationConfig or {}).get("PageSize", 50)
        assert size <= 100
        kinds = {"MetricAlarm": "MetricAlarms", "CompositeAlarm": "CompositeAlarms"}
        for kind, answered in kinds.items():
            found = [
                self._alarm(name) for name in names if (name in self.composites) == (kind != "MetricAlarm")
            ]
            for start in range(0, len(found) if kind in AlarmTypes else 0, size):
                empty: dict[str, Any] = {"MetricAlarms": [], "CompositeAlarms": []}
                yield empty | {answered: found[start : start + size]}

    def _alarm(self, name: str) -> dict[str, Any]:
        """Return an alarm as DescribeAlarms does, with what `details` add or replace."""
        alarm = {
            "AlarmName": name,
            "AlarmArn": f"arn:aws:cloudwatch:eu-central-1:111111111111:alarm:{name}",
            "StateValue": self.alarms[name].value,
            "StateReason": "Unchecked: Initial alarm creation",
            "StateUpdatedTimestamp": datetime.fromtimestamp(0, UTC),
        }
        return alarm | self.details.get(name, {})

    def _data(self, **request: Any) -> Iterator[dict[str, Any]]:
        if self.failure is not None:
            raise self.failure
        self.calls.append(request)
        queries, start, end = request["MetricDataQueries"], request["StartTime"], request["EndTime"]
        assert start < end
        assert len(queries) <= 500
        answers: dict[str, dict[str, Any]] = {}
        for query in queries:
            if "MetricStat" in query:
                self._validate(query["MetricStat"])
                answers[query["Id"]] = self._answer(query["MetricStat"], start.timestamp(), end.timestamp())
        for query in queries:
            if "Expression" in query:
                answers[query["Id"]] = _evaluated(query, answers)
        results = [
            {
                "Id": query["Id"],
                "Label": query["Id"],
                **answers[query["Id"]],
                "StatusCode": self.status(query["Id"]),
            }
            for query in queries
            if query.get("ReturnData", True)
        ]
        if self.paged:
            yield {"MetricDataResults": [_half(one, 0) | {"StatusCode": "PartialData"} for one in results]}
        yield {"MetricDataResults": [_half(one, 1) for one in results] if self.paged else results}

    def _validate(self, stat: Any) -> None:
        """Refuse what GetMetricData refuses; its words are not recorded anywhere."""
        assert stat["Period"] >= MINUTE
        assert stat["Period"] % MINUTE == 0
        refused = bool(self.refused) and stat["Stat"].startswith(self.refused)
        if refused or not is_statistic(stat["Stat"]):
            raise _validation_error(f"Stat {stat['Stat']} is not valid.")

    def _answer(self, stat: Any, start: float, end: float) -> dict[str, Any]:
        """Return the values by period, newest first (ScanBy). A start of a minute's middle is cut to it.

        Values are kept by the minute for 15 days, by 5 minutes for 63 days and by the hour for 455 days. Of
        an age without so fine values there is no answer (MetricStat, Period).
        """
        period, name = stat["Period"], stat["Stat"]
        if name.startswith(self.unanswered) if self.unanswered else False:
            return {"Timestamps": [], "Values": []}
        age = end - start
        if (age > 15 * DAY and period % 300) or (age > 63 * DAY and period % 3_600):
            return {"Timestamps": [], "Values": []}
        start = start // MINUTE * MINUTE
        periods: dict[float, list[Sample]] = defaultdict(list)
        for at, sample in self._samples(stat["Metric"], end):
            if start <= at // MINUTE * MINUTE < end:
                periods[start + (at - start) // period * period].append(sample)
        found = {at: statistic(name, samples) for at, samples in sorted(periods.items(), reverse=True)}
        values = {at: value for at, value in found.items() if value is not None}
        return {
            "Timestamps": [datetime.fromtimestamp(at, UTC) for at in values],
            "Values": list(values.values()),
        }

    def _samples(self, metric: Any, end: float) -> Iterator[tuple[float, Sample]]:
        dimensions = {one["Name"]: one["Value"] for one in metric.get("Dimensions", ())}
        yield from self.samples.get(
            (metric["Namespace"], metric["MetricName"], frozenset(dimensions.items())), ()
        )
        if found := self.metrics.get(dimensions.get("ExecutedVersion", "")):
            for value, count in _of_metrics(found)[metric["MetricName"]].items():
                if count:
                    yield end - MINUTE, (value, count)


def _of_metrics(found: Requests) -> dict[str, dict[float, float]]:
    return {
        "Invocations": {1.0: found.invocations},
        "Errors": {0.0: found.invocations - found.errors, 1.0: found.errors},
        "Throttles": {0.0: found.invocations, 1.0: found.throttles},
        "Duration": {found.duration: found.invocations},
    }


def _evaluated(query: Mapping[str, Any], answers: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Evaluate an expression over the other queries of its call."""
    series = {
        name: dict(zip((at.timestamp() for at in one["Timestamps"]), one["Values"], strict=True))
        for name, one in answers.items()
    }
    try:
        values = evaluate(query["Expression"], query["Id"], series)
    except ExpressionError as error:
        raise _validation_error(str(error)) from None
    return {
        "Timestamps": [datetime.fromtimestamp(at, UTC) for at in values],
        "Values": list(values.values()),
    }


def _validation_error(message: str) -> ClientError:
    error: Any = {
        "Error": {"Code": "ValidationError", "Message": message},
        "ResponseMetadata": {"HTTPStatusCode": 400},
    }
    return ClientError(error, "GetMetricData")


def _half(result: dict[str, Any], which: int) -> dict[str, Any]:
    """Every other value: a metric may go on at any place of the next page."""
    return result | {name: result[name][which::2] for name in ("Timestamps", "Values")}


@dataclass(frozen=True)
class _Paginator:
    pages: Pages

    def paginate(self, **request: Any) -> Iterator[dict[str, Any]]:
        return self.pages(**request)
