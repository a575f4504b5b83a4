"""Runs the command line in this process, as its entry point does."""

import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from sluicegate_cli.main import main


@dataclass(frozen=True)
class Ended:
    """How a run ended: its exit code, and what it wrote."""

    code: int
    out: str
    err: str


Run = Callable[..., Ended]


def running(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """What runs `sluicegate` with the arguments that it is called with."""

    def run(*arguments: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["sluicegate", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return Ended(int(ended.value.code or 0), out, err)

    return run


def hear_interrupts() -> None:
    """Undo that this process ignores SIGINT, as everything does that a shell started in the background.

    For `preexec_fn`: a child inherits what its parent ignores.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
