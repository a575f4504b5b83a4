"""What a stage's watch means, in words."""

from collections.abc import Iterator, Sequence

from sluicegate.deployment.durations import duration
from sluicegate.deployment.plan import Limit, Metric, TrafficStep, Unclear, Watch
from sluicegate.rollout import budget
from sluicegate.rollout.analysis import observation_interval
from sluicegate_cli.durations import format_duration
from sluicegate_cli.planning.forecast import Forecast
from sluicegate_cli.planning.schedule import plan_of


def compares_errors(steps: Sequence[TrafficStep], watch: Watch | None) -> bool:
    """Return whether errors are limited while both versions have traffic: what a forecast is about."""
    limited = watch is not None and any(limit.metric is Metric.ERRORS for limit in watch.limits)
    return limited and any(step.bake and step.percent < 100 for step in steps)


def meaning(steps: Sequence[TrafficStep], watch: Watch) -> Iterator[str]:
    """Yield sentences about the looks, the limits, and what follows from them."""
    most = budget.looks(plan_of(steps, watch))
    for step in steps:
        if step.bake:
            interval = format_duration(observation_interval(watch, step.bake, most))
            alone = ", without a comparison" if step.percent == 100 else ""
            yield f"{step.percent}% for {duration(step.bake)}: looked at every {interval}{alone}"
    for limit in watch.limits:
        yield f"{limit.metric.value}: back if {', or '.join(_breaks(limit))}" + _only_observed(watch, limit)
    if budget.alphas(watch) and not watch.observe:
        yield (
            f"a version that is as good as the old one goes back in at most {watch.false_rollbacks:g}% of the"
            " rollouts by comparison"
        )
    if watch.measures:
        yield f"a bake that ends unclear {_UNCLEAR[watch.unclear]}"


_UNCLEAR = {
    Unclear.PASS: "goes on",
    Unclear.FAIL: "goes back",
    Unclear.EXTEND: f"is extended, {budget.MAX_EXTENSIONS} times at most, and then goes back",
}


def _breaks(limit: Limit) -> Iterator[str]:
    if limit.max_ratio is not None:
        yield f"at least {limit.max_ratio:g} times the old version's and not by chance"
    if limit.most is not None:
        unit = " ms" if limit.metric is Metric.DURATION_P95 else "%"
        yield f"surely above {limit.most:g}{unit}"


def _only_observed(watch: Watch, limit: Limit) -> str:
    return " (observed only: it is reported, and stays)" if watch.observe or limit.observe else ""


def outlook(found: Forecast) -> str:
    """Return a forecast as one sentence."""
    requests = ", ".join(f"{step.percent}%: {step.new:,}" for step in found.steps if step.bake)
    caught = ", ".join(f"x{ratio} in {share(caught.share.value)}" for ratio, caught in found.caught.items())
    return (
        f"{requests} requests of the new version; caught: {caught}; as good but rolled back:"
        f" {share(found.equal.share.value)}"
    )


def share(value: float) -> str:
    """Return a share in percent with two digits, as 0.55%, 5.5% and 55%."""
    return f"{100 * value:.2g}%" if value < 0.995 else f"{100 * value:.0f}%"


def number(value: float) -> str:
    """Return a number as people write it, and as `--requests` takes it but for the commas."""
    return f"{value:,.0f}" if value == int(value) else f"{value:,.6g}"
