import pytest

from sluicegate import http_client
from support.notifier_simulation import NotifierSimulation


@pytest.fixture
def simulation(monkeypatch: pytest.MonkeyPatch) -> NotifierSimulation:
    simulated = NotifierSimulation()
    monkeypatch.setattr(http_client, "exchange", simulated.exchange)
    return simulated
