"""The exit codes (docs/reference/cli.md). Jobs branch on them, so a number never changes its meaning."""

from enum import IntEnum


class ExitCode(IntEnum):
    """How a command ended."""

    OK = 0
    NOT_DEPLOYED = 1
    """The deployment ended in another status than `succeeded`, or for `abort` than `aborted`."""
    USAGE = 2
    """Wrong use of the command, or an error in the gate file."""
    REFUSED = 3
    """401 or 403: the token does not verify, or no rule allows the request."""
    UNACCEPTABLE = 4
    """Any other 4xx: busy, not found, another version than expected, ..."""
    UNAVAILABLE = 5
    """No response, 429 or 5xx, after all retries. It is safe to run the same command again."""
    STILL_RUNNING = 6
    """`--max-wait` passed first. The deployment continues."""
