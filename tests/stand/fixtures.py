"""The stand, for tests: a conftest imports the fixture."""

from collections.abc import Iterator

import pytest

from stand import control
from stand.api import Stand


@pytest.fixture(scope="session")
def stand() -> Iterator[Stand]:
    """The stand with the tree as it is: the one that is up, or one that ends with these tests."""
    before = control.State.load()
    was_up = before is not None and before.is_running()
    control.up()
    yield Stand.running()
    if not was_up:
        control.down()
