"""Every case runs once for each witness."""

from collections.abc import Iterator

import pytest

from contract import witness as witnesses
from contract.disagreements import DISAGREEMENTS
from contract.witness import Witness
from stand.fixtures import stand, wide

__all__ = ["function", "stand", "wide", "witness"]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "witness" in metafunc.fixturenames:
        names = witnesses.names(dynamodb="dynamodb" in metafunc.module.__name__)
        metafunc.parametrize("witness", names, indirect=True, scope="module")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if not isinstance(item, pytest.Function) or "witness" not in item.fixturenames:
            continue
        parameters = dict(item.callspec.params)
        name = str(parameters.pop("witness"))
        case = "-".join([item.originalname, *map(str, parameters.values())])
        if reason := DISAGREEMENTS.get((case, name)):
            item.add_marker(pytest.mark.xfail(reason=reason, strict=True))


@pytest.fixture(scope="module")
def witness(request: pytest.FixtureRequest) -> Iterator[Witness]:
    """The one who answers."""
    yield from witnesses.call(request.param, lambda: request.getfixturevalue("stand"))


@pytest.fixture
def function(witness: Witness) -> str:
    """The name of a function of the test's own, Active, with no versions."""
    return witness.create_function(witnesses.code("first"))
