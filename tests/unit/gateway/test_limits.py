"""The limits of rules: numbers of deployments, hours, and traffic without an approval."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest

from sluicegate.deployment.model import AliasOutcome, Status
from sluicegate.deployment.plan import TrafficStep
from sluicegate.gate.rollout_settings import Rollout
from sluicegate.gateway.problems import Problem
from support.gateway_simulation import (
    APPROVERS,
    RELEASERS,
    GatewaySimulation,
    artifact,
    gate_of,
    gateway_simulation,
    problem,
    refused,
    rule,
    rule_limits,
)
from support.simulation import TABLE

pytestmark = pytest.mark.filterwarnings("ignore:No application metrics")

CANARY = Rollout(steps=(TrafficStep(10, 300), TrafficStep(100, 0)))
HOUR = 3_600


@pytest.fixture
def at() -> Iterator[GatewaySimulation]:
    with gateway_simulation() as made:
        yield made


def limit(at: GatewaySimulation, rollout: Rollout | None = None, **limits: Any) -> None:
    limited = RELEASERS | {"limits": rule_limits(**limits)}
    at.gate = gate_of({"prod": rollout or Rollout()}, (limited, APPROVERS))


def slots(at: GatewaySimulation) -> int:
    return sum("taken_at" in item for item in at.client.scan(TableName=TABLE)["Items"])


def test_a_refusal_says_which_limit_it_is_and_when_it_lifts(at: GatewaySimulation) -> None:
    limit(at, per_hour=2, per_day=3)
    first = at.release(artifact(at, b"1"))
    at.clock.sleep(60)
    at.release(artifact(at, b"2"))
    new = artifact(at, b"3")
    reached = problem(at.deploy, new)
    assert (reached.status, reached.code) == (403, "limit_reached")
    lifts_at = reached.members["lifts_at"]
    assert reached.members["limit"] == "per_hour"
    assert lifts_at in reached.detail
    assert "2 deployments in an hour" in reached.detail
    at.clock.now += HOUR
    assert lifts_at < at.release(new).created_at
    assert lifts_at > first.created_at
    reached = problem(at.deploy, artifact(at, b"4"))
    assert reached.members["limit"] == "per_day"


def test_what_is_refused_repeated_or_rehearsed_takes_no_slot(at: GatewaySimulation) -> None:
    limit(at, per_hour=3, per_day=3)
    new, claims = artifact(at, b"new"), at.job()
    refused(422, "unprocessable", at.deploy, "0" * 64)
    assert at.request(action="deploy", artifact={"sha256": new}, dry_run=True).value["allowed"]
    assert slots(at) == 0
    deployment = at.deploy(new, claims)
    assert slots(at) == 2
    assert at.deploy(new, claims).id == deployment.id
    refused(409, "busy", at.deploy, new)
    refused(409, "token_used", at.deploy, new, claims, release="another")
    assert slots(at) == 2
    at.finish(deployment)
    at.release(artifact(at, b"2"))
    at.release(artifact(at, b"3"))
    assert slots(at) == 6
    refused(403, "limit_reached", at.deploy, new)
    refused(403, "limit_reached", at.deploy, new, dry_run=True)
    assert at.deploy(new, claims).id == deployment.id
    # The same request of the same token under another key is the same request still.
    assert at.request(claims, "another-key", action="deploy", artifact={"sha256": new}).value["id"] == (
        deployment.id
    )
    assert slots(at) == 6


def test_a_rollback_is_neither_counted_nor_blocked(at: GatewaySimulation) -> None:
    limit(at, per_hour=2)
    at.release(artifact(at, b"1"))
    at.release(artifact(at, b"2"))
    refused(403, "limit_reached", at.deploy, artifact(at, b"3"))
    assert at.finish(at.rollback()).status is Status.SUCCEEDED
    assert slots(at) == 2


def test_another_job_session_or_stage_does_not_get_around_a_limit(at: GatewaySimulation) -> None:
    limit(at, per_hour=1)
    at.release(artifact(at, b"1"))
    for claims in (at.job(), at.job(user_id="99"), at.job(ref="another"), at.person()):
        refused(403, "limit_reached", at.deploy, artifact(at, b"2"), claims)
    refused(403, "limit_reached", at.deploy, artifact(at, b"2"), stage="dev")
    other = at.job(project_id="5000")
    assert problem(at.deploy, artifact(at, b"2"), other).code == "not_allowed"


def calls_of(at: GatewaySimulation, sha256: str) -> Counter[str]:
    calls: Counter[str] = Counter()

    def count(model: Any, **_: Any) -> None:
        calls[model.name] += 1

    at.client.meta.events.register("before-call.dynamodb", count)
    try:
        at.deploy(sha256)
    finally:
        at.client.meta.events.unregister("before-call.dynamodb", count)
    return calls


def test_only_rules_with_a_number_cost_a_call_to_the_table(at: GatewaySimulation) -> None:
    first, second, third, fourth = (artifact(at, code) for code in (b"1", b"2", b"3", b"4"))
    at.release(first)
    without = calls_of(at, second)
    at.machine.run()
    limit(at, hours={"zone": "UTC", "days": DAYS, "start": 0, "end": 1_440})
    assert calls_of(at, third) == without
    at.machine.run()
    limit(at, per_hour=10, per_day=10)
    assert calls_of(at, fourth) - without == {"Query": 2}


def test_of_fifty_racing_requests_five_begin(at: GatewaySimulation) -> None:
    limit(at, per_hour=5, per_day=20)
    names = [f"orders-{number}" for number in range(50)]
    bodies = [(name, artifact(at, name.encode(), name)) for name in names]
    together = Barrier(50)

    def request(function: str, sha256: str) -> str:
        together.wait()
        for _ in range(20):
            try:
                at.deploy(sha256, function=function)
            except Problem as problem:
                if problem.status == 503:  # as a client does
                    continue
                return problem.code
            return "accepted"
        return "unavailable"

    with ThreadPoolExecutor(50) as threads:
        answers = Counter(threads.map(lambda body: request(*body), bodies))
    assert answers == {"accepted": 5, "limit_reached": 45}
    assert slots(at) == 10


# Hours

DAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


def closing(at: GatewaySimulation) -> dict[str, Any]:
    """Hours that end ten minutes from now."""
    minute = int(at.clock.now) // 60
    start, end = (minute - 60) % 1_440, (minute + 10) % 1_440
    return {"zone": "UTC", "days": DAYS, "start": start, "end": end or 1_440}


def test_outside_of_its_hours_a_rule_begins_nothing_new(at: GatewaySimulation) -> None:
    limit(at, Rollout(approval=86_400), hours=closing(at))
    old, new, claims = artifact(at, b"old"), artifact(at, b"new"), at.job()
    waiting = at.deploy(old, claims)
    at.clock.now += 1_200
    refusal = problem(at.deploy, new, stage="dev")
    assert (refusal.status, refusal.code, refusal.members["limit"]) == (403, "limit_reached", "hours")
    assert refusal.members["lifts_at"] is not None
    refused(403, "limit_reached", at.deploy, new, dry_run=True)
    # What was accepted in time goes on, and people decide at any time.
    assert at.deploy(old, claims).id == waiting.id
    assert at.decide("approve", waiting).status == 202
    assert at.finish(waiting).status is Status.SUCCEEDED


def test_hours_stop_neither_rollback_nor_abort(at: GatewaySimulation) -> None:
    at.release(artifact(at, b"1"))
    at.release(artifact(at, b"2"))
    limit(at, Rollout(steps=(TrafficStep(50, 80_000), TrafficStep(100, 0))), hours=closing(at))
    running = at.run_until(at.deploy(artifact(at, b"3")), "baking")
    at.clock.now += 1_200
    assert at.decide("abort", running, at.job()).status == 202
    assert at.finish(running).status is Status.ABORTED
    assert at.finish(at.rollback()).status is Status.SUCCEEDED


# Traffic without an approval


def baking(at: GatewaySimulation, percent: int) -> Any:
    at.release(artifact(at, b"old"))
    limit(at, CANARY, unapproved_percent=percent)
    return at.deploy(artifact(at, b"new"), at.job(user_id="7", user_login="ada"))


def test_the_rollout_stops_at_the_largest_share_and_goes_on_when_somebody_approves(
    at: GatewaySimulation,
) -> None:
    deployment = baking(at, 20)
    assert (deployment.plan.approval, deployment.plan.unapproved_percent) == (86_400, 20)
    waiting = at.run_until(deployment, "awaiting_approval")
    assert at.model.serves("orders", "prod") == ("1", {"2": 0.1})
    refused(403, "not_allowed", at.decide, "approve", waiting, at.person("7"))
    assert at.decide("approve", waiting).status == 202
    assert at.finish(waiting).status is Status.SUCCEEDED
    assert at.model.serves("orders", "prod") == ("2", {})


def test_an_approval_between_a_bake_and_the_look_after_it_is_in_time(at: GatewaySimulation) -> None:
    deployment = at.run_until(baking(at, 20), "baking")
    at.clock.now += 301
    assert at.now(deployment).status is Status.BAKING
    assert at.decide("approve", deployment).status == 202
    assert at.finish(deployment).status is Status.SUCCEEDED


def test_it_goes_back_when_nobody_approves(at: GatewaySimulation) -> None:
    ended = at.finish(baking(at, 20))
    assert (ended.status, ended.outcome) == (Status.ROLLED_BACK, AliasOutcome.RESTORED)
    assert ended.reason is not None
    assert ended.reason.code == "approval_expired"
    assert at.model.serves("orders", "prod") == ("1", {})


def test_it_goes_back_when_somebody_rejects(at: GatewaySimulation) -> None:
    waiting = at.run_until(baking(at, 20), "awaiting_approval")
    assert at.decide("reject", waiting).status == 202
    ended = at.finish(waiting)
    assert (ended.status, ended.outcome) == (Status.REJECTED, AliasOutcome.RESTORED)
    assert at.model.serves("orders", "prod") == ("1", {})


def test_what_supersedes_it_waits_until_its_traffic_is_taken_back(at: GatewaySimulation) -> None:
    waiting = at.run_until(baking(at, 20), "awaiting_approval")
    at.gate = gate_of()
    refused(409, "source_changed", at.promote, stage="dev", version="1", **{"from": "prod"})
    third = at.deploy(artifact(at, b"third"), on_busy="supersede")
    assert third.supersedes == waiting.id
    assert at.finish(third).status is Status.SUCCEEDED
    assert at.now(waiting).outcome is AliasOutcome.RESTORED


def test_a_strategy_that_begins_with_more_waits_before_anything(at: GatewaySimulation) -> None:
    waiting = at.run_until(baking(at, 5), "awaiting_approval")
    assert waiting.version is None
    assert at.model.serves("orders", "prod") == ("1", {})


def test_a_first_release_waits_with_no_traffic(at: GatewaySimulation) -> None:
    limit(at, CANARY, unapproved_percent=50)
    deployment = at.deploy(artifact(at, b"new"), at.job(user_id="7", user_login="ada"))
    waiting = at.run_until(deployment, "awaiting_approval")
    assert (waiting.version, waiting.weight) == ("1", 0)
    assert at.decide("approve", waiting).status == 202
    assert at.finish(waiting).status is Status.SUCCEEDED


def test_a_stage_that_asks_before_anything_still_does(at: GatewaySimulation) -> None:
    limit(at, Rollout(steps=CANARY.steps, approval=600), unapproved_percent=50)
    deployment = at.deploy(artifact(at, b"new"), at.job(user_id="7", user_login="ada"))
    assert (deployment.plan.approval, deployment.plan.unapproved_percent) == (600, 0)


def test_a_request_that_nobody_could_approve_is_refused(at: GatewaySimulation) -> None:
    limit(at, CANARY, unapproved_percent=50)
    refused(422, "unprocessable", at.deploy, artifact(at, b"new"), at.job(user_login="project_1_bot_x"))
    assert slots(at) == 0


def test_a_rule_that_proposes_waits_for_a_person_in_any_stage(at: GatewaySimulation) -> None:
    at.release(artifact(at, b"old"))
    at.release(artifact(at, b"newer"))
    proposing = rule("proposing", "deploy", "rollback", limits=rule_limits(propose=True))
    at.gate = gate_of(rules=(proposing, APPROVERS))
    deployment = at.deploy(artifact(at, b"new"), at.job(user_id="7", user_login="ada"))
    assert deployment.plan.proposed
    waiting = at.run_until(deployment, "awaiting_approval")
    assert at.decide("reject", waiting).status == 202
    rollback = at.run_until(at.rollback(at.job(user_id="7", user_login="ada")), "awaiting_approval")
    assert at.model.serves("orders", "prod") == ("2", {})
    assert at.decide("approve", rollback).status == 202
    assert at.finish(rollback).status is Status.SUCCEEDED
    assert at.model.serves("orders", "prod") == ("1", {})
