"""What the pages give to copy is right, and what they point at is there."""

import re
from pathlib import Path

import pytest

from sluicegate_gatefile import compile as gatefile

ROOT = Path(__file__).parents[3]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def fences(page: Path) -> list[str]:
    return re.findall(r"```yaml\n(version: 1\n.*?)```", page.read_text(), re.S)


def anchors(page: Path) -> set[str]:
    """The anchors that GitLab and GitHub make of a page's headings."""
    prose = re.sub(r"```.*?```", "", page.read_text(), flags=re.S)
    headings = re.findall(r"^#+ (.*)$", prose, re.M)
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


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
        assert not anchor or anchor in anchors(file), target
