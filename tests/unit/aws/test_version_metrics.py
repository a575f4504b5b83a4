"""Both versions by the minute, as CloudWatch's raw values have them."""

from typing import Any, cast

import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from sluicegate.aws.cloudwatch import CloudWatch
from sluicegate.aws.metric_data import LookFailed
from sluicegate.aws.version_metrics import VersionSeries
from sluicegate.deployment.strategy import MAX_BAKE, MAX_STEPS
from sluicegate.rollout.comparison import tally
from sluicegate.rollout.readings import Minute, Series
from support.cloudwatch_model import CloudWatchModel

BEGAN = 1_780_000_020.0
"""A whole minute."""

HOUR, DAY = 3_600, 86_400


def serve(model: CloudWatchModel, version: str, at: float, durations: dict[float, int], **more: int) -> None:
    model.serve("orders", "prod", version, at, durations, **more)


def look(
    model: CloudWatchModel, since: float = BEGAN, until: float = BEGAN + 180, **more: Any
) -> VersionSeries:
    return CloudWatch(cast(Any, model)).version_series(
        "orders", "prod", "2", more.pop("old", "1"), since, until, **more
    )


def at(minute: int, n: int, x: int, m: int, y: int) -> Minute:
    return Minute(int(BEGAN) + 60 * minute, n, x, m, y)


def test_the_same_minutes_of_both_versions() -> None:
    model = CloudWatchModel()
    serve(model, "1", BEGAN + 1, {10.0: 90}, errors=2)
    serve(model, "2", BEGAN + 2, {10.0: 10}, errors=1)
    serve(model, "1", BEGAN + 121, {10.0: 80})
    serve(model, "2", BEGAN + 179, {10.0: 20}, throttles=5)
    found = look(model)
    assert found.series["errors"].minutes == (
        at(0, 10, 1, 90, 2),
        at(1, 0, 0, 0, 0),
        at(2, 20, 0, 80, 0),
        at(3, 0, 0, 0, 0),
    )
    assert found.series["throttles"].minutes[2] == at(2, 25, 5, 80, 0)


def test_what_the_new_version_served_before_counts_for_nothing() -> None:
    """It may have been live once: only requests since its first traffic are compared."""
    model = CloudWatchModel()
    serve(model, "2", BEGAN - 60, {10.0: 50}, errors=50)
    serve(model, "1", BEGAN - 61, {10.0: 90}, errors=3)
    serve(model, "1", BEGAN - 200, {10.0: 40})
    found = look(model)
    assert sum(minute.n for minute in found.series["errors"].minutes) == 0
    assert found.series["errors"].before == ((40, 0), (0, 0), (90, 3), (0, 0))


def test_before_are_three_hours_at_most() -> None:
    model = CloudWatchModel()
    serve(model, "1", BEGAN - 3 * HOUR - 1, {10.0: 1})
    serve(model, "1", BEGAN - 3 * HOUR, {10.0: 2})
    assert len(look(model).series["errors"].before) == 180


@pytest.mark.parametrize(("length", "periods"), [(60, 60), (DAY + 1, 12), (5 * DAY + 1, 1)])
def test_the_hour_before_is_an_hour_however_long_the_rollout(length: int, periods: int) -> None:
    model = CloudWatchModel()
    for minute in range(1, 180):
        serve(model, "1", BEGAN - 60 * minute, {10.0: 7})
    found = look(model, until=BEGAN + length, durations=False).series["errors"]
    assert len(found.hour) == periods
    assert sum(m for m, _ in found.hour) == 7 * 60


def test_the_hour_before_is_an_hour_of_a_young_version_too() -> None:
    model = CloudWatchModel()
    serve(model, "1", BEGAN - HOUR - 1_800, {10.0: 5})
    serve(model, "1", BEGAN - 1_200, {10.0: 7})
    assert sum(m for m, _ in look(model).series["errors"].hour) == 7
    assert Series().hour == ()


