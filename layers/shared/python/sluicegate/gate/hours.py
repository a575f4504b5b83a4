"""The hours in which a rule starts deployments: is it open now, and when does it open next?

The wall clock of the zone decides. An hour that the clock skips in spring does not occur; one that it shows
twice in autumn counts both times. A window that ends at or before its beginning goes over midnight, and
belongs to the day on which it begins.
"""

from datetime import UTC, datetime, tzinfo
from functools import cache
from typing import Final

from sluicegate.gate.rules import Hours

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

LOOK_AHEAD: Final = 15
"""Days in which the next opening is sought. The one of a week may fall into an hour that the clock skips."""

_MINUTE: Final = 60


def is_open(hours: Hours, now: float) -> bool:
    """Return whether the rule may start a deployment at `now` (epoch seconds)."""
    return _is_open(hours, datetime.fromtimestamp(now, _zone(hours.zone)))


def opens_at(hours: Hours, now: float) -> int | None:
    """Return the first full minute after `now` that is open (epoch seconds), None if none comes soon."""
    zone = _zone(hours.zone)
    first = int(now // _MINUTE + 1) * _MINUTE
    for moment in range(first, first + LOOK_AHEAD * 86_400, _MINUTE):
        if _is_open(hours, datetime.fromtimestamp(moment, zone)):
            return moment
    return None


def local_time(hours: Hours, moment: float) -> str:
    """Return a time (epoch seconds) by the zone's clock: `Mon 2026-11-30 09:00 Europe/Berlin`."""
    local = datetime.fromtimestamp(moment, _zone(hours.zone))
    return f"{DAYS[local.weekday()].title()} {local:%Y-%m-%d %H:%M} {hours.zone}"


def _is_open(hours: Hours, local: datetime) -> bool:
    minute, today = local.hour * 60 + local.minute, DAYS[local.weekday()] in hours.days
    if hours.start < hours.end:
        return today and hours.start <= minute < hours.end
    yesterday = DAYS[local.weekday() - 1] in hours.days
    return (today and minute >= hours.start) or (yesterday and minute < hours.end)


@cache
def _zone(name: str) -> tzinfo:
    """Return a zone. Few rules have hours: only these load the database of time zones."""
    if name == "UTC":
        return UTC
    from zoneinfo import ZoneInfo

    return ZoneInfo(name)
