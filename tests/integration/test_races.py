"""Races and deaths on the stand: many requests at once, functions that vanish, workers that are killed."""

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sluicegate_cli.exit_codes import ExitCode
from stand import Stand, package
from stand.jobs import Job, Jobs, reserved_concurrency
from stand.paths import LIMITED
from stand.reports import table_items
from stand.wide import Wide

pytestmark = pytest.mark.extended

MANY = 16
"""Requests at once. Each is a process of its own on the stand, which two cores start one after the other."""

RACING = 200
"""Jobs that race for one stage."""


def upload(stand: Stand, function: str, text: str, token: str) -> str:
    return stand.upload(
        function, package(f"def handler(event, context):\n    return {text!r}\n"), token=token
    )


def deploy(stand: Stand, function: str, stage: str, sha256: str, token: str, **headers: str) -> Any:
    """One request, sent again while the answer is that it could not be served just now."""
    body = {"action": "deploy", "function": function, "stage": stage, "artifact": {"sha256": sha256}}
    for _ in range(20):
        answer = stand.http("POST", "/deployments", body, token=token, headers=headers, timeout=120)
        if answer.status_code not in (429, 500, 502, 503):
            break
        time.sleep(0.5)
    return answer


def locks(stand: Stand, function: str) -> list[str]:
    ours = (item for item in table_items(stand) if item["pk"]["S"].startswith("lock#"))
    return [item["sk"]["S"] for item in ours if item["pk"]["S"].endswith(f"#{function}")]


def test_two_stages_of_one_function_at_once_both_end_right(stand: Stand, function: str) -> None:
    stages = ("dev", "staging", "prod")
    tokens = {stage: stand.token() for stage in stages}
    digests = {stage: upload(stand, function, stage, tokens[stage]) for stage in stages}
    with ThreadPoolExecutor(len(stages)) as pool:
        accepted = dict(
            zip(
                stages,
                pool.map(lambda s: deploy(stand, function, s, digests[s], tokens[s]), stages),
                strict=True,
            )
        )
    for stage in stages:
        done = stand.wait(accepted[stage].json()["id"], token=tokens[stage])
        assert done["status"] == "succeeded", done
        assert stand.invoke(function, alias=stage) == stage
    assert locks(stand, function) == []


def test_of_two_hundred_different_requests_for_one_stage_one_wins(
    stand: Stand, function: str, tmp_path: Path
) -> None:
    """Each is a job with a token of its own, that asks a busy API again."""
    digests = [upload(stand, function, str(number), stand.token()) for number in range(4)]
    jobs = [
        Job(("deploy", function, "dev", "--artifact", digests[number % 4], "--no-wait"), stand.token())
        for number in range(RACING)
    ]
    # The first one accepted is still there for the last request.
    with (
        reserved_concurrency(stand),
        stand.throttled("sluicegate-deployer"),
        Jobs(stand, tmp_path, jobs) as racing,
    ):
        ended = racing.results()
    assert Counter(one.exit_code for one in ended) == {0: 1, ExitCode.UNACCEPTABLE: RACING - 1}
    [winner] = [one.document or {} for one in ended if one.succeeded]
    lost = [one.document or {} for one in ended if not one.succeeded]
    assert {(one["code"], one["deployment"]) for one in lost} == {("busy", winner["id"])}
    assert stand.wait(winner["id"], token=jobs[0].token, patience=120)["status"] == "succeeded"
    listed = stand.http("GET", "/deployments", token=jobs[0].token, params={"function": function}).json()
    assert [one["id"] for one in listed["items"]] == [winner["id"]]
    assert locks(stand, function) == []


def test_of_many_requests_at_once_as_many_begin_as_a_limit_allows(wide: Wide) -> None:
    stand, names = wide.stand, [f"paths-racing-{number}" for number in range(MANY)]
    tokens = [stand.token(**LIMITED) for _ in names]
    digests = [upload(stand, name, name, token) for name, token in zip(names, tokens, strict=True)]
    with ThreadPoolExecutor(MANY) as pool:
        answers = list(
            pool.map(lambda i: deploy(stand, names[i], "at-once", digests[i], tokens[i]), range(MANY))
        )
    # 200 where a busy machine had the client repeat a request: that one had begun before.
    begun = [answer.json() for answer in answers if answer.status_code in (200, 202)]
    assert len({one["id"] for one in begun}) == len(begun) == 5
    assert sum(answer.status_code == 403 for answer in answers) == MANY - 5
    refused = next(answer.json() for answer in answers if answer.status_code == 403)
    assert (refused["code"], refused["limit"]) == ("limit_reached", "per_hour")
    first = min(one["created_at"] for one in begun)
    assert datetime.fromisoformat(refused["lifts_at"]) - datetime.fromisoformat(first) == timedelta(hours=1)
    for answer, token in zip(answers, tokens, strict=True):
        if answer.status_code in (200, 202):
            assert stand.wait(answer.json()["id"], token=token)["reason"]["code"] == "function_not_found"