def test_the_old_version_competes_from_the_first_traffic_on() -> None:
    """In the middle of a minute: of 60 requests in it, only those of the second half could be either's."""
    model = CloudWatchModel()
    serve(model, "1", BEGAN + 10, {10.0: 60}, errors=1)
    serve(model, "2", BEGAN + 40, {10.0: 10}, errors=2)
    assert look(model, since=BEGAN + 30).series["errors"].minutes[0] == at(0, 10, 2, 30, 1)
    # The minute is not over yet: 10 of its 40 seconds.
    assert look(model, BEGAN + 30, BEGAN + 40).series["errors"].minutes == (at(0, 10, 2, 15, 1),)
    assert look(model, BEGAN + 30, BEGAN + 30).series["errors"].minutes == (at(0, 10, 2, 1, 1),)


def test_an_outage_that_begins_with_the_first_traffic_is_not_the_new_versions_fault() -> None:
    """At second 45, a tenth of the requests goes to the new version, and half of all begin to fail."""
    model = CloudWatchModel()
    serve(model, "1", BEGAN + 5, {10.0: 450}, errors=2)
    serve(model, "1", BEGAN + 50, {10.0: 135}, errors=68)
    serve(model, "2", BEGAN + 50, {10.0: 15}, errors=8)
    counted = tally(look(model, since=BEGAN + 45).series["errors"])
    assert counted.expected == pytest.approx(8, rel=0.1)


def test_an_outage_that_begins_with_a_larger_share_is_not_the_new_versions_fault() -> None:
    """At second 45, the share grows from a tenth to a half, and half of all requests begin to fail."""
    model, since = CloudWatchModel(), BEGAN - 600
    serve(model, "1", BEGAN + 5, {10.0: 405}, errors=2)
    serve(model, "2", BEGAN + 5, {10.0: 45})
    serve(model, "1", BEGAN + 50, {10.0: 75}, errors=37)
    serve(model, "2", BEGAN + 50, {10.0: 75}, errors=38)
    [*_, counted] = [
        tally(look(model, since=since, shares=shares).series["errors"])
        for shares in ([], [(since, 0.1), (BEGAN + 45, 0.5)])
    ]
    assert counted.x == 38
    assert counted.expected >= 38
    unaware = tally(look(model, since=since).series["errors"])
    assert unaware.expected < 16  # what it would look like otherwise


def test_with_all_traffic_on_the_new_version_nothing_competes() -> None:
    model, since = CloudWatchModel(), BEGAN - 600
    serve(model, "1", BEGAN + 5, {10.0: 100}, errors=3)
    serve(model, "2", BEGAN + 5, {10.0: 100}, errors=3)
    series = look(model, since=since, shares=[(BEGAN + 30, 1.0)]).series["errors"]
    assert series.minutes[10] == at(0, 100, 3, 3, 3)


def test_a_series_says_in_which_minutes_the_share_grew() -> None:
    shares = [(BEGAN + 10, 0.1), (BEGAN + 130, 0.5), (BEGAN + 170, 0.6), (BEGAN + 200, 0.9)]
    series = look(CloudWatchModel(), BEGAN, BEGAN + 300, shares=shares).series["errors"]
    assert series.shares == (BEGAN + 120, BEGAN + 180)


def test_a_bake_of_seconds_is_judged_by_its_partial_minute() -> None:
    model = CloudWatchModel()
    serve(model, "1", BEGAN + 3, {10.0: 40})
    serve(model, "2", BEGAN + 3, {10.0: 10}, errors=10)
    assert look(model, BEGAN, BEGAN + 4).series["errors"].minutes == (at(0, 10, 10, 40, 0),)


def test_the_share_of_now_has_a_series_of_its_own() -> None:
    model = CloudWatchModel()
    for minute in range(3):
        serve(model, "2", BEGAN + 60 * minute, {10.0: 10 * minute + 10}, errors=minute)
    assert look(model).step == {}
    step = look(model, steps_since=BEGAN + 70).step
    assert step["errors"] == Series((at(1, 20, 1, 0, 0), at(2, 30, 2, 0, 0), at(3, 0, 0, 0, 0)))


