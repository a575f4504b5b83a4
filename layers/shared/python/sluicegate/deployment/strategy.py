"""How traffic moves: the steps of each strategy, and whether one strategy is as cautious as another."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final

from sluicegate.deployment.plan import ALL_AT_ONCE, TrafficStep

MAX_STEPS: Final = 20
"""Steps of one plan: with the observations of its bakes, a rollout stays within Step Functions' history."""

MAX_BAKE: Final = 7 * 86_400
"""The longest bake, in seconds."""

TYPES: Final = ("all-at-once", "canary", "linear", "steps")

_OVER: Final = 101
"""Above every percentage: the new version has all traffic, and nothing is watched any more."""


class StrategyError(ValueError):
    """The steps cannot be a plan's; the message says why."""


def all_at_once(bake: int = 0) -> tuple[TrafficStep, ...]:
    """Return one step with all traffic, watched for `bake` seconds."""
    return ALL_AT_ONCE if not bake else checked((TrafficStep(100, bake),))


def canary(percent: int, bake: int) -> tuple[TrafficStep, ...]:
    """Return `percent` of the traffic for `bake` seconds, then all of it."""
    return checked((TrafficStep(percent, bake), TrafficStep(100, 0)))


def linear(percent: int, every: int) -> tuple[TrafficStep, ...]:
    """Return `percent` more every `every` seconds, until it is all."""
    if not 1 <= percent <= 99:
        raise StrategyError("percent must be from 1 to 99")
    shares = [*range(percent, 100, percent), 100]
    return checked(tuple(TrafficStep(share, every if share < 100 else 0) for share in shares))


def checked(steps: Sequence[TrafficStep]) -> tuple[TrafficStep, ...]:
    """Return the steps, if they can be a plan's. Raises StrategyError."""
    if not 1 <= len(steps) <= MAX_STEPS:
        raise StrategyError(f"this makes {len(steps)} steps, and a plan can have 1 to {MAX_STEPS}")
    if steps[-1].percent != 100:
        raise StrategyError("the last step must be 100 percent")
    if any(not 1 <= step.percent <= 100 for step in steps):
        raise StrategyError("percent must be from 1 to 100")
    if any(later.percent <= step.percent for step, later in pairwise(steps)):
        raise StrategyError("each step must have a higher percentage than the one before")
    if any(not 0 <= step.bake <= MAX_BAKE for step in steps):
        raise StrategyError(f"a bake lasts at most {MAX_BAKE // 86_400} days")
    if any(step.bake < 1 for step in steps[:-1]):
        raise StrategyError("each step except the last must bake for at least a second")
    return tuple(steps)


def is_at_least_as_cautious(
    one: Sequence[TrafficStep], other: Sequence[TrafficStep], *, watched: bool = True
) -> bool:
    """Say whether `one` is as cautious as `other`, or more. `watched` says whether the bakes are watched.

    It is if, at every moment since traffic first moved, `one` has no more traffic on the new version than
    `other`, and `one` still bakes whenever `other` does. Less traffic alone would disarm a watch: too few
    requests say nothing. So where there is one, `one` must also show it as much: whenever a step of `other`
    ends, `other` has had so much traffic for so long on the new version. Before `one` has more traffic than
    that step, it must have had at least as much for at least as long: then whatever the requests that come
    in, it has counted as many, at the same load, and any delay of the metrics takes no more of them away.

    Both are partial orders: one of two strategies may be more cautious at first and the other later; then
    neither is at least as cautious as the other.
    """
    moments = {start for steps in (one, other) for start, _ in _curve(steps)}
    if any(_exposure(one, moment) > _exposure(other, moment) for moment in moments):
        return False
    shares = [step.percent for step in other]
    return not watched or all(
        _baked(one, least, most) >= _baked(other, least, most)
        for most in shares
        for least in shares
        if least <= most
    )


def _baked(steps: Sequence[TrafficStep], least: int, most: int) -> int:
    """Return the seconds of bakes with that share of the traffic."""
    return sum(step.bake for step in steps if least <= step.percent <= most)


def _curve(steps: Sequence[TrafficStep]) -> Iterator[tuple[int, int]]:
    """Yield (seconds since traffic first moved, percent from then on), up to the end of watching."""
    start = 0
    for step in steps:
        yield start, step.percent
        start += step.bake
    yield start, _OVER


def _exposure(steps: Sequence[TrafficStep], moment: int) -> int:
    return max(percent for start, percent in _curve(steps) if start <= moment)
