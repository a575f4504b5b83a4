"""How traffic moves: strategies resolved to steps, and which of two strategies is the more careful one."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final

from sluicegate.deployment.plan import ALL_AT_ONCE, TrafficStep

MAX_STEPS: Final = 20
"""Runner of one plan: with the looks that a bake takes, a rollout stays within Step Functions' history."""

MAX_BAKE: Final = 7 * 86_400
"""Seconds of one bake."""

TYPES: Final = ("all-at-once", "canary", "linear", "steps")

_OVER: Final = 101
"""Above every percentage: the new version has all traffic, and nobody watches any more."""


class StrategyError(ValueError):
    """No steps can be made of it; the message says why."""


def all_at_once(bake: int = 0) -> tuple[TrafficStep, ...]:
    """Everything in one step, watched for `bake` seconds after it."""
    return ALL_AT_ONCE if not bake else checked((TrafficStep(100, bake),))


def canary(percent: int, bake: int) -> tuple[TrafficStep, ...]:
    """`percent` of the traffic for `bake` seconds, then all of it."""
    return checked((TrafficStep(percent, bake), TrafficStep(100, 0)))


def linear(percent: int, every: int) -> tuple[TrafficStep, ...]:
    """`percent` more each `every` seconds, until it is all."""
    if not 1 <= percent <= 99:
        raise StrategyError("percent is from 1 to 99")
    shares = [*range(percent, 100, percent), 100]
    return checked(tuple(TrafficStep(share, every if share < 100 else 0) for share in shares))


def checked(steps: Sequence[TrafficStep]) -> tuple[TrafficStep, ...]:
    """The steps, if they can be a plan's. Raises StrategyError."""
    if not 1 <= len(steps) <= MAX_STEPS:
        raise StrategyError(f"these are {len(steps)} steps, and a plan has 1 to {MAX_STEPS}")
    if steps[-1].percent != 100:
        raise StrategyError("the last step is 100 percent")
    if any(not 1 <= step.percent <= 100 for step in steps):
        raise StrategyError("percent is from 1 to 100")
    if any(later.percent <= step.percent for step, later in pairwise(steps)):
        raise StrategyError("each step has more percent than the one before")
    if any(not 0 <= step.bake <= MAX_BAKE for step in steps):
        raise StrategyError(f"a bake is at most {MAX_BAKE // 86_400} days")
    if any(step.bake < 1 for step in steps[:-1]):
        raise StrategyError("each step but the last bakes for at least a second")
    return tuple(steps)


def is_at_least_as_cautious(one: Sequence[TrafficStep], other: Sequence[TrafficStep]) -> bool:
    """Whether `one` is as careful as `other`, or more.

    It is where, at every moment since the first move, no more traffic is on the new version by `one` than by
    `other`, and `one` still watches whenever `other` does. That is a partial order: of two, one may
    be more careful at first and the other later; then neither is as careful as the other.
    """
    moments = {start for steps in (one, other) for start, _ in _curve(steps)}
    return all(_exposure(one, moment) <= _exposure(other, moment) for moment in moments)


def _curve(steps: Sequence[TrafficStep]) -> Iterator[tuple[int, int]]:
    """(seconds since the first move, percent from then on), up to the end of watching."""
    start = 0
    for step in steps:
        yield start, step.percent
        start += step.bake
    yield start, _OVER


def _exposure(steps: Sequence[TrafficStep], moment: int) -> int:
    return max(percent for start, percent in _curve(steps) if start <= moment)
