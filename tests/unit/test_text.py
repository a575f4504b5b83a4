"""Text from outside."""

import unicodedata
from base64 import urlsafe_b64encode

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sluicegate.text import base64url, clean


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("release v1.4.0, größer 🚀", "release v1.4.0, größer 🚀"),
        ("line\nforged line", "line\ufffdforged line"),
        ("a\r\x00\x1b[2J\x7f\x85", "a\ufffd\ufffd\ufffd[2J\ufffd\ufffd"),
        ("right to left \u202egnp.exe", "right to left \ufffdgnp.exe"),
        ("zero\u200bwidth\ufeff", "zero\ufffdwidth\ufffd"),
        ("two\u2028lines\u2029", "two\ufffdlines\ufffd"),
        ("half a pair \ud800", "half a pair \ufffd"),
        ("plain", "plain"),
        ("", ""),
    ],
)
def test_unsafe_characters_are_replaced_one_by_one(text: str, cleaned: str) -> None:
    assert clean(text) == cleaned


def test_text_is_cut_at_256_characters_or_at_the_limit_given() -> None:
    assert clean("x" * 300) == "x" * 256
    assert clean("\u200b" * 300) == "\ufffd" * 256
    assert clean("x" * 256) == "x" * 256
    assert clean("abcdef", 3) == "abc"


@given(st.text(st.characters(codec=None)))
def test_what_is_cleaned_is_safe_encodable_and_stays_as_it_is(text: str) -> None:
    cleaned = clean(text)
    assert not {unicodedata.category(c) for c in cleaned} & {"Cc", "Cf", "Cs", "Zl", "Zp"}
    assert clean(cleaned) == cleaned
    assert len(cleaned) == min(len(text), 256)
    cleaned.encode()


@given(st.binary())
@example(b"\x00\x00\x17")  # AAAX
def test_base64url_reads_what_it_should(data: bytes) -> None:
    assert base64url(urlsafe_b64encode(data).rstrip(b"=").decode()) == data


@pytest.mark.parametrize(
    "text",
    [
        "YQ==",
        "YQ=",
        "YR",
        "YWJ",
        "Y",
        "YQ\n",
        " YQ",
        "Y Q",
        "Y+_-",
        "Y/_-",
        "Y.",
        "Y=Q",
        "YWI\u00e9",
        "\u0661\u0661",
    ],
)
def test_base64url_has_one_spelling_for_one_value(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 the type is the promise
        base64url(text)
