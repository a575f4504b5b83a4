"""Alarms in template.yaml: each moves in the case that it is for, and rests when all is well."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest

from sluicegate.delivery import consumer
from support.metric_model import (
    MINUTE,
    ApiMetrics,
    ExecutionMetrics,
    LambdaMetrics,
    Metrics,
    QueueMetrics,
)
from support.own_metrics import AGE
from support.template import ALARM, ROOT, TEMPLATE, Json, of_type, properties

STACK: Final = "sluicegate"
HOUR: Final = 60 * MINUTE
NOW: Final = 24 * HOUR
"""When the alarm is evaluated; what happened before is up to the case."""

SILENT: Final = {"JanitorSilentAlarm", "EvidenceLateAlarm"}
"""Alarms that ring where nothing is heard."""

Case = Callable[[Metrics], None]


@pytest.mark.parametrize("name", of_type(ALARM))
def test_an_alarm_says_what_it_means_and_whom_it_tells(name: str) -> None:
    alarm = properties(name)
    notified = [{"Fn::If": ["AlarmsNotify", {"Ref": "AlarmTopicArn"}, {"Ref": "AWS::NoValue"}]}]
    assert alarm["AlarmActions"] == alarm["OKActions"] == notified
    assert alarm["AlarmDescription"].endswith(".")
    assert alarm["TreatMissingData"] == ("breaching" if name in SILENT else "notBreaching")


def resolved(name: str) -> Json:
    """An alarm with a value for each dimension; a resource's name is its logical id in small letters."""

    def value(of: Any) -> str:
        if isinstance(of, str):
            return of
        if "Fn::Sub" in of:
            return str(of["Fn::Sub"]).replace("${AWS::StackName}", STACK)
        found = of.get("Ref") or of["Fn::GetAtt"][0]
        return STACK if found == "AWS::StackName" else str(found)

    alarm = properties(name)
    dimensions = [{"Name": each["Name"], "Value": value(each["Value"])} for each in alarm["Dimensions"]]
    return {**alarm, "Dimensions": dimensions}


def minutes(count: int, every: int = MINUTE) -> Iterator[float]:
    """Times of the last so many minutes, oldest first."""
    return (NOW - count * MINUTE + second for second in range(every, count * MINUTE + 1, every))


def errors(function: str, every: int, lasting: int = 5) -> Case:
    def happen(metrics: Metrics) -> None:
        for at in minutes(lasting, every):
            LambdaMetrics(metrics, function).invoked(at, error=True)

    return happen


def throttles(function: str) -> Case:
    def happen(metrics: Metrics) -> None:
        for at in minutes(5):
            LambdaMetrics(metrics, function).throttled(at)

    return happen


def a_bus_that_refuses(metrics: Metrics) -> None:
    """The relay reports the batch as failed, which is no error; Lambda tries again every two minutes."""
    for at in minutes(10, 2 * MINUTE):
        LambdaMetrics(metrics, "RelayFunction").invoked(at, iterator_age=at - (NOW - 10 * MINUTE) + 1)


def a_dead_letter(queue: str) -> Case:
    def happen(metrics: Metrics) -> None:
        model = QueueMetrics(metrics, queue)
        model.send(NOW - 12 * HOUR)
        for at in minutes(60):
            model.report(at)

    return happen


def an_outage(queue: str, metric: str) -> Case:
    """One event; it is tried as the backoff lets it, and its age is measured each time."""

    def happen(metrics: Metrics) -> None:
        model = QueueMetrics(metrics, queue)
        sent = NOW - 3 * HOUR
        message = model.send(sent)
        attempt, tried = sent, 0
        while attempt < NOW:
            tried += 1
            model.receive(message, attempt, consumer.backoff(tried))
            metrics.put("Sluicegate", metric, {"service": STACK}, attempt, attempt - sent)
            attempt += consumer.backoff(tried) + 1
        for at in minutes(3 * 60):
            model.report(at)

    return happen


def ended(status: str) -> Case:
    return lambda metrics: ExecutionMetrics(metrics, "Rollout").ended(NOW - 5, status)


