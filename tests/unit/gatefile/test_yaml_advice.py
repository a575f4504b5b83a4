"""What a file that is no YAML is said to have wrong: where the mistake is, and what to write instead."""

import codecs
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from sluicegate_gatefile import compile as gatefile
from sluicegate_gatefile import yaml_source
from sluicegate_gatefile.compile import Report
from sluicegate_gatefile.diagnostics import Findings
from sluicegate_gatefile.yaml_advice import advice

GATE_FILE = """\
stages:
  dev: {}
functions:
  orders-*: {}
rules:
  - name: main
    claims:
      project_id: "4213"
      ref: main
      ref_protected: "true"
    allow:
      actions: [deploy]
      functions: [orders-*]
      stages: [dev]
"""


def changed(old: str, new: str) -> str:
    assert GATE_FILE.count(old) == 1
    return GATE_FILE.replace(old, new)


@pytest.fixture(params=["CSafeLoader", "SafeLoader"])
def read(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], list[str]]:
    """What is said of a text, by either of PyYAML's parsers."""
    monkeypatch.setattr(yaml_source, "_LOADER", getattr(yaml, request.param, yaml.SafeLoader))

    def read(text: str) -> list[str]:
        findings = Findings("f")
        yaml_source.read(text, findings)
        return [f"{each.line}:{each.column}: {each.message}" for each in findings.in_order()]

    return read


SPACE = "a no-break space (U+00A0) stands here, which no editor shows; replace it with a space"
INDENT = "indent it as the lines that it belongs to"
SYNTAX = [
    # Quotes and brackets, from where they open
    (changed('"4213"', '"4213'), "8:19", "reaches as far as line 10: close it"),
    (changed('"true"', '"true'), "10:22", "reaches as far as the end of the file: close it"),
    (changed('"true"', '"true"x'), "10:22", "closes before column 28, and text follows: close it earlier"),
    (changed('"true"', '"true" x'), "10:29", "put quotes around the whole text"),
    (changed("[orders-*]", "[orders-*"), "13:18", "the `[` that opens here is not closed before line 14"),
    (changed("[dev]", "[dev"), "14:15", "is not closed: write `]` after its last value"),
    (changed("dev: {}", "dev: {]"), "2:8", "is not closed: write `}` after its last value"),
    (changed("dev: {}", "dev: }"), "2:8", "nothing is open that this `}` closes: remove it"),
    (changed("[dev]", "[,dev]"), "14:16", "there is no value before this comma"),
    (changed("dev: {}", "dev: {alias: x max_age: 1h}"), "2:25", "a comma is missing here, or the `}`"),
    # Keys and colons
    (changed("ref: main", "ref:main"), "9:7", "a space is missing after `:`: write `ref: main`"),
    (changed(': "4213"', ':"4213"'), "8:7", 'a space is missing after `:`: write `project_id: "4213"`'),
    (changed("stages: [dev]", "stages:[dev]"), "14:7", "missing after `:`: write `stages: [dev]`"),
    (changed("dev: {}", "dev: {max_age:1h}"), "2:9", "missing after `:`: write `max_age: 1h`"),
    (
        changed("orders-*: {}", "orders-*\n  pay-*: {}"),
        "4:3",
        "a key without a value: write `orders-*: ` and",
    ),
    (changed("[dev]", "[dev, : x]"), "14:21", "there is no key before this `:`"),
    (changed('"4213"', '"4213",'), "8:25", "no comma belongs here"),
    (changed("dev: {}", "dev: {},"), "2:10", "no comma belongs here"),
    (changed("rules:\n", "rules: - x\n"), "5:8", "an item of a list begins on a line of its own"),
    ("a: b\n... c\n", "2:5", "the file could end before this, and has one mapping only"),
    (changed("name: main", "name: orders: main"), "6:11", 'needs quotes: write "orders: main"'),
    (changed("name: main", 'name: x\n     "y": a'), "7:9", "indented deeper than the key above"),
    (changed("      ref: main", "     ref: main"), "9:6", "this line is indented by 5"),
    (changed("rules:\n", "- rules:\n"), "5:1", f"among the keys of a mapping: {INDENT}"),
    (changed("    claims:", "  claims:"), "7:3", f"begin it with `- `, or else {INDENT}"),
    (
        changed("      project_id", "<<<<<<< HEAD\n      project_id"),
        "8:1",
        "a merge left this conflict marker",
    ),
    # What a text cannot begin with
    (changed("ref: main", "ref: @main"), "9:12", 'that begins with `@` needs quotes: write "@main"'),
    (changed("ref: main", "ref: `main"), "9:12", 'that begins with a backtick needs quotes: write "`main"'),
    (changed("ref: main", "ref: %main"), "9:12", 'that begins with `%` needs quotes: write "%main"'),
    (changed("dev: {}", "dev: {alias: ?x}"), "2:16", 'that begins with `?` needs quotes: write "?x"'),
    (changed("ref: main", "ref: **"), "9:12", 'a pattern that begins with `*` needs quotes: write "**"'),
    (changed("ref: main", "ref: &"), "9:12", 'that begins with `&` needs quotes: write "&"'),
    (changed("ref: main", "ref: >=1"), "9:12", 'that begins with `>` needs quotes: write ">=1"'),
    ("%YAML 3.0\n---\na: b\n", "1:1", "a line that begins with `%` is no part of a gate file"),
    # What cannot be seen
    (changed("      ref: main", "     \u00a0ref: main"), "9:6", SPACE),
    (changed("      ref: main", "\u00a0     ref: main"), "9:1", SPACE),
    (changed("  dev: {}", "  \u00a0dev: {}"), "2:3", SPACE),
    (changed("ref: main", "ref:\u00a0main"), "9:11", SPACE),
    (changed("ref: main", "ref: \u00a0main"), "9:12", SPACE),
    (changed("ref: main", "ref: main\u00a0"), "9:16", SPACE),
    (changed("- name", "-\u00a0name"), "6:4", SPACE),
    ("\ufeff# ä\r\nä: ö\r\nü: \u00a0main\r\n", "3:4", SPACE),
    (changed("dev: {}", "\u200bdev: {}"), "2:3", "an invisible character (U+200B)"),
    (changed("      ref: main", "\tref: main"), "9:1", "a tab indents this line; replace it with spaces"),
    (changed("- name", "-\tname"), "6:4", "a tab stands here; replace it with spaces"),
]