def test_the_same_request_many_times_is_one_deployment(stand: Stand, function: str) -> None:
    token = stand.token()
    sha256 = upload(stand, function, "same", token)
    with ThreadPoolExecutor(MANY) as pool:
        answers = list(pool.map(lambda _: deploy(stand, function, "dev", sha256, token), range(MANY)))
    assert {answer.status_code for answer in answers} <= {200, 202}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert stand.wait(answers[0].json()["id"], token=token)["status"] == "succeeded"
    assert stand.alias(function, "dev") == "1"
    listed = stand.http("GET", "/deployments", token=token, params={"function": function}).json()
    assert len(listed["items"]) == 1


def test_a_function_deleted_midway_ends_failed_and_frees_the_locks(stand: Stand, function: str) -> None:
    token = stand.token()
    sha256 = upload(stand, function, "one", token)
    accepted = deploy(stand, function, "dev", sha256, token).json()
    stand.delete_function(function)
    done = stand.wait(accepted["id"], token=token)
    assert (done["status"], done["reason"]["code"]) == ("failed", "function_not_found")
    assert locks(stand, function) == []


@pytest.mark.parametrize("after", [0.1, 0.4, 0.7])
def test_a_deployer_killed_in_the_middle_changes_nothing_in_the_outcome(
    stand: Stand, function: str, after: float
) -> None:
    token = stand.token()
    sha256 = upload(stand, function, "one", token)
    accepted = deploy(stand, function, "dev", sha256, token).json()
    killed = []

    def kill() -> None:
        until = time.monotonic() + 20
        while time.monotonic() < until and not stand.workers("sluicegate-deployer"):
            time.sleep(0.02)
        time.sleep(after)
        killed.append(stand.kill_workers("sluicegate-deployer"))

    thread = threading.Thread(target=kill)
    thread.start()
    done = stand.wait(accepted["id"], token=token, patience=120)
    thread.join()
    assert killed
    assert done["status"] == "succeeded"
    assert stand.invoke(function, alias="dev") == "one"
    assert len(stand.client("lambda").list_versions_by_function(FunctionName=function)["Versions"]) == 2
    assert locks(stand, function) == []


@contextmanager
def gateway_may_not_start(stand: Stand) -> Iterator[None]:
    iam = stand.client("iam")
    gateway = stand.client("lambda").get_function_configuration(FunctionName="sluicegate-gateway")
    role = gateway["Role"].rsplit("/", 1)[1]
    statement = {"Effect": "Deny", "Action": "states:StartExecution", "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": statement})
    iam.put_role_policy(RoleName=role, PolicyName="denied-by-test", PolicyDocument=policy)
    try:
        yield
    finally:
        iam.delete_role_policy(RoleName=role, PolicyName="denied-by-test")


def test_a_start_that_failed_is_made_up_for_by_the_same_request(stand: Stand, function: str) -> None:
    token = stand.token()
    sha256 = upload(stand, function, "one", token)
    body = {"action": "deploy", "function": function, "stage": "dev", "artifact": {"sha256": sha256}}
    with gateway_may_not_start(stand):
        answer = stand.http("POST", "/deployments", body, token=token)
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    assert "retry-after" in answer.headers
    again = stand.http("POST", "/deployments", body, token=token)
    assert (again.status_code, again.headers["idempotent-replayed"]) == (200, "true")
    assert stand.wait(again.json()["id"], token=token)["status"] == "succeeded"


def test_a_start_that_failed_is_made_up_for_by_the_sweep(stand: Stand, function: str) -> None:
    token = stand.token()
    sha256 = upload(stand, function, "one", token)
    body = {"action": "deploy", "function": function, "stage": "dev", "artifact": {"sha256": sha256}}
    with gateway_may_not_start(stand):
        assert stand.http("POST", "/deployments", body, token=token).status_code == 503
    listed = stand.http("GET", "/deployments", token=token, params={"function": function}).json()["items"]
    (left,) = listed
    assert left["status"] == "accepted"
    # Every minute the janitor looks for what has not moved for 45 seconds.
    assert stand.wait(left["id"], token=token, patience=150)["status"] == "succeeded"
