"""A plan that lets some traffic move without an approval, and waits there for a second person."""

from dataclasses import replace

import pytest

from sluicegate.deployment.model import AliasOutcome, AliasState, Status
from sluicegate.deployment.observations import AlarmState
from sluicegate.deployment.plan import Plan, TrafficStep, Watch
from sluicegate.rollout.actions import AwaitApproval, End, Lock, Observe, ReuseVersion, Shift
from sluicegate.rollout.machine import APPROVAL_LOOKS, next_action
from sluicegate.rollout.outcomes import (
    Observed,
    Outcome,
    Published,
    TransientFailure,
)
from sluicegate.rollout.transitions import RETRY_SECONDS, force_fail, request_abort
from support.plans import ABORTED, RolloutSimulation, accepted, approved, rejected, successful_outcome
from support.readings import alarm_readings, readings
from support.simulation import OWN, START

CANARY = (TrafficStep(10, 300), TrafficStep(50, 300), TrafficStep(100, 0))
PLAN = Plan(OWN, "prod", CANARY, "0" * 64, watch=Watch(alarms=("a",)), approval=86_400, unapproved_percent=20)
OLD, TEN = AliasState("1"), AliasState("1", {"2": 0.1})
FIRING = Observed(readings(alarm_readings(AlarmState.ALARM)))


def until(simulation: RolloutSimulation, status: Status) -> RolloutSimulation:
    while simulation.deployment.status is not status:
        assert not isinstance(simulation.next_action, End), simulation.deployment.timeline
        simulation.apply(successful_outcome(simulation.next_action, simulation.deployment))
    return simulation


def waiting(plan: Plan = PLAN) -> RolloutSimulation:
    return until(RolloutSimulation(accepted(plan)), Status.AWAITING_APPROVAL)


def codes(simulation: RolloutSimulation) -> tuple[Status, AliasOutcome | None, str | None]:
    deployment = simulation.deployment
    return deployment.status, deployment.outcome, deployment.reason.code if deployment.reason else None


def test_it_begins_without_an_approval_and_waits_where_more_would_need_one() -> None:
    simulation = RolloutSimulation(accepted(PLAN))
    assert simulation.next_action == Lock()
    deployment = until(simulation, Status.AWAITING_APPROVAL).deployment
    assert (deployment.weight, deployment.step, deployment.current) == (10, 0, TEN)
    assert "20% of the traffic at most" in deployment.timeline[-1].message
    assert isinstance(simulation.next_action, Observe)


def test_an_approval_lets_it_take_all_other_steps() -> None:
    simulation = waiting()
    simulation.save(approved(simulation.deployment, simulation.now))
    until(simulation, Status.SUCCEEDED)
    assert [d.weight for d in simulation.revisions if d.status is Status.BAKING] == [10, 50]
    assert simulation.deployment.current == AliasState("2")


def test_an_approval_before_the_wait_leaves_no_wait() -> None:
    simulation = until(RolloutSimulation(accepted(PLAN)), Status.BAKING)
    simulation.save(approved(simulation.deployment, simulation.now))
    until(simulation, Status.SUCCEEDED)
    assert all(d.status is not Status.AWAITING_APPROVAL for d in simulation.revisions)


def test_it_goes_back_when_nobody_approves_in_time() -> None:
    simulation = waiting()
    until(simulation, Status.ROLLING_BACK)
    assert 86_400 <= simulation.awaited < 86_402
    until(simulation, Status.ROLLED_BACK)
    assert codes(simulation) == (Status.ROLLED_BACK, AliasOutcome.RESTORED, "approval_expired")
    assert simulation.deployment.current == OLD
    assert simulation.observations[-1] <= APPROVAL_LOOKS + 1


def test_it_goes_back_when_it_performs_badly_while_it_waits() -> None:
    simulation = waiting()
    simulation.apply(FIRING)
    assert simulation.deployment.status is Status.ROLLING_BACK
    until(simulation, Status.ROLLED_BACK)
    assert codes(simulation)[2] == "alarm"


