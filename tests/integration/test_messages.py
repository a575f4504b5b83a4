"""Channels and a program get messages about deployments, whatever fails between."""

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from uuid import uuid4

import pytest
from standardwebhooks import Webhook

from stand import Stand
from stand.reports import log_lines, messages, release, until
from support.message_receivers import KEY, card_texts

pytestmark = [pytest.mark.usefixtures("wide"), pytest.mark.extended]
"""The gate file that has `notify`."""

DEAD = "sluicegate-messenger-dead-letters"


@dataclass
class Channels:
    """Slack, Teams and a program on this machine: what was sent to each path, and the status of answers."""

    address: str = ""
    status: dict[str, int] = field(default_factory=dict)
    taken: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)

    def bodies(self, path: str, function: str) -> list[dict[str, Any]]:
        found = [json.loads(body) for where, _, body in self.taken if where == path]
        return [one for one in found if function in json.dumps(one)]


@pytest.fixture(scope="module")
def channels(stand: Stand) -> Iterator[Channels]:
    """One address for all tests: the messenger keeps a secret for five minutes where nobody answers at it."""
    found = Channels()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status = found.status.get(self.path, 200)
            if status == 200:
                found.taken.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.address = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    stand.put_secret("sluicegate/notify/said-slack", f"{found.address}/slack-Secret")
    stand.put_secret("sluicegate/notify/said-teams", f"{found.address}/teams-Secret")
    stand.put_secret(
        "sluicegate/notify/said-ci", json.dumps({"url": f"{found.address}/ci-Secret", "key": KEY})
    )
    yield found
    server.shutdown()
    server.server_close()


@pytest.fixture
def said(stand: Stand) -> Iterator[str]:
    """A function that the entries of `notify` are about."""
    name = f"orders-said-{uuid4().hex[:8]}"
    stand.create_function(name)
    yield name
    stand.delete_function(name)


def test_a_deployment_is_said_to_channels_and_programs(stand: Stand, channels: Channels, said: str) -> None:
    done = release(stand, said, uuid4().hex + "0" * 8)
    [slack] = until(lambda: channels.bodies("/slack-Secret", said), bool)
    assert slack["text"] == f"{said} in dev: succeeded"
    [teams] = until(lambda: channels.bodies("/teams-Secret", said), bool)
    assert card_texts(teams)[0] == f"{said} in dev: succeeded"
    both = until(lambda: channels.bodies("/ci-Secret", said), lambda found: len(found) == 2)
    assert [one["data"]["status"] for one in both] == ["publishing", "succeeded"]
    assert both[-1]["data"]["id"] == done["id"]
    for path, headers, body in channels.taken:
        if path == "/ci-Secret":
            Webhook(KEY).verify(body.decode(), headers)


def test_a_channel_that_is_gone_is_replayed_and_no_secret_is_logged(
    stand: Stand, channels: Channels, said: str
) -> None:
    channels.status["/slack-Secret"] = 404
    release(stand, said, uuid4().hex + "0" * 8)
    until(lambda: channels.bodies("/teams-Secret", said), bool)
    until(lambda: messages(stand, DEAD), lambda left: left > 0)
    assert channels.bodies("/slack-Secret", said) == []
    channels.status.clear()
    sqs = stand.client("sqs")
    queue, dead = (sqs.get_queue_url(QueueName=name)["QueueUrl"] for name in ("sluicegate-messenger", DEAD))
    while received := sqs.receive_message(QueueUrl=dead, MaxNumberOfMessages=10).get("Messages"):
        for message in received:
            sqs.send_message(QueueUrl=queue, MessageBody=message["Body"])
            sqs.delete_message(QueueUrl=dead, ReceiptHandle=message["ReceiptHandle"])
    assert len(until(lambda: channels.bodies("/slack-Secret", said), bool)) == 1
    assert len(channels.bodies("/teams-Secret", said)) == 1
    lines = log_lines(stand, "messenger", "message_sent", "message_rejected")
    assert not [line for line in lines if "Secret" in line or KEY in line]
