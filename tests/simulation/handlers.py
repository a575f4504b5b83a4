"""The handlers of `functions/*/app.py`, each with the services of the process that runs it.

A handler makes its services once per process, and keeps them in its module. Here many processes share a
module: the services are those of the task that is running.
"""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from types import SimpleNamespace
from typing import Any

from greenlet import getcurrent

from sluicegate import http_client
from support.gateway_simulation import function

_services: dict[Any, Any] = {}
"""The services of each task, by its greenlet."""


def current() -> Any:
    """Return the services of the task that runs."""
    return _services[getcurrent()]


@cache
def handler(name: str) -> Callable[[Any, Any], Any]:
    """Return what runs a function's handler with given services for an event."""
    module = function(name)
    call = inspect.unwrap(module.handler)

    def run(service: Any, event: Any) -> Any:
        _services[getcurrent()] = service
        try:
            return call(event, None)
        finally:
            _services.pop(getcurrent(), None)

    return run


@contextmanager
def replaced() -> Iterator[None]:
    """Let each module of a handler find the services of the task that runs."""
    kept: list[tuple[Any, str, Any]] = []

    def put(name: str, **members: Any) -> None:
        change(function(name), **members)

    def change(module: Any, **members: Any) -> None:
        for member, value in members.items():
            kept.append((module, member, getattr(module, member)))
            setattr(module, member, value)

    def silent(*_: Any, **__: Any) -> None:
        """Log nothing, and count nothing."""

    quiet = SimpleNamespace(**dict.fromkeys(("info", "warning", "error", "append_keys"), silent))
    put("deployer", service=current, logger=quiet)
    put("janitor", service=current, logger=quiet, count=silent)
    put("waker", service=current, logger=quiet)
    put("relay", relay=current)
    clock = SimpleNamespace(time=lambda: current()._clock())
    put("pruner", service=current, logger=quiet, count=silent, measure_percent=silent, time=clock)
    put("notifier", consumer=lambda: current().consumer)
    change(http_client, exchange=lambda *args, **more: current().exchange(*args, **more))
    put("gateway", context=current, settings=lambda: SimpleNamespace(signed=False), logger=quiet)
    try:
        yield
    finally:
        for module, member, value in reversed(kept):
            setattr(module, member, value)
        _services.clear()
