"""Read the user's own metrics during a bake, and find the event sources that some of them are of."""

from dataclasses import replace

from sluicegate.aws.custom_metrics import MetricReadings
from sluicegate.aws.lambda_ import MAX_EVENT_SOURCES, FunctionApi
from sluicegate.aws.version_metrics import SeriesRequest
from sluicegate.deployer.target import TargetAccess
from sluicegate.deployment.plan import CustomMetric, Watch
from sluicegate.rollout.readings import MetricValues


def read_own_metrics(
    target: TargetAccess, watch: Watch, request: SeriesRequest, steps_since: float | None
) -> MetricReadings:
    """Return what CloudWatch has of the watch's metrics.

    Raises LambdaError, botocore's errors and LookFailed. What is only wrong with one metric is its `problem`.
    """
    if not watch.metrics or target.cloudwatch is None:
        return MetricReadings()
    event_sources, problem = (
        _event_sources(target.function, request.alias) if watch.by_event_source else ((), None)
    )
    unreadable = [metric for metric in watch.metrics if problem and _by_event_source(metric)]
    metrics = [metric for metric in watch.metrics if metric not in unreadable]
    found = target.cloudwatch.custom_metrics(request, metrics, event_sources, steps_since)
    problems = {metric.name: MetricValues(problem=problem) for metric in unreadable}
    return replace(found, values={**found.values, **problems})


def _by_event_source(metric: CustomMetric) -> bool:
    return any(source.by_event_source for source in metric.sources)


def _event_sources(function: FunctionApi, alias: str) -> tuple[tuple[str, ...], str | None]:
    """Return the event source mappings of the alias, and why they say nothing, or None.

    Lambda sends counts of events only for a mapping whose MetricsConfig has `EventCount` (Lambda developer
    guide, "Event source mapping metrics", read on 2026-11-26). Without them, nothing failed and everything
    failed look alike.
    """
    found = function.event_sources(alias)
    if found is None:
        return (), f"alias {alias} has more than the {MAX_EVENT_SOURCES} event source mappings that are read"
    if not found:
        return (), f"alias {alias} has no event source mapping"
    if silent := [one.uuid for one in found if not one.counts]:
        return (
            (),
            f"event source mapping {silent[0]} counts no events: give it a MetricsConfig with EventCount",
        )
    return tuple(one.uuid for one in found), None
