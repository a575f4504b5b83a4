"""The board over a history of deployments."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from support.board import ISSUERS, MANAGERS, Board, person
from support.board_history import PROD, History
from support.gateway_simulation import APPROVERS, RELEASERS, gate_of, gateway_simulation


@pytest.fixture(scope="module")
def history() -> Iterator[History]:
    with gateway_simulation(
        gate=gate_of({"prod": PROD}, (RELEASERS, APPROVERS, MANAGERS), issuers=ISSUERS)
    ) as at:
        yield History(at)


@pytest.fixture
def board(history: History) -> Board:
    """The board as grace sees it, who may approve and whom nothing that is held reaches."""
    at = history.at
    return Board(at.gate, at.store, at.clock, person(now=at.clock()))


@pytest.fixture
def signed_out(board: Board) -> Board:
    return replace(board, viewer=None)


@pytest.fixture
def stranger(board: Board) -> Board:
    """The board as somebody sees it whom no rule names."""
    return replace(board, viewer=person("99", "mallory", now=board.clock()))
