"""Every page and anchor that code, tests, template and pages cite is there."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.pages import PAGES, ROOT, anchors, name

FOLDERS = ("bench", "cli", "docs", "functions", "layers/shared", "templates", "tests", ".ci")
SUFFIXES = {".py", ".md", ".yaml", ".yml", ".sh", ""}
FILES = sorted(
    file
    for folder in FOLDERS
    for file in (ROOT / folder).rglob("*")
    if file.is_file() and file.suffix in SUFFIXES and file != Path(__file__)
) + sorted({*ROOT.glob("*.yaml"), *ROOT.glob("*.md"), ROOT / "Makefile", ROOT / "pyproject.toml"})

# A path of a page, with an anchor or none; not the end of a URL or of another word.
CITATION = re.compile(r"(?<![\w/.:-])((?:\.{0,2}/)*(?:[\w-]+/)*[\w-]+\.md)(?:#([\w-]*))?(?![\w-])")

# How the law was cited before it was in the repository.
OLD = re.compile(
    r'\bpromise [1-9]|\bSECURITY\.md, ?["“]|\b(?:DESIGN|STYLE|HOUSE|FAULTS)\.md\b', re.IGNORECASE
)


def citations(text: str) -> Iterator[tuple[str, str]]:
    """Yield each page that the text cites, with its anchor, or an empty one."""
    for match in CITATION.finditer(text):
        yield match[1], match[2] or ""


def page(path: str, file: Path) -> Path | None:
    """Return the page that `file` means by `path`: beside it, from the root, or the only one of that name."""
    for folder in (file.parent, ROOT):
        if (folder / path).is_file():
            return folder / path
    named = [each for each in PAGES if each.name == path]
    return named[0] if len(named) == 1 else None


def problem(path: str, anchor: str, file: Path) -> str | None:
    """Return what is wrong with a citation, or None."""
    found = page(path, file)
    if found is None:
        return f"no page {path}"
    if anchor and anchor not in anchors(found.read_text()):
        return f"no anchor #{anchor} in {path}"
    return None


def test_finds_every_form_of_a_citation() -> None:
    text = """See guarantees.md#2-one-deployment-at-a-time, docs/reference/api.md (Reasons),
    `../how-it-works.md` and [Keys](../explanation/security.md#keys).
    Not https://example.com/other.md, nor a file.mdx."""
    assert list(citations(text)) == [
        ("guarantees.md", "2-one-deployment-at-a-time"),
        ("docs/reference/api.md", ""),
        ("../how-it-works.md", ""),
        ("../explanation/security.md", "keys"),
    ]


@pytest.mark.parametrize(
    ("path", "anchor", "wrong"),
    [
        ("security.md", "keys", None),
        ("docs/explanation/security.md", "keys", None),
        ("docs/explanation/security.md", "", None),
        ("security.md", "key", "no anchor #key in security.md"),
        ("docs/security.md", "keys", "no page docs/security.md"),
        ("law.md", "", "no page law.md"),
    ],
)
def test_tells_a_wrong_citation_from_a_right_one(path: str, anchor: str, wrong: str | None) -> None:
    assert problem(path, anchor, ROOT / "layers" / "shared" / "python" / "sluicegate" / "text.py") == wrong


def test_every_citation_leads_somewhere() -> None:
    wrong = [
        f"{name(file)}: {found}"
        for file in FILES
        for path, anchor in citations(file.read_text())
        if (found := problem(path, anchor, file))
    ]
    assert wrong == []


@pytest.mark.parametrize("text", ["(promise 5)", "Promise 6: no", 'SECURITY.md, "Keys"', "see DESIGN.md"])
def test_knows_the_old_forms(text: str) -> None:
    assert OLD.search(text)


@pytest.mark.parametrize("text", ["a promise", "nine promises", "as SECURITY.md says", "security.md#keys"])
def test_lets_other_text_alone(text: str) -> None:
    assert not OLD.search(text)


def test_nothing_cites_in_the_old_forms() -> None:
    assert [f"{name(file)}: {found[0]}" for file in FILES if (found := OLD.search(file.read_text()))] == []
