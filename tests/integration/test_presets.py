"""Presets on the stand: functions that fail without an error of Lambda's, and what goes back for it.

What the stand cannot make happen is written into CloudWatch as AWS writes it: Kafka, which the emulator does
not poll. Sources: `sluicegate.rollout.presets`.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Final
from uuid import uuid4

import pytest

from stand.api import Stand
from stand.emulator import REGION
from stand.paths import Path, Paths
from stand.presets import ANSWERS_500, Asking, ask, goes_back, url_of

pytestmark = pytest.mark.extended

NAMES_ALL: Final = (
    "return {'batchItemFailures': [{'itemIdentifier': one['kinesis']['sequenceNumber']}"
    " for one in event['Records']]}"
)

BAD_KEY: Final = str(2**128 - 1)
"""A hash key of the second shard, where what fails holds up nothing else."""


# Event sources


@contextmanager
def stream_of(stand: Stand, path: Path, destination: str | None = None) -> Iterator[str]:
    """A stream of two shards whose records invoke the path's alias once; its name."""
    kinesis, lambda_ = stand.client("kinesis"), stand.client("lambda")
    kinesis.create_stream(StreamName=path.function, ShardCount=2)
    arn = kinesis.describe_stream_summary(StreamName=path.function)["StreamDescriptionSummary"]["StreamARN"]
    kinesis.get_waiter("stream_exists").wait(StreamName=path.function, WaiterConfig={"Delay": 1})
    more = {"DestinationConfig": {"OnFailure": {"Destination": destination}}} if destination else {}
    mapping = lambda_.create_event_source_mapping(
        FunctionName=f"{path.function}:{path.stage}",
        EventSourceArn=arn,
        StartingPosition="TRIM_HORIZON",
        BatchSize=100,
        MaximumRetryAttempts=0,
        FunctionResponseTypes=["ReportBatchItemFailures"],
        MetricsConfig={"Metrics": ["EventCount"]},
        **more,
    )
    try:
        yield path.function
    finally:
        lambda_.delete_event_source_mapping(UUID=mapping["UUID"])
        kinesis.delete_stream(StreamName=path.function)


def put(stand: Stand, stream: str, good: int, bad: int) -> None:
    """Put records into a stream; those that are bad come in batches of their own."""
    records: list[dict[str, Any]] = [
        {"Data": b"{}", "PartitionKey": "good", "ExplicitHashKey": "0"} for _ in range(good)
    ]
    records += [{"Data": b"{}", "PartitionKey": "bad", "ExplicitHashKey": BAD_KEY} for _ in range(bad)]
    answer = stand.client("kinesis").put_records(StreamName=stream, Records=records)
    assert not answer["FailedRecordCount"]


@contextmanager
def queue(stand: Stand, name: str) -> Iterator[tuple[str, str]]:
    """A queue; its URL and ARN."""
    sqs = stand.client("sqs")
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    try:
        yield (
            url,
            sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"],
        )
    finally:
        sqs.delete_queue(QueueUrl=url)


def test_records_of_a_stream_that_fail_send_it_back(paths: Paths) -> None:
    with paths("batched") as path, stream_of(paths.stand, path) as stream:
        deployment = path.deploy("names all of them", NAMES_ALL)
        path.until(deployment, "baking")
        put(paths.stand, stream, good=40, bad=0)
        goes_back(path, deployment, "batch_failed")


def test_events_of_kafka_that_fail_send_it_back(paths: Paths) -> None:
    lambda_, cloudwatch = paths.stand.client("lambda"), paths.stand.client("cloudwatch")
    with paths("batched") as path:
        mapping = lambda_.create_event_source_mapping(
            FunctionName=f"{path.function}:{path.stage}",
            EventSourceArn=f"arn:aws:kafka:{REGION}:{paths.stand.account_id}:cluster/orders/{uuid4()}-1",
            Topics=["orders"],
            StartingPosition="TRIM_HORIZON",
            MetricsConfig={"Metrics": ["EventCount"]},
        )["UUID"]
        try:
            deployment = path.deploy("next")
            path.until(deployment, "baking")
            of = [{"Name": "EventSourceMappingUUID", "Value": mapping}]
            data = [
                {"MetricName": name, "Dimensions": of, "Value": value, "Unit": "Count"}
                for name, value in (("InvokedEventCount", 400.0), ("FailedInvokeEventCount", 90.0))
            ]
            cloudwatch.put_metric_data(Namespace="AWS/Lambda", MetricData=data)
            goes_back(path, deployment, "batch_failed")
        finally:
            lambda_.delete_event_source_mapping(UUID=mapping)


