"""CloudWatch as AWS answers it: metrics of a version, and alarms.

Documented: CloudWatch API reference, GetMetricData and DescribeAlarms, read on 26 November 2026.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
from botocore.exceptions import ClientError

from contract.witness import Witness, eventually, unique

NAMESPACE: Final = "Contract"
OF_VERSION: Final = [{"Name": "ExecutedVersion", "Value": "1"}]


def client(witness: Witness) -> Any:
    return witness.client("cloudwatch")


def ask(
    witness: Witness, *metrics: str, statistic: str = "Sum", period: int = 600, **times: Any
) -> dict[str, Any]:
    """GetMetricData of the last minutes: the result of each metric, by its name."""
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    minutes = timedelta(minutes=5)
    pages = (
        client(witness)
        .get_paginator("get_metric_data")
        .paginate(
            MetricDataQueries=[
                {
                    "Id": f"m{index}",
                    "MetricStat": {
                        "Metric": {"Namespace": NAMESPACE, "MetricName": name, "Dimensions": OF_VERSION},
                        "Period": period,
                        "Stat": statistic,
                    },
                }
                for index, name in enumerate(metrics)
            ],
            **({"StartTime": now - minutes, "EndTime": now + minutes} | times),
        )
    )
    return {metrics[int(result["Id"][1:])]: result for page in pages for result in page["MetricDataResults"]}


def put(witness: Witness, values: Mapping[float, int], at: datetime | None = None) -> str:
    """Values, and how often each was there, of a metric that nothing else writes. Returns its name."""
    name = unique()
    data = {
        "MetricName": name,
        "Dimensions": OF_VERSION,
        "Values": list(values),
        "Counts": [float(count) for count in values.values()],
    }
    moment = at or datetime.now(UTC) - timedelta(seconds=90)
    client(witness).put_metric_data(Namespace=NAMESPACE, MetricData=[{**data, "Timestamp": moment}])
    eventually(lambda: sum(ask(witness, name, statistic="SampleCount")[name]["Values"]), sum(values.values()))
    return name


def test_each_result_says_whether_it_is_complete(witness: Witness) -> None:
    """Documented: MetricDataResult, StatusCode."""
    name = put(witness, {2.0: 2})
    result = ask(witness, name)[name]
    assert (sum(result["Values"]), result["StatusCode"]) == (4.0, "Complete")


def test_a_metric_without_data_has_a_result_without_values(witness: Witness) -> None:
    """Documented: GetMetricData answers each query, Complete and with no values where there is no data."""
    result = ask(witness, "Errors")["Errors"]
    assert (result["Values"], result["StatusCode"]) == ([], "Complete")


@pytest.mark.parametrize(
    ("statistic", "value"),
    [
        ("SampleCount", 10.0),
        ("Sum", 2_550.0),
        ("Maximum", 900.0),
        ("TC(100:)", 4.0),
        ("TC(:100)", 6.0),
        ("TC(100:400)", 3.0),
        ("TC(99.5:)", 7.0),
        ("TC(0:)", 10.0),
        ("PR(:400)", 90.0),
    ],
)
def test_a_range_leaves_its_lower_bound_out(witness: Witness, statistic: str, value: float) -> None:
    """Documented: user guide, "CloudWatch statistics definitions", read on 2026-11-26.

    "TC(0.005:0.030) returns the number of data points with values between 0.005 (exclusive) and 0.030
    (inclusive)." That either bound may be missing is in the pattern of PutAnomalyDetector's Stat.
    """
    name = put(witness, {50.0: 3, 100.0: 3, 400.0: 3, 900.0: 1})
    assert ask(witness, name, statistic=statistic)[name]["Values"] == [pytest.approx(value)]


@pytest.mark.parametrize("statistic", ["TC(:)", "TC(1)", "Median", "p101"])
def test_a_statistic_that_does_not_exist_is_refused(witness: Witness, statistic: str) -> None:
    """Not documented for GetMetricData; other calls answer 400 (PutMetricAlarm's ExtendedStatistic)."""
    with pytest.raises(ClientError) as refused:
        ask(witness, "Errors", statistic=statistic)
    response: Any = refused.value.response
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 400


def test_the_newest_value_comes_first_and_each_has_its_minute(witness: Witness) -> None:
    """Documented: ScanBy, TimestampDescending by default; a start is cut to its minute (StartTime)."""
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    name, cloudwatch = unique(), client(witness)
    for minutes, value in ((3, 1.0), (2, 2.0), (1, 3.0)):
        data = {"MetricName": name, "Dimensions": OF_VERSION, "Value": value}
        at = now - timedelta(minutes=minutes) + timedelta(seconds=20)
        cloudwatch.put_metric_data(Namespace=NAMESPACE, MetricData=[{**data, "Timestamp": at}])
    start = now - timedelta(minutes=3) + timedelta(seconds=50)
    times: dict[str, Any] = {"StartTime": start, "EndTime": now}
    eventually(lambda: ask(witness, name, period=60, **times)[name]["Values"], [3.0, 2.0, 1.0])
    found = ask(witness, name, period=60, **times)[name]["Timestamps"]
    assert [at.astimezone(UTC) for at in found] == [now - timedelta(minutes=count) for count in (1, 2, 3)]


@pytest.fixture
def alarm(witness: Witness) -> Iterator[str]:
    name, cloudwatch = unique(), client(witness)
    cloudwatch.put_metric_alarm(
        AlarmName=name,
        Namespace=NAMESPACE,
        MetricName=name,
        Statistic="Sum",
        Period=60,
        EvaluationPeriods=1,
        Threshold=1,
        ComparisonOperator="GreaterThanOrEqualToThreshold",
    )
    yield name
    cloudwatch.delete_alarms(AlarmNames=[name])


def alarms(witness: Witness, **request: Any) -> dict[str, dict[str, Any]]:
    """DescribeAlarms: every alarm by its name."""
    types = ["MetricAlarm", "CompositeAlarm"]
    pages = client(witness).get_paginator("describe_alarms").paginate(AlarmTypes=types, **request)
    return {
        alarm["AlarmName"]: alarm
        for page in pages
        for alarm in (*page.get("MetricAlarms", ()), *page.get("CompositeAlarms", ()))
    }


def states(witness: Witness, *names: str) -> dict[str, str]:
    found = alarms(witness, AlarmNames=list(names))
    return {name: alarm["StateValue"] for name, alarm in found.items()}


def ring(witness: Witness, alarm: str, state: str = "ALARM", reason: str = "contract") -> None:
    client(witness).set_alarm_state(AlarmName=alarm, StateValue=state, StateReason=reason)


def test_an_alarm_begins_without_data(witness: Witness, alarm: str) -> None:
    """Recorded: localstack, tests/aws/services/cloudwatch, test_describe_minimal_metric_alarm, 2025-09-19."""
    found = alarms(witness, AlarmNames=[alarm])[alarm]
    assert found["StateValue"] == "INSUFFICIENT_DATA"
    assert found["StateReason"] == "Unchecked: Initial alarm creation"
    since = datetime.now(UTC) - found["StateTransitionedTimestamp"]
    assert timedelta(seconds=-1) <= since <= timedelta(minutes=1)


def test_an_alarm_that_does_not_exist_is_left_out(witness: Witness, alarm: str) -> None:
    """Documented: DescribeAlarms answers those that exist, and no error for the others."""
    assert list(states(witness, alarm, unique())) == [alarm]


def test_an_alarm_has_the_state_that_it_was_set_to_since_then_and_the_reason(
    witness: Witness, alarm: str
) -> None:
    """Documented: MetricAlarm, StateTransitionedTimestamp "most recently changed" (2026-11-26)."""
    before = datetime.now(UTC) - timedelta(seconds=1)
    ring(witness, alarm, reason="five errors")
    found = alarms(witness, AlarmNames=[alarm])[alarm]
    assert (found["StateValue"], found["StateReason"]) == ("ALARM", "five errors")
    assert found["AlarmArn"].endswith(f":alarm:{alarm}")
    since = found["StateTransitionedTimestamp"]
    assert before <= since <= datetime.now(UTC) + timedelta(seconds=1)
    ring(witness, alarm, reason="six errors")
    found = alarms(witness, AlarmNames=[alarm])[alarm]
    assert (found["StateReason"], found["StateTransitionedTimestamp"]) == ("six errors", since)


def test_a_composite_alarm_rings_with_its_child_and_names_it(witness: Witness, alarm: str) -> None:
    """Documented: user guide, "Alarm events and EventBridge" (2026-11-26): the reason has the child's ARN."""
    cloudwatch, parent = client(witness), f"{alarm}-parent"
    cloudwatch.put_composite_alarm(AlarmName=parent, AlarmRule=f'ALARM("{alarm}")')
    try:
        eventually(lambda: states(witness, parent), {parent: "OK"})
        ring(witness, alarm)
        eventually(lambda: states(witness, parent), {parent: "ALARM"})
        found = alarms(witness, AlarmNames=[parent, alarm])
        reason = found[parent]["StateReason"]
        assert reason.startswith(f"{found[alarm]['AlarmArn']} transitioned to ALARM at ")
        assert reason.endswith(" UTC")
    finally:
        cloudwatch.delete_alarms(AlarmNames=[parent])


def test_alarms_are_found_by_how_their_names_begin(witness: Witness, alarm: str) -> None:
    """Documented: DescribeAlarms, AlarmNamePrefix; of both types, and none where none begins so."""
    cloudwatch, parent = client(witness), f"{alarm}-parent"
    cloudwatch.put_composite_alarm(AlarmName=parent, AlarmRule=f'ALARM("{alarm}")')
    try:
        assert alarms(witness, AlarmNamePrefix=alarm[:-1]).keys() >= {alarm, parent}
        assert alarms(witness, AlarmNamePrefix=f"{alarm}-").keys() == {parent}
        assert alarms(witness, AlarmNamePrefix=f"{alarm}x") == {}
    finally:
        cloudwatch.delete_alarms(AlarmNames=[parent])
