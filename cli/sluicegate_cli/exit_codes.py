"""The exit codes (docs/reference/cli.md). Jobs branch on them, so a number never changes its meaning."""

from enum import IntEnum


class ExitCode(IntEnum):
    """How a command ended."""

    OK = 0
    NOT_DEPLOYED = 1
    """The deployment ended otherwise than asked for: not in `succeeded`; of `abort`, not in `aborted`, ..."""
    USAGE = 2
    """Wrong use of the command, or an error in the gate file."""
    REFUSED = 3
    """401 or 403: the token does not verify, or no rule allows it."""
    REJECTED = 4
    """Any other 4xx: busy, not found, not as expected, ..."""
    UNAVAILABLE = 5
    """No answer, 429 or 5xx, after the retries. The same command may be run again."""
    STILL_RUNNING = 6
    """`--max-wait` was over first. The deployment goes on."""
