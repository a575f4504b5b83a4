"""Read the alias, the alarms and the metrics during a bake, and ask the user's function that judges."""

from dataclasses import replace
from itertools import pairwise

from sluicegate.aws.cloudwatch import CloudWatch
from sluicegate.aws.lambda_ import LambdaNotFound
from sluicegate.aws.version_metrics import SeriesRequest
from sluicegate.deployer import judging
from sluicegate.deployer.lookups import read_alias
from sluicegate.deployer.own_metrics import read_own_metrics
from sluicegate.deployer.target import TargetAccess
from sluicegate.deployment.durations import seconds
from sluicegate.deployment.model import Deployment, Status
from sluicegate.deployment.observation_views import observation_view
from sluicegate.deployment.observations import Verdict
from sluicegate.deployment.plan import Metric, Watch
from sluicegate.rollout import analysis
from sluicegate.rollout.actions import Observe
from sluicegate.rollout.outcomes import AliasMoved, Observed, Outcome
from sluicegate.rollout.readings import Readings


def observe(deployment: Deployment, target: TargetAccess, action: Observe, now: float) -> Outcome:
    """Observe what this deployment moved, and nothing else. `now` is in epoch seconds.

    guarantees.md#4-failure-restores-the-alias
    """
    if action.reads_alias and (moved := _find_moved(deployment, target, action)):
        return moved
    return Observed(_read(deployment, target, action, now), action.reads_alias)


def _find_moved(deployment: Deployment, target: TargetAccess, action: Observe) -> AliasMoved | None:
    """Return what the alias serves if that is not what the deployment made it serve."""
    try:
        alias = read_alias(target.function, deployment.plan.alias, action.desired)
    except LambdaNotFound:  # the function was deleted, and its aliases with it
        return AliasMoved(None)
    if alias is None or alias.state != action.desired:
        return AliasMoved(alias.state if alias else None)
    return None


def _read(deployment: Deployment, target: TargetAccess, action: Observe, now: float) -> Readings:
    """Read what the watch asks for."""
    plan = deployment.plan
    if plan.watch is None or target.cloudwatch is None:
        return Readings()
    readings = Readings(target.alarm_states(plan.watch))
    if plan.watch.limits:
        readings = _with_limits(readings, deployment, target.cloudwatch, plan.watch, action, now)
    if plan.watch.metrics:
        readings = _with_own_metrics(readings, deployment, target, plan.watch, action, now)
    if plan.watch.judge:
        readings = _with_judge(readings, deployment, target, plan.watch, action, now)
    return readings


def _until(action: Observe, now: float) -> float:
    """Return until when metrics are read.

    Each turn may have another clock, and CloudWatch refuses a time that ends before it begins.
    """
    return max(now, seconds(action.since), seconds(action.step_since or action.since))


def _steps_since(action: Observe) -> float | None:
    return seconds(action.step_since) if action.step_since is not None else None


def _with_limits(
    readings: Readings,
    deployment: Deployment,
    cloudwatch: CloudWatch,
    watch: Watch,
    action: Observe,
    now: float,
) -> Readings:
    """Read Lambda's own metrics."""
    durations = [limit for limit in watch.limits if limit.metric is Metric.DURATION_P95]
    earlier = deployment.observations[-1].tau if deployment.observations else None
    found = cloudwatch.version_series(
        deployment.function,
        deployment.plan.alias,
        action.version,
        action.baseline,
        seconds(action.since),
        _until(action, now),
        tau=earlier,
        over=next((float(limit.most) for limit in durations if limit.most is not None), None),
        steps_since=_steps_since(action),
        shares=larger_shares(deployment),
        durations=bool(durations),
    )
    return replace(
        readings,
        series=found.series,
        step=found.step,
        p95=found.p95,
        tau=found.tau,
        uncounted=found.uncounted,
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


def _with_own_metrics(
    readings: Readings,
    deployment: Deployment,
    target: TargetAccess,
    watch: Watch,
    action: Observe,
    now: float,
) -> Readings:
    """Read the user's own metrics."""
    request = SeriesRequest(
        deployment.function,
        deployment.plan.alias,
        action.version,
        action.baseline if action.baseline != action.version else None,
        seconds(action.since),
        _until(action, now),
        tuple(larger_shares(deployment)),
    )
    found = read_own_metrics(target, watch, request, _steps_since(action))
    return replace(
        readings,
        series={**readings.series, **found.series},
        step={**readings.step, **found.step},
        values=found.values,
    )


def _with_judge(
    readings: Readings,
    deployment: Deployment,
    target: TargetAccess,
    watch: Watch,
    action: Observe,
    now: float,
) -> Readings:
    """Ask the function that judges, unless the verdict is bad without it."""
    if watch.judge is None or target.judge is None:
        return readings
    observation = analysis.judge(deployment, watch, readings, now)
    if observation.verdict is Verdict.BAD:
        return replace(readings, shown=observation)
    fields = {
        "deployment": deployment.id,
        "function": deployment.function,
        "stage": deployment.stage,
        "alias": deployment.plan.alias,
        "version": action.version,
        "old_version": action.baseline,
        "sha256": deployment.sha256,
        "traffic_since": action.since,
    }
    answer = judging.ask(target.judge, watch.judge, fields, observation_view(observation, deployment.plan))
    return replace(readings, judge=answer, shown=observation)
