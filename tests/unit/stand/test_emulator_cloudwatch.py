"""The emulator's statistics by thresholds, against the model's."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stand.emulator_cloudwatch import exists, ranged, thresholds
from support.statistics_model import statistic

SAMPLES = st.lists(st.tuples(st.integers(0, 20).map(float), st.integers(1, 5).map(float)), min_size=1)


@given(SAMPLES, st.integers(0, 20), st.integers(0, 20) | st.none(), st.sampled_from(["TC", "PR"]))
def test_two_ways_to_count_agree(
    samples: list[tuple[float, float]], low: int, high: int | None, kind: str
) -> None:
    name = f"{kind}({low}:{'' if high is None else high})"
    bounds = thresholds(name)
    assert bounds is not None
    assert ranged(kind, *bounds, samples) == statistic(name, samples)


@pytest.mark.parametrize("name", ["TC(:)", "TC(5)", "tc(5:)", "TC(a:)", "Median", "p101", "TC(5%:)", ""])
def test_no_statistic_of_that_name(name: str) -> None:
    assert not exists(name)
    with pytest.raises(ValueError, match="no statistic"):
        statistic(name, [(1.0, 1.0)])


@pytest.mark.parametrize(
    "name", ["Sum", "SampleCount", "p95", "p99.9", "p100", "TC(0:)", "TC(:0.5)", "PR(1:2)"]
)
def test_a_statistic_of_that_name(name: str) -> None:
    assert exists(name)
    assert statistic(name, [(1.0, 1.0)]) is not None