def answers(*statuses: int, api: str = STACK) -> Case:
    def happen(metrics: Metrics) -> None:
        for at in minutes(5):
            for status in statuses:
                ApiMetrics(metrics, api, "v1").answered(at, status)

    return happen


def emitted(metric: str) -> Case:
    return lambda metrics: metrics.put("Sluicegate", metric, {"service": STACK}, NOW - 5)


def no_janitor(_: Metrics) -> None:
    """Its schedule is disabled, or it is throttled: neither is an invocation."""


def facts_that_wait(metrics: Metrics) -> None:
    for at in minutes(10):
        sealed(metrics, at, lag=at - (NOW - 20 * MINUTE))


def a_key_that_refuses(metrics: Metrics) -> None:
    for at in minutes(3 * 60):
        sealed(metrics, at, signed=0)


def sealed(metrics: Metrics, at: float, *, lag: float = 0, signed: int | None = None) -> None:
    """A run of the sealer, which signs at each full hour."""
    found = {"SealingLag": lag, "HeadsSigned": at % HOUR == 0 if signed is None else signed}
    for name, value in {**found, "EvidenceForked": 0}.items():
        metrics.put("Sluicegate", name, {"service": STACK}, at, float(value))


def looked(metrics: Metrics, at: float, *, unseen: int = 0) -> None:
    """A run of the look for drift."""
    metrics.put("Sluicegate", "DriftUnseen", {"service": STACK}, at, unseen)


def looks_that_miss(*unseen: int) -> Case:
    """Runs of the look for drift, one an hour, and how many functions each of them could not see."""

    def happen(metrics: Metrics) -> None:
        for at, number in zip(minutes(60 * len(unseen), HOUR), unseen, strict=True):
            looked(metrics, at, unseen=number)

    return happen


def code_storage(percent: float) -> Case:
    """A run of the pruner, which looks how full the code storage is."""
    return lambda metrics: metrics.put("Sluicegate", "CodeStorage", {"service": STACK}, NOW - 5, percent)


FAULTS: Final[dict[str, Case]] = {
    "GatewayErrorsAlarm": errors("GatewayFunction", MINUTE, 1),
    "GatewayThrottlesAlarm": throttles("GatewayFunction"),
    "GatewayIamErrorsAlarm": errors("GatewayIamFunction", MINUTE, 1),
    "GatewayIamThrottlesAlarm": throttles("GatewayIamFunction"),
    "WatcherErrorsAlarm": errors("WatcherFunction", MINUTE, 1),
    "WatcherIamErrorsAlarm": errors("WatcherIamFunction", MINUTE, 1),
    "BoardErrorsAlarm": errors("BoardFunction", MINUTE, 1),
    "ApiErrorsAlarm": answers(200, 503),
    "PrivateApiErrorsAlarm": answers(200, 503, api=f"{STACK}-private"),
    # Step Functions' retries are at most 30 seconds apart.
    "DeployerErrorsAlarm": errors("DeployerFunction", 30),
    "DeployerThrottlesAlarm": throttles("DeployerFunction"),
    "RollbackErrorsAlarm": errors("RollbackFunction", 30),
    "RollbackThrottlesAlarm": throttles("RollbackFunction"),
    "JanitorErrorsAlarm": errors("JanitorFunction", MINUTE),
    "JanitorSilentAlarm": no_janitor,
    "RelayErrorsAlarm": errors("RelayFunction", MINUTE),
    "RelayThrottlesAlarm": throttles("RelayFunction"),
    "EventsLateAlarm": a_bus_that_refuses,
    "DeadLettersAlarm": a_dead_letter("DeadLetters"),
    "NotifierErrorsAlarm": errors("NotifierFunction", MINUTE),
    "NotifierThrottlesAlarm": throttles("NotifierFunction"),
    "FeedbackLateAlarm": an_outage("NotifierQueue", "FeedbackAge"),
    "FeedbackRejectedAlarm": a_dead_letter("NotifierDeadLetters"),
    "MessengerErrorsAlarm": errors("MessengerFunction", MINUTE),
    "MessengerThrottlesAlarm": throttles("MessengerFunction"),
    "MessagesLateAlarm": an_outage("MessengerQueue", "MessageAge"),
    "MessagesRejectedAlarm": a_dead_letter("MessengerDeadLetters"),
    "RolloutFailedAlarm": ended("FAILED"),
    "RolloutTimedOutAlarm": ended("TIMED_OUT"),
    "OutcomeUnknownAlarm": emitted("OutcomeUnknown"),
    "StuckAlarm": emitted("Stuck"),
    "SealerErrorsAlarm": errors("SealerFunction", MINUTE),
    "PrunerErrorsAlarm": errors("PrunerFunction", MINUTE, 1),
    "CodeStorageAlarm": code_storage(80),
    "DriftErrorsAlarm": errors("DriftFunction", MINUTE, 1),
    "DriftUnseenAlarm": looks_that_miss(*[1] * 12),
    "EvidenceLateAlarm": facts_that_wait,
    "EvidenceForkedAlarm": emitted("EvidenceForked"),
    "EvidenceUnsignedAlarm": a_key_that_refuses,
}
"""What each alarm is for, as its description says."""


