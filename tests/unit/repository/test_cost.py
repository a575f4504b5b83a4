"""The page of costs is what the script works out from the template and the counted requests."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_the_page_of_costs_is_as_the_script_writes_it() -> None:
    paths = (ROOT / "layers" / "shared" / "python", ROOT / "cli", ROOT / "tests", ROOT)
    ended = subprocess.run(
        [sys.executable, str(ROOT / "bench" / "cost.py")],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))},
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    page = (ROOT / "docs" / "reference" / "cost.md").read_text()
    assert ended.stdout == page, "run `make cost`"
