"""CloudWatch as AWS answers it: metrics of a version, and alarms.

Documented: CloudWatch API reference, GetMetricData and DescribeAlarms, read on 26 November 2026.
"""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from contract.witness import Emulator, Witness, eventually, unique
from sluicegate.deployment.observations import AlarmState
from support.cloudwatch_model import CloudWatchModel

NAMESPACE = "Contract"


def client(witness: Witness) -> Any:
    return witness.client("cloudwatch")


def ask(witness: Witness, *metrics: str, statistic: str = "Sum") -> dict[str, Any]:
    """GetMetricData of the last minutes: the result of each metric, by its name."""
    cloudwatch = client(witness)
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    pages = cloudwatch.get_paginator("get_metric_data").paginate(
        MetricDataQueries=[
            {
                "Id": f"m{index}",
                "MetricStat": {
                    "Metric": {
                        "Namespace": NAMESPACE,
                        "MetricName": name,
                        "Dimensions": [{"Name": "ExecutedVersion", "Value": "1"}],
                    },
                    "Period": 600,
                    "Stat": statistic,
                },
            }
            for index, name in enumerate(metrics)
        ],
        StartTime=now - timedelta(minutes=5),
        EndTime=now + timedelta(minutes=5),
    )
    return {metrics[int(result["Id"][1:])]: result for page in pages for result in page["MetricDataResults"]}


def test_each_result_says_whether_it_is_complete(witness: Witness) -> None:
    """Documented: MetricDataResult, StatusCode."""
    if not isinstance(witness, Emulator):
        pytest.skip("a model of Lambda's metrics, which nobody else writes")
    name = unique()
    dimensions = [{"Name": "ExecutedVersion", "Value": "1"}]
    metric = {"MetricName": name, "Value": 2.0, "Dimensions": dimensions}
    witness.client("cloudwatch").put_metric_data(Namespace=NAMESPACE, MetricData=[metric, metric])
    eventually(lambda: sum(ask(witness, name)[name]["Values"]), 4.0)
    assert ask(witness, name)[name]["StatusCode"] == "Complete"


def test_a_metric_without_data_has_a_result_without_values(witness: Witness) -> None:
    """Documented: GetMetricData answers each query, Complete and with no values where there is no data."""
    result = ask(witness, "Errors")["Errors"]
    assert (result["Values"], result["StatusCode"]) == ([], "Complete")


@pytest.fixture
def alarm(witness: Witness) -> Iterator[str]:
    name, cloudwatch = unique(), client(witness)
    if isinstance(cloudwatch, CloudWatchModel):
        cloudwatch.alarms[name] = AlarmState.INSUFFICIENT_DATA
        yield name
        return
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
    pages = (
        client(witness)
        .get_paginator("describe_alarms")
        .paginate(AlarmNames=list(names), AlarmTypes=["MetricAlarm", "CompositeAlarm"])
    )
    return {alarm["AlarmName"]: alarm["StateValue"] for page in pages for alarm in page["MetricAlarms"]}


def test_an_alarm_begins_without_data(witness: Witness, alarm: str) -> None:
    assert states(witness, alarm) == {alarm: "INSUFFICIENT_DATA"}


def test_an_alarm_that_does_not_exist_is_left_out(witness: Witness, alarm: str) -> None:
    """Documented: DescribeAlarms answers those that exist, and no error for the others."""
    assert list(states(witness, alarm, unique())) == [alarm]


def test_an_alarm_has_the_state_that_it_was_set_to(witness: Witness, alarm: str) -> None:
    cloudwatch = client(witness)
    if isinstance(cloudwatch, CloudWatchModel):
        pytest.skip("a test sets the model's alarms itself")
    cloudwatch.set_alarm_state(
        AlarmName=alarm, StateValue="ALARM", StateReason="contract", StateReasonData=json.dumps({})
    )
    assert states(witness, alarm) == {alarm: "ALARM"}
