"""The repository's pages: which there are, and the anchors of their headings."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "examples").rglob("*.md")),
]


def name(path: Path) -> str:
    """Return a file's path in the repository, to name a test's case."""
    return str(path.relative_to(ROOT))


def anchors(text: str) -> set[str]:
    """Return the anchors that GitLab, GitHub and the site make of a page's headings."""
    prose = re.sub(r"```.*?```", "", text, flags=re.S)
    headings = re.findall(r"^#+ (.*)$", prose, re.M)
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}
