"""Delivery figures, by their definitions."""

from itertools import count
from typing import Any, Final

import pytest

from sluicegate.board.delivery import DAY, figures
from sluicegate.deployment.durations import timestamp
from sluicegate.deployment.model import Requester, Status
from sluicegate.store.deployments import DeploymentSummary
from support.signing import ISSUER

NOW: Final = 1_795_400_000.0
HOUR: Final = 3_600
_NUMBERS: Final = count()


def at(stage: str = "prod", hours: float = 24, **given: Any) -> DeploymentSummary:
    """One that began so many hours ago and took an hour, unless it says otherwise."""
    began = NOW - hours * HOUR
    sha = given.pop("sha", "a" * 40)
    shown = {
        "id": f"{int(began):020}{next(_NUMBERS):06}",
        "status": Status.SUCCEEDED,
        "action": "deploy",
        "function": "orders",
        "stage": stage,
        "requested_by": Requester(ISSUER, "4213", sha=sha),
        "created_at": timestamp(began),
        "updated_at": timestamp(began + HOUR),
        "traffic_since": timestamp(began + HOUR / 2),
        "finished_at": timestamp(began + HOUR),
    }
    return DeploymentSummary(**{**shown, **given})


def of(*deployments: DeploymentSummary, committed: Any = None, days: int = 30) -> Any:
    return figures("prod", deployments, committed or {}, days=days, now=NOW)


def test_frequency_counts_what_got_all_traffic() -> None:
    found = of(at(), at(hours=48), at(status=Status.FAILED), at(action="rollback"), at("dev"))
    assert found.released == 2
    assert found.frequency == pytest.approx(2 / 30)
    assert sum(found.per_day) == 2
    assert len(found.per_day) == 30


def test_nothing_known_is_none_and_not_zero() -> None:
    found = of(at("dev"))
    assert (found.share, found.restore, found.through, found.lead) == (None, None, None, None)


def test_what_the_watch_took_back_counts_and_what_had_no_traffic_does_not() -> None:
    back = at(status=Status.ROLLED_BACK)
    untouched = at(status=Status.ROLLED_BACK, traffic_since=None)
    found = of(at(hours=50), back, untouched, at(status=Status.REJECTED, traffic_since=None))
    assert (found.went_back, found.reached) == (1, 2)
    assert found.share == 0.5
    # From its first traffic until the alias was restored.
    assert found.restore == HOUR / 2


def test_a_rollback_takes_back_the_release_before_it_on_its_function() -> None:
    released, other = at(hours=30), at(hours=29, function="orders-mail")
    back = at(hours=10, action="rollback")
    found = of(released, other, back, at(hours=9, action="rollback"))
    assert (found.went_back, found.reached) == (1, 2)
    # From all traffic until the rollback had ended.
    assert found.restore == 20 * HOUR


def test_the_way_through_the_stages_begins_with_the_commits_first_deployment() -> None:
    found = of(at("dev", hours=40), at("dev", hours=30), at(hours=20), at("dev", hours=90, sha="b" * 40))
    assert found.through == 21 * HOUR
    assert of(at(sha=None)).through is None


def test_lead_time_is_the_median_of_the_commits_whose_time_is_known() -> None:
    times = {(ISSUER, "4213", "b" * 40): timestamp(NOW - 3 * DAY), (ISSUER, "4213", "c" * 40): timestamp(NOW)}
    found = of(at(hours=24, sha="b" * 40), at(sha="a" * 40), committed=times)
    assert found.lead == 2 * DAY + HOUR
    # A clock that is ahead makes no time negative.
    assert of(at(sha="c" * 40), committed=times).lead == 0
