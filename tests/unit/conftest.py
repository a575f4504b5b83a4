"""What tests share: those of the command line, and how properties are tried."""

from collections.abc import Iterator

import pytest
from hypothesis import settings

from support.cli_running import Run, running
from support.cli_server import TOKEN, Server, serving

# How long an example takes says how busy the machine is, and nothing about the product.
settings.register_profile("sluicegate", deadline=None)
settings.load_profile("sluicegate")


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as server:
        yield server


@pytest.fixture
def run(server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """`sluicegate`, with the server as its endpoint and a token in its environment."""
    monkeypatch.setenv("SLUICEGATE_URL", server.url)
    monkeypatch.setenv("SLUICEGATE_TOKEN", TOKEN)
    return running(monkeypatch, capsys)
