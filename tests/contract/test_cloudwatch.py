"""CloudWatch as AWS answers it: metrics of a version, and alarms.

Documented: CloudWatch API reference, GetMetricData and DescribeAlarms, read on 26 November 2026.
"""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from contract.witness import Emulator, Witness, eventually, unique

NAMESPACE = "Contract"


@pytest.fixture(autouse=True)
def _emulated(witness: Witness) -> None:
    if not isinstance(witness, Emulator):
        pytest.skip("the unit tests have no model of CloudWatch with boto3's methods")


def ask(witness: Witness, *metrics: str, statistic: str = "Sum") -> dict[str, Any]:
    """GetMetricData of the last minutes: the result of each metric, by its name."""
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    answer = witness.client("cloudwatch").get_metric_data(
        MetricDataQueries=[
            {
                "Id": f"m{index}",
                "MetricStat": {
                    "Metric": {"Namespace": NAMESPACE, "MetricName": name},
                    "Period": 600,
                    "Stat": statistic,
                },
            }
            for index, name in enumerate(metrics)
        ],
        StartTime=now - timedelta(minutes=5),
        EndTime=now + timedelta(minutes=5),
    )
    return {metrics[int(result["Id"][1:])]: result for result in answer["MetricDataResults"]}


def test_each_result_says_whether_it_is_complete(witness: Witness) -> None:
    """Documented: MetricDataResult, StatusCode."""
    name = unique()
    metric = {"MetricName": name, "Value": 2.0}
    witness.client("cloudwatch").put_metric_data(Namespace=NAMESPACE, MetricData=[metric, metric])
    eventually(lambda: sum(ask(witness, name)[name]["Values"]), 4.0)
    assert ask(witness, name)[name]["StatusCode"] == "Complete"


def test_a_metric_without_data_has_a_result_without_values(witness: Witness) -> None:
    """Documented: GetMetricData answers each query, Complete and with no values where there is no data."""
    result = ask(witness, name := unique())[name]
    assert (result["Values"], result["StatusCode"]) == ([], "Complete")


@pytest.fixture
def alarm(witness: Witness) -> Iterator[str]:
    name, cloudwatch = unique(), witness.client("cloudwatch")
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


def states(witness: Witness, *names: str) -> dict[str, str]:
    found = witness.client("cloudwatch").describe_alarms(
        AlarmNames=list(names), AlarmTypes=["MetricAlarm", "CompositeAlarm"]
    )
    return {alarm["AlarmName"]: alarm["StateValue"] for alarm in found["MetricAlarms"]}


def test_an_alarm_begins_without_data(witness: Witness, alarm: str) -> None:
    assert states(witness, alarm) == {alarm: "INSUFFICIENT_DATA"}


def test_an_alarm_that_does_not_exist_is_left_out(witness: Witness, alarm: str) -> None:
    """Documented: DescribeAlarms answers those that exist, and no error for the others."""
    assert list(states(witness, alarm, unique())) == [alarm]


def test_an_alarm_has_the_state_that_it_was_set_to(witness: Witness, alarm: str) -> None:
    witness.client("cloudwatch").set_alarm_state(
        AlarmName=alarm, StateValue="ALARM", StateReason="contract", StateReasonData=json.dumps({})
    )
    assert states(witness, alarm) == {alarm: "ALARM"}
