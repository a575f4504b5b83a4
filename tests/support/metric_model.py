"""Metrics as AWS documents them, and CloudWatch's evaluation of an alarm on them.

Sources, seen in November 2026: Lambda developer guide, "Types of metrics for Lambda functions"; SQS developer
guide, "Available CloudWatch metrics for Amazon SQS"; Step Functions developer guide, "Monitoring metrics";
API Gateway developer guide, "Dimensions and metrics"; CloudWatch user guide, "Using CloudWatch alarms" and
"Alarm evaluation window": the window slides, unless the alarm has another one.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

MINUTE: Final = 60
ACTIVE: Final = 6 * 3_600
"""Seconds that SQS reports metrics of a queue for, after it last had a message or a call."""

STATISTICS: Final[Mapping[str, Callable[[Sequence[float]], float]]] = {
    "Sum": sum,
    "Maximum": max,
    "Minimum": min,
}

Series = tuple[str, str, frozenset[tuple[str, str]]]
"""Namespace, name and dimensions: a metric with other dimensions is another metric."""


@dataclass
class Metrics:
    """What CloudWatch received, by series: times in seconds, and values."""

    values: dict[Series, list[tuple[float, float]]] = field(default_factory=lambda: defaultdict(list))

    def put(
        self, namespace: str, name: str, dimensions: Mapping[str, str], at: float, value: float = 1
    ) -> None:
        self.values[namespace, name, frozenset(dimensions.items())].append((at, value))

    def state(self, alarm: Mapping[str, Any], at: float) -> str:
        """The state of an alarm, as its resource's properties with values for dimensions describe it."""
        dimensions = frozenset((each["Name"], each["Value"]) for each in alarm["Dimensions"])
        values = self.values[alarm["Namespace"], alarm["MetricName"], dimensions]
        periods = alarm["EvaluationPeriods"]
        breaching = 0
        for index in range(periods):
            end = at - index * alarm["Period"]
            here = [value for when, value in values if end - alarm["Period"] < when <= end]
            breaching += self._breaches(alarm, here)
        return "ALARM" if breaching >= alarm.get("DatapointsToAlarm", periods) else "OK"

    @staticmethod
    def _breaches(alarm: Mapping[str, Any], values: Sequence[float]) -> bool:
        if not values:
            return bool(alarm["TreatMissingData"] == "breaching")
        value = STATISTICS[alarm["Statistic"]](values)
        match alarm["ComparisonOperator"]:
            case "GreaterThanOrEqualToThreshold":
                return bool(value >= alarm["Threshold"])
            case "LessThanThreshold":
                return bool(value < alarm["Threshold"])
        raise AssertionError(alarm["ComparisonOperator"])


@dataclass(frozen=True)
class LambdaMetrics:
    """A function's. A throttled request is no invocation, and no error."""

    metrics: Metrics
    function: str

    def invoked(self, at: float, *, error: bool = False, iterator_age: float | None = None) -> None:
        """`iterator_age`, in seconds, is a stream's: it is reported with an invocation, or not at all."""
        self._put("Invocations", at, 1)
        self._put("Errors", at, int(error))
        if iterator_age is not None:
            self._put("IteratorAge", at, iterator_age * 1_000)

    def throttled(self, at: float) -> None:
        self._put("Throttles", at, 1)

    def _put(self, name: str, at: float, value: float) -> None:
        self.metrics.put("AWS/Lambda", name, {"FunctionName": self.function}, at, value)


@dataclass
class QueuedMessage:
    """A message: when it was sent, how often it was received, and until when it is hidden."""

    sent_at: float
    receives: int = 0
    hidden_until: float = -math.inf


@dataclass
class QueueMetrics:
    """A standard queue's, which it reports once a minute while it is active."""

    metrics: Metrics
    queue: str
    messages: list[QueuedMessage] = field(default_factory=list)
    last_used: float = -math.inf

    def send(self, at: float) -> QueuedMessage:
        self.messages.append(message := QueuedMessage(at))
        self.last_used = at
        return message

    def receive(self, message: QueuedMessage, at: float, hidden_for: float) -> None:
        message.receives += 1
        message.hidden_until = at + hidden_for
        self.last_used = at

    def report(self, at: float) -> None:
        if not self.messages and at - self.last_used > ACTIVE:
            return
        visible = [message for message in self.messages if message.hidden_until <= at]
        self._put("ApproximateNumberOfMessagesVisible", at, len(visible))
        # What was received three or more times is left out, whatever its age ("Key notes" of this metric).
        ages = [at - message.sent_at for message in self.messages if message.receives < 3]
        if ages:
            self._put("ApproximateAgeOfOldestMessage", at, max(ages))

    def _put(self, name: str, at: float, value: float) -> None:
        self.metrics.put("AWS/SQS", name, {"QueueName": self.queue}, at, value)


@dataclass(frozen=True)
class ExecutionMetrics:
    """A state machine's. Each way to end has a metric of its own; what was stopped has not failed."""

    metrics: Metrics
    state_machine: str

    def ended(self, at: float, status: str) -> None:
        name = {
            "SUCCEEDED": "ExecutionsSucceeded",
            "FAILED": "ExecutionsFailed",
            "TIMED_OUT": "ExecutionsTimedOut",
            "ABORTED": "ExecutionsAborted",
        }[status]
        self.metrics.put("AWS/States", name, {"StateMachineArn": self.state_machine}, at)


@dataclass(frozen=True)
class ApiMetrics:
    """A REST API's: by API, and by API and stage. Each request is a sample of every metric, 0 or 1."""

    metrics: Metrics
    api: str
    stage: str

    def answered(self, at: float, status: int) -> None:
        for dimensions in ({"ApiName": self.api}, {"ApiName": self.api, "Stage": self.stage}):
            self.metrics.put("AWS/ApiGateway", "Count", dimensions, at)
            self.metrics.put("AWS/ApiGateway", "4XXError", dimensions, at, 400 <= status < 500)
            self.metrics.put("AWS/ApiGateway", "5XXError", dimensions, at, status >= 500)
