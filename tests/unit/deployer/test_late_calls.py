"""Calls that take effect after their client has given up.

A first deployment in a stage that is taken back: nothing can reject a late call of it. So it ends, and frees
its lock, when none can be on its way any more. An end that is written late never comes before another move.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import replace

import pytest

from sluicegate.deployer.restore import SETTLE_SECONDS
from sluicegate.deployment.durations import seconds
from sluicegate.deployment.model import AliasOutcome, AliasState, Deployment, Status
from sluicegate.deployment.plan import Plan, TrafficStep
from sluicegate.rollout.machine import advance
from sluicegate.rollout.outcomes import Restored, Shifted
from sluicegate.store.errors import StaleRevision
from support.interruptions import abort, abort_when_baking
from support.lambda_model import timeout
from support.simulation import OWN, Killed, Simulation, simulation

BAKES = Plan(OWN, "prod", (TrafficStep(100, 600),), "0" * 64)
SHA = hashlib.sha256(b"one").hexdigest()
READ_TIMEOUT = 10.0
LATE = (0.5, 2.0, 6.0, 20.0)


@pytest.fixture
def at() -> Iterator[Simulation]:
    with simulation() as made:
        made.model.add("orders", b"code of somebody")
        made.upload("orders", b"one")
        yield made


def takes_effect_late(at: Simulation, name: str, late: float, deployment: Deployment) -> list[float]:
    """Let the first call of that name time out, its deployment be aborted meanwhile, and the call have its
    effect so many seconds after that. Return the list that has the time of it, once it is known.
    """
    due: list[float] = []
    left = [name]

    def before(call: str) -> None:
        if due and at.clock.now >= due[0] and left == []:
            left.append("done")
            aliases = at.model.functions["orders"]["aliases"]
            if name == "DeleteAlias":
                aliases.pop("prod", None)
            elif "prod" not in aliases:
                at.model.set_alias("orders", "prod", "1")
        if left == [call]:
            left.clear()
            abort(at, deployment)
            at.clock.sleep(READ_TIMEOUT)
            due.append(at.clock.now + late)
            raise timeout()

    at.model.before = before
    return due


@pytest.mark.parametrize("late", LATE)
def test_an_alias_that_is_created_late_is_removed(at: Simulation, late: float) -> None:
    accepted = at.accept(SHA)
    due = takes_effect_late(at, "CreateAlias", late, accepted)
    deployment = at.run(accepted)
    assert (deployment.status, at.model.serves("orders", "prod")) == (Status.ABORTED, None)
    assert deployment.outcome is AliasOutcome.REMOVED
    assert at.clock.now > due[0]
    assert at.locks() == []


@pytest.mark.parametrize("late", LATE)
def test_a_deletion_that_takes_effect_late_meets_no_successor(at: Simulation, late: float) -> None:
    accepted = at.accept(SHA, plan=BAKES)
    due = takes_effect_late(at, "DeleteAlias", late, accepted)
    at.meanwhile = abort_when_baking(at)  # type: ignore[method-assign, assignment]
    deployment = at.run(accepted)
    assert (deployment.status, deployment.outcome) == (Status.ABORTED, AliasOutcome.REMOVED)
    assert at.clock.now > due[0]


@pytest.mark.parametrize(("after", "longer"), [(1, SETTLE_SECONDS - 1), (60, 0)])
def test_a_first_deployment_that_is_aborted_ends_when_no_call_is_on_its_way(
    at: Simulation, after: int, longer: int
) -> None:
    """The alias is gone at once."""
    accepted = at.accept(SHA, plan=BAKES)
    gone: list[float] = []

    def meanwhile(now: Deployment) -> None:
        if now.status is Status.BAKING:
            at.clock.sleep(after)
            abort(at, now)
        elif not gone:
            gone.append(at.clock.now)
            assert at.model.serves("orders", "prod") is None

    at.meanwhile = meanwhile  # type: ignore[method-assign, assignment]
    deployment = at.run(accepted)
    assert (deployment.status, deployment.outcome) == (Status.ABORTED, AliasOutcome.REMOVED)
    began = seconds(deployment.traffic_since or "")
    assert 0 <= at.clock.now - began - after - longer < 2
    assert bool(gone) == bool(longer)
    assert at.model.calls.count("GetAlias") <= 4


def test_an_alias_that_was_there_is_restored_at_once(at: Simulation) -> None:
    at.run(at.accept(SHA))
    accepted = at.accept(at.upload("orders", b"two"), plan=BAKES)
    at.meanwhile = abort_when_baking(at)  # type: ignore[method-assign, assignment]
    began = at.clock.now
    assert at.run(accepted).outcome is AliasOutcome.RESTORED
    assert at.clock.now - began < 3


@pytest.mark.parametrize(
    ("status", "expected_version", "noted"),
    [
        (Status.SHIFTING, None, "as the last deployment left it"),
        (Status.SHIFTING, "1", "was changed by someone else"),
        (Status.ROLLING_BACK, None, "was changed by someone else"),
    ],
)
def test_an_end_that_is_written_late_does_not_come_before_a_second_move(
    at: Simulation, status: Status, expected_version: str | None, noted: str
) -> None:
    """The first turn moved the alias, and its end is still under way. Somebody undid the move by hand, and
    the second turn is about to make it again.
    """
    at.run(at.accept(SHA))
    plan = BAKES if status is Status.ROLLING_BACK else replace(BAKES, steps=(TrafficStep(100, 0),))
    accepted = at.accept(at.upload("orders", b"two"), plan=plan, expected_version=expected_version)
    at.meanwhile = abort_when_baking(at)  # type: ignore[method-assign, assignment]
    ends: list[tuple[Deployment, Deployment]] = []

    def moved(call: str) -> None:
        now = at.now(accepted)
        if call == "UpdateAlias" and now.status is status and not ends:
            state = AliasState("2" if status is Status.SHIFTING else "1")
            done = Shifted(state) if status is Status.SHIFTING else Restored(AliasOutcome.RESTORED, state)
            ends.append((now, advance(now, done, at.clock())))
            at.model.set_alias("orders", "prod", "1" if status is Status.SHIFTING else "2")
            raise Killed

    at.model.after = moved
    with pytest.raises(Killed):
        at.run(accepted)
    before, end = ends[0]
    assert end.status.final
    refused: list[str] = []

    def moves(call: str) -> None:
        if call == "UpdateAlias" and at.now(accepted).revision > before.revision:
            with pytest.raises(StaleRevision):
                at.store.deployments.save(before, end)
            refused.append(call)

    at.model.before = moves
    deployment = at.run(accepted)
    assert refused == ["UpdateAlias"]
    assert deployment.status is end.status
    assert noted in "\n".join(entry.message for entry in deployment.timeline)
    assert at.model.serves("orders", "prod") == ("2" if status is Status.SHIFTING else "1", {})
