"""A first deployment in a stage that is taken back: nothing can reject a call of it that takes effect late.

So it ends, and frees its lock, when none can be on its way any more.
"""

import hashlib
from collections.abc import Iterator

import pytest

from sluicegate.deployer.restore import SETTLE_SECONDS
from sluicegate.deployment.durations import seconds
from sluicegate.deployment.model import AliasOutcome, Deployment, Status
from sluicegate.deployment.plan import Plan, TrafficStep
from support.interruptions import abort, abort_when_baking
from support.lambda_model import timeout
from support.simulation import OWN, Simulation, simulation

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
