"""Show moments: how long ago on a terminal, the full timestamp everywhere else."""

from typing import Final

from sluicegate.deployment.durations import seconds

_UNITS: Final = ((86_400, "d"), (3_600, "h"), (60, "m"), (1, "s"))
_LONG_AGO: Final = 60 * 86_400  # seconds, from which on a date says more


def ago(timestamp: str, now: float) -> str:
    """Format a timestamp of the API as `just now`, `12s ago`, `5m ago`, `3h ago`, `2d ago` or a date."""
    try:
        passed = now - seconds(timestamp)
    except ValueError:
        return timestamp
    if passed >= _LONG_AGO:
        return timestamp[:10]
    for size, unit in _UNITS:
        if passed >= size:
            return f"{int(passed // size)}{unit} ago"
    return "just now"
