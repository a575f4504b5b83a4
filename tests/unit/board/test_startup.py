"""What a cold start of the board imports: what its pages need, and no more."""

import subprocess
import sys

import pytest

from support.template import ROOT

HEAVY = ("jinja2", "jwt", "sluicegate.rollout", "sluicegate.board.signing_in")
"""Templates are imported with the first page, and what verifies ID tokens where a person signs in."""


def imported(statement: str) -> list[str]:
    code = f"import sys; {statement}; print(*sys.modules)"
    path = f"{ROOT}/layers/shared/python"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={
            "PYTHONPATH": path,
            "POWERTOOLS_METRICS_NAMESPACE": "Sluicegate",
            "PYTHONDONTWRITEBYTECODE": "1",
        },
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()


@pytest.mark.parametrize("module", HEAVY)
def test_the_router_imports_nothing_heavy(router: list[str], module: str) -> None:
    assert module not in router


@pytest.fixture(scope="module")
def router() -> list[str]:
    found = imported("import sluicegate.board.app")
    assert "sluicegate.board.app" in found
    return found
