"""Numbers that the pages name are those of the code."""

import re
from pathlib import Path

import pytest

from sluicegate.deployment.plan import SILENT_WITHIN
from sluicegate.gateway.endpoints import functions
from sluicegate.gateway.endpoints.deployments import MAX_EXAMINED
from sluicegate.recovery.janitor import GIVES_UP_AFTER
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
        ("docs/reference/api.md", "executions of the rollout died for six hours", GIVES_UP_AFTER, 6 * 3_600),
        ("docs/explanation/guarantees.md", "executions died for six hours", GIVES_UP_AFTER, 6 * 3_600),
        ("docs/reference/api.md", "must be silent within 10 minutes of all traffic", SILENT_WITHIN, 600),
        ("docs/guides/fix-forward.md", "Within 10 minutes of all traffic", SILENT_WITHIN, 600),
        (
            "docs/explanation/security.md",
            "10 minutes after all traffic (`silent_within`)",
            SILENT_WITHIN,
            600,
        ),
        ("docs/reference/gate-file.md", "must fall silent. `10m` (default)", SILENT_WITHIN, 600),
        ("docs/reference/api.md", "within an hour of its acceptance or approval", QUEUE_TIMEOUT, 3_600),
    ],
)
def test_a_page_names_the_number_of_the_code(page: str, sentence: str, value: int, documented: int) -> None:
    assert sentence in re.sub(r"\s+", " ", (ROOT / page).read_text())
    assert value == documented


@pytest.mark.parametrize(
    ("page", "figure", "source"),
    [
        ("docs/start/deploy.md", "a limit of 10 concurrent executions", "Configuring reserved concurrency"),
        ("docs/start/deploy.md", "AWS wants 100 unreserved", "Configuring reserved concurrency"),
        ("docs/explanation/how-it-works.md", "`GetFunction` 100 a second", "gettingstarted-limits"),
        ("docs/explanation/how-it-works.md", "everything else together 15 a second", "gettingstarted-limits"),
        ("docs/explanation/how-it-works.md", "300 GB for a region", "gettingstarted-limits"),
        ("docs/explanation/how-it-works.md", "An execution may take a year", "service-quotas"),
        ("docs/reference/gate-file.md", "one to two minutes late", "seen, not documented"),
        ("docs/guides/landing-zone.md", "at least 10", "AWS WAF"),
    ],
)
def test_a_figure_of_awss_has_its_source_and_date(page: str, figure: str, source: str) -> None:
    """AWS changes its quotas: a figure without a date is soon wrong, and nobody knows since when."""
    text = (ROOT / page).read_text()
    sections = [re.sub(r"\s+", " ", section) for section in re.split(r"^#+ ", text, flags=re.MULTILINE)]
    [section] = [section for section in sections if figure in section]
    assert source in section
    assert "November 2026" in section


def test_no_page_names_a_figure_that_aws_has_changed() -> None:
    for page in (ROOT / "docs").rglob("*.md"):
        assert "75 GB" not in page.read_text(), page