def all_is_well(metrics: Metrics) -> None:
    functions = [name for name, resource in TEMPLATE["Resources"].items() if "Function" in resource["Type"]]
    queues = [QueueMetrics(metrics, name) for name in of_type("AWS::SQS::Queue")]
    for at in minutes(3 * 60):
        sealed(metrics, at)
    for at in minutes(12 * 60, HOUR):
        looked(metrics, at)
    for at in minutes(60):
        for function in functions:
            LambdaMetrics(metrics, function).invoked(at, iterator_age=1)
        for queue in queues:
            queue.report(at)
        ApiMetrics(metrics, STACK, "v1").answered(at, 200)
        ApiMetrics(metrics, STACK, "v1").answered(at, 401)
        ExecutionMetrics(metrics, "Rollout").ended(at, "SUCCEEDED")
        ExecutionMetrics(metrics, "Rollout").ended(at, "ABORTED")


def test_every_alarm_has_a_case() -> None:
    assert set(FAULTS) == set(of_type(ALARM))


@pytest.mark.parametrize("name", FAULTS)
def test_an_alarm_rings_in_the_case_that_it_is_for(name: str) -> None:
    metrics = Metrics()
    FAULTS[name](metrics)
    assert metrics.state(resolved(name), NOW) == "ALARM"


@pytest.mark.parametrize("name", FAULTS)
def test_an_alarm_rests_when_all_is_well(name: str) -> None:
    metrics = Metrics()
    all_is_well(metrics)
    assert metrics.state(resolved(name), NOW) == "OK"


# A dead letter stays until somebody acts.
@pytest.mark.parametrize("name", sorted(FAULTS.keys() - {"DeadLettersAlarm", "FeedbackRejectedAlarm"}))
def test_an_alarm_ends_when_its_cause_ends(name: str) -> None:
    metrics = Metrics()
    FAULTS[name](metrics)
    for at in range(int(NOW), int(NOW + HOUR), MINUTE):
        LambdaMetrics(metrics, "JanitorFunction").invoked(at)
        sealed(metrics, at)
    looked(metrics, NOW + HOUR)
    assert metrics.state(resolved(name), NOW + HOUR) == "OK"


def test_an_alarm_on_late_feedback_rings_without_pause_while_gitlab_is_down() -> None:
    metrics = Metrics()
    an_outage("NotifierQueue", "FeedbackAge")(metrics)
    states = [metrics.state(resolved("FeedbackLateAlarm"), at) for at in minutes(60)]
    assert set(states) == {"ALARM"}


@pytest.mark.parametrize(
    ("unseen", "state"),
    [
        ((0, 0, 0, 0, 0, 7), "OK"),
        ((7, 0, 7, 7, 7, 7), "OK"),
        ((0, 7, 7, 7, 7, 7, 7), "ALARM"),
    ],
)
def test_looks_that_miss_functions_ring_where_no_look_sees_them_all(
    unseen: tuple[int, ...], state: str
) -> None:
    """A single run that is throttled is none: the next one looks at what it left out."""
    metrics = Metrics()
    looks_that_miss(*unseen)(metrics)
    assert metrics.state(resolved("DriftUnseenAlarm"), NOW) == state


