"""The hours of a rule: weekdays, midnight, and the clock that skips an hour or shows one twice."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluicegate.gate.hours import DAYS, is_open, local_time, opens_at
from sluicegate.gate.rules import Hours

BERLIN = "Europe/Berlin"
WORKDAYS = DAYS[:4]
OFFICE = Hours(BERLIN, WORKDAYS, 9 * 60, 16 * 60)


def utc(text: str) -> float:
    """Epoch seconds of `2026-11-26 10:00`, in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def opening(hours: Hours, now: str) -> str | None:
    moment = opens_at(hours, utc(now))
    return None if moment is None else datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M")


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        ("2026-11-26 07:59:59", False),  # a Thursday, 08:59:59 in Berlin
        ("2026-11-26 08:00:00", True),
        ("2026-11-26 14:59:59", True),
        ("2026-11-26 15:00:00", False),
        ("2026-11-27 10:00:00", False),  # Friday
        ("2026-07-16 07:00:00", True),  # summer: an hour earlier in UTC
        ("2026-07-16 14:00:00", False),
    ],
)
def test_the_wall_clock_of_the_zone_decides(now: str, expected: bool) -> None:
    assert is_open(OFFICE, utc(now)) is expected


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        ("2026-11-26 06:00", "2026-11-26 08:00"),
        ("2026-11-26 15:00", "2026-11-30 08:00"),  # over the weekend
        ("2026-03-26 15:00", "2026-03-30 07:00"),  # and over the change to summer time
    ],
)
def test_a_refusal_can_say_when_it_opens_next(now: str, expected: str) -> None:
    assert opening(OFFICE, now) == expected


def test_a_window_over_midnight_belongs_to_the_day_on_which_it_begins() -> None:
    night = Hours("UTC", ("fri",), 22 * 60, 2 * 60)
    assert is_open(night, utc("2026-11-27 22:00"))  # Friday
    assert is_open(night, utc("2026-11-28 01:59"))  # Saturday morning
    assert not is_open(night, utc("2026-11-28 02:00"))
    assert not is_open(night, utc("2026-11-28 22:00"))  # Saturday
    assert not is_open(night, utc("2026-11-27 01:59"))  # Friday morning: Thursday's night
    assert opening(night, "2026-11-28 02:00") == "2026-12-04 22:00"


@pytest.mark.parametrize(("start", "end"), [(0, 24 * 60), (0, 0), (9 * 60, 9 * 60)])
def test_a_window_can_be_a_whole_day(start: int, end: int) -> None:
    day = Hours("UTC", ("mon",), start, end)
    begin = utc("2026-11-30 00:00") + start * 60
    assert [is_open(day, begin + offset) for offset in (-1, 0, 86_399, 86_400)] == [False, True, True, False]


def test_an_hour_that_the_clock_skips_does_not_occur() -> None:
    """On 2026-03-29, Berlin's clock goes from 02:00 to 03:00, at 01:00 UTC."""
    inside = Hours(BERLIN, DAYS, 2 * 60 + 15, 2 * 60 + 45)
    assert not any(is_open(inside, utc("2026-03-29 00:00") + 60 * minute) for minute in range(180))
    assert opening(inside, "2026-03-29 00:00") == "2026-03-30 00:15"
    begins_inside = Hours(BERLIN, DAYS, 2 * 60 + 30, 4 * 60)
    assert opening(begins_inside, "2026-03-29 00:00") == "2026-03-29 01:00"
    weekly = Hours(BERLIN, ("sun",), 2 * 60, 3 * 60)
    assert opening(weekly, "2026-03-28 12:00") == "2026-04-05 00:00"


def test_an_hour_that_the_clock_shows_twice_counts_twice() -> None:
    """On 2026-10-25, Berlin's clock goes from 03:00 back to 02:00, at 01:00 UTC."""
    window = Hours(BERLIN, DAYS, 2 * 60, 2 * 60 + 30)
    opened = [minute for minute in range(180) if is_open(window, utc("2026-10-25 00:00") + 60 * minute)]
    assert opened == [*range(30), *range(60, 90)]
    assert opening(window, "2026-10-25 00:40") == "2026-10-25 01:00"


def test_local_times_name_the_day_and_the_zone() -> None:
    assert local_time(OFFICE, utc("2026-11-30 08:00")) == "Mon 2026-11-30 09:00 Europe/Berlin"


ZONES = ("UTC", BERLIN, "America/Sao_Paulo", "Australia/Lord_Howe", "Asia/Kathmandu", "Africa/Casablanca")


@settings(max_examples=40, deadline=None)
@given(
    zone=st.sampled_from(ZONES),
    days=st.lists(st.sampled_from(DAYS), min_size=1, unique=True),
    start=st.integers(0, 1_439),
    end=st.integers(0, 1_440),
    now=st.integers(int(utc("2026-01-01 00:00")), int(utc("2027-01-01 00:00"))),
)
def test_the_next_opening_is_open_and_nothing_before_it_is(
    zone: str, days: list[str], start: int, end: int, now: int
) -> None:
    hours = Hours(zone, tuple(days), start, end)
    found = opens_at(hours, now)
    assert found is not None
    assert found > now
    assert is_open(hours, found)
    between = range(now // 60 * 60 + 60, found, 60 * 7)
    assert not any(is_open(hours, moment) for moment in between)
    local = datetime.fromtimestamp(found, ZoneInfo(zone))
    assert {DAYS[local.weekday()], DAYS[local.weekday() - 1]} & set(days)
