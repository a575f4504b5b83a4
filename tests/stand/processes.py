"""Background processes: each in a session of its own, remembered by start time, ended with all it started."""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from stand.say import StandError

HOST = "127.0.0.1"


@dataclass(frozen=True)
class Process:
    """A process leader. The start time keeps a reused process id from being taken for it."""

    pid: int
    started: str

    def is_running(self) -> bool:
        return self.started != "" and start_time(self.pid) == self.started

    def as_json(self) -> dict[str, int | str]:
        return asdict(self)


def start(command: Sequence[str | Path], *, log: Path, env: Mapping[str, str], cwd: Path) -> Process:
    """Start a process as the leader of a new session, writing to `log`."""
    with log.open("ab") as output:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=env,
            cwd=cwd,
            start_new_session=True,
        )
    return Process(child.pid, start_time(child.pid))


def stop(process: Process, *, patience: float = 5) -> None:
    """End the process and everything in its session's group: politely, then after `patience` seconds not."""
    if not process.is_running():
        return
    for how, wait in ((signal.SIGTERM, patience), (signal.SIGKILL, patience)):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, how)
        deadline = time.monotonic() + wait
        while time.monotonic() < deadline:
            reap(process.pid)
            if not members(process.pid):
                return
            time.sleep(0.05)


def start_time(pid: int) -> str:
    """When a process started, in whatever words `ps` has for it; empty for none or a zombie."""
    fields = subprocess.run(
        ["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    ).stdout.split(maxsplit=1)
    return "" if len(fields) < 2 or fields[0].startswith("Z") else fields[1].strip()


def members(group: int) -> list[int]:
    """The processes of a group that are not zombies."""
    command = ["ps", "-Ao", "pid=,pgid=,stat="]
    listed = subprocess.run(command, capture_output=True, text=True, check=False)
    rows = (line.split() for line in listed.stdout.splitlines())
    return [int(pid) for pid, pgid, stat in rows if int(pgid) == group and not stat.startswith("Z")]


def reap(pid: int) -> None:
    """Collect our own child, so that it does not linger as a zombie."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def wait_until(
    answers: Callable[[], bool], process: Process, *, what: str, log: Path, patience: float
) -> None:
    """Wait until a started process answers.

    Raises StandError with the end of its log where it dies or takes longer than `patience` seconds.
    """
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        if answers():
            return
        reap(process.pid)
        if not process.is_running():
            break
        time.sleep(0.05)
    tail = "\n  ".join(log.read_text(errors="replace").splitlines()[-15:])
    raise StandError(f"{what} did not start. The end of {log}:\n  {tail}")


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def choose_port(variable: str, usual: int) -> int:
    """The port that the environment variable names, or the usual one, or any free one if that is taken or 0.

    Raises StandError where the named port is in use: somebody counts on that one.
    """
    named = os.environ.get(variable)
    if named:
        if not named.isdigit() or not 0 < int(named) < 65536:
            raise StandError(f"{variable}={named} is not a port")
        if not is_free(int(named)):
            raise StandError(f"port {named} is in use. Name another: make {variable}=NUMBER, or leave it out")
        return int(named)
    if usual and is_free(usual):
        return usual
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
    return port
