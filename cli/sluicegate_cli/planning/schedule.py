"""When the deployer looks at a rollout that nothing stops, and how much chance it may spend by then."""

from collections.abc import Sequence
from dataclasses import dataclass

from sluicegate.deployment.durations import timestamp
from sluicegate.deployment.model import Deployment, Requester, Status
from sluicegate.deployment.plan import Plan, Target, TrafficStep, Watch
from sluicegate.rollout import budget
from sluicegate.rollout.analysis import observation_interval


@dataclass(frozen=True)
class Look:
    """One look, `at` so many seconds after the new version's first traffic.

    `elapsed` are the seconds of its step's bake, `step` its number, and `last` whether it ends the bake.
    `spend` is the part of the false rollbacks that may be spent by then.
    """

    at: int
    step: int
    elapsed: int
    last: bool
    spend: float


def plan_of(steps: Sequence[TrafficStep], watch: Watch) -> Plan:
    """Return the plan of a rollout that nobody has to approve."""
    return Plan(Target("", ""), "", tuple(steps), "", watch=watch)


def looks(plan: Plan, most: int | None = None) -> tuple[Look, ...]:
    """Return the looks of a rollout, with at most so many in each bake: the deployer's, if not given."""
    found, began = [], 0
    for number, step in enumerate(plan.steps):
        if not step.bake:
            continue
        baking = at_step(plan, number)
        interval = observation_interval(plan.watch, step.bake, most or budget.looks(plan))
        for elapsed in [*range(interval, step.bake, interval), step.bake]:
            spend = budget.spend(baking, elapsed)
            found.append(Look(began + elapsed, number, elapsed, elapsed == step.bake, spend))
        began += step.bake
    return tuple(found)


def at_step(plan: Plan, step: int) -> Deployment:
    """Return a deployment at the beginning of a step's bake, which is second 0."""
    zero = timestamp(0)
    return Deployment(
        *("", 1, Status.BAKING, "deploy", "", "", "", plan, "", Requester("", "")),
        *(zero, zero, zero, ()),
        step=step,
        weight=plan.steps[step].percent,
        traffic_since=zero,
    )
