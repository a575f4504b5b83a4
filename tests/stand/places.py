"""Where the stand keeps what, all of it under `.stand/` and none of it in git.

Each worker of a parallel test run has a stand of its own, under `.stand/gw0/`, `.stand/gw1/` and so on.
"""

import hashlib
import os
import tempfile
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
WORKER: Final = os.environ.get("PYTEST_XDIST_WORKER", "")
"""The name of the test worker that this process belongs to; empty for none."""

STAND: Final = ROOT / ".stand" / WORKER
STAND_JSON: Final = STAND / "stand.json"
STATE: Final = STAND / "state.json"
API_ID: Final = STAND / "api-id"
CALLS: Final = STAND / "calls.jsonl"
"""What sessions of roles called: a line for each call."""

EMULATOR_LOG: Final = STAND / "emulator.log"
GITLAB_LOG: Final = STAND / "gitlab.log"
SAM_LOG: Final = STAND / "sam.log"
BUILD: Final = STAND / "build"
VENV: Final = ROOT / ".venv"
EMULATOR_PYTHON: Final = ROOT / ".stand" / "emulator" / "bin" / "python"
GATE_FILE: Final = Path(__file__).parent / "sluicegate.yaml"
DEMO_GATE_FILE: Final = Path(__file__).parent / "demo.yaml"


def scratch() -> Path:
    """The emulator's temporary directory: in memory where there is /dev/shm, which halves cold starts."""
    memory = Path("/dev/shm")  # noqa: S108 - a directory of our own is made in it, readable by us alone
    base = memory if os.access(memory, os.W_OK) else Path(tempfile.gettempdir())
    return base / f"sluicegate-stand-{os.getuid()}-{hashlib.sha256(str(STAND).encode()).hexdigest()[:8]}"
