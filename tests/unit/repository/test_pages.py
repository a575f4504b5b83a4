"""What the pages give to copy is right, and what they point at is there."""

import re
from pathlib import Path

import pytest

from sluicegate_gatefile import compile as gatefile
from support.pages import PAGES, anchors, name


def fences(page: Path) -> list[str]:
    return re.findall(r"```yaml\n(version: 1\n.*?)```", page.read_text(), re.S)


@pytest.mark.parametrize("page", [page for page in PAGES if fences(page)], ids=name)
def test_a_gate_file_of_a_page_has_no_error(page: Path, tmp_path: Path) -> None:
    for text in fences(page):
        file = tmp_path / "sluicegate.yaml"
        file.write_text(text)
        found = gatefile.check(file).diagnostics
        assert [one.message for one in found if one.severity == "error"] == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), target
        assert not anchor or anchor in anchors(file.read_text()), target
