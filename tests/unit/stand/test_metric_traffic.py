"""Metrics of traffic that nobody sends are those that were described."""

from statistics import fmean, variance
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stand.metric_traffic import Behaviour, Fault, Lots, MetricTraffic, tally
from support.statistics_model import statistic


class FakeStand:
    """An alias, and what was written to CloudWatch."""

    def __init__(self, version: str, **weights: float) -> None:
        self.alias = {
            "FunctionVersion": version,
            "RoutingConfig": {"AdditionalVersionWeights": {name[1:]: part for name, part in weights.items()}},
            "RevisionId": "r",
        }
        self.written: list[dict[str, Any]] = []

    def client(self, _: str) -> "FakeStand":
        return self

    def get_alias(self, **_: Any) -> dict[str, Any]:
        return self.alias

    def put_metric_data(self, **request: Any) -> None:
        data = request["MetricData"]
        assert request["Namespace"] == "AWS/Lambda"
        assert len(data) <= 1_000
        assert all(len(metric["Values"]) <= 150 for metric in data)
        self.written += data

    def answer(self, name: str, version: str, kind: str) -> float | None:
        samples = [
            sample
            for metric in self.written
            if metric["MetricName"] == name
            and {"Name": "ExecutedVersion", "Value": version} in metric["Dimensions"]
            for sample in zip(metric["Values"], metric["Counts"], strict=True)
        ]
        return statistic(kind, samples)


def traffic(stand: FakeStand, now: list[float], **more: Any) -> MetricTraffic:
    return MetricTraffic(stand, "orders", "live", clock=lambda: now[0], **more)  # type: ignore[arg-type]


@given(st.lists(st.integers(0, 500), max_size=20), st.floats(0, 1))
def test_exact_lots_are_never_one_off(counts: list[int], part: float) -> None:
    lots = Lots(0, exact=True)
    drawn = [lots.of("errors", count, part) for count in counts]
    assert all(0 <= one <= count for one, count in zip(drawn, counts, strict=True))
    assert abs(sum(drawn) - sum(counts) * part) <= 1 + 1e-6


@given(st.integers(0, 2_000), st.booleans())
def test_what_is_split_adds_up(count: int, exact: bool) -> None:
    drawn = Lots(1, exact).split("share", count, {"1": 0.9, "2": 0.1})
    assert sum(drawn.values()) == count


def test_an_exact_error_rate_under_a_weighted_alias() -> None:
    stand, now = FakeStand("1", _2=0.1), [1_780_000_000.0]
    behaviours = {"2": Behaviour(errors=0.05, throttles=0.1)}
    sent = traffic(stand, now, rate=2_000, exact=True, behaviours=behaviours, otherwise=Behaviour(0.005))
    for _ in range(10):
        now[0] += 0.5
        sent._tick(now[0], 0.5)
    assert stand.answer("Invocations", "1", "Sum") == 9_000
    assert stand.answer("Errors", "1", "Sum") == 45
    assert stand.answer("Throttles", "2", "Sum") == 100
    assert stand.answer("Invocations", "2", "Sum") == 900
    assert stand.answer("Errors", "2", "Sum") == 45
    assert sent.errors == {"1": 45, "2": 45}
    assert sent.served == {"1": 9_000, "2": 900}
    median, p95 = stand.answer("Duration", "1", "p50"), stand.answer("Duration", "1", "p95")
    assert median == pytest.approx(20, rel=0.05)
    assert p95 == pytest.approx(45.5, rel=0.08)  # exp(ln 20 + 1.645 * 0.5)


def test_lots_by_chance_repeat_with_their_seed() -> None:
    first = tally(Lots(7), "1", Behaviour(errors=0.02), 5_000, 0.02)
    assert first == tally(Lots(7), "1", Behaviour(errors=0.02), 5_000, 0.02)
    assert first != tally(Lots(8), "1", Behaviour(errors=0.02), 5_000, 0.02)
    assert 60 < first.errors < 140


def test_errors_in_clusters_are_as_many_and_vary_more() -> None:
    """Geometric clusters of size 5 on average vary 2 * 5 - 1 = 9 times as much as single errors."""
    lots, alone = Lots(3), Lots(3)
    counts = [lots.clusters(2_000, 0.02, 5.0) for _ in range(400)]
    single = [alone.of("errors", 2_000, 0.02) for _ in range(400)]
    assert fmean(counts) == pytest.approx(40, rel=0.1)
    assert variance(counts) / variance(single) == pytest.approx(9, rel=0.4)
    assert tally(Lots(3), "1", Behaviour(cluster=50.0, spread=0), 3, 1.0).errors <= 3


def test_an_outage_hits_both_and_a_burst_one() -> None:
    outage, burst = Fault(10, 5, 0.5), Fault(0, 2, 1.0, every=60)
    calm, bursting = Behaviour(0.01), Behaviour(0.01, bursts=(burst,))
    assert [calm.failing(at, [outage]) for at in (0, 9.9, 10, 14.9, 15)] == [0.01, 0.01, 0.5, 0.5, 0.01]
    assert [bursting.failing(at, [outage]) for at in (1, 2, 12, 61, -59)] == [1.0, 0.01, 0.5, 1.0, 1.0]


def test_the_past_is_remembered_by_the_minute() -> None:
    stand, now = FakeStand("1"), [1_780_000_030.0]
    burst = Fault(0, 6, 0.5, every=600)
    sent = traffic(stand, now, rate=10, exact=True, otherwise=Behaviour(0.01, bursts=(burst,)))
    sent.remember(180)
    minutes = {metric["Timestamp"].timestamp() for metric in stand.written}
    assert minutes == {1_780_000_020.0 - 60 * minute for minute in range(1, 181)}
    assert stand.answer("Invocations", "1", "Sum") == 180 * 600
    errors = stand.answer("Errors", "1", "Sum")
    assert errors == pytest.approx(0.01 * 108_000 + 18 * 60 * 0.49, rel=0.02)
