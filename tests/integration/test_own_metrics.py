"""Presets for what fails without an error of Lambda's, and functions that judge, on the stand."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import pytest

from stand.api import OFTEN, Stand, package
from stand.paths import RAISES, SOURCE, Path, Paths, together
from stand.presets import ANSWERS_500, Asking, ask, goes_back, url_of

pytestmark = pytest.mark.extended

EVENTS: Final = 20
NAMES_ALL: Final = (
    'return {"batchItemFailures": [{"itemIdentifier": one["messageId"]} for one in event["Records"]]}'
)
FAILED: Final = 'return {"Status": "FAILED", "Error": {"ErrorType": "NoStock", "ErrorMessage": "none"}}'

JUDGES: Final = {
    "good": 'return {"verdict": "good", "reason": "version " + event["version"]}',
    "bad": 'return {"verdict": "bad", "reason": "empty baskets in " + event["stage"]}',
    "slow": "import time; time.sleep(5)",
    "wrong": 'return {"verdict": "perhaps"}',
}


@contextmanager
def queue_of(stand: Stand, path: Path) -> Iterator[str]:
    """A queue whose messages invoke the path's alias; its URL."""
    sqs, lambda_ = stand.client("sqs"), stand.client("lambda")
    url = sqs.create_queue(QueueName=path.function)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    mapping = lambda_.create_event_source_mapping(
        FunctionName=f"{path.function}:{path.stage}",
        EventSourceArn=arn,
        BatchSize=10,
        FunctionResponseTypes=["ReportBatchItemFailures"],
        MetricsConfig={"Metrics": ["EventCount"]},
    )
    try:
        yield url
    finally:
        lambda_.delete_event_source_mapping(UUID=mapping["UUID"])
        sqs.delete_queue(QueueUrl=url)


def test_a_batch_whose_items_fail_goes_back(paths: Paths) -> None:
    sqs = paths.stand.client("sqs")
    with paths("batched") as path, queue_of(paths.stand, path) as url:
        deployment = path.deploy("names all of them", NAMES_ALL)
        path.until(deployment, "baking")
        for start in range(0, EVENTS, 10):
            entries = [{"Id": str(i), "MessageBody": "{}"} for i in range(start, start + 10)]
            sqs.send_message_batch(QueueUrl=url, Entries=entries)
        goes_back(path, deployment, "batch_failed")


def test_a_batch_without_its_counts_is_unclear_and_says_so(paths: Paths) -> None:
    with paths("batched") as path:
        done = path.done(path.deploy("next"), patience=120)
    assert (done["status"], done["reason"]["code"]) == ("rolled_back", "unclear"), done["timeline"]
    assert "alias batched has no event source mapping" in done["reason"]["message"]


def test_asynchronous_events_that_are_dropped_send_it_back(paths: Paths) -> None:
    lambda_ = paths.stand.client("lambda")
    with paths("asynchronous") as path:
        settings = {"FunctionName": path.function, "Qualifier": path.stage}
        lambda_.put_function_event_invoke_config(**settings, MaximumRetryAttempts=0)
        deployment = path.deploy("drops them", RAISES)
        path.until(deployment, "baking")
        name = f"{path.function}:{path.stage}"
        for _ in range(EVENTS):
            lambda_.invoke(FunctionName=name, InvocationType="Event", Payload=b"{}")
        goes_back(path, deployment, "async_dropped")


def test_durable_executions_that_fail_send_it_back(paths: Paths) -> None:
    """Their invocations succeed, and answer that the execution has failed."""
    lambda_ = paths.stand.client("lambda")
    with paths("durable", served=False) as path:
        role = lambda_.get_function_configuration(FunctionName=path.function)["Role"]
        lambda_.delete_function(FunctionName=path.function)
        lambda_.create_function(
            FunctionName=path.function,
            Runtime="python3.13",
            Handler="index.handler",
            Role=role,
            Code={"ZipFile": package(SOURCE.format(release="initial", body="pass"))},
            DurableConfig={"ExecutionTimeout": 60, "RetentionPeriodInDays": 1},
        )
        lambda_.get_waiter("function_active_v2").wait(FunctionName=path.function, WaiterConfig=OFTEN)
        deployment = path.deploy("fails its executions", FAILED)
        path.until(deployment, "baking")
        for _ in range(EVENTS):
            answer = lambda_.invoke(FunctionName=f"{path.function}:{path.stage}", Payload=b"{}")
            assert "FunctionError" not in answer
        done = path.done(deployment, patience=120)
    assert done["status"] == "rolled_back", done["timeline"]
    assert (done["reason"]["code"], done["reason"]["data"]["metric"]) == ("metric", "durable_failed")


def test_a_function_url_that_answers_500_sends_it_back(paths: Paths) -> None:
    """Its invocations succeed. It is compared with the old version, which half go to."""
    with paths("fronted") as path, url_of(paths.stand, path) as url:
        assert ask(url, 5) == [200] * 5
        with Asking(url) as asking:
            goes_back(path, path.deploy("answers 500", ANSWERS_500), "url_5xx")
        assert asking.statuses == {200, 500}


def test_what_a_function_of_ones_own_says_counts(paths: Paths) -> None:
    """Where it says nothing that can be used, the bake is unclear, whatever became of the function."""
    for name, body in JUDGES.items():
        source = f"def handler(event, context):\n    {body}\n"
        paths.stand.create_function(f"paths-judge-{name}", source)

    def advised(by: str) -> dict[str, Any]:
        with paths(f"advised-{by}") as path:
            done = path.done(path.deploy("next"), patience=120)
            assert path.serves == {"version": "2" if done["status"] == "succeeded" else "1", "weights": {}}
            return done

    try:
        good, bad, slow, wrong, gone = together(
            *(lambda by=by: advised(by) for by in ("good", "bad", "slow", "wrong", "gone"))
        )
    finally:
        for name in JUDGES:
            paths.stand.delete_function(f"paths-judge-{name}")
    assert good["status"] == "succeeded", good["timeline"]
    assert "judge paths-judge-good: good: version 2" in str(good["timeline"])
    assert (bad["status"], bad["reason"]["code"]) == ("rolled_back", "judge")
    assert "empty baskets in advised-bad" in bad["reason"]["message"]
    for done, why in ((slow, "paths-judge-slow"), (wrong, "perhaps"), (gone, "does not exist")):
        assert (done["status"], done["reason"]["code"]) == ("rolled_back", "unclear"), done["timeline"]
        assert why in done["reason"]["message"]
