"""How many crashes were tried, for the end of the run."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

COUNTS: Final[Counter[str]] = Counter()
"""Stories that were played so far in this process, by how they were interrupted."""


def summary(counts: Iterable[Mapping[str, int]]) -> str | None:
    """Return a line for the end of the run; None if nothing was interrupted."""
    total: Counter[str] = Counter()
    for one in counts:
        total.update(one)
    if not total:
        return None
    return "crashes: " + ", ".join(f"{number:,} {what}" for what, number in sorted(total.items()))
