"""Patterns: what they match, against an oracle that is slow and plain, and how long that may take."""

import re
import time
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluicegate.gate import patterns
from sluicegate.gate.patterns import PatternError


def naive(pattern: str, value: str) -> bool:
    """Tries every length of every run."""
    if not pattern:
        return not value
    if pattern.startswith("**"):
        return any(naive(pattern[2:], value[i:]) for i in range(len(value) + 1))
    if pattern[0] == "*":
        runs = [i for i in range(len(value) + 1) if "/" not in value[:i]]
        return any(naive(pattern[1:], value[i:]) for i in runs)
    return bool(value) and value[0] == pattern[0] and naive(pattern[1:], value[1:])


PARTS = st.lists(st.sampled_from(["a", "b", "/", "\n", "*", "**"]), max_size=8)
PATTERNS = PARTS.map("".join).filter(lambda text: "***" not in text)
VALUES = st.text("ab/\n*", max_size=10)


@given(PATTERNS, VALUES)
def test_matching_agrees_with_the_oracle(pattern: str, value: str) -> None:
    assert patterns.compile(pattern).matches(value) == naive(pattern, value)


def test_matching_agrees_with_the_oracle_on_everything_short() -> None:
    values = ["".join(value) for length in range(4) for value in product("ab/", repeat=length)]
    for length in range(5):
        for parts in product(["a", "b", "/", "*", "**"], repeat=length):
            if "***" not in (text := "".join(parts)):
                pattern = patterns.compile(text)
                assert [v for v in values if pattern.matches(v)] == [v for v in values if naive(text, v)]


@given(st.text(max_size=300), st.text(max_size=300))
def test_any_text_is_a_pattern_or_refused(pattern: str, value: str) -> None:
    stars = re.findall(r"\*+", pattern)
    sound = len(pattern) <= 256 and len(stars) <= 8 and all(len(run) < 3 for run in stars)
    try:
        compiled = patterns.compile(pattern)
    except PatternError:
        assert not sound
    else:
        assert sound
        assert compiled.exact == (not stars)
        assert not compiled.exact or compiled.matches(pattern)
        assert not compiled.exact or compiled.matches(value) == (value == pattern)


@pytest.mark.parametrize(
    ("pattern", "value", "matches"),
    [
        ("main", "main", True),
        ("main", "Main", False),
        ("main", "main\n", False),
        ("main", "xmain", False),
        ("v*", "v1.2.3", True),
        ("v*", "v", True),
        ("v*", "v1/2", False),
        ("v*", "v1\n", True),
        ("*", "", True),
        ("*", "a\nb", True),
        ("*", "a/b", False),
        ("**", "a/b\n/c", True),
        ("release/*", "release/1.0", True),
        ("release/*", "release/1.0/x", False),
        ("release/**", "release/1.0/x", True),
        ("release/**", "release", False),
        ("*/**/x", "a/x", False),
        ("*/**/x", "a/b/c/x", True),
        ("**a*b", "xx/a/b", False),
        ("**a*b", "a/axb", True),
        ("v.*", "v1.0", False),  # no regular expression
        ("[ab]", "a", False),
        ("a?c", "abc", False),
        ("a\\*", "a*", False),
        ("\\d", "1", False),
        ("", "", True),
        ("", "a", False),
    ],
)
def test_stars_are_the_only_wildcards(pattern: str, value: str, matches: bool) -> None:
    assert patterns.compile(pattern).matches(value) is matches


@pytest.mark.parametrize(
    ("pattern", "value", "matches"),
    [
        ("Acme/Orders", "acme/orders", True),
        ("acme/*", "ACME/Orders", True),
        ("acme/*z", "acme/AZ", True),
        ("acme/ä", "acme/Ä", False),
        ("k", "\N{KELVIN SIGN}", False),
        ("\N{KELVIN SIGN}", "k", False),
        ("i", "\N{LATIN CAPITAL LETTER I WITH DOT ABOVE}", False),
        ("[", "{", False),  # neighbours of A-Z and a-z
        ("@", "`", False),
    ],
)
def test_folding_is_for_a_to_z_only(pattern: str, value: str, matches: bool) -> None:
    assert patterns.compile(pattern, fold=True).matches(value) is matches


