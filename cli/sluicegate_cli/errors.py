"""The error of a command that the API rejected, or could not be asked."""

import signal
from collections.abc import Mapping
from typing import Any

from sluicegate_cli.exit_codes import ExitCode


class ApiError(Exception):
    """A command cannot continue. `document` is the output of `--json`, `exit` the exit code."""

    def __init__(self, exit_code: ExitCode, document: Mapping[str, Any], note: str = "") -> None:
        super().__init__(str(document.get("code")))
        self.exit = exit_code
        self.document = document
        self.note = note
        """Further information for the reader, such as that a deployment continues on its own."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C or SIGTERM. `note` says what goes on without the command, and the way back to it."""

    def __init__(self, note: str = "", number: int = signal.SIGINT) -> None:
        super().__init__(note)
        self.note = note
        self.number = number
