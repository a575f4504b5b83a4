"""Metric math: what gives one time series is taken, everything else is refused with a reason.

Source: CloudWatch user guide, "Metric math syntax and functions", read on 2026-11-26.
"""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluicegate_gatefile.metric_math import MAX_DEPTH, MAX_EXPRESSION, MetricMathError, check, names

TWO = ("bad", "all")


@pytest.mark.parametrize(
    "expression",
    [
        "bad/all",
        " 100 * bad / (bad + all) ",
        "SUM([bad, all])",
        "bad - AVG(all)",  # the user guide's own: a number within a series
        "FILL(bad, 0)/all",
        "FILL(bad, REPEAT) + FILL(all, MIN(all))",
        "IF(bad > 5 AND all != 0, bad, 0)",
        "IF(bad>=all || bad<1, 1)",
        "MAX([bad, all, RATE(bad)])",
        "SUM(100/[bad, all])",
        "DIFF(bad) + -all^2",
        "TIME_SERIES(5*AVG(bad)) * all",
        "bad * 60 / PERIOD(all)",
        "IF(DAY(bad) < 6, all)",
    ],
)
def test_what_gives_one_series_is_taken(expression: str) -> None:
    check(expression, TWO)


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("", "is empty"),
        ("bad", "does not use the metric `all`"),
        ("bad/any + all", "names `any`, which is none of the metrics"),
        ("bad all", "has `all` where it should end"),
        ("bad/all)", "has `)` where it should end"),
        ("bad/(all", "lacks `)` at the end"),
        ("bad/", "ends too early"),
        ("bad*/all", "has `/` where a value should be"),
        ("--bad+all", "has `-` where a value should be"),
        ("bad.all", "has `.`, which metric math has not"),
        ("bad/all; drop", "has `;`, which metric math has not"),
        ("'bad'/all", "has `'`, which metric math has not: ids and functions need no quotes"),
        ("SUM(bad/all)", "gives one number"),
        ("AVG(bad) > AVG(all)", "gives one number"),
        ("[bad, all]", "gives several time series"),
        ("ABS([bad, all])", "gives several time series"),
        ("bad < [bad, all]", "compares a list of time series with `<`"),
        ("[bad, 5] + all", "has a list of something else than time series"),
        ("sum(bad)/all", "names `sum`"),
        ("METRICS()", "uses `METRICS`"),
        ("SUM(METRICS()) + bad + all", "uses `METRICS`"),
        ("SEARCH(bad) + all", "uses `SEARCH`"),
        ("ANOMALY_DETECTION_BAND(bad) + all", "uses `ANOMALY_DETECTION_BAND`"),
        ("FILL(bad)/all", "gives `FILL` 1 arguments; it takes 2"),
        ("FILL(bad, LAST)/all", "uses `LAST`"),
        ("ABS(5)*bad/all", "gives `ABS` a number"),
        ("IF(1, 2, 3)*bad/all", "gives `IF` numbers alone"),
        ("TIME_SERIES(bad)/all", "gives `TIME_SERIES` a time series"),
        ("PERIOD([bad, all])*bad", "gives `PERIOD` a list"),
        ("bad + all" + " + bad" * MAX_EXPRESSION, "is longer than"),
        ("(" * (MAX_DEPTH + 1) + "bad" + ")" * (MAX_DEPTH + 1) + "/all", "is nested deeper"),
        ("ABS(" * 200 + "bad" + ")" * 200 + "/all", "is nested deeper"),
        ("[" * 300 + "bad", "is nested deeper"),
    ],
)
def test_everything_else_is_refused_with_the_reason(expression: str, reason: str) -> None:
    with pytest.raises(MetricMathError, match=f"^{reason[:3]}") as raised:
        check(expression, TWO)
    assert reason in str(raised.value)


def test_the_names_of_an_expression_are_its_ids() -> None:
    assert names("SUM([b2, a])/FILL(b2, REPEAT)") == ("b2", "a")


SIGNS = st.sampled_from(
    ["bad", "all", "SUM", "IF", "FILL", "(", ")", "[", "]", ",", "+", "-", "/", "<", "5", "é", "'"]
)


@given(st.one_of(st.text(max_size=40), st.lists(SIGNS, max_size=40).map(" ".join)))
def test_any_text_is_taken_or_refused(text: str) -> None:
    with contextlib.suppress(MetricMathError):
        check(text, TWO)
