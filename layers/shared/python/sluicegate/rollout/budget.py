"""How the chance of a false rollback is spread over a rollout: over its steps, looks and limits.

guarantees.md#4-failure-restores-the-alias
"""

from collections.abc import Mapping
from typing import Final

from sluicegate.deployment.durations import seconds
from sluicegate.deployment.model import Deployment, Status
from sluicegate.deployment.observations import MAX_KEPT
from sluicegate.deployment.plan import CustomMetric, Limit, Metric, Plan, Unclear, Watch

MAX_LOOKS: Final = 20
"""Looks per bake, at most, however long the bake is: each costs a few calls to AWS."""

PLANNED_FINDINGS: Final = 960
"""Findings that the looks of a rollout have as planned. The rest of `MAX_FINDINGS` is for other looks."""

MIN_INTERVAL: Final = 5
"""Seconds between two looks, at least."""

MAX_EXTENSIONS: Final = 3
"""How often a bake whose verdict is unclear is extended by its own length."""

COMPARISONS: Final = 0.95
"""The part of the false rollbacks that the comparisons may make. The rest is for gross failure."""

GROSS: Final = 0.025
"""The part that gross failure may make, over all looks."""

_RESERVE: Final = 0.3
"""The part of a step's share that is kept for its extensions, or for the wait for an approval after it."""

_ERRORS_WEIGHT: Final = 3
"""Errors count as much as three other limits: what is spread evenly tells nothing early."""


def looks(plan: Plan) -> int:
    """Return the looks per bake, at most: a record keeps all findings of a whole rollout."""
    bakes = max(1, sum(step.bake > 0 for step in plan.steps))
    findings = max(1, _findings(plan.watch))
    return max(1, min(MAX_LOOKS, MAX_KEPT // bakes, PLANNED_FINDINGS // (bakes * findings)))


def _findings(watch: Watch | None) -> int:
    """Return the findings of a look, one for each rule of each limit, and the judge's."""
    if watch is None:
        return 0
    limits: list[Limit | CustomMetric] = [*watch.limits, *watch.metrics]
    rules = sum((limit.most is not None) + (limit.max_ratio is not None) for limit in limits)
    return rules + (watch.judge is not None)


def spend(deployment: Deployment, now: float) -> float:
    """Return the part (0 to 1) of the false rollbacks that may be spent by now.

    Over steps that bake it rises with the square of their number, within a bake with the cube of the time:
    late looks know most. Part of a step is kept back if its bake may be extended, or a person asked after it.
    """
    plan, index = deployment.plan, deployment.step
    baking = [number for number, step in enumerate(plan.steps) if step.bake]
    if not baking:
        return 1.0
    before = sum(number < index for number in baking)
    if index not in baking:
        return (before / len(baking)) ** 2
    return (before**2 + (2 * before + 1) * _part(deployment, now)) / len(baking) ** 2


def _part(deployment: Deployment, now: float) -> float:
    """Return the part (0 to 1) of the step's own share."""
    plan, elapsed = deployment.plan, max(0.0, now - seconds(deployment.since))
    step = plan.steps[deployment.step]
    extends = plan.watch is not None and plan.watch.unclear is Unclear.EXTEND
    asks = deployment.step + 1 < len(plan.steps) and deployment.needs_approval(deployment.step + 1)
    kept = _RESERVE if extends or asks else 0.0
    if deployment.status is Status.AWAITING_APPROVAL:
        waited = min(1.0, elapsed / plan.approval) if plan.approval else 1.0
        used = kept * deployment.extended / MAX_EXTENSIONS if extends else 0.0
        return 1 - kept + used + (kept - used) * waited
    time = elapsed / step.bake
    if not deployment.extended:
        return (1 - kept) * min(1.0, time) ** 3
    extensions = min(deployment.extended - 1 + min(1.0, max(0.0, time - deployment.extended)), MAX_EXTENSIONS)
    return 1 - kept + kept * extensions / MAX_EXTENSIONS


def alphas(watch: Watch) -> Mapping[str, float]:
    """Return the probability of a false rollback that each comparison with the old version may have.

    One that only observes rolls nothing back, so it takes nothing from the others.
    """
    total = COMPARISONS * watch.false_rollbacks / 100
    limits: dict[str, Limit | CustomMetric] = {
        **{limit.metric.value: limit for limit in watch.limits if limit.max_ratio is not None},
        **{metric.name: metric for metric in watch.metrics if metric.max_ratio is not None},
    }
    enforced = sum(_weight(name) for name, limit in limits.items() if not limit.observe)
    return {
        name: total * _weight(name) / (enforced + _weight(name) if limit.observe else enforced)
        for name, limit in limits.items()
    }


def _weight(limit: str) -> int:
    return _ERRORS_WEIGHT if limit == Metric.ERRORS else 1


def constant_alpha(watch: Watch) -> float:
    """Return the probability with which a version that keeps all constant limits may break one by chance.

    Each is looked at twice: since the first traffic, and since the current share began.
    """
    number = sum(limit.most is not None for limit in watch.limits) + sum(
        metric.most is not None and metric.share is not None for metric in watch.metrics
    )
    return watch.false_rollbacks / 100 / max(1, 2 * number)


def gross_alpha(watch: Watch, plan: Plan) -> float:
    """Return the probability of gross failure by chance, at one look at one limit."""
    bakes = sum(step.bake > 0 for step in plan.steps)
    limits = max(1, len(watch.limits) + len(watch.metrics))
    return GROSS * watch.false_rollbacks / 100 / (limits * looks(plan) * max(1, bakes))