# What callers see


def test_a_function_url_that_is_only_observed_changes_nothing(paths: Paths) -> None:
    with paths("fronted-observed") as path, url_of(paths.stand, path) as url:
        with Asking(url) as asking:
            done = path.done(path.deploy("answers 500", ANSWERS_500), patience=120)
        assert asking.statuses == {200, 500}
        assert (done["status"], path.serves) == ("succeeded", {"version": "2", "weights": {}})
    assert "url_5xx" in {one["limit"] for one in done["would_have"]}, done["would_have"]


@contextmanager
def rest_api(stand: Stand, path: Path) -> Iterator[str]:
    """A REST API named as the function, with a stage named as its alias, which it invokes."""
    gateway = stand.client("apigateway")
    api = gateway.create_rest_api(name=path.function)["id"]
    try:
        root = gateway.get_resources(restApiId=api)["items"][0]["id"]
        method = {"restApiId": api, "resourceId": root, "httpMethod": "GET"}
        gateway.put_method(**method, authorizationType="NONE")
        gateway.put_integration(
            **method,
            type="AWS_PROXY",
            integrationHttpMethod="POST",
            uri=f"arn:aws:apigateway:{REGION}:lambda:path/2015-03-31/functions/{alias_arn(path)}/invocations",
        )
        gateway.create_deployment(restApiId=api, stageName=path.stage)
        yield f"{stand.aws_endpoint_url}/_aws/execute-api/{api}/{path.stage}/"
    finally:
        gateway.delete_rest_api(restApiId=api)


@contextmanager
def http_api(stand: Stand, path: Path) -> Iterator[str]:
    """The HTTP API with the id that the gate file names; AWS would have chosen it."""
    gateway = stand.client("apigatewayv2")
    api = gateway.create_api(Name=path.function, ProtocolType="HTTP", Tags={"ms-custom-id": "pathshttp1"})[
        "ApiId"
    ]
    try:
        integration = gateway.create_integration(
            ApiId=api,
            IntegrationType="AWS_PROXY",
            IntegrationUri=alias_arn(path),
            PayloadFormatVersion="2.0",
        )["IntegrationId"]
        gateway.create_route(ApiId=api, RouteKey="GET /", Target=f"integrations/{integration}")
        gateway.create_stage(ApiId=api, StageName=path.stage, AutoDeploy=True)
        yield f"{stand.aws_endpoint_url}/_aws/execute-api/{api}/{path.stage}/"
    finally:
        gateway.delete_api(ApiId=api)


def alias_arn(path: Path) -> str:
    arn = path.stand.client("lambda").get_alias(FunctionName=path.function, Name=path.stage)["AliasArn"]
    path.stand.client("lambda").add_permission(
        FunctionName=path.function,
        Qualifier=path.stage,
        StatementId="api",
        Action="lambda:InvokeFunction",
        Principal="apigateway.amazonaws.com",
    )
    return str(arn)


@pytest.mark.parametrize(("stage", "made"), [("behind-rest", rest_api), ("behind-http", http_api)])
def test_an_api_that_answers_500_sends_it_back(
    paths: Paths, stage: str, made: Callable[[Stand, Path], AbstractContextManager[str]]
) -> None:
    with paths(stage) as path, made(paths.stand, path) as url:
        deployment = path.deploy("answers 500", ANSWERS_500)
        path.until(deployment, "baking")
        assert set(ask(url, 30)) <= {500, 200}  # 200 once it has gone back
        goes_back(path, deployment, "api_5xx")
