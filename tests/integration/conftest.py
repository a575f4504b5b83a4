"""What the tests on the stand share."""

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, Final
from uuid import uuid4

import pytest

from stand import Stand, hooked, rollouts
from stand.fixtures import stand
from stand.hooked import Hooks
from stand.monitor import Monitor
from stand.paths import Paths
from stand.wide import Wide, install

__all__ = ["function", "gateway_log", "hooks", "paths", "stand", "wide"]


CONCURRENT: Final = pytest.StashKey[dict[str, Future[Any]]]()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "concurrent: runs at the same time as the others of its module. It may wait, and must not mind them",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Start all concurrent tests of a module with its first one; each then waits for its own end.

    Those that are not run alone, as ever: when all that were started have ended.
    """
    running = pyfuncitem.session.stash.setdefault(CONCURRENT, {})
    if not pyfuncitem.get_closest_marker("concurrent"):
        wait(running.values())
        return None
    if pyfuncitem.nodeid not in running:
        given = {name: pyfuncitem.funcargs[name] for name in ("paths",)}
        items = [item for item in pyfuncitem.session.items if item.path == pyfuncitem.path]
        tests = [item for item in items if item.get_closest_marker("concurrent")]
        pool = ThreadPoolExecutor(len(tests), thread_name_prefix="test")
        for item in tests:
            assert isinstance(item, pytest.Function)
            running[item.nodeid] = pool.submit(item.obj, **given)
        pool.shutdown(wait=False)
    running[pyfuncitem.nodeid].result()
    return True


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
