"""`history --would-have`: what limits that only observe would have stopped."""

import json
from dataclasses import replace
from typing import Any

import pytest

from sluicegate.deployment.durations import timestamp
from sluicegate.deployment.model import Deployment
from sluicegate.deployment.observations import WouldHave
from sluicegate.deployment.plan import Limit, Metric, TrafficStep, Watch
from sluicegate.deployment.views import view
from sluicegate_cli.would_have import LimitHistory, histories
from support.cli_running import Run
from support.cli_server import BEGAN, Reply, Server, failed, publishing, succeeded

P95 = Limit(Metric.DURATION_P95, 100, max_ratio=1.5, observe=True)
ERRORS = Limit(Metric.ERRORS, 100, most=5)
SLOW = WouldHave("duration_p95", timestamp(BEGAN + 60), "duration_p95: 412 ms, old 200 ms: bad", 0, 7)
RINGS = WouldHave("alarm 5xx", timestamp(BEGAN), "alarm 5xx is firing")


def watched(deployment: Deployment, watch: Watch, *would_have: WouldHave) -> dict[str, Any]:
    plan = replace(deployment.plan, watch=watch, steps=(TrafficStep(10, 300), TrafficStep(100, 0)))
    return view(replace(deployment, plan=plan, would_have=would_have))


LISTED = [
    watched(succeeded(), Watch(limits=(ERRORS, P95)), SLOW),
    watched(succeeded(), Watch(limits=(ERRORS, P95))),
    watched(failed(), Watch(limits=(ERRORS, P95))),  # which had no traffic
    watched(publishing(), Watch(("5xx", "orders-*"), (ERRORS,), observe=True), RINGS),
    view(succeeded()),
]


def test_limits_are_counted_over_the_rollouts_that_they_observed() -> None:
    assert histories(LISTED) == [
        LimitHistory("alarm 5xx", 1, 1),
        LimitHistory("duration_p95", 2, 1),
        LimitHistory("errors", 1, 0),
    ]
    assert histories([]) == []


def test_it_shows_by_what_at_which_look_and_when(run: Run, server: Server) -> None:
    server.on("GET", "/deployments", Reply(200, {"items": LISTED, "next_cursor": None}))
    ended = run("history", "--stage", "prod", "--would-have")
    assert ended.code == 0
    assert "stage=prod" in server.asked[0].query
    assert "look 7, at 10%" in ended.out
    assert "before traffic" in ended.out
    assert "duration_p95: would have stopped 1 of 2 rollouts that it observed" in ended.out
    assert "errors: would have stopped 0 of 1 rollout that it observed" in ended.out


def test_as_json_it_has_the_deployments_and_the_sums(run: Run, server: Server) -> None:
    server.on("GET", "/deployments", Reply(200, {"items": LISTED, "next_cursor": None}))
    document = json.loads(run("history", "--would-have", "--json").out)
    assert [one["would_have"][0]["limit"] for one in document["items"]] == ["duration_p95", "alarm 5xx"]
    assert {"limit": "duration_p95", "rollouts": 2, "would_have_stopped": 1} in document["limits"]


@pytest.mark.parametrize("items", [[], [view(succeeded())]])
def test_without_anything_that_observes_it_says_so(run: Run, server: Server, items: list[Any]) -> None:
    server.on("GET", "/deployments", Reply(200, {"items": items, "next_cursor": None}))
    assert "nothing observed (mode: observe)" in run("history", "--would-have").out
