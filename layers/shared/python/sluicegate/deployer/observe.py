"""Read the alias, the alarms and the metrics during a bake."""

from itertools import pairwise

from sluicegate.aws.lambda_ import LambdaNotFound
from sluicegate.deployer.lookups import read_alias
from sluicegate.deployer.target import TargetAccess
from sluicegate.deployment.durations import seconds
from sluicegate.deployment.model import Deployment, Status
from sluicegate.deployment.plan import Metric
from sluicegate.rollout.actions import Observe
from sluicegate.rollout.outcomes import AliasMoved, Observed, Outcome
from sluicegate.rollout.readings import Readings


def observe(deployment: Deployment, target: TargetAccess, action: Observe, now: float) -> Outcome:
    """Observe what this deployment moved, and nothing else. `now` is in epoch seconds.

    guarantees.md#4-failure-restores-the-alias
    """
    plan = deployment.plan
    try:
        alias = read_alias(target.function, plan.alias, action.desired)
    except LambdaNotFound:  # the function was deleted, and its aliases with it
        return AliasMoved(None)
    if alias is None or alias.state != action.desired:
        return AliasMoved(alias.state if alias else None)
    if plan.watch is None or target.cloudwatch is None:
        return Observed(Readings())
    alarms = target.alarm_states(plan.watch)
    if not plan.watch.limits:
        return Observed(Readings(alarms))
    start = seconds(action.since)
    durations = [limit for limit in plan.watch.limits if limit.metric is Metric.DURATION_P95]
    earlier = deployment.observations[-1].tau if deployment.observations else None
    found = target.cloudwatch.version_series(
        deployment.function,
        plan.alias,
        action.version,
        action.baseline,
        start,
        # Each turn may have another clock, and CloudWatch refuses a time that ends before it begins.
        max(now, start, seconds(action.step_since or action.since)),
        tau=earlier,
        over=next((float(limit.most) for limit in durations if limit.most is not None), None),
        steps_since=seconds(action.step_since) if action.step_since is not None else None,
        shares=larger_shares(deployment),
        durations=bool(durations),
    )
    return Observed(
        Readings(alarms, found.series, found.step, p95=found.p95, tau=found.tau, uncounted=found.uncounted)
    )


def larger_shares(deployment: Deployment) -> list[tuple[float, float]]:
    """Return when the version's share grew after the first traffic, and to which part of the requests."""
    shifted = [
        seconds(entry.at)
        for before, entry in pairwise(deployment.timeline)
        if before.status is Status.SHIFTING and entry.status is Status.BAKING
    ]
    shares = [step.percent / 100 for step in deployment.plan.steps]
    return list(zip(shifted, shares, strict=False))[1:]
