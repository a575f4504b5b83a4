"""What is drawn, listed and written of whole rollouts, from the first look to the page of the review."""

import io
import json
import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from sluicegate.deployment.model import Deployment, Status
from sluicegate.deployment.plan import Limit, Metric, Plan, TrafficStep, Watch
from sluicegate.deployment.views import observations_view, view
from sluicegate.documents.charts import charts
from sluicegate.documents.observed import Looks
from sluicegate.relay.event import detail
from sluicegate_cli.follow import ending
from sluicegate_cli.report.page import page
from sluicegate_cli.rollout_view import RolloutView
from support.simulation import OWN, Simulation, simulation

WATCH = Watch(
    limits=(
        Limit(Metric.ERRORS, 200, most=20, max_ratio=2),
        Limit(Metric.DURATION_P95, 200, most=800, max_ratio=1.5, observe=True),
    )
)
PLAN = Plan(
    OWN, "prod", (TrafficStep(10, 1_200), TrafficStep(50, 1_200), TrafficStep(100, 0)), "0" * 64, watch=WATCH
)


class Watched:
    """A rollout while it happens, as the API shows it each time that it waits."""

    def __init__(self, at: Simulation, errors: float) -> None:
        self.seen: list[dict[str, Any]] = []
        self._at, self._errors, self._served = at, errors, 0.0
        self._chance = random.Random(7)  # noqa: S311 (traffic)
        at.meanwhile = self.meanwhile  # type: ignore[method-assign]
        self.ended = at.run(at.accept(at.upload("orders", b"new"), plan=PLAN))

    def meanwhile(self, deployment: Deployment) -> None:
        """Serve 600 requests a minute, of which the old version fails 1 %."""
        self.seen.append(_shown(deployment))
        minute = self._at.clock() // 60
        if not deployment.weight or minute == self._served:
            return
        self._served = minute
        for version, share, rate in (
            ("2", deployment.weight, self._errors),
            ("1", 100 - deployment.weight, 0.01),
        ):
            requests = 6 * share
            failed = sum(self._chance.random() < rate for _ in range(requests))
            slow = requests // 20
            times = {40.0: requests - slow, 300.0: slow}
            self._at.cloudwatch.serve("orders", "prod", version, self._at.clock(), times, errors=failed)


@pytest.fixture
def at() -> Iterator[Simulation]:
    with simulation() as made:
        made.model.add("orders", b"code of somebody")
        made.run(made.accept(made.upload("orders", b"old")))
        yield made


def _shown(deployment: Deployment) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(view(deployment), allow_nan=False))
    return found


def drawn(document: dict[str, Any], looks: Looks, at: float) -> list[str]:
    file = io.StringIO()
    console = Console(file=file, width=110, height=40, force_terminal=True, color_system=None)
    console.print(RolloutView(document, lambda: at, looks))
    return [line.rstrip() for line in file.getvalue().splitlines()]


def test_a_bad_version_is_seen_going_back(at: Simulation) -> None:
    watched = Watched(at, errors=0.05)
    ended = watched.ended
    looks, lines = Looks(), []
    for document in watched.seen:
        looks.add(document)
        lines.append(drawn(document, looks, at.clock()))

    assert ended.status is Status.ROLLED_BACK
    assert "limit ×2: bad" in str(ended.reason and ended.reason.message)
    assert any(line.startswith("  errors  unclear") for block in lines for line in block)
    assert any("●" in line and " % of " in line for block in lines for line in block)
    assert detail(ended, "")["observation"]["verdict"] == "bad"
    assert max(len(json.dumps(detail(one, ""))) for one in [ended]) < 20_000

    document = {
        **_shown(ended),
        "observations": json.loads(json.dumps(observations_view(ended), allow_nan=False)),
    }
    html = page(document, ending(document), at.clock())
    assert [chart.title for chart in charts(document)] == [
        "errors of the new and the old version",
        "duration_p95 of the new and the old version",
    ]
    assert "limit ×2: bad" in html
    assert "nan" not in html


def test_a_log_has_a_line_for_each_look_and_the_record_one_for_each_bake(at: Simulation) -> None:
    watched = Watched(at, errors=0.01)
    entries = {entry["seq"]: entry for document in watched.seen for entry in document["timeline"]}
    looks = [entry for entry in entries.values() if entry["message"].startswith("errors: ")]
    kept = [entry for entry in watched.ended.timeline if entry.message.startswith("errors: ")]

    assert watched.ended.status is Status.SUCCEEDED
    assert len(looks) > 4
    assert len(kept) <= 2
    assert all(entry["message"].count("\n") == 0 and "limit ×2: " in entry["message"] for entry in looks)
    assert len(watched.ended.observations) >= len(looks)


def test_an_observation_of_an_earlier_release_is_shown_without_what_it_lacks(at: Simulation) -> None:
    watched = Watched(at, errors=0.05)
    bare = replace(watched.ended, observations=())

    assert view(bare)["observation"] is None
    assert "Nothing was observed." in page(_shown(bare), ending(_shown(bare)), at.clock())
