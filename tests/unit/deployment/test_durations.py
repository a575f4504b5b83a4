"""Times and durations as text, and back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluicegate.deployment.durations import duration, parse_duration, seconds, timestamp


@given(st.integers(0, 4_102_444_800_000))
def test_a_timestamp_has_milliseconds_and_comes_back(milliseconds: int) -> None:
    moment = timestamp(milliseconds / 1000)
    assert len(moment) == len("2026-01-01T00:00:00.000Z")
    assert moment.endswith("Z")
    assert abs(seconds(moment) - milliseconds / 1000) < 0.001


@given(st.integers(1, 10**9 - 1))
def test_a_duration_comes_back(value: int) -> None:
    assert parse_duration(duration(value)) == value


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0s"), (90, "90s"), (300, "5m"), (7_200, "2h"), (86_400, "1d"), (90_000, "25h")]
)
def test_a_duration_has_the_largest_unit_without_remainder(value: int, text: str) -> None:
    assert duration(value) == text


@pytest.mark.parametrize(
    "text", ["", "5", "0s", "05m", "-5m", "5 m", "5m ", "1.5h", "5w", "5M", "\u0665m", "1234567890s"]
)
def test_what_is_no_duration_is_none(text: str) -> None:
    assert parse_duration(text) is None
