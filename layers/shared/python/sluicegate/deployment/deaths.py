"""Executions of a rollout that died in a row."""

from dataclasses import dataclass

from sluicegate.deployment.durations import timestamp


@dataclass(frozen=True)
class Deaths:
    """How many died, since when (RFC 3339), and the record's revision after the last.

    A later revision says that the execution after that got further.
    """

    number: int
    since: str
    revision: int


def one_more(known: Deaths | None, revision: int, now: float) -> Deaths:
    """Return the deaths with one more, of a record at this revision, as they are noted in its next one."""
    if known is None or known.revision != revision:
        return Deaths(1, timestamp(now), revision + 1)
    return Deaths(known.number + 1, known.since, revision + 1)
