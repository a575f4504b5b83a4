"""Describe how a deployment proceeds in a stage, as the gate file says, in a few words."""

from collections.abc import Iterator, Sequence

from sluicegate.deployment.durations import duration
from sluicegate.deployment.plan import Limit, Metric, Smoke, TrafficStep, Watch


def strategy(steps: Sequence[TrafficStep]) -> str:
    """Describe how traffic moves: `10% for 5m, 100%`."""
    return ", ".join(f"{step.percent}%{f' for {duration(step.bake)}' if step.bake else ''}" for step in steps)


def smoke(test: Smoke) -> str:
    """Describe a smoke test."""
    what = f"hook {test.hook}" if test.hook else f"payload {test.payload}"
    expects = f", expects {test.expect}" if test.expect else ""
    return f"{what}{expects}, {duration(test.timeout)}"


def watch(watched: Watch) -> Iterator[str]:
    """Describe a watch, one thing at a time."""
    yield from (f"alarm {name}" for name in watched.alarms)
    yield from map(_limit, watched.limits)
    yield from (f"metric {metric.name}" for metric in watched.metrics)
    if watched.judge:
        yield f"judge {watched.judge.function}"
    if watched.measures:
        yield f"unclear: {watched.unclear.value}"
    if watched.observe:
        yield "observed only"


def _limit(limit: Limit) -> str:
    unit = " ms" if limit.metric is Metric.DURATION_P95 else "%"
    maxima = [
        *([f"{limit.most:g}{unit}"] if limit.most is not None else ()),
        *([f"{limit.max_ratio:g}x the old"] if limit.max_ratio is not None else ()),
    ]
    return f"{limit.metric.value}: {', '.join(maxima)}; {limit.min_samples} samples"
