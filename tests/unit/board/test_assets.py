"""The board's files: small, named by their content, and of a package whose bytes are pinned."""

import gzip
import json
import re
from pathlib import Path
from typing import Final

import pytest

from sluicegate.board.assets import KINDS, Assets
from support.template import ROOT

DIRECTORY: Final = ROOT / "layers" / "board" / "assets"
LIMITS: Final = {"board.css": 8_192, "board.js": 3_072}
"""Bytes of what is our own. What outgrows this asks for less, not for a build."""


@pytest.mark.parametrize("name", [name for name in LIMITS if (DIRECTORY / name).exists()])
def test_our_own_files_are_small(name: str) -> None:
    assert (DIRECTORY / name).stat().st_size <= LIMITS[name]


def test_a_file_is_kept_for_ever_under_a_name_with_its_digest() -> None:
    assets = Assets(DIRECTORY)
    for file in DIRECTORY.iterdir():
        name = assets.name(file.name)
        assert re.fullmatch(r"[a-z.]+\.[0-9a-f]{16}\.(css|js|svg)", name)
        plain, packed = assets.respond(name, gzipped=False), assets.respond(name, gzipped=True)
        assert plain
        assert packed
        assert plain.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert plain.body == gzip.decompress(packed.body) == file.read_bytes()
        assert packed.headers["Content-Encoding"] == "gzip"
        assert plain.content_type == KINDS[file.suffix]


@pytest.mark.parametrize("name", ["board.css", "../templates/base.html", "board.0123456789abcdef.css", ""])
def test_nothing_else_is_served(name: str) -> None:
    assert Assets(DIRECTORY).respond(name, gzipped=False) is None


def test_other_content_has_another_name(tmp_path: Path) -> None:
    (tmp_path / "board.css").write_text("a{}")
    first = Assets(tmp_path).name("board.css")
    (tmp_path / "board.css").write_text("b{}")
    assert Assets(tmp_path).name("board.css") != first


def test_htmx_is_the_version_that_the_lock_pins() -> None:
    """`.ci/htmx` compares the file with the package; here, the version that the file says."""
    lock = json.loads((DIRECTORY.parent / "package-lock.json").read_text())
    package = lock["packages"]["node_modules/htmx.org"]
    assert package["integrity"].startswith("sha512-")
    assert f"this.version='{package['version']}'" in (DIRECTORY / "htmx.min.js").read_text().replace('"', "'")
