"""When the deployer looks at a rollout that nothing stops."""

from collections.abc import Sequence
from dataclasses import dataclass

from sluicegate.deployment.plan import TrafficStep
from sluicegate.rollout.budget import MAX_LOOKS, MIN_INTERVAL


@dataclass(frozen=True)
class Look:
    """One look, `at` so many seconds after the new version's first traffic.

    `elapsed` are the seconds of its step's bake, `step` its number, and `last` whether it ends the bake.
    """

    at: int
    step: int
    elapsed: int
    last: bool


def looks(steps: Sequence[TrafficStep], most: int = MAX_LOOKS) -> tuple[Look, ...]:
    """Return the looks of a rollout, with at most so many in each bake."""
    found, began = [], 0
    for number, step in enumerate(steps):
        if not step.bake:
            continue
        interval = max(MIN_INTERVAL, -(-step.bake // most))
        for elapsed in [*range(interval, step.bake, interval), step.bake]:
            found.append(Look(began + elapsed, number, elapsed, elapsed == step.bake))
        began += step.bake
    return tuple(found)
