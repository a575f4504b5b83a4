"""Pages of the documentation that a program writes."""

import sys
from collections.abc import Callable
from pathlib import Path


def write_or_print(path: Path, page: Callable[[], str]) -> None:
    """Write the page to its file with `--write`, else print it."""
    if sys.argv[1:] == ["--write"]:
        path.write_text(page())
    else:
        print(page(), end="")
