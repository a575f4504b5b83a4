"""Consume a queue of events about deployments: retry what may succeed later, and set aside what cannot."""

import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from sluicegate.aws.errors import error_code
from sluicegate.delivery.errors import PermanentError, TransientError
from sluicegate.gate.decoding import GateError
from sluicegate.store.leases import LeaseHeld

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

MIN_BACKOFF: Final = 30
MAX_BACKOFF: Final = 900
"""Seconds until a message is delivered again: doubled each time, from the first to this."""


@dataclass(frozen=True)
class QueueConsumer:
    """Consumes a queue of events. `sync` does for a deployment's id whatever is not done yet.

    `concerns` says of an event's detail whether there may be anything to do: it saves a look at the record.
    `delayed` and `rejected` get a code and the known fields of each message that is retried or set aside;
    `delayed` gets its `age` too, in seconds since it was sent.
    """

    sync: Callable[[str], None]
    client: "SQSClient"
    queue: str
    dead_letters: str
    delayed: Callable[..., None]
    rejected: Callable[..., None]
    clock: Callable[[], float] = time.time
    concerns: Callable[[Mapping[str, Any]], bool] = lambda _: True

    def process(self, messages: Iterable[Mapping[str, Any]]) -> list[str]:
        """Process the messages; return the ids of those that must be delivered again.

        A permanent error goes to the dead letters at once: a retry cannot help before somebody acts.
        """
        return [message["messageId"] for message in messages if not self._is_done(message)]

    def _is_done(self, message: Mapping[str, Any]) -> bool:
        deployment_id = ""
        try:
            detail = _detail_of(message["body"])
            deployment_id = str(detail["id"])
            if self.concerns(detail):
                self.sync(deployment_id)
        except LeaseHeld as held:
            self._retry(message, held.retry_after)
        except TransientError as error:
            seconds = max(error.retry_after, backoff(_receive_count(message)))
            self._delayed(error.code, message, deployment_id, seconds)
            self._retry(message, seconds)
        except (GateError, ClientError, BotoCoreError) as error:
            code = "gate" if isinstance(error, GateError) else error_code(error)
            seconds = backoff(_receive_count(message))
            self._delayed(code, message, deployment_id, seconds)
            self._retry(message, seconds)
        except PermanentError as error:
            self.client.send_message(QueueUrl=self.dead_letters, MessageBody=message["body"])
            self.rejected(error.code, deployment=deployment_id, detail=error.detail)
            return True
        else:
            return True
        return False

    def _delayed(self, code: str, message: Mapping[str, Any], deployment_id: str, seconds: float) -> None:
        age = max(0.0, self.clock() - int(message["attributes"]["SentTimestamp"]) / 1_000)
        self.delayed(code, deployment=deployment_id, seconds=seconds, age=round(age))

    def _retry(self, message: Mapping[str, Any], seconds: float) -> None:
        self.client.change_message_visibility(
            QueueUrl=self.queue,
            ReceiptHandle=message["receiptHandle"],
            VisibilityTimeout=min(ceil(seconds) + 1, MAX_BACKOFF),
        )


def _detail_of(body: str) -> Mapping[str, Any]:
    """Return an event's detail. Raises PermanentError if it is none of a deployment."""
    try:
        detail: Mapping[str, Any] = json.loads(body)["detail"]
        detail["id"]
    except (KeyError, TypeError, ValueError):
        raise PermanentError("not_an_event") from None
    return detail


def _receive_count(message: Mapping[str, Any]) -> int:
    """Return how often the message was delivered, including this time."""
    return int(message["attributes"]["ApproximateReceiveCount"])


def backoff(receive_count: int) -> int:
    """Return the seconds until a message that was delivered so often is delivered again."""
    return int(min(MIN_BACKOFF * 2 ** min(receive_count - 1, 10), MAX_BACKOFF))
