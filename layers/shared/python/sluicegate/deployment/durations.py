"""Times and durations as text: RFC 3339 timestamps, and durations such as `90s` or `5m`."""

import re
from datetime import UTC, datetime
from typing import Final

DURATION: Final = re.compile(r"[1-9][0-9]{0,8}[smhd]", re.ASCII)
_UNITS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


def timestamp(at: float) -> str:
    """RFC 3339 in UTC with milliseconds, from epoch seconds."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def seconds(moment: str) -> float:
    """Epoch seconds of a `timestamp`."""
    return datetime.fromisoformat(moment).timestamp()


def duration(value: int) -> str:
    """Seconds as the gate file writes them: `90s`, `5m`, `2h`, `1d`."""
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if value and value % size == 0:
            return f"{value // size}{unit}"
    return f"{value}s"


def parse_duration(text: str) -> int | None:
    """Seconds of a duration such as `90s` or `5m`; None for anything else."""
    return int(text[:-1]) * _UNITS[text[-1]] if DURATION.fullmatch(text) else None
