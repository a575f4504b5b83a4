"""Runs the command line in a process of its own, on a pseudo-terminal."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import sluicegate
import sluicegate_cli
from support.cli_server import TOKEN, Server

NASTY = "ok\x1b[2J\nsucceeded: forged\u202e\u2028[bold]"


def environment(server: Server) -> dict[str, str]:
    """This one's, with where the packages, the server and a token are."""
    packages = [str(Path(str(package.__file__)).parents[2]) for package in (sluicegate, sluicegate_cli)]
    inherited = {name: value for name, value in os.environ.items() if not name.endswith("_COLOR")}
    return inherited | {
        "PYTHONPATH": os.pathsep.join(packages),
        "PYTHONUNBUFFERED": "1",
        "SLUICEGATE_URL": server.url,
        "SLUICEGATE_TOKEN": TOKEN,
    }


def on_a_terminal(server: Server, *arguments: str, **more: str) -> str:
    """What the command writes on a terminal of its own."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", "from sluicegate_cli.main import main; main()", *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment(server) | {"TERM": "xterm-256color", "COLUMNS": "100"} | more,
    )
    os.close(theirs)
    written = b""
    try:
        while chunk := os.read(ours, 4096):
            written += chunk
    except OSError:  # Linux's way of saying that the other end is closed
        pass
    os.close(ours)
    process.wait(timeout=10)
    return written.decode()
