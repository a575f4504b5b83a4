"""The stand, for tests: a conftest imports the fixtures."""

from collections.abc import Iterator

import pytest

from stand import control
from stand import wide as gate
from stand.api import Stand
from stand.wide import Wide


@pytest.fixture(scope="session")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wide]:
    """The stand with the tree as it is and the gate file of the tests.

    It is the one that is up, or one that ends with these tests.
    """
    before = control.State.load()
    was_up = before is not None and before.is_running()
    try:
        yield gate.up(tmp_path_factory.mktemp("gate"))
    finally:
        if not was_up:
            control.down()


@pytest.fixture(scope="session")
def stand(wide: Wide) -> Stand:
    return wide.stand
