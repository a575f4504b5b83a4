"""What the tests that attack share."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from stand import Stand
from stand.wide import Wide, install


@pytest.fixture(scope="session")
def wide(stand: Stand, tmp_path_factory: pytest.TempPathFactory) -> Wide:
    """The stand with the wider gate file, installed once."""
    return install(stand, tmp_path_factory.mktemp("gate"))


@pytest.fixture(scope="session")
def gateway_log(stand: Stand) -> Callable[[str], list[dict[str, Any]]]:
    """What the gateway logged about a request, by the `request_id` of its answer."""
    logs = stand.client("logs")

    def about(request_id: str) -> list[dict[str, Any]]:
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            found = logs.filter_log_events(
                logGroupName="/aws/lambda/sluicegate-gateway", filterPattern=f'"{request_id}"'
            )["events"]
            if found:
                return [json.loads(event["message"]) for event in found]
            time.sleep(0.05)
        return []

    return about
