"""What the tests on the stand share."""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest

from stand import Stand, hooked
from stand.fixtures import stand, wide
from stand.hooked import Hooks
from stand.monitor import Monitor
from stand.paths import Paths
from stand.wide import Wide

__all__ = ["function", "gateway_log", "hooks", "paths", "stand", "wide"]


@pytest.fixture
def function(stand: Stand) -> Iterator[str]:
    """The name of a function of the test's own, as it was created and never released."""
    name = f"orders-{uuid4().hex[:8]}"
    stand.create_function(name)
    yield name
    stand.delete_function(name)


@pytest.fixture(scope="session")
def paths(wide: Wide) -> Iterator[Paths]:
    """Functions in the stages of `stand.rollouts`, with their aliases watched."""
    with Monitor(wide.stand) as monitor:
        yield Paths(wide.stand, monitor)


@pytest.fixture(scope="session")
def hooks(wide: Wide) -> Hooks:
    """The webhooks of `stand.hooked`, with their secrets and functions."""
    return hooked.prepare(wide.stand)


@pytest.fixture(scope="session")
def gateway_log(stand: Stand) -> Callable[[str], list[dict[str, Any]]]:
    """What the gateway logged about a request that it refused, by the `request_id` of its answer.

    The refusal is the last event about a request, and an event before it can be there a moment earlier.
    """
    logs = stand.client("logs")

    def about(request_id: str) -> list[dict[str, Any]]:
        deadline = time.monotonic() + 60
        while True:
            found = logs.filter_log_events(
                logGroupName="/aws/lambda/sluicegate-gateway", filterPattern=f'"{request_id}"'
            )["events"]
            events: list[dict[str, Any]] = [json.loads(event["message"]) for event in found]
            if any(event["message"] == "request_refused" for event in events) or time.monotonic() > deadline:
                return events
            time.sleep(0.05)

    return about