def test_a_look_that_runs_once_a_day_can_ring_too() -> None:
    metrics = Metrics()
    looked(metrics, NOW - HOUR, unseen=1)
    assert metrics.state(resolved("DriftUnseenAlarm"), NOW) == "ALARM"


def test_the_queues_own_age_would_not_ring_while_gitlab_is_down() -> None:
    """The reason for a metric of our own: SQS leaves out what was received three times."""
    metrics = Metrics()
    an_outage("NotifierQueue", "FeedbackAge")(metrics)
    naive = {
        **resolved("FeedbackLateAlarm"),
        "Namespace": "AWS/SQS",
        "MetricName": "ApproximateAgeOfOldestMessage",
        "Dimensions": [{"Name": "QueueName", "Value": "NotifierQueue"}],
        "Period": MINUTE,
    }
    assert {metrics.state(naive, at) for at in minutes(3 * 60)} == {"OK"}


def test_a_retried_message_is_measured_in_every_period() -> None:
    assert (
        properties("FeedbackLateAlarm")["Period"]
        > consumer.MAX_BACKOFF + properties("NotifierFunction")["Timeout"]
    )


@pytest.mark.parametrize("name", of_type(ALARM))
def test_an_alarm_is_one_that_cloudwatch_evaluates(name: str) -> None:
    """PutMetricAlarm: a period is a multiple of 60 seconds, and all together are at most a day."""
    alarm = properties(name)
    assert alarm["Period"] % MINUTE == 0
    assert alarm["Period"] * alarm["EvaluationPeriods"] <= 86_400
    assert alarm.get("DatapointsToAlarm", 1) <= alarm["EvaluationPeriods"]
    assert len(alarm["AlarmDescription"]) <= 1_024


@pytest.fixture(scope="module")
def own_metrics() -> dict[tuple[str, str, str], float]:
    """What the handlers emit, by namespace, dimensions and name, in the environment of the template."""
    shared = TEMPLATE["Globals"]["Function"]["Environment"]["Variables"]
    assert shared["POWERTOOLS_SERVICE_NAME"] == {"Ref": "AWS::StackName"}
    environment = {
        "PATH": os.defpath,
        "PYTHONPATH": f"{ROOT}/layers/shared/python:{ROOT}/tests",
        "POWERTOOLS_METRICS_NAMESPACE": shared["POWERTOOLS_METRICS_NAMESPACE"],
        "POWERTOOLS_SERVICE_NAME": STACK,
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    done = subprocess.run(
        [sys.executable, "-m", "support.own_metrics"],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = {}
    for line in done.stdout.splitlines():
        document = json.loads(line)
        for directive in document.get("_aws", {}).get("CloudWatchMetrics", []):
            [names] = directive["Dimensions"]
            dimensions = ",".join(f"{name}={document[name]}" for name in names)
            for metric in directive["Metrics"]:
                found[directive["Namespace"], dimensions, metric["Name"]] = sum(document[metric["Name"]])
    return found


@pytest.mark.parametrize(
    "name", [name for name in of_type(ALARM) if properties(name)["Namespace"] == "Sluicegate"]
)
def test_an_alarm_on_a_metric_of_our_own_has_the_name_that_the_code_emits(
    name: str, own_metrics: dict[tuple[str, str, str], float]
) -> None:
    alarm = resolved(name)
    dimensions = ",".join(f"{each['Name']}={each['Value']}" for each in alarm["Dimensions"])
    found = own_metrics[alarm["Namespace"], dimensions, alarm["MetricName"]]
    below = alarm["ComparisonOperator"] == "LessThanThreshold"
    assert found < alarm["Threshold"] if below else found >= alarm["Threshold"]


def test_the_notifier_measures_in_seconds(own_metrics: dict[tuple[str, str, str], float]) -> None:
    assert own_metrics["Sluicegate", f"service={STACK}", "FeedbackAge"] == AGE
