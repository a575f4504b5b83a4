"""While the control plane has no calls to spare, looks do without the alias, but none ends a bake so."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from sluicegate.deployment.call_budget import CallClass, InLine
from sluicegate.deployment.durations import seconds
from sluicegate.deployment.model import AliasOutcome, Deployment, Status
from sluicegate.deployment.plan import Limit, Metric, Plan, TrafficStep, Watch
from sluicegate.rollout.machine import advance, may_skip_alias
from sluicegate.rollout.outcomes import Observed
from sluicegate.store.call_budget import CallClaim
from support.cloudwatch_model import Requests
from support.lambda_model import timeout
from support.line_model import take
from support.readings import VersionMetrics, readings
from support.simulation import OWN, Simulation, simulation

OLD, NEW = b"old code", b"new code"
OLD_SHA, NEW_SHA = (hashlib.sha256(code).hexdigest() for code in (OLD, NEW))
CANARY = Plan(
    OWN,
    "prod",
    (TrafficStep(10, 60), TrafficStep(100, 0)),
    "0" * 64,
    watch=Watch(limits=(Limit(Metric.ERRORS, 10, most=5.0),)),
)


@pytest.fixture
def at() -> Iterator[Simulation]:
    """Prod serves version 1."""
    with simulation() as made:
        made.model.add("orders", b"code of somebody")
        made.upload("orders", OLD)
        made.upload("orders", NEW)
        made.run(made.accept(OLD_SHA))
        made.model.calls.clear()
        made.clock.now += 60
        yield made


@dataclass
class Looks:
    """The rollout of version 2, and when its alias was read in the bake, in seconds after the first move."""

    ended: Deployment
    times: list[int]


def roll_out(at: Simulation, deployment: Deployment) -> Looks:
    times: list[float] = []

    def note(name: str) -> None:
        if name == "GetAlias" and at.now(deployment).traffic_since:
            times.append(at.clock.now)

    at.model.before = note
    ended = at.run(deployment)
    since = seconds(next(entry.at for entry in ended.timeline if entry.status is Status.BAKING))
    return Looks(ended, [round(time - since) for time in times])


def overdraw(at: Simulation) -> None:
    """From the first move on, others take more calls than there are."""

    def take(**_: Any) -> None:
        if any(name == "UpdateAlias" for name in at.model.calls):
            key = {"pk": {"S": f"budget#{OWN.account}#{OWN.region}"}, "sk": {"S": "bucket"}}
            until = {"N": str(int(at.clock.now + 10) * 1_000)}
            at.client.put_item(TableName="sluicegate", Item={**key, "spent_until": until})

    at.listen("before-call.dynamodb.GetItem", take)


def test_looks_read_the_alias_while_there_are_calls(at: Simulation) -> None:
    looks = roll_out(at, at.accept(NEW_SHA, plan=CANARY))
    assert looks.ended.status is Status.SUCCEEDED
    assert looks.times == list(range(5, 61, 5))


def test_looks_leave_the_calls_to_others(at: Simulation) -> None:
    overdraw(at)
    looks = roll_out(at, at.accept(NEW_SHA, plan=CANARY))
    assert looks.ended.status is Status.SUCCEEDED
    assert looks.times == [20, 40, 60]


def test_looks_let_those_in_line_pass(at: Simulation) -> None:
    waiting: list[InLine | None] = []

    def moved(name: str) -> None:
        if name == "UpdateAlias" and not waiting:
            for number in range(20):
                claim = CallClaim(f"other-{number}", f"owner-{number}", CallClass.DEPLOY, 14)
                waiting.append(take(at.store.calls, OWN, claim, in_line=False))

    at.model.after = moved
    looks = roll_out(at, at.accept(NEW_SHA, plan=CANARY))
    assert any(waiting)
    assert looks.times[0] > 10
    assert looks.times[-1] == 60


def test_a_look_without_the_alias_sees_a_bad_version(at: Simulation) -> None:
    at.cloudwatch.metrics["2"] = Requests(invocations=100, errors=50)
    overdraw(at)
    looks = roll_out(at, at.accept(NEW_SHA, plan=CANARY))
    assert looks.ended.status is Status.ROLLED_BACK
    assert looks.times == [5]  # by the way back, which never does without it
    assert at.model.serves("orders", "prod") == ("1", {})


def test_an_alias_that_somebody_moved_is_seen_by_the_fourth_look(at: Simulation) -> None:
    overdraw(at)
    deployment = at.accept(NEW_SHA, plan=CANARY)
    moved: list[float] = []

    def move(_: Any) -> str:
        if not moved:
            moved.append(at.clock.now)
            at.model.set_alias("orders", "prod", "1")
        return "Complete"

    at.cloudwatch.status = move
    ended = at.run(deployment)
    assert ended.outcome is AliasOutcome.LEFT_TO_OTHER
    assert round(seconds(ended.updated_at) - moved[0]) == 15


def test_a_look_whose_call_cannot_be_taken_makes_it(at: Simulation) -> None:
    deployment = at.accept(NEW_SHA, plan=CANARY)

    def fail(params: Any, **_: Any) -> None:
        if "spent_until" in params["UpdateExpression"] and at.now(deployment).status is Status.BAKING:
            raise timeout()

    at.listen("before-call.dynamodb.UpdateItem", fail)
    looks = roll_out(at, deployment)
    assert looks.times == list(range(5, 61, 5))


GOOD = readings((), VersionMetrics(100_000, 500), VersionMetrics(900_000, 4_500))
"""So many requests that the version is good beyond doubt."""


@pytest.mark.parametrize("after", [0, 7, 20, 59, 60, 600])
def test_what_did_not_read_the_alias_never_lets_a_rollout_go_on(at: Simulation, after: int) -> None:
    watch = Watch(limits=(Limit(Metric.ERRORS, 200, max_ratio=2.0),), end_early=True)
    accepted = at.accept(NEW_SHA, plan=replace(CANARY, watch=watch))
    while at.now(accepted).status is not Status.BAKING:
        at.deployer.run_turn(accepted.id)
    baking = at.now(accepted)
    now = seconds(baking.since) + after
    assert advance(baking, Observed(GOOD), now).status is Status.SHIFTING
    unread = advance(baking, Observed(GOOD, alias_read=False), now)
    assert (unread.status, unread.step) == (Status.BAKING, 0)
    assert may_skip_alias(baking, now) is (5 <= after < 60 and after != 20)


def test_without_a_watch_every_look_ends_the_bake(at: Simulation) -> None:
    accepted = at.accept(NEW_SHA, plan=replace(CANARY, watch=None))
    at.deployer.run_turn(accepted.id)
    baking = at.now(accepted)
    assert baking.status is Status.BAKING
    assert not any(may_skip_alias(baking, seconds(baking.since) + after) for after in range(90))
