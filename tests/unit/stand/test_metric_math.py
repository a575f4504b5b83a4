"""The model of metric math against the examples of CloudWatch's user guide (read on 2026-11-26)."""

import pytest

from stand.metric_math import ExpressionError, evaluate

METRIC_1 = {1: 30.0, 2: 20.0, 3: 0.0, 4: 0.0}
METRIC_2 = {1: 20.0, 3: 20.0}
GUIDE = {"metric1": METRIC_1, "metric2": METRIC_2}


@pytest.mark.parametrize(
    ("expression", "values"),
    [
        ("metric1 < metric2", [0, 0, 1, 0]),
        ("metric1 >= 30", [1, 0, 0, 0]),
        ("metric1 > 15 AND metric2 > 15", [1, 0, 0, 0]),
        ("metric1 > 15 || metric2 > 15", [1, 1, 1, 0]),
        ("metric1 + metric2", [50, 20, 20, 0]),
        ("metric1 / metric2", [1.5, 0]),  # what is divided by zero is dropped
        ("SUM([metric1, metric2]) / 10", [5, 2, 2, 0]),
        ("MAX([metric1, metric2])", [30, 20, 20, 0]),
        ("metric1 - MIN(metric2)", [10, 0, -20, -20]),
        ("DIFF(metric1)", [-10, -20, 0]),
        ("RUNNING_SUM(metric1)", [30, 50, 50, 50]),
        ("FILL(metric2, 7)", [20, 7, 20, 7]),
        ("-metric2^2", [-400, -400]),
        ("metric1 / PERIOD(metric1) * 60", [30, 20, 0, 0]),
    ],
)
def test_the_examples_come_out_as_documented(expression: str, values: list[float]) -> None:
    assert list(evaluate(expression, "e", GUIDE).values()) == values


@pytest.mark.parametrize(
    ("expression", "values"),
    [
        ("IF(metric1, metric2, metric3)", [30, 0, 20]),
        ("IF(metric1, 5, metric3)", [5, 5, 20]),
        ("IF(metric1, metric2, 5)", [30, 0, 5, 5]),
    ],
)
def test_if_comes_out_as_documented(expression: str, values: list[float]) -> None:
    series = {
        "metric1": {1: 1.0, 2: 1.0, 3: 0.0, 4: 0.0},
        "metric2": {1: 30.0, 3: 0.0, 4: 0.0, 5: 30.0},
        "metric3": {1: 0.0, 2: 0.0, 3: 20.0, 5: 20.0},
    }
    assert list(evaluate(expression, "e", series).values()) == values


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("metric1 +", "Error in expression 'e': Invalid syntax"),
        ("nobody", "Error in expression 'e': Invalid syntax"),
        ("ANOMALY_DETECTOR(metric1)", "Error in expression 'e': Function 'ANOMALY_DETECTOR' not found"),
        ("SUM(metric1)", "Error in expression 'e': "),
        ("[metric1, metric2]", "Error in expression 'e': "),
    ],
)
def test_an_error_has_cloudwatchs_words(expression: str, message: str) -> None:
    with pytest.raises(ExpressionError) as raised:
        evaluate(expression, "e", GUIDE)
    assert str(raised.value).startswith(message)
