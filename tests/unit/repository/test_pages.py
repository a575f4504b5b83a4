"""What the pages give to copy is right, and what they point at is there."""

import re
import tomllib
from pathlib import Path

import pytest

from support.pages import PAGES, ROOT, anchors, name

DOCS = ROOT / "docs"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), target
        # The site has nothing but docs/, and its own check sees links to pages only.
        assert not page.is_relative_to(DOCS) or file.is_relative_to(DOCS), target
        assert not anchor or anchor in anchors(file.read_text()), target


def test_the_site_leads_to_every_page() -> None:
    config = tomllib.loads((ROOT / "zensical.toml").read_text())["project"]
    listed = re.findall(r"'([^']+\.md)'", repr(config["nav"]))

    assert sorted(listed) == sorted(str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md"))


def test_a_reader_of_the_site_needs_no_other_host() -> None:
    """The theme would fetch fonts and mermaid from elsewhere: pictures are files, in docs/pictures."""
    config = tomllib.loads((ROOT / "zensical.toml").read_text())["project"]

    assert config["theme"]["font"] is False
    assert [name(page) for page in DOCS.rglob("*.md") if "```mermaid" in page.read_text()] == []


def test_the_glossary_has_every_word_once_and_in_order() -> None:
    rows = re.findall(r"^\| (.+?) \| ", (DOCS / "contributing" / "glossary.md").read_text(), re.M)[2:]
    words = [re.sub(r"[`$]", "", row).lower() for row in rows]

    assert words == sorted(set(words))
