"""What the tests of the compiler share."""

from collections.abc import Callable
from pathlib import Path

import pytest

from sluicegate_gatefile import compile as gatefile
from sluicegate_gatefile.compile import Report


@pytest.fixture
def check(tmp_path: Path) -> Callable[[str], Report]:
    """Check a gate file of this text, in the test's own directory."""

    def check(text: str) -> Report:
        path = tmp_path / "sluicegate.yaml"
        path.write_text(text)
        return gatefile.check(path)

    return check
