"""The checker of words and sizes finds what it should, and only that."""

import ast
import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[3]


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("style", ROOT / ".ci" / "style.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


style = load()
RULES = [(re.compile(pattern, re.IGNORECASE), advice) for pattern, advice in style.WORDS.items()]


@pytest.mark.parametrize(
    "line",
    [
        "Whoever aborts it writes to the record.",
        '"""Who aborts writes to the record."""',
        "a message to who asked",
        "what the request comes to",
        "The notifier is told of it.",
        "It decides anew.",
        "a friend of theirs",
        "The keys cannot be had at the moment.",
        "AWS did not answer as it should",
        "the present step",
        "Trouble of any kind denies.",
    ],
)
def test_a_banned_phrase_is_found(line: str) -> None:
    assert list(style.banned(line, RULES))


@pytest.mark.parametrize(
    "line",
    [
        "Who approved it?",
        "The caller who aborts it writes to the record.",
        "It comes to an end.",
        "[Troubleshooting](troubleshooting.md)",
        "as it should be",
        "The value is present.",
    ],
)
def test_plain_words_pass(line: str) -> None:
    assert not list(style.banned(line, RULES))


def test_a_type_name_is_seen_however_it_is_defined() -> None:
    tree = ast.parse("class Event: ...\nCheck = Callable[[str], bool]\nAction: TypeAlias = Literal['a']")

    assert [name for node in tree.body for name in style.defined(node)] == ["Event", "Check", "Action"]
