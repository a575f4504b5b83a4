"""What the command line's tests share."""

from collections.abc import Iterator

import pytest
from cli_running import Run, running
from cli_server import TOKEN, Server, serving


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
