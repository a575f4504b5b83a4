"""What all tests share."""

import sys
from typing import Any

import pytest

from support import crash_counts, fuzzing

_fuzzed: list[dict[str, int]] = []
_crashed: list[dict[str, int]] = []
"""What each worker counted."""


_quiet = sys.dont_write_bytecode


def pytest_sessionstart() -> None:
    """Keep the bytecode of what is collected, also where PYTHONDONTWRITEBYTECODE is set.

    Otherwise each worker compiles all modules of tests, with their assertions, at every run. Workers begin to
    test when all have collected, so no stand is being built from a directory that bytecode is written into.
    """
    sys.dont_write_bytecode = False


def pytest_collection_finish() -> None:
    sys.dont_write_bytecode = _quiet


def pytest_sessionfinish(session: pytest.Session) -> None:
    """End the stands of workers that were interrupted; a worker sends what it counted."""
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["fuzzed"] = dict(fuzzing.COUNTS)
        output["crashed"] = dict(crash_counts.COUNTS)
    if session.config.getoption("numprocesses", None):
        from stand import control

        control.end_workers()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Keep what a worker counted."""
    output = getattr(node, "workeroutput", {})
    _fuzzed.append(output.get("fuzzed", {}))
    _crashed.append(output.get("crashed", {}))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say how much was fuzzed, and how many crashes were tried."""
    lines = (
        fuzzing.summary([fuzzing.COUNTS, *_fuzzed]),
        crash_counts.summary([crash_counts.COUNTS, *_crashed]),
    )
    for line in filter(None, lines):
        terminalreporter.write_line(line)
