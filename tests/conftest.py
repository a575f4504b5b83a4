"""What all tests share."""

import pytest


def pytest_sessionfinish(session: pytest.Session) -> None:
    """End the stands of workers that were interrupted."""
    if session.config.getoption("numprocesses", None):
        from stand import control

        control.end_workers()
