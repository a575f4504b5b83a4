"""The error of a command that the API rejected, or could not be asked."""

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
