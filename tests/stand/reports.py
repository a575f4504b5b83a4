"""Deployments whose reports a test waits for, and the queues that the reports come from."""

import time
from collections.abc import Callable
from typing import Any, TypeVar
from uuid import uuid4

from stand.api import Stand, package

T = TypeVar("T")


def purge(stand: Stand, queue: str) -> None:
    """Delete a queue's messages."""
    sqs = stand.client("sqs")
    sqs.purge_queue(QueueUrl=sqs.get_queue_url(QueueName=queue)["QueueUrl"])


def until(look: Callable[[], T], enough: Callable[[T], bool], patience: float = 180) -> T:
    """What there is to see once it is enough, or when patience ends."""
    deadline = time.monotonic() + patience
    while not enough(seen := look()) and time.monotonic() < deadline:
        time.sleep(0.2)
    return seen


def release(stand: Stand, function: str, commit: str, stage: str = "dev", **claims: Any) -> dict[str, Any]:
    """A deployment from the beginning to its end."""
    token = stand.token(sha=commit, **claims)
    source = f"# {uuid4()}\ndef handler(event, context):\n    return {{}}\n"
    sha256 = stand.upload(function, package(source), token=token)
    body = {"action": "deploy", "function": function, "stage": stage, "artifact": {"sha256": sha256}}
    answer = stand.http("POST", "/deployments", body, token=token)
    assert answer.status_code == 202, answer.text
    return stand.wait(answer.json()["id"], token=token)


def log_lines(stand: Stand, function: str, *events: str, since: float = 0) -> list[str]:
    """What a function of the stack logged from a time on, in s since 1970, once all these events are in it.

    What an invocation logs is there a moment after its end, and with it what came of it.
    """
    pages = stand.client("logs").get_paginator("filter_log_events")
    wanted = {"logGroupName": f"/aws/lambda/sluicegate-{function}", "startTime": int(since * 1000)}

    def look() -> list[str]:
        return [event["message"] for page in pages.paginate(**wanted) for event in page["events"]]

    def complete(lines: list[str]) -> bool:
        return all(any(f'"{event}"' in line for line in lines) for event in events)

    lines = until(look, complete)
    assert complete(lines), f"none of {function}'s {len(lines)} lines has one of {events}"
    return lines


def table_items(stand: Stand) -> list[dict[str, Any]]:
    """All items of the table. DynamoDB answers a megabyte at a time."""
    pages = stand.client("dynamodb").get_paginator("scan").paginate(TableName=stand.table)
    return [item for page in pages for item in page["Items"]]


def messages(stand: Stand, queue: str) -> int:
    """Messages of a queue, those in hand included."""
    sqs = stand.client("sqs")
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    url = sqs.get_queue_url(QueueName=queue)["QueueUrl"]
    result = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
    return sum(int(result[name]) for name in names)
