"""The gateway with its table, Lambda and Step Functions in memory."""

from collections.abc import Iterator

import pytest

from support.gateway_simulation import GatewaySimulation, gateway_simulation


@pytest.fixture
def at() -> Iterator[GatewaySimulation]:
    with gateway_simulation() as made:
        yield made