@pytest.mark.parametrize(("text", "place", "advice"), SYNTAX)
def test_a_mistake_is_found_where_it_is_with_advice(
    read: Callable[[str], list[str]], text: str, place: str, advice: str
) -> None:
    (said,) = read(text)
    assert said.startswith(f"{place}: ")
    assert advice in said


@pytest.mark.parametrize(
    "text",
    [
        changed("main\n    claims", '"main\\n\n      x"\n    claims'),  # quoted, of several lines
        changed("main\n    claims", "release\u00a0managers\n    claims"),
        changed("main\n    claims", '"\u00a0main:\u00a0"\n    claims'),
        changed("ref: main", "ref: v:1"),
        "\ufeff" + GATE_FILE,
    ],
)
def test_what_is_right_is_left_alone(read: Callable[[str], list[str]], text: str) -> None:
    assert read(text) == []


def test_a_space_is_missing_where_one_parser_wants_none(read: Callable[[str], list[str]]) -> None:
    """PyYAML's own parser reads this as it is meant."""
    assert read("a: {actions:[deploy]}") in ([], ["1:12: a space is missing after this `:`"])


def test_the_parsers_own_words_are_left_where_there_is_no_advice() -> None:
    error = yaml.MarkedYAMLError("while reading", None, "found a new kind of error", None)
    found = advice("a: b", error, yaml.SafeLoader)
    assert found.message == "not YAML: while reading found a new kind of error"


def test_a_character_that_yaml_has_not_is_named(read: Callable[[str], list[str]]) -> None:
    (said,) = read("ä: ü\nb: \x07\n")
    assert said.startswith("2:4: not YAML: ")
    assert said.endswith("remove the character U+0007")


PARTS = (
    "a",
    "b",
    ":",
    " ",
    "\n",
    "  ",
    '"',
    "'",
    "[",
    "]",
    "{",
    "}",
    ",",
    "- ",
    "-",
    "@",
    "*",
    "&",
    "!",
    "|",
)
MORE = (">", "%", "#", "\t", "\u00a0", "\\", "<<", "? ", "---", "...", ": ", "\r", "\u2028")


@settings(deadline=None)
@given(st.lists(st.sampled_from(PARTS + MORE)).map("".join))
def test_every_finding_has_a_place_in_the_text(text: str) -> None:
    findings = Findings("f")
    source = yaml_source.read(text, findings)
    assert source is not None or findings.found
    assert all(1 <= each.line <= len(text) + 1 and each.column >= 1 for each in findings.found)


UTF_16 = "1:1: error: the file is UTF-16: save it as UTF-8"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (codecs.BOM_UTF16_LE + GATE_FILE.encode("utf-16-le"), UTF_16),
        (codecs.BOM_UTF16_BE + GATE_FILE.encode("utf-16-be"), UTF_16),
        (
            "version: 1\n# für GRÖSSE\n".encode("latin-1"),
            "2:4: error: the file is not UTF-8: here is the byte 0xfc, in Latin-1 `ü`; save it as UTF-8",
        ),
        (b"version: 1\nx\x80", "2:2: error: the file is not UTF-8: here is the byte 0x80; save it as UTF-8"),
    ],
)  # fmt: skip
def test_a_file_in_another_encoding_is_said_to_be_one(tmp_path: Path, data: bytes, said: str) -> None:
    path = tmp_path / "f"
    path.write_bytes(data)
    report: Report = gatefile.check(path)
    assert [str(each) for each in report.diagnostics] == [f"{path}:{said}"]