def test_durations_are_counted_above_the_old_versions_p95_of_the_hour_before() -> None:
    model = CloudWatchModel()
    serve(model, "1", BEGAN - 600, {10.0: 950, 100.0: 30, 200.0: 20})
    serve(model, "1", BEGAN, {10.0: 95, 100.0: 5})
    serve(model, "2", BEGAN, {10.0: 5, 10.5: 5})
    found = look(model, over=10.5)
    assert found.tau == 10.0
    assert found.uncounted is None
    assert found.series["duration_p95"].minutes[0] == at(0, 10, 5, 100, 5)  # 10 itself is not above 10
    assert found.series["duration_p95/most"].minutes[0] == at(0, 10, 0, 100, 5)
    assert found.p95 == (10.5, 10.0)
    assert sum(y for _, y in found.series["duration_p95"].before) == 50


def test_the_threshold_of_the_first_look_is_kept() -> None:
    model = CloudWatchModel()
    serve(model, "1", BEGAN - 600, {10.0: 100})
    serve(model, "2", BEGAN, {40.0: 10})
    found = look(model, tau=39.96)
    assert found.tau == 39.96
    assert found.series["duration_p95"].minutes[0].x == 10
    assert len(model.calls) == 2
    statistics = {query["MetricStat"]["Stat"] for query in model.calls[0]["MetricDataQueries"]}
    assert statistics == {"Sum", "SampleCount", "TC(0:)", "TC(39.96:)"}


@pytest.mark.parametrize(
    ("hours", "tau"),
    [
        ({1: {10.0: 100}, 2: {20.0: 100}}, 10.0),
        ({1: {10.0: 99}, 2: {20.0: 100}}, 20.0),  # too few in the hour before
        ({1: {10.0: 3}, 2: {20.0: 2}, 3: {30.0: 4}}, 30.0),
        ({4: {40.0: 1_000}}, None),
        ({}, None),
    ],
)
def test_the_threshold_is_of_the_newest_hour_with_enough_durations(
    hours: dict[int, dict[float, int]], tau: float | None
) -> None:
    model = CloudWatchModel()
    for hour, durations in hours.items():
        serve(model, "1", BEGAN - hour * HOUR + 1, durations)
    found = look(model)
    assert found.tau == tau
    assert ("duration_p95" in found.series) is (tau is not None)


def test_without_an_old_version_there_is_nothing_to_compare_with() -> None:
    model = CloudWatchModel()
    serve(model, "2", BEGAN, {10.0: 10, 900.0: 2}, errors=3)
    for old in (None, "2"):
        found = look(model, old=old, over=500)
        assert found.series.keys() == {"errors", "throttles", "duration_p95/most"}
        assert found.series["errors"] == Series((at(0, 12, 3, 0, 0), *(at(i, 0, 0, 0, 0) for i in (1, 2, 3))))
        assert found.series["duration_p95/most"].minutes[0].x == 2
        assert found.p95 == (900.0, None)


def test_without_a_limit_on_durations_one_call_is_enough() -> None:
    model = CloudWatchModel()
    found = look(model, durations=False)
    assert found.series.keys() == {"errors", "throttles"}
    assert len(model.calls) == 1
    assert len(model.calls[0]["MetricDataQueries"]) == 6


@pytest.mark.parametrize("refuse", [{"refused": ("TC",)}, {"unanswered": ("TC",)}])
def test_a_cloudwatch_that_does_not_count_durations_fails_no_rollout(refuse: dict[str, Any]) -> None:
    model = CloudWatchModel(**refuse)
    serve(model, "1", BEGAN - 600, {10.0: 100})
    serve(model, "1", BEGAN, {10.0: 90})
    serve(model, "2", BEGAN, {90.0: 10}, errors=1)
    found = look(model, over=50)
    assert found.series.keys() == {"errors", "throttles"}
    assert found.series["errors"].minutes[0] == at(0, 10, 1, 90, 0)
    assert found.p95 == (90.0, 10.0)
    assert found.uncounted
    assert "CloudWatch" in found.uncounted


def test_another_refusal_is_raised() -> None:
    with pytest.raises(ClientError):
        look(CloudWatchModel(refused=("Sum",)))
    model = CloudWatchModel(status=lambda metric: "InternalError" if metric == "new_slow" else "Complete")
    with pytest.raises(LookFailed):
        look(model, tau=10)


