"""JSON with one meaning."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluicegate import strict_json
from sluicegate.strict_json import JsonValue, StrictJsonError, loads

DEPTH = 8


def nested(levels: int) -> bytes:
    return b"[" * levels + b"]" * levels


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (
            b'{"a": [1, -2, 1.5, 1e3, true, false, null, "x"]}',
            {"a": [1, -2, 1.5, 1000.0, True, False, None, "x"]},
        ),
        (b' \r\n\t{"a" : {"b" : {}}} ', {"a": {"b": {}}}),
        (b'{"a": {"x": 1}, "b": {"x": 1}}', {"a": {"x": 1}, "b": {"x": 1}}),
        ('"größer \U0001f680"'.encode(), "größer \U0001f680"),
        (rb'"\ud83d\ude80"', "\U0001f680"),
        (rb'"line\nline\u0000\u007f"', "line\nline\x00\x7f"),
        (b"1e308", 1e308),
        (b"7", 7),
        (nested(DEPTH), json.loads(nested(DEPTH))),
    ],
)
def test_json_is_read(data: bytes, value: JsonValue) -> None:
    assert loads(data, max_depth=DEPTH) == value


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\xef\xbb\xbf{}", "starts with a byte order mark"),
        ('{"a": 1}'.encode("utf-16"), "not UTF-8"),
        (b'"\xc3"', "not UTF-8"),
        (b'"\xc0\xaf"', "not UTF-8"),  # an overlong slash
        (b'"\xed\xa0\x80"', "not UTF-8"),  # a surrogate, encoded
        (b'{"a": 1, "a": 1}', "'a' occurs twice in one object"),
        (b'{"a": 1, "\\u0061": 2}', "'a' occurs twice in one object"),
        (b'[{"b": {"a": 1, "a": 2}}]', "'a' occurs twice in one object"),
        (b'{"a\\u202e": 1, "a\\u202e": 2}', "'a\ufffd' occurs twice in one object"),
        (b"NaN", "NaN is not JSON"),
        (b"[Infinity]", "Infinity is not JSON"),
        (b"[-Infinity]", "-Infinity is not JSON"),
        (b"1e999", "a number is too large"),
        (b"-1e999", "a number is too large"),
        (b"9" * 5000, "a number is too long"),
        (rb'"\ud800"', "a string holds a lone surrogate"),
        (rb'["\udfff\ud800"]', "a string holds a lone surrogate"),
        (rb'{"\udc00": 1}', "a string holds a lone surrogate"),
        (rb'{"a": {"b": "\udbff"}}', "a string holds a lone surrogate"),
        (nested(DEPTH + 1), "nested too deep"),
        (b'{"a":' * (DEPTH + 1) + b"1" + b"}" * (DEPTH + 1), "nested too deep"),
        (nested(100_000), "nested too deep"),
        (b"[" * 100_000, "nested too deep"),
        (b"", "not JSON: Expecting value at character 0"),
        (b"{} {}", "not JSON: Extra data at character 3"),
        (b"{'a': 1}", "not JSON: Expecting property name enclosed in double quotes at character 1"),
    ],
)
def test_what_two_readers_could_read_differently_is_no_json(data: bytes, reason: str) -> None:
    with pytest.raises(StrictJsonError) as refused:
        loads(data, max_depth=DEPTH)
    assert str(refused.value) == reason


@pytest.mark.parametrize(
    "data",
    [
        b'{"a": 1,}',
        b"[1,]",
        b"01",
        b"+1",
        b".5",
        b"1.",
        b"0x10",
        b'"\\x41"',
        b'"a\nb"',
        b"// x\n1",
        b"\xd9\xa1",
        b"\xff",
    ],
)
def test_extensions_of_the_grammar_are_refused(data: bytes) -> None:
    with pytest.raises(StrictJsonError):
        loads(data, max_depth=DEPTH)


@pytest.mark.parametrize("character", ["\x00", "\n", "\x1f", "\x7f", "\x80", "\x9f"])
@pytest.mark.parametrize("form", ['["{}"]', '{{"{}": 1}}', '{{"a": [{{"b": "x{}"}}]}}'])
def test_control_characters_are_refused_where_the_caller_says_so(form: str, character: str) -> None:
    data = form.format(f"\\u{ord(character):04x}").encode()
    assert loads(data, max_depth=DEPTH) == json.loads(data)
    with pytest.raises(StrictJsonError) as refused:
        loads(data, max_depth=DEPTH, control_characters=False)
    assert str(refused.value) == "a string holds a control character"


@pytest.mark.parametrize("character", [" ", "~", "\u00a0", "\u200d", "é"])
def test_other_characters_are_no_control_characters(character: str) -> None:
    assert loads(f'"{character}"'.encode(), max_depth=0, control_characters=False) == character


def test_a_scalar_has_no_depth_and_a_container_one_level() -> None:
    assert loads(b"1", max_depth=0) == 1
    assert loads(b"{}", max_depth=1) == {}
    with pytest.raises(StrictJsonError):
        loads(b"{}", max_depth=0)


def test_a_reason_quotes_little_of_the_text() -> None:
    name = "x" * 10_000
    with pytest.raises(StrictJsonError) as refused:
        loads(json.dumps({"a": 1})[:-1].encode() + f', "{name}": 1, "{name}": 2}}'.encode(), max_depth=DEPTH)
    assert str(refused.value) == f"{'x' * 64!r} occurs twice in one object"


def test_each_name_of_an_object_is_looked_up_in_a_table() -> None:
    """It is not compared with the names before it: many names take no more than linear time."""
    compared = 0

    class Name(str):
        __slots__ = ()
        __hash__ = str.__hash__

        def __eq__(self, other: object) -> bool:
            nonlocal compared
            compared += 1
            return str.__eq__(self, other)

    names = [Name(n) for n in range(2_000)]
    with pytest.raises(StrictJsonError):
        strict_json._object([(name, 0) for name in (*names, Name("1999"))])
    assert compared < len(names)


@given(st.binary())
def test_any_bytes_are_json_or_a_strict_json_error(data: bytes) -> None:
    try:
        value = loads(data, max_depth=DEPTH)
    except StrictJsonError as refused:
        assert len(str(refused)) < 400  # noqa: PT017 it need not be refused
    else:
        assert value == json.loads(data)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def depth(value: Any) -> int:
    if isinstance(value, dict):
        value = list(value.values())
    return 1 + max(map(depth, value), default=0) if isinstance(value, list) else 0


@given(json_values, st.booleans())
def test_every_json_value_comes_back_as_it_was(value: JsonValue, ascii_only: bool) -> None:
    data = json.dumps(value, ensure_ascii=ascii_only).encode()
    assert loads(data, max_depth=depth(value)) == value
    if depth(value):
        with pytest.raises(StrictJsonError):
            loads(data, max_depth=depth(value) - 1)


_TEXTS = st.text(st.sampled_from(["a", "[", "{", "\\", "\x07", "\x85", "é", "\ud800", '"', " "]), max_size=3)
_VALUES = st.recursive(
    _TEXTS | st.integers(0, 1),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(_TEXTS, inner, max_size=2),
    max_leaves=8,
)


@given(_VALUES, st.integers(0, 4), st.booleans(), st.booleans(), st.sampled_from([None, 1]))
def test_what_the_walk_refuses_is_refused_where_a_glance_would_do(
    value: Any, depth: int, control: bool, escaped: bool, indent: int | None
) -> None:
    data = json.dumps(value, ensure_ascii=escaped, indent=indent).encode("utf-8", "surrogatepass")

    def outcome() -> object:
        try:
            return loads(data, max_depth=depth, control_characters=control)
        except StrictJsonError as error:
            return str(error)

    glanced = outcome()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(strict_json, "_is_plain", lambda *_: False)
        assert outcome() == glanced
