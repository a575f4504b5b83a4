"""Durations as they are written (`5m`), and as people are told them (`3m20s`)."""

import re
from typing import Final

_UNITS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


def seconds_of(text: str) -> int:
    """Seconds of `90s`, `5m`, `2h` or `1d`, as in the gate file. Raises ValueError for any other spelling."""
    found = re.fullmatch(r"([0-9]{1,9})([smhd])", text, re.ASCII)
    if not found:
        raise ValueError(f"{text!r} is not a duration such as 90s, 5m or 2h")
    return int(found[1]) * _UNITS[found[2]]


def told(seconds: float) -> str:
    """Seconds in the two largest units that they have: `45s`, `3m20s`, `23h59m`, `2d3h`. Never below `0s`."""
    left = max(0, int(seconds))
    for (unit, size), (smaller, part) in (
        (("d", 86_400), ("h", 3_600)),
        (("h", 3_600), ("m", 60)),
        (("m", 60), ("s", 1)),
    ):
        if left >= size:
            return f"{left // size}{unit}{left % size // part}{smaller}"
    return f"{left}s"
