"""What the launcher changes about the emulator (`stand.launch_emulator`), seen from outside."""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from botocore.exceptions import ClientError

from stand import Stand
from stand.api import OFTEN
from stand.reports import until

pytestmark = pytest.mark.extended

WAITS = "arn:aws:states:::lambda:invoke.waitForTaskToken"
KEEPS_TOKEN = """\
import boto3

def handler(event, context):
    if event.get("fail"):
        raise ValueError("as asked")
    boto3.client("sqs").send_message(QueueUrl=event["queue"], MessageBody=event["token"])
"""


@pytest.fixture
def queue(stand: Stand) -> Iterator[str]:
    sqs = stand.client("sqs")
    anyone = {"Effect": "Allow", "Principal": "*", "Action": "sqs:SendMessage", "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [anyone]})
    url = sqs.create_queue(QueueName=f"stand-{uuid4().hex[:8]}", Attributes={"Policy": policy})["QueueUrl"]
    yield url
    sqs.delete_queue(QueueUrl=url)


@pytest.fixture
def received(stand: Stand, queue: str) -> Callable[[], list[str]]:
    """The messages that are in the queue, once there are any."""

    def receive() -> list[str]:
        result = stand.client("sqs").receive_message(
            QueueUrl=queue, MaxNumberOfMessages=10, WaitTimeSeconds=5
        )
        return [message["Body"] for message in result.get("Messages", [])]

    return receive


@pytest.fixture
def run(stand: Stand, function: str) -> Iterator[Callable[..., str]]:
    """Start an execution of one task that waits for its token; the execution's ARN."""
    states = stand.client("stepfunctions")
    made: list[str] = []

    def start(given: dict[str, Any], language: str = "JSONata", **timeout: Any) -> str:
        task: dict[str, Any] = {"Type": "Task", "Resource": WAITS, **timeout, "End": True}
        if language == "JSONata":
            payload = "{% $merge([$states.input, {'token': $states.context.Task.Token}]) %}"
            task["Arguments"] = {"FunctionName": function, "Payload": payload}
        else:
            payload = {"queue.$": "$.queue", "token.$": "$$.Task.Token"}  # type: ignore[assignment]
            task["Parameters"] = {"FunctionName": function, "Payload": payload}
        made.append(
            states.create_state_machine(
                name=f"stand-{uuid4().hex[:8]}",
                definition=json.dumps(
                    {"QueryLanguage": language, "StartAt": "Wait", "States": {"Wait": task}}
                ),
                roleArn=stand.client("lambda").get_function_configuration(FunctionName=function)["Role"],
            )["stateMachineArn"]
        )
        started: str = states.start_execution(stateMachineArn=made[-1], input=json.dumps(given))[
            "executionArn"
        ]
        return started

    yield start
    for arn in made:
        states.delete_state_machine(stateMachineArn=arn)


def ended(stand: Stand, execution: str, patience: float = 10) -> dict[str, Any]:
    """The execution once it has ended."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        result: dict[str, Any] = stand.client("stepfunctions").describe_execution(executionArn=execution)
        if result["status"] != "RUNNING":
            return result
        time.sleep(0.05)
    raise AssertionError(f"still running after {patience} s")


def code(raised: pytest.ExceptionInfo[ClientError]) -> str:
    return str(raised.value.response["Error"]["Code"])


@pytest.mark.parametrize(
    ("language", "timeout"),
    [
        ("JSONata", {"TimeoutSeconds": "{% $states.input.seconds %}"}),
        ("JSONPath", {"TimeoutSecondsPath": "$.seconds"}),
    ],
)
def test_a_wait_ends_at_the_timeout_that_its_input_says(
    stand: Stand, function: str, queue: str, received: Any, run: Any, language: str, timeout: dict[str, str]
) -> None:
    stand.create_function(function, KEEPS_TOKEN)
    execution = run({"queue": queue, "seconds": 1}, language, **timeout)
    (token,) = received()
    result = ended(stand, execution)
    assert (result["status"], result["error"]) == ("FAILED", "States.Timeout")
    with pytest.raises(ClientError) as raised:
        stand.client("stepfunctions").send_task_success(taskToken=token, output="{}")
    assert code(raised) == "TaskTimedOut"


STARTS_SLOWLY = """
import os, time
time.sleep(4)
def handler(event, context):
    time.sleep(2)
    return os.path.exists(__file__)
"""


def test_a_worker_that_dies_while_it_starts_ends_no_other(stand: Stand, function: str) -> None:
    stand.create_function(function, STARTS_SLOWLY)
    lambda_ = stand.client("lambda")

    def invoke() -> Any:
        answer = lambda_.invoke(FunctionName=function)
        return "failed" if "FunctionError" in answer else json.loads(answer["Payload"].read())

    with ThreadPoolExecutor() as pool:
        first = pool.submit(invoke)
        [killed] = until(lambda: stand.workers(function), bool)
        time.sleep(0.5)
        second = pool.submit(invoke)
        until(lambda: stand.workers(function), lambda found: len(found) == 2)
        os.kill(killed, signal.SIGKILL)
        assert (first.result(), second.result()) == ("failed", True)


def test_a_log_has_all_that_was_written_in_pages(stand: Stand, function: str) -> None:
    source = "def handler(event, context):\n    for n in range(12_000):\n        print('line', n)\n"
    stand.create_function(function, source)
    stand.client("lambda").invoke(FunctionName=function)
    pages = stand.client("logs").get_paginator("filter_log_events")
    read = [page["events"] for page in pages.paginate(logGroupName=f"/aws/lambda/{function}")]
    assert max(map(len, read)) == 10_000
    lines = [event["message"] for page in read for event in page]
    assert [line for line in lines if line.startswith("line")] == [f"line {n}" for n in range(12_000)]
    assert not [line for line in lines if "\0" in line]


def test_a_wait_ends_with_its_token_and_the_token_with_it(
    stand: Stand, function: str, queue: str, received: Any, run: Any
) -> None:
    stand.create_function(function, KEEPS_TOKEN)
    states = stand.client("stepfunctions")
    execution = run({"queue": queue})
    (token,) = received()
    states.send_task_success(taskToken=token, output='{"by": "test"}')
    with pytest.raises(ClientError) as raised:
        states.send_task_success(taskToken=token, output="{}")
    assert code(raised) == "TaskTimedOut"
    assert json.loads(ended(stand, execution)["output"]) == {"by": "test"}
    with pytest.raises(ClientError) as raised:
        states.send_task_success(taskToken="never was one", output="{}")
    assert code(raised) == "InvalidToken"


def test_a_wait_ends_when_its_function_fails(stand: Stand, function: str, run: Any) -> None:
    stand.create_function(function, KEEPS_TOKEN)
    result = ended(stand, run({"fail": True}, TimeoutSeconds=60))
    assert (result["status"], result["error"]) == ("FAILED", "Runtime.HandlerError")


def test_an_alias_cannot_be_what_lambda_refuses(stand: Stand, function: str) -> None:
    lambda_ = stand.client("lambda")
    version = lambda_.publish_version(FunctionName=function)["Version"]
    lambda_.create_alias(FunctionName=function, Name="prod", FunctionVersion=version)
    update = {"FunctionName": function, "Name": "prod"}
    with pytest.raises(ClientError) as raised:
        lambda_.update_alias(**update, FunctionVersion="99")
    assert code(raised) == "ResourceNotFoundException"
    with pytest.raises(ClientError) as raised:
        lambda_.update_alias(**update, RoutingConfig={"AdditionalVersionWeights": {"99": 0.1}})
    assert code(raised) == "ResourceNotFoundException"
    with pytest.raises(ClientError) as raised:
        lambda_.update_alias(**update, RoutingConfig={"AdditionalVersionWeights": {version: 0.1}})
    assert code(raised) == "InvalidParameterValueException"
    assert stand.alias(function, "prod") == version


def test_weights_and_provisioned_concurrency_exclude_each_other(stand: Stand, function: str) -> None:
    lambda_ = stand.client("lambda")
    first = lambda_.publish_version(FunctionName=function)["Version"]
    lambda_.update_function_configuration(FunctionName=function, Description="another")
    lambda_.get_waiter("function_updated_v2").wait(FunctionName=function, WaiterConfig=OFTEN)
    second = lambda_.publish_version(FunctionName=function)["Version"]
    weights = {"RoutingConfig": {"AdditionalVersionWeights": {second: 0.1}}}
    provisioned = {"FunctionName": function, "Qualifier": "prod", "ProvisionedConcurrentExecutions": 1}
    lambda_.create_alias(FunctionName=function, Name="prod", FunctionVersion=first, **weights)
    with pytest.raises(ClientError) as raised:
        lambda_.put_provisioned_concurrency_config(**provisioned)
    assert code(raised) == "InvalidParameterValueException"
    lambda_.update_alias(FunctionName=function, Name="prod", RoutingConfig={"AdditionalVersionWeights": {}})
    lambda_.put_provisioned_concurrency_config(**provisioned)
    with pytest.raises(ClientError) as raised:
        lambda_.update_alias(FunctionName=function, Name="prod", **weights)
    assert code(raised) == "InvalidParameterValueException"


def test_an_alarm_minds_its_own_dimensions_and_announces_itself(
    stand: Stand, queue: str, received: Callable[[], list[str]]
) -> None:
    cloudwatch, events, name = stand.client("cloudwatch"), stand.client("events"), f"stand-{uuid4().hex[:8]}"
    pattern = {"source": ["aws.cloudwatch"], "detail": {"alarmName": [name], "state": {"value": ["ALARM"]}}}
    events.put_rule(Name=name, EventPattern=json.dumps(pattern))
    arn = stand.client("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])
    events.put_targets(Rule=name, Targets=[{"Id": "queue", "Arn": arn["Attributes"]["QueueArn"]}])
    metric: dict[str, Any] = {"MetricName": name, "Dimensions": [{"Name": "Of", "Value": "mine"}]}
    cloudwatch.put_metric_alarm(
        AlarmName=name,
        Namespace="Stand",
        **metric,
        Statistic="Sum",
        Period=60,
        EvaluationPeriods=1,
        Threshold=1,
        ComparisonOperator="GreaterThanOrEqualToThreshold",
    )

    def state() -> str:
        return str(cloudwatch.describe_alarms(AlarmNames=[name])["MetricAlarms"][0]["StateValue"])

    try:
        other = {**metric, "Dimensions": [{"Name": "Of", "Value": "another"}]}
        cloudwatch.put_metric_data(Namespace="Stand", MetricData=[{**other, "Value": 5}])
        assert state() == "INSUFFICIENT_DATA"
        cloudwatch.put_metric_data(Namespace="Stand", MetricData=[{**metric, "Value": 5}])
        assert state() == "ALARM"
        (event,) = [json.loads(body) for body in received()]
        assert event["detail-type"] == "CloudWatch Alarm State Change"
        assert event["detail"]["previousState"]["value"] == "INSUFFICIENT_DATA"
    finally:
        cloudwatch.delete_alarms(AlarmNames=[name])
        events.remove_targets(Rule=name, Ids=["queue"])
        events.delete_rule(Name=name)


def test_what_failed_of_a_stream_comes_again(
    stand: Stand, function: str, queue: str, received: Callable[[], list[str]]
) -> None:
    source = """\
import boto3

def handler(event, context):
    boto3.client("sqs").send_message(QueueUrl=%r, MessageBody="batch")
    failed = [{"itemIdentifier": one["dynamodb"]["SequenceNumber"]} for one in event["Records"]]
    return {"batchItemFailures": failed}
"""
    stand.create_function(function, source % queue)
    dynamodb, lambda_ = stand.client("dynamodb"), stand.client("lambda")
    table = dynamodb.create_table(
        TableName=function,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
    )["TableDescription"]
    mapping = lambda_.create_event_source_mapping(
        EventSourceArn=table["LatestStreamArn"],
        FunctionName=function,
        StartingPosition="LATEST",
        FunctionResponseTypes=["ReportBatchItemFailures"],
    )["UUID"]
    try:
        dynamodb.put_item(TableName=function, Item={"id": {"S": "1"}})
        deadline = datetime.now(UTC) + timedelta(seconds=10)
        batches = 0
        while batches < 2 and datetime.now(UTC) < deadline:
            batches += len(received())
        assert batches >= 2
    finally:
        lambda_.delete_event_source_mapping(UUID=mapping)
        dynamodb.delete_table(TableName=function)
