"""The stand, and an engine for containers."""

from collections.abc import Iterator

import pytest

from container import engine
from stand.fixtures import stand, wide

__all__ = ["stand", "wide"]


@pytest.fixture(scope="session", autouse=True)
def _engine() -> Iterator[None]:
    """An engine with Lambda's runtime image: these tests are not skipped, they say what is missing."""
    with engine.engine():
        engine.ensure_image()
        yield
