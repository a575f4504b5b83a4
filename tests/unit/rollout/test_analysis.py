"""When an observation of a version breaches its watch."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluicegate.deployment.observations import AlarmState
from sluicegate.deployment.plan import Limit, Metric, Watch
from sluicegate.deployment.strategy import MAX_BAKE
from sluicegate.rollout.analysis import (
    MAX_OBSERVATIONS,
    MIN_INTERVAL,
    Observation,
    VersionMetrics,
    find_alarm,
    find_breach,
    find_missing_data,
    observation_interval,
    summary,
)
from support.plans import limits, metrics, observations, watches

ERRORS = Limit(Metric.ERRORS, min_samples=100, most=5.0)
RATIO = Limit(Metric.ERRORS, min_samples=100, max_ratio=2.0)
THROTTLES = Limit(Metric.THROTTLES, min_samples=100, most=5.0)
SLOW = Limit(Metric.DURATION_P95, min_samples=100, most=300.0)
SLOWER = Limit(Metric.DURATION_P95, min_samples=100, max_ratio=1.5)


@pytest.mark.parametrize(
    ("limit", "new", "baseline", "breached"),
    [
        (ERRORS, VersionMetrics(100, 5), None, False),
        (ERRORS, VersionMetrics(100, 6), None, True),
        (ERRORS, VersionMetrics(99, 99), None, False),  # too few requests
        (ERRORS, VersionMetrics(50, 50, throttles=50), None, False),  # throttled requests cannot fail
        (ERRORS, VersionMetrics(0, 0, throttles=200), None, False),
        # There is no baseline, or no data of it: then it counts as one in min_samples.
        (RATIO, VersionMetrics(100, 100), None, True),
        (RATIO, VersionMetrics(100, 100), VersionMetrics(), True),
        (RATIO, VersionMetrics(100, 100), VersionMetrics(throttles=500), True),
        (RATIO, VersionMetrics(100, 2), VersionMetrics(), False),
        (RATIO, VersionMetrics(100, 3), VersionMetrics(), True),
        (RATIO, VersionMetrics(1000, 40), VersionMetrics(1000, 20), False),
        (RATIO, VersionMetrics(1000, 41), VersionMetrics(1000, 20), True),
        (
            RATIO,
            VersionMetrics(1000, 20),
            VersionMetrics(1000, 0),
            False,
        ),  # a rate below one in min_samples counts as that
        (RATIO, VersionMetrics(1000, 21), VersionMetrics(1000, 0), True),
        (THROTTLES, VersionMetrics(95, 0, 5), None, False),
        (THROTTLES, VersionMetrics(94, 0, 6), None, True),
        (SLOW, VersionMetrics(100, 0, 0, 300.0, 100), None, False),
        (SLOW, VersionMetrics(100, 0, 0, 300.1, 100), None, True),
        (SLOW, VersionMetrics(100, 0, 100, 300.1, 99), None, False),  # too few durations
        (SLOW, VersionMetrics(100, 0, 0, None), None, False),
        (SLOWER, VersionMetrics(100, 0, 0, 150.0, 100), VersionMetrics(100, 0, 0, 100.0, 100), False),
        (SLOWER, VersionMetrics(100, 0, 0, 151.0, 100), VersionMetrics(100, 0, 0, 100.0, 100), True),
        (SLOWER, VersionMetrics(100, 0, 0, 151.0, 100), VersionMetrics(100, 0, 0, None), False),
    ],
)
def test_a_limit_is_breached_above_it(
    limit: Limit, new: VersionMetrics, baseline: VersionMetrics | None, breached: bool
) -> None:
    reason = find_breach(Watch(limits=(limit,)), Observation((), new, baseline))
    assert (reason is not None) == breached
    if reason:
        assert reason.code == "metric"
        assert reason.data["metric"] == limit.metric.value
        assert reason.data["value"] > reason.data["limit"]


def test_the_reason_names_the_gate_files_key() -> None:
    def because(limit: Limit, new: VersionMetrics, baseline: VersionMetrics | None = None) -> str:
        reason = find_breach(Watch(limits=(limit,)), Observation((), new, baseline))
        assert reason is not None
        assert str(reason.data["because"]) in reason.message
        return str(reason.data["because"])

    assert because(ERRORS, VersionMetrics(100, 50)) == "max_percent"
    assert because(SLOW, VersionMetrics(100, 0, 0, 900.0, 100)) == "max_ms"
    assert (
        because(RATIO, VersionMetrics(100, 50), VersionMetrics(100, 10))
        == "max_ratio 2 of the old version's 10"
    )


@pytest.mark.parametrize(
    ("states", "code"),
    [
        ([], None),
        ([AlarmState.OK, AlarmState.INSUFFICIENT_DATA], None),
        ([AlarmState.OK, AlarmState.ALARM], "alarm"),
        ([AlarmState.MISSING, AlarmState.OK], "alarm_missing"),
    ],
)
def test_an_alarm_that_is_firing_or_missing_stops_the_rollout(
    states: list[AlarmState], code: str | None
) -> None:
    named = tuple((f"alarm-{number}", state) for number, state in enumerate(states))
    reason = find_alarm(named)
    assert (reason and reason.code) == code
    assert find_breach(Watch(alarms=tuple(name for name, _ in named)), Observation(named)) == reason


def test_missing_data_names_the_first_limit_with_too_few_requests() -> None:
    watch = Watch(limits=(replace(ERRORS, min_samples=10), THROTTLES))
    reason = find_missing_data(watch, Observation(new=VersionMetrics(50, 0)))
    assert reason is not None
    assert reason.data == {"metric": "throttles", "samples": 50, "min_samples": 100}
    assert find_missing_data(watch, Observation(new=VersionMetrics(90, 0, throttles=10))) is None
    assert find_missing_data(Watch(alarms=("a",)), Observation()) is None


@pytest.mark.parametrize(
    ("limit", "new", "baseline", "samples"),
    [
        # 500 throttled requests and not one invocation say nothing about errors and durations.
        (ERRORS, VersionMetrics(throttles=500), None, 0),
        (SLOW, VersionMetrics(throttles=500), None, 0),
        (SLOW, VersionMetrics(200, duration_p95=1.0, durations=99), None, 99),
        (SLOW, VersionMetrics(200, duration_p95=None, durations=200), None, 0),
        (THROTTLES, VersionMetrics(throttles=500), None, None),
        # No data of the old version is no data. Where there is none, there never will be.
        (RATIO, VersionMetrics(500), VersionMetrics(), 0),
        (RATIO, VersionMetrics(500), VersionMetrics(99, throttles=900), 99),
        (SLOWER, VersionMetrics(500, 0, 0, 1.0, 500), VersionMetrics(500), 0),
        (RATIO, VersionMetrics(500), None, None),
        (ERRORS, VersionMetrics(500), VersionMetrics(), None),
    ],
)
def test_samples_are_what_the_metric_is_of(
    limit: Limit, new: VersionMetrics, baseline: VersionMetrics | None, samples: int | None
) -> None:
    reason = find_missing_data(Watch(limits=(limit,)), Observation((), new, baseline))
    assert (reason and reason.data["samples"]) == samples
    if limit.metric is not Metric.THROTTLES:
        assert find_breach(Watch(limits=(limit,)), Observation((), new, baseline)) is None


@given(limits(), metrics(), st.none() | metrics())
def test_a_version_that_fails_every_request_never_goes_well(
    limited: tuple[Limit, ...], new: VersionMetrics, baseline: VersionMetrics | None
) -> None:
    """Whatever is known of the old version: unless it was as bad, it is a breach, or there is no data."""
    failing = replace(new, errors=new.invocations)
    watch = Watch(
        limits=tuple(limit for limit in limited if limit.metric is Metric.ERRORS and limit.most != 100)
    )
    observation = Observation((), failing, baseline)
    well = not find_breach(watch, observation) and not find_missing_data(watch, observation)
    old_rate = 100 * baseline.errors / baseline.invocations if baseline and baseline.invocations else 0
    for limit in watch.limits:
        comparable = limit.most is None and limit.max_ratio is not None
        if well and not comparable:
            raise AssertionError("it went well")
        if well and limit.max_ratio:
            assert max(old_rate, 100 / limit.min_samples) * limit.max_ratio >= 100


@pytest.mark.parametrize(
    ("new", "line"),
    [
        (VersionMetrics(), "no requests"),
        (VersionMetrics(200, 1, 0, 12.34), "200 requests, 0.5% errors, p95 12.3 ms"),
        (VersionMetrics(200, 0), "200 requests, 0% errors"),
        (VersionMetrics(throttles=3), "no invocations, 3 throttled requests"),
    ],
)
def test_a_bake_that_passed_is_summed_up_in_a_line(new: VersionMetrics, line: str) -> None:
    assert summary(Observation(new=new)) == line


@given(limits(), metrics(), st.none() | metrics(), st.integers(0, 1_000))
def test_more_errors_never_end_a_breach(
    limited: tuple[Limit, ...], new: VersionMetrics, baseline: VersionMetrics | None, more: int
) -> None:
    watch = Watch(limits=limited)
    worse = replace(new, errors=min(new.errors + more, new.invocations))
    if find_breach(watch, Observation((), new, baseline)):
        assert find_breach(watch, Observation((), worse, baseline))


@given(limits(), metrics(), metrics(), st.floats(0, 1_000_000))
def test_a_slower_response_never_ends_a_breach(
    limited: tuple[Limit, ...], new: VersionMetrics, baseline: VersionMetrics, more: float
) -> None:
    watch = Watch(limits=limited)
    if new.duration_p95 is not None and find_breach(watch, Observation((), new, baseline)):
        assert find_breach(
            watch, Observation((), replace(new, duration_p95=new.duration_p95 + more), baseline)
        )


@given(limits(), metrics(), metrics(), st.integers(0, 1_000))
def test_a_worse_baseline_never_causes_a_breach(
    limited: tuple[Limit, ...], new: VersionMetrics, baseline: VersionMetrics, more: int
) -> None:
    watch = Watch(limits=limited)
    worse = replace(baseline, errors=min(baseline.errors + more, baseline.invocations))
    if not find_breach(watch, Observation((), new, baseline)):
        assert not find_breach(watch, Observation((), new, worse))


@given(st.data())
def test_an_observation_passes_breaches_or_has_too_little_data_and_its_reason_can_be_stored(
    data: st.DataObject,
) -> None:
    """A limit that is breached always had enough requests."""
    watch = data.draw(watches)
    observation = data.draw(observations(watch))
    reasons = [find_breach(watch, observation), find_missing_data(watch, observation)]
    for reason in filter(None, reasons):
        assert len(reason.message) <= 256
        assert all(isinstance(value, (str, int, float)) for value in reason.data.values())
    if reasons[0] and reasons[0].code == "metric":
        [limit] = [one for one in watch.limits if one.metric.value == reasons[0].data["metric"]]
        assert reasons[0].data["samples"] >= limit.min_samples


@given(st.integers(0, 4 * MAX_BAKE))
def test_observations_are_few_and_not_too_close(bake: int) -> None:
    every: Any = observation_interval(Watch(alarms=("a",)), bake)
    assert every >= MIN_INTERVAL
    assert bake / every <= MAX_OBSERVATIONS
    assert observation_interval(None, bake) == max(bake, 1)
