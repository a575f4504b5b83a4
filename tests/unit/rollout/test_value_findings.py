"""Values by the minute: beyond a constant for several minutes in a row, or worse than the old version's."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from sluicegate.deployment.observations import LimitFinding, Tally, Verdict
from sluicegate.deployment.plan import Better, CustomMetric, MetricSource
from sluicegate.rollout.readings import MetricValues
from sluicegate.rollout.value_findings import compared_values, count_values, value_findings

AGE = CustomMetric("age", (MetricSource("age", "Shop", "Age", "p95", ()),), most=100, minutes=3)
COMPARED = replace(AGE, most=None, max_ratio=2.0)


def minutes(*values: float | None) -> tuple[tuple[int, float], ...]:
    return tuple((60 * i, value) for i, value in enumerate(values) if value is not None)


def found(
    metric: CustomMetric, values: MetricValues | None, before: Sequence[Tally] = ()
) -> list[LimitFinding]:
    result = list(value_findings(metric, values, observe=False))
    if metric.max_ratio is not None and values is not None:
        looks = [*before, count_values(metric, values)]
        spend = [0.5] * len(before) + [1.0]
        result.append(compared_values(metric, values, looks, spend, alpha=0.01, observe=False))
    return result


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ((101, 102, 103), Verdict.BAD),
        ((1, 101, 102, 103), Verdict.BAD),
        ((101, 102), Verdict.UNCLEAR),
        ((101, 102, 100), Verdict.GOOD),
        ((101, 100, 102, 103), Verdict.UNCLEAR),
        ((101, None, 102, 103), Verdict.UNCLEAR),
        ((101, None, None, 102, None, None, 103), Verdict.UNCLEAR),
        ((100,), Verdict.GOOD),
    ],
)
def test_only_the_newest_minutes_in_a_row_break_a_constant(
    values: tuple[float | None, ...], verdict: Verdict
) -> None:
    [finding] = found(AGE, MetricValues(minutes(*values)))
    assert (finding.verdict, finding.rule, finding.bound) == (verdict, "max", 100)


@pytest.mark.parametrize("missing", [Verdict.UNCLEAR, Verdict.BAD])
@pytest.mark.parametrize("metric", [AGE, COMPARED])
@pytest.mark.parametrize(
    ("values", "until", "silent"),
    [
        (minutes(1, 1, 1), 3 * 60 + 360, False),
        (minutes(1, 1, 1), 3 * 60 + 361, True),
        (minutes(1, None, None, None, None, 1), 6 * 60 + 1_080, False),  # it pauses for five minutes
        (minutes(1, None, None, None, None, 1), 6 * 60 + 1_081, True),
        (minutes(1), None, False),
    ],
)
def test_a_metric_that_falls_silent_is_no_data(
    missing: Verdict,
    metric: CustomMetric,
    values: tuple[tuple[int, float], ...],
    until: float | None,
    silent: bool,
) -> None:
    findings = found(replace(metric, missing=missing), MetricValues(values, values, until=until))
    assert [one.verdict for one in findings if one.rule == "missing"] == ([missing] if silent else [])


def test_a_metric_that_may_be_missing_may_fall_silent() -> None:
    [finding] = found(replace(AGE, missing=Verdict.GOOD), MetricValues(minutes(1), until=9_999))
    assert (finding.verdict, finding.rule) == (Verdict.GOOD, "max")


def test_one_good_minute_is_not_beyond_doubt() -> None:
    [finding] = found(AGE, MetricValues(minutes(99)))
    assert (finding.verdict, finding.beyond_doubt) == (Verdict.GOOD, False)


def test_where_higher_is_better_the_constant_is_a_minimum() -> None:
    metric = replace(AGE, better=Better.HIGHER)
    [finding] = found(metric, MetricValues(minutes(99, 98, 97)))
    assert (finding.verdict, finding.rule) == (Verdict.BAD, "min")
    [finding] = found(metric, MetricValues(minutes(99, 98, 100)))
    assert finding.verdict is Verdict.GOOD


@pytest.mark.parametrize("missing", list(Verdict))
@pytest.mark.parametrize("values", [None, MetricValues(old=minutes(1, 2, 3))])
def test_no_data_is_what_the_gate_file_says(missing: Verdict, values: MetricValues | None) -> None:
    [finding] = found(replace(AGE, missing=missing), values)
    assert (finding.verdict, finding.rule) == (missing, "missing")


@pytest.mark.parametrize("missing", list(Verdict))
def test_what_cannot_be_read_is_unclear_whatever_missing_data_means(missing: Verdict) -> None:
    [finding] = found(replace(AGE, missing=missing), MetricValues(problem="CloudWatch refuses to read it"))
    assert (finding.verdict, finding.message) == (
        Verdict.UNCLEAR,
        "age: CloudWatch refuses to read it: unclear",
    )


def test_values_that_are_worse_minute_by_minute_are_bad() -> None:
    values = MetricValues(minutes(*[30.0] * 20), minutes(*[10.0] * 20))
    [finding] = found(COMPARED, values)
    assert (finding.verdict, finding.rule, finding.bound) == (Verdict.BAD, "max_ratio", 2.0)
    assert finding.tally is not None
    assert (finding.tally.n, finding.tally.x) == (20, 20)


def test_values_that_are_alike_are_good() -> None:
    one, other = [10.0, 11.0] * 10, [11.0, 10.0] * 10
    [finding] = found(COMPARED, MetricValues(minutes(*one), minutes(*other)))
    assert finding.verdict is Verdict.GOOD


def test_where_higher_is_better_the_ratio_is_turned_round() -> None:
    values = MetricValues(minutes(*[10.0] * 20), minutes(*[30.0] * 20))
    [finding] = found(replace(COMPARED, better=Better.HIGHER), values)
    assert finding.verdict is Verdict.BAD
    [finding] = found(COMPARED, values)
    assert finding.verdict is Verdict.GOOD


def test_without_a_minute_of_both_versions_it_is_unclear() -> None:
    [finding] = found(COMPARED, MetricValues(minutes(30, 30, 30)))
    assert finding.verdict is Verdict.UNCLEAR


def test_both_limits_are_judged() -> None:
    values = MetricValues(minutes(*[101.0] * 20), minutes(*[100.0] * 20))
    first, second = found(replace(AGE, max_ratio=2.0), values)
    assert [(one.rule, one.verdict) for one in (first, second)] == [
        ("max", Verdict.BAD),
        ("max_ratio", Verdict.GOOD),
    ]