def test_late_values_change_what_was_read_before() -> None:
    """A request that times out is reported under the time at which it began."""
    model = CloudWatchModel()
    serve(model, "2", BEGAN, {10.0: 10})
    serve(model, "1", BEGAN, {10.0: 90})
    assert look(model).series["errors"].minutes[0] == at(0, 10, 0, 90, 0)
    serve(model, "2", BEGAN + 5, {3_000.0: 4}, errors=4)
    assert look(model).series["errors"].minutes[0] == at(0, 14, 4, 90, 0)


def test_pages_change_nothing() -> None:
    model = CloudWatchModel(paged=True)
    for minute in range(-20, 3):
        serve(model, "1", BEGAN + 60 * minute, {10.0: 9, 20.0: minute + 20})
        serve(model, "2", BEGAN + 60 * minute, {10.0: 3}, errors=1)
    paged = look(model)
    model.paged = False
    assert look(model) == paged


def test_errors_never_exceed_the_requests_they_are_of() -> None:
    """Two metrics of one minute need not arrive together."""
    model = CloudWatchModel()
    dimensions = {"FunctionName": "orders", "Resource": "orders:prod", "ExecutedVersion": "2"}
    model.put("AWS/Lambda", "Errors", dimensions, BEGAN, 1, 5)
    assert look(model).series["errors"].minutes[0] == at(0, 0, 0, 0, 0)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=30), st.floats(0.01, 0.99))
def test_fractions_of_a_count_are_not_rounded_away(counts: list[int], part: float) -> None:
    """A trimmed count "can return a decimal value" ("CloudWatch statistics definitions", 2026-11-26)."""
    model = CloudWatchModel()
    dimensions = {"FunctionName": "orders", "Resource": "orders:prod", "ExecutedVersion": "2"}
    for minute, count in enumerate(counts):
        model.put("AWS/Lambda", "Duration", dimensions, BEGAN + 60 * minute, 10, count * (1 - part))
        model.put("AWS/Lambda", "Duration", dimensions, BEGAN + 60 * minute, 20, count * part)
    slow = look(model, until=BEGAN + 60 * len(counts), tau=15).series["duration_p95"].minutes
    assert abs(sum(minute.x for minute in slow) - sum(counts) * part) <= 0.5 + 1e-6


@given(st.integers(0, MAX_STEPS * MAX_BAKE * 2))
def test_a_long_rollout_stays_bounded(length: int) -> None:
    """At most 100,800 values in a call, and periods that CloudWatch still has (GetMetricData, Period)."""
    model = CloudWatchModel()
    look(model, BEGAN + 30, BEGAN + length, tau=10, over=20)
    for call in model.calls:
        values = 0
        age = (call["EndTime"] - call["StartTime"]).total_seconds()
        for query in call["MetricDataQueries"]:
            period = query["MetricStat"]["Period"]
            values += int(age / period) + 1
            assert period % 60 == 0
            assert age <= 15 * DAY or period % 300 == 0
            assert age <= 63 * DAY or period % 3_600 == 0
        assert values <= 100_800


@pytest.mark.parametrize(
    ("length", "period"), [(DAY, 60), (DAY + 1, 300), (5 * DAY, 300), (5 * DAY + 1, 3_600)]
)
def test_longer_rollouts_are_read_by_longer_periods(length: int, period: int) -> None:
    model = CloudWatchModel()
    since = BEGAN + 1_000
    serve(model, "2", since + 10, {10.0: 10}, errors=1)
    serve(model, "1", since + 15, {10.0: 90}, errors=2)
    serve(model, "1", since - 2 * HOUR, {10.0: 7})
    found = look(model, since, since + length, durations=False).series["errors"]
    first = found.minutes[0]
    assert first.at == since // period * period
    assert (first.n, first.x, first.y) == (10, 1, 2)
    assert found.minutes[1].at - first.at == period
    assert sum(m for m, _ in found.before) == 7
    assert len(found.minutes) <= 1_441


def test_a_p95_of_days_is_weighted_by_their_durations() -> None:
    model = CloudWatchModel()
    serve(model, "2", BEGAN, {100.0: 300})
    serve(model, "2", BEGAN + DAY + 60, {200.0: 100})
    assert look(model, until=BEGAN + DAY + 120).p95 == (125.0, None)
