"""What a command ends with when the API refuses, or cannot be asked."""

from collections.abc import Mapping
from typing import Any

from sluicegate_cli.exit_codes import ExitCode


class ApiError(Exception):
    """A command cannot go on. `document` is what `--json` prints, `exit` the exit code."""

    def __init__(self, exit_code: ExitCode, document: Mapping[str, Any], note: str = "") -> None:
        super().__init__(str(document.get("code")))
        self.exit = exit_code
        self.document = document
        self.note = note
        """What the reader should know besides: a deployment that goes on by itself."""
