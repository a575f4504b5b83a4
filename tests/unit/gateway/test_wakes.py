"""Only news wakes a rollout: repeating a decision cuts no wait short and uses up no retry."""

from collections.abc import Callable
from typing import Any

import pytest

from sluicegate.deployment.model import AliasOutcome, Deployment, Status
from sluicegate.deployment.plan import TrafficStep
from sluicegate.gate.rollout_settings import Rollout
from support.gateway_simulation import GatewaySimulation, artifact, gate_of
from support.lambda_model import error

pytestmark = pytest.mark.filterwarnings("ignore:No application metrics")

CANARY = (TrafficStep(10, 300), TrafficStep(100, 0))
REPETITIONS = 40


@pytest.fixture
def wakes(at: GatewaySimulation) -> list[str]:
    """The task tokens that the gateway used."""
    used: list[str] = []
    wake = at.machine.wake

    def counted(token: str, *, rollback: bool = False) -> bool:
        used.append(token)
        return wake(token, rollback=rollback)

    at.machine.wake = counted  # type: ignore[method-assign]
    return used


def baking(at: GatewaySimulation) -> Deployment:
    """A canary that was approved, and bakes at 10 percent."""
    at.gate = gate_of()
    at.release(artifact(at, b"old"))
    at.gate = gate_of({"prod": Rollout(steps=CANARY, approval=3_600)})
    deployment = at.run_until(at.deploy(artifact(at, b"new")), "awaiting_approval")
    at.decide("approve", deployment, at.person("8", job_id="88", jti="approval"))
    return at.run_until(deployment, "baking")


def failing(at: GatewaySimulation, call: str, times: int) -> Callable[[str], None]:
    """Throttle the next `times` calls of this name."""
    left = [times]

    def before(name: str) -> None:
        if name == call and left[0]:
            left[0] -= 1
            raise error("TooManyRequestsException", 429)

    at.model.before = before
    return before


def test_an_approval_that_is_repeated_while_it_bakes_wakes_nothing(
    at: GatewaySimulation, wakes: list[str]
) -> None:
    deployment = baking(at)
    used = len(wakes)
    for _ in range(REPETITIONS):
        repeated = at.decide("approve", deployment, at.person("8", job_id="88", jti="approval"))
        assert repeated.headers["Idempotent-Replayed"] == "true"
        at.machine.run(lambda: at.machine.waits(deployment))
    assert len(wakes) == used


@pytest.mark.parametrize("same_job", [True, False])
def test_an_abort_that_is_repeated_uses_up_no_retry_of_the_way_back(
    at: GatewaySimulation, wakes: list[str], same_job: bool
) -> None:
    """The pauses grow to 15 to 30 seconds, 75 to 151 in all; cut short, all fall into one short outage."""
    deployment = baking(at)
    failing(at, "UpdateAlias", 10)
    first = at.job()
    assert at.decide("abort", deployment, first).status == 202
    deployment = at.run_until(deployment, "rolling_back", waits=False)
    used, began = len(wakes), at.clock.now

    def repeat() -> None:
        if at.now(deployment).status is not Status.ROLLING_BACK:
            return
        at.decide("abort", deployment, first if same_job else at.job())
        at.machine.later(1, repeat)

    repeat()
    done = at.finish(deployment)
    assert (done.status, done.outcome) == (Status.ABORTED, AliasOutcome.RESTORED)
    assert at.clock.now - began > 75
    assert len(wakes) == used


def test_a_decision_whose_wake_was_lost_is_made_up_for_by_its_repetition(
    at: GatewaySimulation, wakes: list[str]
) -> None:
    """SendTaskSuccess failed after the decision was written."""
    deployment = baking(at)
    began = at.clock.now
    at.machine.lost_wakes = 1
    claims = at.job()
    assert at.decide("abort", deployment, claims).status == 202
    at.machine.run(lambda: at.machine.waits(deployment))
    assert at.now(deployment).status is Status.BAKING
    assert at.decide("abort", deployment, claims).status == 200
    assert at.finish(deployment).status is Status.ABORTED
    assert at.clock.now - began < 10
    used = len(wakes)
    assert at.decide("abort", deployment, claims).status == 200
    assert len(wakes) == used


def test_a_rollout_whose_record_is_final_is_woken_once(at: GatewaySimulation, wakes: list[str]) -> None:
    """Its execution waits for an approval that can no longer come."""
    at.gate = gate_of({"prod": Rollout(approval=3_600)})
    deployment = at.run_until(at.deploy(artifact(at, b"new")), "awaiting_approval")
    claims: Any = at.person("8")
    assert at.decide("reject", deployment, claims).status == 202
    for _ in range(REPETITIONS):
        assert at.decide("reject", deployment, claims).status == 200
    assert len(wakes) == 1
    at.machine.run()
    assert at.machine.of(deployment).status == "SUCCEEDED"


def test_the_same_request_again_wakes_and_starts_nothing(at: GatewaySimulation, wakes: list[str]) -> None:
    at.gate = gate_of({"prod": Rollout(steps=CANARY)})
    at.release(artifact(at, b"old"))
    used = len(wakes)
    claims, sha256 = at.job(), artifact(at, b"new")
    deployment = at.run_until(at.deploy(sha256, claims), "baking")
    started = len(at.machine.executions)
    for _ in range(REPETITIONS):
        assert at.deploy(sha256, claims).id == deployment.id
    assert (len(wakes), len(at.machine.executions)) == (used, started)