def test_case_matters_unless_asked() -> None:
    assert not patterns.compile("Acme").matches("acme")
    assert not patterns.compile("A*").matches("acme")


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        ("a***b", "has three stars in a row; `*` is any run but `/`, `**` any run"),
        ("****", "has three stars in a row; `*` is any run but `/`, `**` any run"),
        ("*a" * 9, "has more than 8 wildcards"),
        ("**a" * 9, "has more than 8 wildcards"),
        ("a" * 257, "is longer than 256 characters"),
    ],
)
def test_what_is_refused(pattern: str, why: str) -> None:
    with pytest.raises(PatternError) as refused:
        patterns.compile(pattern)
    assert str(refused.value) == why


@pytest.mark.parametrize("pattern", ["*a" * 8, "**a" * 8, "a" * 256, "*" + "a" * 255])
def test_the_limits_themselves_are_allowed(pattern: str) -> None:
    assert str(patterns.compile(pattern)) == pattern


def test_a_pattern_is_exact_without_a_star() -> None:
    assert patterns.compile("4213").exact
    assert not patterns.compile("421*").exact


@pytest.mark.parametrize(
    ("pattern", "unit"),
    [
        ("**a" * 8 + "b", "a"),
        ("*a" * 8 + "b", "a"),
        ("**a*a" * 4 + "b", "a"),
        ("**aaaaaaaaaaaaaaab" * 8, "a"),
        ("*a**a/" * 4 + "b", "a/"),
        ("**" + "a" * 200 + "*b", "a"),
    ],
)
def test_time_is_linear_in_the_value(pattern: str, unit: str) -> None:
    """Ten times the value takes about ten times as long; backtracking would take a hundred or worse."""

    def seconds(length: int) -> float:
        value, compiled = unit * (length // len(unit)), patterns.compile(pattern)
        times = []
        for _ in range(5):
            start = time.thread_time()
            assert not compiled.matches(value)
            times.append(time.thread_time() - start)
        return min(times)

    seconds(100)
    assert seconds(40_000) < 30 * seconds(4_000) + 0.01
    assert seconds(40_000) < 1


SHORT_PATTERNS = PATTERNS.filter(lambda text: "\n" not in text and len(text.replace("**", "*")) <= 4)


@given(SHORT_PATTERNS, SHORT_PATTERNS)
def test_patterns_overlap_where_a_value_matches_both(one: str, other: str) -> None:
    longest = len((one + other).replace("*", ""))  # each character of a shortest witness is in one of them
    values = ("".join(value) for length in range(longest + 1) for value in product("ab/", repeat=length))
    both = any(naive(one, value) and naive(other, value) for value in values)
    assert patterns.overlap(patterns.compile(one), patterns.compile(other)) == both


@pytest.mark.parametrize(
    ("one", "other", "overlap"),
    [
        ("orders-*", "*-api", True),
        ("orders-*", "orders-report", True),
        ("orders-*", "billing-*", False),
        ("orders", "orders", True),
        ("orders", "order", False),
        ("*", "**", True),
        ("*", "a/b", False),
        ("**", "a/b", True),
        ("a*c", "ab", False),
    ],
)
def test_overlap_of_names(one: str, other: str, overlap: bool) -> None:
    assert patterns.overlap(patterns.compile(one), patterns.compile(other)) is overlap
    assert patterns.overlap(patterns.compile(other), patterns.compile(one)) is overlap


@given(SHORT_PATTERNS, SHORT_PATTERNS, st.lists(st.text("ab/", max_size=6), max_size=20))
def test_what_covers_another_pattern_matches_all_that_it_matches(
    one: str, other: str, values: list[str]
) -> None:
    if patterns.covers(patterns.compile(one), patterns.compile(other)):
        assert all(naive(one, value) for value in values if naive(other, value))


@pytest.mark.parametrize(
    ("wide", "narrow", "covers"),
    [
        ("orders-*", "orders-api", True),
        ("orders-*", "orders-*-x", True),
        ("orders-*", "orders-**", False),
        ("orders-**", "orders-*", True),
        ("**", "a/*b", True),
        ("*", "a/b", False),
        ("*-api", "orders-*", False),
        ("v1", "v1", True),
        ("v1", "v*", False),
        ("*a", "*ba", True),
    ],
)
def test_covers(wide: str, narrow: str, covers: bool) -> None:
    assert patterns.covers(patterns.compile(wide), patterns.compile(narrow)) is covers


def test_covers_folds_where_both_do() -> None:
    wide, narrow = (patterns.compile(text, fold=True) for text in ("ACME/*", "acme/orders"))
    assert patterns.covers(wide, narrow)
