"""What the tests on the stand share."""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest
from stand import Stand, hooked, rollouts
from stand.fixtures import stand
from stand.hooked import Hooks
from stand.monitor import Monitor
from stand.paths import Paths
from stand.wide import Wide, install

__all__ = ["function", "gateway_log", "hooks", "paths", "stand", "wide"]


@pytest.fixture
def function(stand: Stand) -> Iterator[str]:
    """The name of a function of the test's own, as it was created and never released."""
    name = f"orders-{uuid4().hex[:8]}"
    stand.create_function(name)
    yield name
    stand.delete_function(name)


@pytest.fixture(scope="session")
def wide(stand: Stand, tmp_path_factory: pytest.TempPathFactory) -> Wide:
    """The stand with the wider gate file, installed once."""
    return install(stand, tmp_path_factory.mktemp("gate"))


@pytest.fixture(scope="session")
def paths(stand: Stand, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Paths]:
    """Functions in the stages of `stand.rollouts`, which is installed once, with their aliases watched."""
    rollouts.install(stand, tmp_path_factory.mktemp("rollouts"))
    with Monitor(stand) as monitor:
        yield Paths(stand, monitor)


@pytest.fixture(scope="session")
def hooks(wide: Wide, tmp_path_factory: pytest.TempPathFactory) -> Hooks:
    """The stand with webhooks, installed once."""
    return hooked.install(wide.stand, tmp_path_factory.mktemp("hooks"))


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
