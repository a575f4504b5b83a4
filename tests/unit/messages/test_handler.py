"""The function as it is deployed: an event of the queue, a table, a secret, and a channel on this machine."""

import importlib.util
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import boto3
import pytest
from moto import mock_aws

from sluicegate.deployment.model import Status
from sluicegate.gate.notifications import Notification
from sluicegate.store import codec
from support.notifier_simulation import deployment
from support.simulation import OWN, TABLE, create_table
from support.template import ROOT

SECRET = "sluicegate/notify/releases"


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    for name, value in {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": OWN.region,
        "AWS_DEFAULT_REGION": OWN.region,
        "SLUICEGATE_TABLE": TABLE,
        "SLUICEGATE_QUEUE": "queue",
        "SLUICEGATE_DEAD_LETTERS": "dead letters",
        "SLUICEGATE_GATE": "gate.json",
        "SLUICEGATE_OWN_FUNCTIONS": "sluicegate-gateway",
        "SLUICEGATE_BOARD_URL": "https://deploy.example.com/v1/board",
    }.items():
        monkeypatch.setenv(name, value)
    spec = importlib.util.spec_from_file_location("messenger_app", Path(ROOT, "functions/messenger/app.py"))
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with mock_aws():
        yield module


def test_an_event_of_the_queue_is_a_message_in_the_channel(app: ModuleType) -> None:
    taken: list[dict[str, Any]] = []

    class Channel(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            taken.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Says nothing."""

    server = HTTPServer(("127.0.0.1", 0), Channel)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    table = boto3.client("dynamodb")
    create_table(table)
    one = deployment(Status.SUCCEEDED)
    table.put_item(TableName=TABLE, Item=codec.marshal(codec.record(one)))
    url = f"http://127.0.0.1:{server.server_address[1]}/services"
    boto3.client("secretsmanager").create_secret(Name=SECRET, SecretString=url)
    everything = SimpleNamespace(matches=lambda _: True)
    entry = Notification("releases", "slack", SECRET, (everything,), (), (Status.SUCCEEDED,))  # type: ignore[arg-type]
    vars(app)["gate"] = lambda: SimpleNamespace(notifications=(entry,))
    record = {
        "messageId": "m",
        "receiptHandle": "handle",
        "body": json.dumps({"detail": {"id": one.id}}),
        "attributes": {"ApproximateReceiveCount": "1", "SentTimestamp": "1790000000000"},
    }
    for _ in range(2):
        assert app.handler({"Records": [record]}, SimpleNamespace()) == {"batchItemFailures": []}
    server.shutdown()
    server.server_close()
    assert [message["text"] for message in taken] == ["orders in prod: succeeded"]
