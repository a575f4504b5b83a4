"""Traffic reaches the versions of an alias by its weights, and Lambda's metrics say what came of it."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from stand import Stand, StandError, package
from stand.api import OFTEN
from stand.samples import WORK, good, raising, slow
from stand.traffic import Traffic


def publish(stand: Stand, function: str, source: str) -> str:
    """One more version, as a deployment would make it."""
    lambda_ = stand.client("lambda")
    lambda_.update_function_code(FunctionName=function, ZipFile=package(source))
    lambda_.get_waiter("function_updated_v2").wait(FunctionName=function, WaiterConfig=OFTEN)
    return str(lambda_.publish_version(FunctionName=function)["Version"])


def metrics(stand: Stand, function: str, version: str | None, *, duration: str = "p95") -> dict[str, float]:
    """What a rollout would ask for about a version under the alias (or all of it), in one call."""
    named = {"FunctionName": function, "Resource": f"{function}:prod"}
    if version:
        named["ExecutedVersion"] = version
    dimensions = [{"Name": name, "Value": value} for name, value in named.items()]
    asked = {"Invocations": "Sum", "Errors": "Sum", "Throttles": "Sum", "Duration": duration}
    queries = [
        {
            "Id": metric.lower(),
            "MetricStat": {
                "Metric": {"Namespace": "AWS/Lambda", "MetricName": metric, "Dimensions": dimensions},
                "Period": 3600,
                "Stat": statistic,
            },
        }
        for metric, statistic in asked.items()
    ]
    now = datetime.now(UTC)
    answer: dict[str, Any] = stand.client("cloudwatch").get_metric_data(
        StartTime=now - timedelta(minutes=5), EndTime=now + timedelta(minutes=1), MetricDataQueries=queries
    )
    combine = {"duration": max}
    return {
        one["Id"]: combine.get(one["Id"], sum)(one["Values"])
        for one in answer["MetricDataResults"]
        if one["Values"]
    }


def test_a_weighted_alias_is_served_by_its_weights_and_measured_by_version(
    stand: Stand, function: str
) -> None:
    first = publish(stand, function, good("v1"))
    second = publish(stand, function, raising("v2"))
    stand.client("lambda").create_alias(
        FunctionName=function,
        Name="prod",
        FunctionVersion=first,
        RoutingConfig={"AdditionalVersionWeights": {second: 0.2}},
    )
    assert stand.alias_state(function, "prod") == {"version": first, "weights": {second: 0.2}}
    with Traffic(stand, function, "prod", rate=20) as traffic:
        traffic.wait_until(lambda traffic: sum(traffic.served.values()) >= 50)
    served, errors = traffic.served, traffic.errors
    assert served[second] == pytest.approx(sum(served.values()) / 5, abs=1)
    assert errors == {second: served[second]}
    for version in (first, second):
        measured = metrics(stand, function, version)
        assert measured["invocations"] == served[version]
        assert measured["errors"] == errors.get(version, 0)
        assert measured["throttles"] == 0
        assert measured["duration"] > 15  # WORK, in milliseconds
    assert metrics(stand, function, None)["invocations"] == sum(served.values())


def test_traffic_follows_the_alias_and_tells_the_slow_version(stand: Stand, function: str) -> None:
    first = publish(stand, function, good("v1"))
    second = publish(stand, function, slow("v2"))
    with Traffic(stand, function, "prod") as traffic:
        time.sleep(0.5)
        assert traffic.served == {}
        lambda_ = stand.client("lambda")
        lambda_.create_alias(FunctionName=function, Name="prod", FunctionVersion=first)
        traffic.wait_until(lambda traffic: traffic.served.get(first, 0) >= 10)
        lambda_.update_alias(FunctionName=function, Name="prod", FunctionVersion=second)
        traffic.wait_until(lambda traffic: traffic.served.get(second, 0) >= 10)
    assert traffic.ended
    fastest = {
        each: metrics(stand, function, each, duration="Minimum")["duration"] for each in (first, second)
    }
    assert fastest[first] < 10 * WORK * 1000 <= fastest[second]


def test_waiting_for_traffic_has_an_end(stand: Stand, function: str) -> None:
    with Traffic(stand, function, "prod") as traffic, pytest.raises(StandError):
        traffic.wait_until(lambda traffic: bool(traffic.served), patience=0.5)


def test_a_test_can_ask_which_calls_concerned_a_function(stand: Stand, function: str) -> None:
    before = time.time()
    version = publish(stand, function, good("v1"))
    stand.client("lambda").create_alias(FunctionName=function, Name="prod", FunctionVersion=version)
    stand.invoke(function, {"ping": True}, alias="prod")
    calls = stand.calls(function, before)
    assert calls[0] == "UpdateFunctionCode"
    assert calls[-3:] == ["PublishVersion", "CreateAlias", "Invoke"]
    assert stand.calls(function, time.time()) == []
    assert stand.calls(f"{function}-other", before) == []


def test_an_alarm_is_in_the_state_it_was_set_to(stand: Stand, function: str) -> None:
    cloudwatch = stand.client("cloudwatch")

    def states() -> list[str]:
        alarms = cloudwatch.describe_alarms(AlarmNames=[f"{function}-5xx"])["MetricAlarms"]
        return [alarm["StateValue"] for alarm in alarms]

    with stand.alarm(f"{function}-5xx") as alarm:
        assert states() == ["OK"]
        alarm.set("ALARM")
        assert states() == ["ALARM"]
    assert states() == []
