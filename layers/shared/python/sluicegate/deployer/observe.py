"""Read the alias, the alarms and the metrics during a bake."""

from sluicegate.aws.lambda_ import LambdaNotFound
from sluicegate.deployer.lookups import read_alias
from sluicegate.deployer.target import TargetAccess
from sluicegate.deployment.durations import seconds
from sluicegate.deployment.model import Deployment
from sluicegate.rollout.actions import Observe
from sluicegate.rollout.analysis import BASELINE_LOOKBACK, Observation
from sluicegate.rollout.outcomes import AliasMoved, Observed, Outcome


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
        return Observed(Observation())
    alarms = target.alarm_states(plan.watch)
    if not plan.watch.limits:
        return Observed(Observation(alarms))
    start = seconds(action.since)
    since = {action.version: start}
    if action.baseline:
        since[action.baseline] = start - BASELINE_LOOKBACK
    # Each turn may have another clock, and CloudWatch refuses a time that ends before it begins.
    now = max(now, start, seconds(action.step_since or action.since))
    metrics = target.cloudwatch.version_metrics(deployment.function, plan.alias, since, now)
    baseline = None
    if action.baseline and action.baseline != action.version:
        baseline = metrics[action.baseline]
    step = None
    if action.step_since is not None and any(limit.most is not None for limit in plan.watch.limits):
        since = {action.version: seconds(action.step_since)}
        step = target.cloudwatch.version_metrics(deployment.function, plan.alias, since, now)[action.version]
    return Observed(Observation(alarms, metrics[action.version], baseline, step))
