"""GetMetricData with metric math, and Lambda's metrics of event sources, as AWS answers them.

Documented: CloudWatch API reference, GetMetricData and MetricDataQuery; CloudWatch user guide, "Metric math
syntax and functions"; Lambda developer guide, "Types of metrics for Lambda functions"; Lambda API reference,
ListEventSourceMappings; read on 26 November 2026.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from contract.witness import MINISTACK, Emulator, Witness, eventually, refusal, unique
from stand import package

NAMESPACE = "Contract"
PARTLY = """
def handler(event, context):
    failed = [one["messageId"] for one in event["Records"] if one["body"] == "poison"]
    return {"batchItemFailures": [{"itemIdentifier": each} for each in failed]}
"""


def emulator(witness: Witness) -> Emulator:
    if not isinstance(witness, Emulator) or witness.name != MINISTACK:
        pytest.skip("only the stand's emulator has metric math, and Lambda's metrics of event sources")
    return witness


def put(witness: Witness, name: str, *values: float, minutes_ago: int = 0) -> None:
    at = datetime.now(UTC) - timedelta(minutes=minutes_ago)
    data = [{"MetricName": name, "Value": value, "Timestamp": at} for value in values]
    witness.client("cloudwatch").put_metric_data(Namespace=NAMESPACE, MetricData=data)


def query(identifier: str, name: str, **more: Any) -> dict[str, Any]:
    metric = {"Namespace": NAMESPACE, "MetricName": name}
    return {"Id": identifier, "MetricStat": {"Metric": metric, "Period": 60, "Stat": "Sum"}, **more}


def ask(witness: Witness, *queries: Mapping[str, Any]) -> dict[str, Any]:
    now = datetime.now(UTC)
    answer = witness.client("cloudwatch").get_metric_data(
        MetricDataQueries=queries, StartTime=now - timedelta(minutes=10), EndTime=now + timedelta(minutes=1)
    )
    return {result["Id"]: result for result in answer["MetricDataResults"]}


def values(result: Mapping[str, Any]) -> list[float]:
    """The values by time, oldest first: without ScanBy the newest may come first."""
    return [value for _, value in sorted(zip(result["Timestamps"], result["Values"], strict=True))]


def test_an_expression_is_evaluated_over_the_queries_that_it_names(witness: Witness) -> None:
    """Documented: "Missing values in a time series are treated as 0", and a division by zero is dropped."""
    emulator(witness)
    bad, every = unique(), unique()
    put(witness, bad, 3, minutes_ago=2)
    put(witness, every, 12, minutes_ago=2)
    put(witness, every, 8, minutes_ago=4)
    queries = (
        query("bad", bad, ReturnData=False),
        query("every", every, ReturnData=False),
        {"Id": "rate", "Expression": "100 * bad / every"},
    )
    eventually(lambda: values(ask(witness, *queries)["rate"]), [0.0, 25.0])
    found = ask(witness, *queries)
    assert list(found) == ["rate"]
    assert found["rate"]["StatusCode"] == "Complete"


def test_series_of_a_list_are_added_up(witness: Witness) -> None:
    emulator(witness)
    one, other = unique(), unique()
    put(witness, one, 3, minutes_ago=2)
    put(witness, other, 4, minutes_ago=2)
    queries = (query("a", one), query("b", other), {"Id": "both", "Expression": "SUM([a, b])"})
    eventually(lambda: values(ask(witness, *queries)["both"]), [7.0])


def test_an_expression_of_metrics_without_data_has_no_values(witness: Witness) -> None:
    emulator(witness)
    found = ask(witness, query("a", unique()), {"Id": "e", "Expression": "a * 2"})
    assert (found["e"]["Values"], found["e"]["StatusCode"]) == ([], "Complete")


@pytest.mark.parametrize("expression", ["a +", "a + nobody", "NOT_A_FUNCTION(a)"])
def test_an_error_in_an_expression_is_a_validation_error_of_the_whole_call(
    witness: Witness, expression: str
) -> None:
    """Its words begin as Grafana's users saw them: "Error in expression 'query': Invalid syntax"."""
    emulator(witness)
    now = datetime.now(UTC)
    code, status, message = refusal(
        witness.client("cloudwatch").get_metric_data,
        MetricDataQueries=[query("a", unique()), {"Id": "wrong", "Expression": expression}],
        StartTime=now - timedelta(minutes=10),
        EndTime=now,
    )
    assert (code, status) == ("ValidationError", 400)
    assert message.startswith("Error in expression 'wrong': ")


