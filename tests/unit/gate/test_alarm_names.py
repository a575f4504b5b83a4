"""Names of alarms in the gate file, and patterns of names."""

import pytest

from sluicegate.gate.alarm_names import complaint, is_pattern, matches, prefix


@pytest.mark.parametrize("name", ["orders-5xx", "{function}-5xx", "{function}-*", "a*", "a/**/b*", "x" * 255])
def test_a_name_that_can_be(name: str) -> None:
    assert complaint(name) is None


@pytest.mark.parametrize(
    ("name", "about"),
    [
        ("x" * 256, "longer"),
        ("{functions}", "brace"),
        ("*", "begins with"),
        ("*-5xx", "begins with"),
        ("a***", "three stars"),
        ("a" + "*b" * 9, "wildcards"),
    ],
)
def test_a_name_that_cannot_be(name: str, about: str) -> None:
    """DescribeAlarms finds by a prefix of 1 to 255 characters (AlarmNamePrefix, read on 2026-11-26)."""
    assert about in (complaint(name) or "")


@pytest.mark.parametrize(
    ("pattern", "alarm", "matched"),
    [
        ("orders-*", "orders-5xx", True),
        ("orders-*", "orders-", True),
        ("orders-*", "Orders-5xx", False),
        ("orders-*", "orders-a/b", False),
        ("orders-**", "orders-a/b", True),
        ("orders-?", "orders-5", False),
        ("orders-5xx", "orders-5xx", True),
        ("orders-5xx", "orders-5xx-2", False),
    ],
)
def test_a_pattern_matches_the_whole_name(pattern: str, alarm: str, matched: bool) -> None:
    assert matches(pattern, alarm) is matched
    assert is_pattern(pattern) is ("*" in pattern)
    assert not matched or alarm.startswith(prefix(pattern))
