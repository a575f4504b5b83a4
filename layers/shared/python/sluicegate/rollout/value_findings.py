"""Whether the values of a metric are good enough, where they are no share of two counts: pure decisions."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

from sluicegate.deployment.durations import duration
from sluicegate.deployment.observations import Interval, LimitFinding, Tally, Verdict
from sluicegate.deployment.plan import Better, CustomMetric
from sluicegate.rollout.finding_messages import described
from sluicegate.rollout.paired import compare_values, tally_values
from sluicegate.rollout.readings import LATE, MINUTE, MetricValues


def value_findings(
    metric: CustomMetric, values: MetricValues | None, *, observe: bool
) -> Iterator[LimitFinding]:
    """Yield what the absolute limit of a metric has come to, or that it has no data."""
    if values is None or not values.new:
        problem = values.problem if values and values.problem else "no data"
        verdict = Verdict.UNCLEAR if values and values.problem else metric.missing
        message = f"{metric.name}: {problem}: {verdict.value}"
        yield LimitFinding(metric.name, "missing", verdict, message, observe=observe)
        return
    if metric.missing is not Verdict.GOOD and (silence := _silence(metric, values)):
        verdict = metric.missing
        message = f"{metric.name}: no data for {duration(silence)}: {verdict.value}"
        yield LimitFinding(metric.name, "missing", verdict, message, observe=observe)
    elif metric.most is not None:
        yield _constant(metric, values, observe)


def _silence(metric: CustomMetric, values: MetricValues) -> int:
    """Return for how many seconds the metric has had no value, if that is longer than it takes; else 0.

    Longer than the limit looks back, and than three times the longest pause between its values so far.
    """
    moments = [at for at, _ in values.new]
    pauses = [then - at for at, then in pairwise(moments)]
    usual = max(metric.minutes * MINUTE, 3 * max(pauses, default=0))
    silence = int((values.until or 0.0) - moments[-1] - MINUTE)
    return silence if silence > usual + LATE else 0


def _constant(metric: CustomMetric, values: MetricValues, observe: bool) -> LimitFinding:
    """Say whether the newest values, without a gap between them, all are beyond the limit.

    A value beyond it now and then, with nothing in between, is no trend. Nor is one below it: nothing is
    good beyond doubt here.
    """
    bound, lower = float(metric.most or 0), metric.better is Better.LOWER
    newest = values.new[-metric.minutes :]
    beyond = [value > bound if lower else value < bound for _, value in newest]
    in_a_row = all(then - at <= MINUTE for (at, _), (then, _) in pairwise(newest))
    broken = all(beyond) and in_a_row and len(newest) == metric.minutes
    verdict = Verdict.BAD if broken else Verdict.UNCLEAR if beyond[-1] else Verdict.GOOD
    value = newest[-1][1]
    message = f"{metric.name}: {value:g}, limit {bound:g}: {verdict.value}"
    return LimitFinding(
        metric.name,
        "max" if lower else "min",
        verdict,
        message,
        bound=bound,
        observe=observe,
        new=Interval(value, value, value),
    )


def count_values(metric: CustomMetric, values: MetricValues) -> Tally:
    """Count the minutes in which the new version's value was worse than the old one's, and better."""
    return tally_values(values.new, values.old, lower_is_better=metric.better is Better.LOWER)


def compared_values(
    metric: CustomMetric,
    values: MetricValues,
    path: Sequence[Tally],
    spend: Sequence[float],
    *,
    alpha: float,
    observe: bool,
) -> LimitFinding:
    """Say whether the values are worse than the old version's in the same minutes.

    `path` are the counts of the looks so far, newest last, `spend` is what could be spent of `alpha` by each.
    """
    ratio, lower = float(metric.max_ratio or 1), metric.better is Better.LOWER
    result = compare_values(
        path,
        spend,
        values.new,
        values.old,
        alpha=alpha,
        max_ratio=ratio,
        minutes=metric.minutes,
        lower_is_better=lower,
    )
    return described(
        LimitFinding(
            metric.name,
            "max_ratio",
            result.verdict,
            "",
            bound=ratio,
            observe=observe,
            beyond_doubt=result.beyond_doubt,
            tally=path[-1],
            new=result.new,
            old=result.old,
            ratio=result.ratio,
            p=result.p,
            room=result.room,
        )
    )