def counted(witness: Witness, name: str, mapping: str) -> float:
    metric = {
        "Namespace": "AWS/Lambda",
        "MetricName": name,
        "Dimensions": [{"Name": "EventSourceMappingUUID", "Value": mapping}],
    }
    stat = {"Metric": metric, "Period": 60, "Stat": "Sum"}
    return float(sum(ask(witness, {"Id": "a", "MetricStat": stat})["a"]["Values"]))


def test_an_event_that_a_batch_reports_as_failed_counts_as_failed_and_not_as_an_error(
    witness: Witness,
) -> None:
    """Documented: FailedInvokeEventCount "includes any event with a non-empty BatchItemFailures"."""
    at = emulator(witness)
    lambda_, sqs = at.client("lambda"), at.client("sqs")
    function = at.create_function(package(PARTLY))
    version = lambda_.publish_version(FunctionName=function)["Version"]
    lambda_.create_alias(FunctionName=function, Name="live", FunctionVersion=version)
    url = sqs.create_queue(QueueName=unique())["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    mapping = lambda_.create_event_source_mapping(
        FunctionName=f"{function}:live",
        EventSourceArn=arn,
        FunctionResponseTypes=["ReportBatchItemFailures"],
        MetricsConfig={"Metrics": ["EventCount"]},
    )
    try:
        assert mapping["MetricsConfig"] == {"Metrics": ["EventCount"]}
        [listed] = lambda_.list_event_source_mappings(FunctionName=f"{function}:live")["EventSourceMappings"]
        assert listed["UUID"] == mapping["UUID"]
        assert listed["FunctionArn"].endswith(f":function:{function}:live")
        for body in ("fine", "poison", "fine"):
            sqs.send_message(QueueUrl=url, MessageBody=body)
        eventually(lambda: counted(witness, "InvokedEventCount", mapping["UUID"]), 3.0)
        eventually(lambda: counted(witness, "FailedInvokeEventCount", mapping["UUID"]), 1.0)
    finally:
        lambda_.delete_event_source_mapping(UUID=mapping["UUID"])


def test_the_mappings_of_one_alias_are_listed_alone(witness: Witness) -> None:
    """Documented: FunctionName may be a version's or an alias's."""
    at = emulator(witness)
    lambda_ = at.client("lambda")
    function = at.create_function(package(PARTLY))
    version = lambda_.publish_version(FunctionName=function)["Version"]
    lambda_.create_alias(FunctionName=function, Name="live", FunctionVersion=version)
    assert lambda_.list_event_source_mappings(FunctionName=f"{function}:live")["EventSourceMappings"] == []


def test_asynchronous_events_count_as_received(witness: Witness) -> None:
    """Documented: AsyncEventsReceived."""
    at = emulator(witness)
    function = at.create_function(package("def handler(event, context):\n    return {}\n"))
    at.client("lambda").invoke(FunctionName=function, InvocationType="Event", Payload=json.dumps({}))
    metric = {
        "Namespace": "AWS/Lambda",
        "MetricName": "AsyncEventsReceived",
        "Dimensions": [{"Name": "FunctionName", "Value": function}],
    }
    asked = {"Id": "a", "MetricStat": {"Metric": metric, "Period": 60, "Stat": "Sum"}}
    eventually(lambda: sum(ask(witness, asked)["a"]["Values"]), 1.0)
