"""Numbers that the pages name are those of the code."""

import re
from pathlib import Path

import pytest

from sluicegate.gateway.endpoints import functions
from sluicegate.gateway.endpoints.deployments import MAX_EXAMINED
from sluicegate.recovery.janitor import MAX_EXECUTIONS
from sluicegate.rollout.transitions import DENIED_SECONDS, QUEUE_TIMEOUT, RESTORE_SECONDS, RETRY_SECONDS

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("page", "sentence", "value", "documented"),
    [
        ("docs/reference/api.md", "one call reads at most 500 records", MAX_EXAMINED, 500),
        ("docs/reference/api.md", "one call reads at most 1,000 aliases", functions.MAX_EXAMINED, 1_000),
        ("docs/reference/api.md", "or failed for three minutes", RETRY_SECONDS, 180),
        ("docs/explanation/how-it-works.md", "is retried for three minutes", RETRY_SECONDS, 180),
        ("docs/explanation/guarantees.md", "is retried for three minutes", RETRY_SECONDS, 180),
        ("docs/reference/api.md", "for a minute in a row", DENIED_SECONDS, 60),
        ("docs/explanation/how-it-works.md", "is retried for a minute", DENIED_SECONDS, 60),
        ("docs/explanation/guarantees.md", "retried for an hour", RESTORE_SECONDS, 3_600),
        ("docs/explanation/how-it-works.md", "tried for an hour", RESTORE_SECONDS, 3_600),
        ("docs/reference/api.md", "five executions of the rollout died", MAX_EXECUTIONS, 5),
        ("docs/explanation/guarantees.md", "five executions in all", MAX_EXECUTIONS, 5),
        ("docs/reference/api.md", "within an hour of its acceptance or approval", QUEUE_TIMEOUT, 3_600),
    ],
)
def test_a_page_names_the_number_of_the_code(page: str, sentence: str, value: int, documented: int) -> None:
    assert sentence in re.sub(r"\s+", " ", (ROOT / page).read_text())
    assert value == documented
