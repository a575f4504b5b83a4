"""The pages of costs and of limits are what the scripts work out from the template and counted requests."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("name", "page"), [("cost", "docs/reference/cost.md"), ("scale", "docs/explanation/scale.md")]
)
def test_the_page_is_as_its_script_writes_it(name: str, page: str) -> None:
    paths = (ROOT / "layers" / "shared" / "python", ROOT / "cli", ROOT / "tests", ROOT)
    ended = subprocess.run(
        [sys.executable, str(ROOT / "bench" / f"{name}.py")],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))},
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    assert ended.stdout == (ROOT / page).read_text(), f"run `make {name}`"
