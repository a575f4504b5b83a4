"""Read durations as people write them (`5m`), and write them as people read them (`3m20s`)."""

from sluicegate.deployment.durations import parse_duration


def seconds_of(text: str) -> int:
    """Return the seconds of `90s`, `5m`, `2h` or `1d`, as in the gate file, or of `0s`. Raises ValueError."""
    seconds = 0 if text == "0s" else parse_duration(text)
    if seconds is None:
        raise ValueError(f"{text!r} is not a duration such as 90s, 5m or 2h")
    return seconds


def format_duration(seconds: float) -> str:
    """Format seconds in their two largest units: `45s`, `3m20s`, `23h59m`, `2d3h`. Negative is `0s`."""
    left = max(0, int(seconds))
    for (unit, size), (smaller, part) in (
        (("d", 86_400), ("h", 3_600)),
        (("h", 3_600), ("m", 60)),
        (("m", 60), ("s", 1)),
    ):
        if left >= size:
            return f"{left // size}{unit}{left % size // part}{smaller}"
    return f"{left}s"