def test_it_goes_back_when_nothing_can_be_seen_while_it_waits() -> None:
    simulation = waiting()
    began = simulation.now
    while simulation.deployment.status is Status.AWAITING_APPROVAL:
        simulation.apply(TransientFailure("Throttling", "throttled"))
    assert simulation.now - began < RETRY_SECONDS + 60
    assert codes(simulation) == (Status.ROLLING_BACK, None, "watch_failed")


@pytest.mark.parametrize("status", [Status.BAKING, Status.AWAITING_APPROVAL])
def test_a_rejection_takes_its_traffic_back(status: Status) -> None:
    simulation = until(RolloutSimulation(accepted(PLAN)), status)
    simulation.save(rejected(simulation.deployment, simulation.now))
    assert not simulation.deployment.status.final
    until(simulation, Status.REJECTED)
    assert codes(simulation) == (Status.REJECTED, AliasOutcome.RESTORED, "rejected")


def test_a_rejection_while_it_publishes_ends_it_before_it_moves_anything() -> None:
    simulation = until(RolloutSimulation(accepted(PLAN)), Status.PUBLISHING)
    simulation.save(rejected(simulation.deployment, simulation.now))
    until(simulation, Status.REJECTED)
    assert codes(simulation) == (Status.REJECTED, AliasOutcome.UNTOUCHED, "rejected")


def test_an_abort_of_what_waits_with_traffic_restores_the_alias_first() -> None:
    simulation = waiting()
    simulation.save(request_abort(simulation.deployment, ABORTED, "aborted", simulation.now))
    assert simulation.deployment.status is Status.AWAITING_APPROVAL
    until(simulation, Status.ABORTED)
    assert codes(simulation) == (Status.ABORTED, AliasOutcome.RESTORED, "aborted")


def test_an_execution_that_died_while_it_waits_leaves_an_unknown_alias() -> None:
    after = force_fail(waiting().deployment, "the engine failed", START)
    assert after.outcome is AliasOutcome.UNKNOWN


def test_a_strategy_that_begins_with_more_waits_before_anything_is_touched() -> None:
    simulation = RolloutSimulation(accepted(replace(PLAN, unapproved_percent=5)))
    assert simulation.next_action == AwaitApproval()


@pytest.mark.parametrize("original", [None, AliasState("2", {"1": 0.5})])
def test_what_has_nothing_to_share_traffic_with_waits_before_it_gets_any(original: AliasState | None) -> None:
    """A first release, for example, can only be given all of it."""
    simulation = until(RolloutSimulation(accepted(PLAN)), Status.PUBLISHING)
    published: Outcome = Published("2", original, "r1")
    simulation.apply(published)
    deployment = simulation.deployment
    assert (deployment.status, deployment.weight, deployment.in_steps) == (
        Status.AWAITING_APPROVAL, 0, False,
    )  # fmt: skip
    assert next_action(deployment) == AwaitApproval()
    simulation.save(approved(deployment, simulation.now))
    assert next_action(simulation.deployment) == ReuseVersion("2")
    simulation.apply(Published("2", original, "r2", reused=True))
    until(simulation, Status.SHIFTING)
    assert isinstance(simulation.next_action, Shift)


def test_what_is_served_already_moves_no_traffic_and_waits_for_nobody() -> None:
    simulation = until(RolloutSimulation(accepted(PLAN)), Status.PUBLISHING)
    simulation.apply(Published("2", AliasState("2"), "r1"))
    assert simulation.deployment.status is Status.SHIFTING


def test_a_proposal_waits_for_its_approval_before_it_waits_for_what_it_supersedes() -> None:
    asked = accepted(replace(PLAN, unapproved_percent=0), supersedes="01K0000000000000000000000A")
    assert not isinstance(next_action(asked), AwaitApproval)
    proposed = replace(asked, plan=replace(asked.plan, proposed=True))
    assert next_action(proposed) == AwaitApproval()
    assert not isinstance(next_action(approved(proposed, START)), AwaitApproval)
