"""Hundreds of jobs that run the command line at once: in threads, or in processes of their own."""

import io
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final, Self
from unittest import mock

from httpx2 import create_ssl_context

from sluicegate_cli.main import cli
from stand import places
from stand.api import Stand, package

CONCURRENCY: Final = {"gateway": 4, "watcher": 6, "deployer": 8, "rollback": 2}
"""Of functions of the stack in a burst, as with `ReserveConcurrency`: each is a process, slow to start."""

_CERTIFICATES: Final = "httpx2._transports.default.create_ssl_context"
_SOURCE: Final = "def handler(event, context):\n    return {text!r}\n"


@dataclass(frozen=True)
class Job:
    """What a job runs: a command of the command line, with the ID token in a file."""

    arguments: tuple[str, ...]
    token: str


@dataclass(frozen=True)
class Ended:
    """How a job ended: its exit code, the document on its standard output, and its log.

    `document` is None where it printed none. `at`: when, in epoch seconds.
    """

    exit_code: int
    document: dict[str, Any] | None
    log: str
    at: float

    @property
    def succeeded(self) -> bool:
        return self.exit_code == 0


class Jobs:
    """The jobs of a block, which begin at the same moment.

    The first `processes` are processes of their own, the others threads of this one.
    """

    def __init__(self, stand: Stand, directory: Path, jobs: Sequence[Job], *, processes: int = 0) -> None:
        self._stand = stand
        self._directory = directory
        self._jobs = jobs
        self._processes = processes
        self._start = threading.Barrier(len(jobs) + 1)
        self._futures: list[Future[Ended]] = []
        self._stack = ExitStack()
        self.began = 0.0
        """When they began, in epoch seconds."""

    def __enter__(self) -> Self:
        self._directory.mkdir(exist_ok=True)
        self._stack.enter_context(_own_output())
        # To load the certificates takes longer than all else that a client does.
        self._stack.enter_context(mock.patch(_CERTIFICATES, cache(create_ssl_context)))
        pool = self._stack.enter_context(ThreadPoolExecutor(len(self._jobs)))
        self._futures = [pool.submit(self._run, *each) for each in enumerate(self._jobs)]
        self._start.wait()
        self.began = time.time()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def ended(self) -> int:
        """How many have ended by now."""
        return sum(future.done() for future in self._futures)

    def results(self) -> list[Ended]:
        """How each ended, once all have."""
        return [future.result() for future in self._futures]

    def _run(self, number: int, job: Job) -> Ended:
        token = self._directory / f"token-{number}"
        token.write_text(job.token)
        token.chmod(0o600)
        where = ("--json", "--url", self._stand.endpoint, "--token-file", str(token))
        run = _in_process if number < self._processes else _in_thread
        self._start.wait()
        exit_code, out, log = run((*job.arguments, *where))
        return Ended(exit_code, json.loads(out) if out else None, log, time.time())


@contextmanager
def reserved_concurrency(stand: Stand) -> Iterator[None]:
    """Have the functions of the stack in few processes while the block runs."""
    with ExitStack() as stack:
        for name, most in CONCURRENCY.items():
            stack.enter_context(stand.throttled(f"sluicegate-{name}", most))
        yield


def release(directory: Path, stand: Stand, function: str, text: str, **claims: Any) -> Job:
    """A job that deploys code to staging that returns the text."""
    file = directory / f"{function}.zip"
    file.write_bytes(package(_SOURCE.format(text=text)))
    return Job(("deploy", function, "staging", "--zip", str(file)), stand.token(**claims))


def rollback(stand: Stand, function: str, **claims: Any) -> Job:
    """A job that rolls staging back."""
    return Job(("rollback", function, "staging"), stand.token(**claims))


def entered(document: Mapping[str, Any], status: str) -> str | None:
    """When a deployment first had a status, or None."""
    return next((one["at"] for one in document["timeline"] if one["status"] == status), None)


class _OwnOutput(io.TextIOBase):
    """A stream of which each thread has its own."""

    def __init__(self) -> None:
        self._own = threading.local()

    def write(self, text: str) -> int:
        self._own.text = getattr(self._own, "text", "") + text
        return len(text)

    def take(self) -> str:
        """What this thread has written."""
        text: str = getattr(self._own, "text", "")
        self._own.text = ""
        return text


@contextmanager
def _own_output() -> Iterator[None]:
    if isinstance(sys.stdout, _OwnOutput):  # of a block around this one
        yield
        return
    with redirect_stdout(_OwnOutput()), redirect_stderr(_OwnOutput()):
        yield


def _in_thread(arguments: Sequence[str]) -> tuple[int, str, str]:
    exit_code = cli.main(list(arguments), prog_name="sluicegate", standalone_mode=False)
    out, log = sys.stdout, sys.stderr
    assert isinstance(out, _OwnOutput)
    assert isinstance(log, _OwnOutput)
    return int(exit_code or 0), out.take(), log.take()


def _in_process(arguments: Sequence[str]) -> tuple[int, str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SLUICEGATE_")}
    done = subprocess.run(
        [places.VENV / "bin" / "sluicegate", *arguments],
        env=kept,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr
