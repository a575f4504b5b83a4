"""Every file, folder and module that the pages name in the code is there."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.pages import PAGES, ROOT, name

LAYER = ROOT / "layers" / "shared" / "python" / "sluicegate"
MODULES = {
    file.name for folder in ("bench", "cli", "layers", "tests") for file in (ROOT / folder).rglob("*.py")
}
TOP = "(?:bench|cli|cloudformation|docs|events|functions|layers|templates|tests)"


def names(text: str) -> Iterator[str]:
    """Yield each name of a file, a folder or a module that stands by itself in code marks."""
    prose = re.sub(r"^```.*?^```", "", text, flags=re.S | re.M)
    for marked in re.findall(r"`([^`\n]+)`", prose):
        if re.search(r"__init__|\.json$", marked):
            continue
        if re.fullmatch(rf"{TOP}/[\w./-]+|\w+(?:/\w+)*/(?:\w+\.py)?|[a-z_]+(?:\.[a-z_]+)+", marked):
            yield marked


def wrong(named: str) -> bool:
    """Whether the name looks like ours and leads nowhere."""
    top, _, rest = named.replace(".", "/", 1).partition("/")
    if "/" in named:
        ours = re.match(TOP, named) or (LAYER / top).is_dir()
        return bool(ours) and not ((ROOT / named).exists() or (LAYER / named).exists())
    if named.endswith(".py"):
        return named not in MODULES
    package, module = LAYER / top, LAYER / f"{top}.py"
    if not (rest and (package.is_dir() or module.is_file())):
        return False
    path = named.replace(".", "/")
    return not ((LAYER / path).is_dir() or (LAYER / f"{path}.py").is_file() or defined(path))


def defined(path: str) -> bool:
    """Whether the last part is a function, a class or a value of the module before it."""
    module, _, last = path.rpartition("/")
    file = LAYER / f"{module}.py"
    pattern = rf"^(?:def|class) {last}\b|^{last}\b ?[:=]"
    return file.is_file() and re.search(pattern, file.read_text(), re.M) is not None


@pytest.mark.parametrize(
    ("named", "is_wrong"),
    [
        ("oidc.token", False),
        ("oidc/token.py", False),
        ("oidc/", False),
        ("text.clean", False),
        ("tests/unit/oidc", False),
        ("oidc.tokens", True),
        ("oidc/tokens.py", True),
        ("text.dirty", True),
        ("text.py", False),
        ("texts.py", True),
        ("tests/unit/openid", True),
        ("project.id", False),
        ("release/stable.py", False),
    ],
)
def test_tells_a_wrong_name_from_a_right_one(named: str, is_wrong: bool) -> None:
    assert list(names(f"See `{named}`.")) == [named]
    assert wrong(named) == is_wrong


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_name_of_a_page_is_there(page: Path) -> None:
    assert [named for named in names(page.read_text()) if wrong(named)] == []
