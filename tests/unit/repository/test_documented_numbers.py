"""Numbers that the pages name are those of the code."""

import re
from pathlib import Path

import pytest

from sluicegate.gateway.endpoints.deployments import MAX_EXAMINED
from sluicegate.recovery.janitor import MAX_EXECUTIONS
from sluicegate.rollout.transitions import MAX_RETRIES, QUEUE_TIMEOUT

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("page", "sentence", "value", "documented"),
    [
        ("docs/reference/api.md", "one call reads at most 500 records", MAX_EXAMINED, 500),
        ("docs/reference/api.md", "or 12 retries failed", MAX_RETRIES, 12),
        ("docs/explanation/how-it-works.md", "is retried 12 times", MAX_RETRIES, 12),
        ("docs/explanation/guarantees.md", "is retried 12 times", MAX_RETRIES, 12),
        ("docs/reference/api.md", "five executions of the rollout died", MAX_EXECUTIONS, 5),
        ("docs/explanation/guarantees.md", "five executions in all", MAX_EXECUTIONS, 5),
        ("docs/reference/api.md", "within an hour of its acceptance or approval", QUEUE_TIMEOUT, 3_600),
    ],
)
def test_a_page_names_the_number_of_the_code(page: str, sentence: str, value: int, documented: int) -> None:
    assert sentence in re.sub(r"\s+", " ", (ROOT / page).read_text())
    assert value == documented
