"""Many functions released at once, through Lambda's quotas: they wait in line, and none fails."""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from stand import Stand
from stand.jobs import Ended, Jobs, release, reserved_concurrency, rollback
from stand.lambda_quotas import LambdaQuotas, lambda_quotas, set_budget
from stand.reports import table_items, until

pytestmark = pytest.mark.extended

MANY = 10
STOCK = {"project_id": "4700", "ref_type": "tag", "ref": "v1.4.0", "ref_protected": "true"}
ORDERS: dict[str, str] = {}
"""Of the project to which feedback goes."""


@pytest.fixture(scope="module")
def quotas(stand: Stand) -> Iterator[LambdaQuotas]:
    with reserved_concurrency(stand), lambda_quotas(stand) as made:
        yield made


@pytest.fixture
def functions(stand: Stand, request: pytest.FixtureRequest) -> Iterator[list[str]]:
    names = [f"{getattr(request, 'param', 'stock')}-burst-{uuid4().hex[:6]}" for _ in range(MANY)]
    for name in names:
        stand.create_function(name)
    yield names
    for name in names:
        stand.delete_function(name)


def take_all(stand: Stand, calls_of_seconds: int) -> None:
    """Other deployments have just taken the calls of so many seconds."""
    set_budget(stand, spent_until=int((time.time() + calls_of_seconds) * 1_000))


def succeeded(ended: list[Ended]) -> list[dict[str, Any]]:
    """The deployments of jobs that all followed theirs to its success."""
    for one in ended:
        assert one.succeeded, one.log
    return [one.document or {} for one in ended]


def nothing_is_left(stand: Stand) -> None:
    """No lock, and nobody in line."""
    assert [item for item in table_items(stand) if item["pk"]["S"].startswith("lock#")] == []
    assert in_line(stand) == []


def deployed_once(stand: Stand, function: str, claims: dict[str, str]) -> None:
    """One deployment, and one version, which staging serves."""
    token = stand.token(**claims)
    listed = stand.http("GET", "/deployments", token=token, params={"function": function}).json()
    assert len(listed["items"]) == 1
    versions = stand.client("lambda").list_versions_by_function(FunctionName=function)["Versions"]
    assert [one["Version"] for one in versions] == ["$LATEST", "1"]
    assert stand.alias_state(function, "staging") == {"version": "1", "weights": {}}


def test_a_burst_waits_in_line_and_a_rollback_does_not(
    stand: Stand, quotas: LambdaQuotas, functions: list[str], tmp_path: Path
) -> None:
    back, *others = functions
    for text in ("one", "two"):
        with Jobs(stand, tmp_path, [release(tmp_path, stand, back, text, **STOCK)]) as before:
            succeeded(before.results())
    take_all(stand, 20)
    jobs = [release(tmp_path, stand, name, "three", **STOCK) for name in others]
    with Jobs(stand, tmp_path, [rollback(stand, back, **STOCK), *jobs], processes=2) as running:
        went, *ended = succeeded(running.results())
    assert quotas.shared.throttled == []
    said = [entry["message"] for one in ended for entry in one["timeline"] if "in line" in entry["message"]]
    assert said
    assert len({message.partition(" ")[0] for message in said}) > 1  # not all were the 1st
    assert "in line" not in str(went["timeline"])
    assert [stand.invoke(name, alias="staging") for name in functions] == ["one"] + ["three"] * (MANY - 1)
    nothing_is_left(stand)


@pytest.mark.usefixtures("quotas")
def test_a_rollback_needs_no_concurrency_that_deployments_take(
    stand: Stand, functions: list[str], tmp_path: Path
) -> None:
    back, late, *_ = functions
    for text in ("one", "two"):
        with Jobs(stand, tmp_path, [release(tmp_path, stand, back, text, **STOCK)]) as before:
            succeeded(before.results())
    with ExitStack() as stack:
        with stand.throttled("sluicegate-deployer"):
            deploying = stack.enter_context(
                Jobs(stand, tmp_path, [release(tmp_path, stand, late, "three", **STOCK)])
            )
            with Jobs(stand, tmp_path / "back", [rollback(stand, back, **STOCK)]) as running:
                succeeded(running.results())
            assert stand.invoke(back, alias="staging") == "one"
            assert deploying.ended() == 0
        succeeded(deploying.results())
    nothing_is_left(stand)


@pytest.mark.usefixtures("quotas")
def test_workers_that_are_killed_in_a_burst_lose_nothing_and_do_nothing_twice(
    stand: Stand, functions: list[str], tmp_path: Path
) -> None:
    take_all(stand, 4)
    jobs = [release(tmp_path, stand, name, "new", **STOCK) for name in functions]
    killed = dict.fromkeys(("deployer", "gateway", "watcher"), 0)
    with Jobs(stand, tmp_path, jobs, processes=2) as running:
        for _ in range(4):
            for name in killed:
                time.sleep(0.7)
                killed[name] += stand.kill_workers(f"sluicegate-{name}")
        ended = succeeded(running.results())
    assert all(killed.values()), killed
    assert {one["status"] for one in ended} == {"succeeded"}
    for name in functions:
        deployed_once(stand, name, STOCK)
    nothing_is_left(stand)


@pytest.mark.usefixtures("quotas")
@pytest.mark.parametrize("functions", ["orders"], indirect=True)
def test_a_gitlab_that_stops_in_a_burst_holds_up_nothing_and_hears_of_it_later(
    stand: Stand, functions: list[str], tmp_path: Path
) -> None:
    """It is the issuer too: processes that have read its keys go on, others ask for patience."""
    commit = uuid4().hex + "0" * 8
    claims = {**ORDERS, "sha": commit}
    late, *others = functions
    last = release(tmp_path, stand, late, "new", **claims)
    jobs = [release(tmp_path, stand, name, "new", **claims) for name in others]
    take_all(stand, 8)
    with Jobs(stand, tmp_path, jobs) as running:
        until(lambda: in_line(stand), lambda waiting: len(waiting) >= len(others) // 2, patience=60)
        with stand.stopped_gitlab():
            succeeded(running.results())
            stand.kill_workers("sluicegate-gateway")
            answer = until(
                lambda: stand.http("GET", "/whoami", token=last.token),
                lambda answer: answer.status_code == 503,  # the first may meet a process that has just died
            )
            assert answer.json()["code"] == "unavailable"
            assert answer.headers["retry-after"]
    with Jobs(stand, tmp_path / "late", [last]) as running:
        succeeded(running.results())
    for name in functions:
        deployed_once(stand, name, ORDERS)

    def reported() -> list[str]:
        found = [stand.gitlab.statuses(commit, f"sluicegate/{name}:staging") for name in functions]
        # One whose answer was lost may be there twice (docs/guides/commit-statuses.md).
        return [each[-1]["history"][-1] if each else "" for each in found]

    assert until(reported, lambda states: states == ["success"] * MANY) == ["success"] * MANY


def in_line(stand: Stand) -> list[str]:
    key = {":pk": {"S": f"budget#{stand.account_id}#{stand.region}"}, ":sk": {"S": "wait#"}}
    condition = "pk = :pk AND begins_with(sk, :sk)"
    found = stand.client("dynamodb").query(
        TableName=stand.table, KeyConditionExpression=condition, ExpressionAttributeValues=key
    )
    return [item["sk"]["S"] for item in found["Items"]]
