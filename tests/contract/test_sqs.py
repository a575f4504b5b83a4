"""SQS as AWS answers it: the notifier's queue, its dead letters, and what a queue's policy may be.

Documented: Amazon SQS developer guide, read on 26 November 2026.
"""

import json
from typing import Any

import pytest

from contract.witness import Witness, eventually, refusal, unique


@pytest.fixture
def queue(witness: Witness) -> str:
    url: str = witness.client("sqs").create_queue(QueueName=unique())["QueueUrl"]
    return url


def arn(witness: Witness, url: str) -> str:
    read = witness.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
    found: str = read["Attributes"]["QueueArn"]
    return found


def receive(witness: Witness, url: str) -> Any:
    read = witness.client("sqs").receive_message(
        QueueUrl=url, MessageSystemAttributeNames=["ApproximateReceiveCount"], WaitTimeSeconds=2
    )
    (message,) = read["Messages"]
    return message


def policy(*queues: str) -> str:
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": "events.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": queues[0] if len(queues) == 1 else list(queues),
    }
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def test_a_policy_covers_one_queue(witness: Witness, queue: str) -> None:
    """Documented: "Resource" of a queue's policy is that queue. Seen: remind101/stacker_blueprints#71."""
    sqs = witness.client("sqs")
    other = sqs.create_queue(QueueName=unique())["QueueUrl"]
    both = policy(arn(witness, queue), arn(witness, other))
    answer = refusal(sqs.set_queue_attributes, QueueUrl=queue, Attributes={"Policy": both})
    assert answer[0] == "InvalidAttributeValue"


def test_a_policy_of_its_own_queue_is_taken(witness: Witness, queue: str) -> None:
    sqs = witness.client("sqs")
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": policy(arn(witness, queue))})
    read = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["Policy"])["Attributes"]["Policy"]
    assert json.loads(read)["Statement"][0]["Resource"] == arn(witness, queue)


def test_a_message_comes_again_and_counts(witness: Witness, queue: str) -> None:
    """Documented: ApproximateReceiveCount, and a visibility of 0 makes a message available at once."""
    sqs = witness.client("sqs")
    sqs.send_message(QueueUrl=queue, MessageBody="{}")
    for expected in ("1", "2", "3"):
        message = receive(witness, queue)
        assert message["Attributes"]["ApproximateReceiveCount"] == expected
        sqs.change_message_visibility(
            QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0
        )


def test_a_message_received_too_often_becomes_a_dead_letter(witness: Witness) -> None:
    """Documented: after `maxReceiveCount` receives, the next one moves it to the dead-letter queue."""
    sqs = witness.client("sqs")
    dead = sqs.create_queue(QueueName=unique())["QueueUrl"]
    redrive = json.dumps({"deadLetterTargetArn": arn(witness, dead), "maxReceiveCount": 1})
    queue = sqs.create_queue(QueueName=unique(), Attributes={"RedrivePolicy": redrive})["QueueUrl"]
    sqs.send_message(QueueUrl=queue, MessageBody="{}")
    message = receive(witness, queue)
    sqs.change_message_visibility(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0)
    assert not sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=1).get("Messages")

    def waiting() -> str:
        read = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["ApproximateNumberOfMessages"])
        return str(read["Attributes"]["ApproximateNumberOfMessages"])

    eventually(waiting, "1")
