"""What one look at a version finds: findings, verdicts, and what ends a rollout."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluicegate.deployment.model import AliasState, Deployment, Status
from sluicegate.deployment.observation_views import observation_view
from sluicegate.deployment.observations import AlarmReading, AlarmState, Observation, Verdict
from sluicegate.deployment.plan import (
    Better,
    CustomMetric,
    Judge,
    Limit,
    Metric,
    MetricSource,
    Plan,
    TrafficStep,
    Watch,
)
from sluicegate.deployment.strategy import MAX_BAKE, canary
from sluicegate.rollout.analysis import (
    find_alarm,
    find_breach,
    find_unclear,
    is_beyond_doubt,
    judge,
    observation_interval,
)
from sluicegate.rollout.budget import MAX_LOOKS, MIN_INTERVAL
from sluicegate.rollout.finding_messages import summary, without_data
from sluicegate.rollout.readings import LATE, JudgeAnswer, MetricValues, Minute, Readings, Series
from support.plans import accepted, possible_readings, watches
from support.readings import VersionMetrics, readings
from support.simulation import OWN, START

ERRORS = Limit(Metric.ERRORS, min_samples=100, most=5.0)
RATIO = Limit(Metric.ERRORS, min_samples=100, max_ratio=2.0)
THROTTLES = Limit(Metric.THROTTLES, min_samples=100, most=5.0)
SLOW = Limit(Metric.DURATION_P95, min_samples=100, most=300.0)
SLOWER = Limit(Metric.DURATION_P95, min_samples=100, max_ratio=1.5)
BAKE = 600

GOOD, BAD, UNCLEAR = Verdict.GOOD, Verdict.BAD, Verdict.UNCLEAR


def baking(watch: Watch, *, steps: tuple[TrafficStep, ...] = canary(10, BAKE)) -> Deployment:
    plan = Plan(OWN, "prod", steps, "0" * 64, watch=watch)
    return replace(
        accepted(plan),
        status=Status.BAKING,
        version="2",
        original=AliasState("1"),
        current=AliasState("1", {"2": 0.1}),
    )


def look(watch: Watch, read: Readings, elapsed: float = BAKE) -> Observation:
    return judge(baking(watch), watch, read, START + elapsed)


@pytest.mark.parametrize(
    ("limit", "new", "old", "verdict"),
    [
        (ERRORS, VersionMetrics(10_000, 100), None, GOOD),
        (ERRORS, VersionMetrics(10_000, 800), None, BAD),
        (ERRORS, VersionMetrics(200, 12), None, UNCLEAR),  # 6 %, which chance makes of 5 % as well
        (ERRORS, VersionMetrics(99, 0), None, UNCLEAR),  # too few requests
        (ERRORS, VersionMetrics(0, 0, throttles=500), None, UNCLEAR),  # throttled requests cannot fail
        (RATIO, VersionMetrics(10_000, 50), VersionMetrics(90_000, 450), GOOD),
        (RATIO, VersionMetrics(10_000, 200), VersionMetrics(90_000, 450), BAD),
        (RATIO, VersionMetrics(800, 6), VersionMetrics(7_200, 36), UNCLEAR),
        (RATIO, VersionMetrics(1_000, 1_000), VersionMetrics(), BAD),  # gross, without a comparison
        (RATIO, VersionMetrics(1_000, 10), VersionMetrics(), UNCLEAR),  # no baseline is not good
        (RATIO, VersionMetrics(10_000, 0), VersionMetrics(90_000, 0), GOOD),
        (THROTTLES, VersionMetrics(9_000, 0, 1_000), None, BAD),
        (THROTTLES, VersionMetrics(9_990, 0, 10), None, GOOD),
        (SLOW, VersionMetrics(500, 0, 0, 301.0), None, BAD),
        (SLOW, VersionMetrics(500, 0, 0, 299.0), None, GOOD),
        (SLOW, VersionMetrics(500, 0, 0, 301.0, 9), None, UNCLEAR),
        (SLOWER, VersionMetrics(500, 0, 0, 160.0), VersionMetrics(4_500, 0, 0, 100.0), BAD),
        (SLOWER, VersionMetrics(500, 0, 0, 140.0), VersionMetrics(4_500, 0, 0, 100.0), GOOD),
        (SLOWER, VersionMetrics(500, 0, 0, 160.0), None, UNCLEAR),
        (SLOWER, VersionMetrics(500, 0, 0, None), VersionMetrics(4_500, 0, 0, 100.0), UNCLEAR),
    ],
)
def test_a_limit_has_three_verdicts(
    limit: Limit, new: VersionMetrics, old: VersionMetrics | None, verdict: Verdict
) -> None:
    watch = Watch(limits=(limit,))
    observation = look(watch, readings((), new, old, over=300.0))
    assert observation.verdict is verdict
    breach, unclear = find_breach(watch, observation), find_unclear(observation)
    assert (breach is not None) == (verdict is BAD)
    assert (unclear is not None) == (verdict is UNCLEAR)
    if breach:
        assert (breach.code, breach.data["metric"]) == ("metric", limit.metric.value)


@pytest.mark.parametrize(("requests", "failed", "beside"), [(10, 10, 9), (50, 15, 9), (10, 10, 0)])
def test_gross_failure_is_seen_at_the_first_look(requests: int, failed: int, beside: int) -> None:
    """Whatever min_samples says, and however little of the bake is over; also without an old version."""
    watch = Watch(limits=(Limit(Metric.ERRORS, min_samples=10_000, max_ratio=2.0),))
    minute, before = Minute(0, requests, failed, beside * requests, 0), ((beside, 0),) * 180 if beside else ()
    read = Readings(series={"errors": Series((minute,), before)})
    observation = look(watch, read, elapsed=BAKE / MAX_LOOKS)
    assert observation.verdict is BAD
    assert [finding.rule for finding in observation.findings] == ["gross"]


@pytest.mark.parametrize(
    ("ended_ago", "steps", "verdict"),
    [
        (100, canary(10, BAKE), UNCLEAR),
        (LATE, canary(10, BAKE), BAD),  # by now, the old version had no requests
        (100, (TrafficStep(100, BAKE),), BAD),  # and here it never has any
    ],
)
def test_what_the_old_versions_metrics_do_not_tell_yet_is_no_gross_failure(
    ended_ago: int, steps: tuple[TrafficStep, ...], verdict: Verdict
) -> None:
    """An outage of both versions, in a minute of which only the new one's metrics have arrived."""
    watch = Watch(limits=(Limit(Metric.ERRORS, min_samples=100, max_ratio=2.0),))
    first = int(START)
    now = first + 60 + ended_ago
    series = Series((Minute(first, 10, 10, 0, 0),), ((90, 0),) * 180)
    deployment = baking(watch, steps=steps)
    found = judge(deployment, watch, Readings(series={"errors": series}), now)
    assert found.verdict is verdict


def test_what_fails_only_under_more_load_is_judged_by_itself() -> None:
    watch = Watch(limits=(ERRORS,))
    quiet, loaded = VersionMetrics(100_000, 500), VersionMetrics(5_000, 500)
    assert look(watch, readings((), quiet)).verdict is GOOD
    observation = look(watch, readings((), quiet, None, loaded))
    assert observation.verdict is BAD
    assert [(finding.step, finding.verdict) for finding in observation.findings] == [
        (False, GOOD),
        (True, BAD),
    ]


def test_a_part_with_few_requests_does_not_make_the_whole_unclear() -> None:
    observation = look(
        Watch(limits=(ERRORS,)), readings((), VersionMetrics(10_000, 10), None, VersionMetrics(3))
    )
    assert observation.verdict is GOOD


@pytest.mark.parametrize("whole", [True, False])
def test_what_only_observes_rolls_nothing_back(whole: bool) -> None:
    limit = replace(RATIO, observe=not whole)
    watch = Watch(alarms=("a",), limits=(limit,), observe=whole)
    state = AlarmState.ALARM if whole else AlarmState.OK
    read = readings((AlarmReading("a", state),), VersionMetrics(1_000, 900), VersionMetrics(9_000, 9))
    observation = look(watch, read)
    assert find_breach(watch, observation) is None
    assert find_unclear(observation) is None
    assert [finding.verdict for finding in observation.findings] == [BAD]
    assert observation.verdict is GOOD


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
    named = tuple(AlarmReading(f"alarm-{number}", state) for number, state in enumerate(states))
    reason = find_alarm(named)
    assert (reason and reason.code) == code
    watch = Watch(alarms=tuple(alarm.name for alarm in named))
    assert find_breach(watch, look(watch, Readings(named))) == reason


def test_durations_that_cloudwatch_does_not_count_are_unclear() -> None:
    watch = Watch(limits=(Limit(Metric.DURATION_P95, min_samples=100, most=500.0, max_ratio=2.0),))
    read = Readings(p95=(900.0, 100.0), uncounted="CloudWatch does not count durations: no")
    observation = look(watch, read)
    assert observation.verdict is Verdict.UNCLEAR
    assert [finding.rule for finding in observation.findings] == ["max_ratio", "max_ms"]
    assert summary(observation).startswith("duration_p95: CloudWatch does not count durations: no: unclear")
    assert find_breach(watch, observation) is None


def test_an_alarm_without_data_stops_nothing_and_is_named() -> None:
    alarms = tuple(AlarmReading(name, AlarmState.INSUFFICIENT_DATA) for name in "abcde")
    assert find_alarm(alarms) is None
    assert without_data(alarms) == "no data for alarms a, b, c and 2 more"
    assert without_data([AlarmReading("a", AlarmState.OK)]) == ""
    observation = Observation("", 0, 0.0, Verdict.GOOD, (), alarms[:1])
    assert summary(observation) == "no limits; no data for alarm a"


def test_the_reason_says_since_when_an_alarm_rings_and_why() -> None:
    alarm = AlarmReading(
        "a", AlarmState.ALARM, "2026-11-26T10:00:00Z", "Threshold Crossed", "https://x.example"
    )
    reason = find_alarm([alarm])
    assert reason is not None
    assert reason.message == "alarm a is firing since 2026-11-26T10:00:00Z: Threshold Crossed"
    assert reason.data["link"] == "https://x.example"


SHARE = CustomMetric(
    "refused",
    tuple(
        MetricSource(name, "Shop", name, "Sum", (("Version", "{version}"),)) for name in ("refused", "calls")
    ),
    "refused/calls",
    max_ratio=2.0,
)
LATENCY = CustomMetric(
    "age", (MetricSource("age", "Shop", "Age", "Maximum", (("Function", "orders"),)),), most=60.0
)


SLOWER_AGE = replace(LATENCY, most=None, max_ratio=1.2)


def ages(new: list[float], old: list[float]) -> Readings:
    mine, theirs = (tuple((60 * at, value) for at, value in enumerate(each)) for each in (new, old))
    return Readings(values={"age": MetricValues(mine, theirs)})


def shares(n: int, x: int, m: int, y: int) -> Readings:
    several = tuple(Minute(60 * at, n // 10, x // 10, m // 10, y // 10) for at in range(10))
    return Readings(series={"refused": Series(several)})


@pytest.mark.parametrize(
    ("metric", "read", "verdict"),
    [
        (SHARE, shares(10_000, 200, 90_000, 450), BAD),
        (SHARE, shares(10_000, 50, 90_000, 450), GOOD),
        (SHARE, shares(0, 0, 9_000, 45), UNCLEAR),
        (replace(SHARE, missing=Verdict.BAD), Readings(), BAD),
        (replace(SHARE, missing=Verdict.GOOD), Readings(), GOOD),
        (replace(SHARE, max_ratio=None, most=0.01), shares(10_000, 200, 0, 0), BAD),
        (replace(SHARE, max_ratio=None, most=0.99, better=Better.HIGHER), shares(9_999, 9_998, 0, 0), GOOD),
        (replace(SHARE, max_ratio=None, most=0.99, better=Better.HIGHER), shares(9_999, 9_000, 0, 0), BAD),
        (LATENCY, Readings(values={"age": MetricValues(((0, 61.0), (60, 70.0), (120, 99.0)))}), BAD),
        (LATENCY, Readings(values={"age": MetricValues(((0, 59.0), (60, 70.0), (120, 99.0)))}), UNCLEAR),
        (LATENCY, Readings(values={"age": MetricValues(((0, 99.0), (60, 99.0), (120, 1.0)))}), GOOD),
        (LATENCY, Readings(values={"age": MetricValues(problem="ValidationError: no")}), UNCLEAR),
        (LATENCY, Readings(), UNCLEAR),
        (SLOWER_AGE, ages([90.0] * 12, [60.0] * 12), BAD),
        (SLOWER_AGE, ages([61.0] * 12, [60.0] * 12), GOOD),
        (SLOWER_AGE, ages([90.0] * 12, []), UNCLEAR),
        (replace(SLOWER_AGE, better=Better.HIGHER), ages([60.0] * 12, [90.0] * 12), BAD),
    ],
)
def test_a_metric_of_the_users_has_three_verdicts(
    metric: CustomMetric, read: Readings, verdict: Verdict
) -> None:
    assert look(Watch(metrics=(metric,)), read).verdict is verdict


@pytest.mark.parametrize(
    ("limits", "read", "rule", "ratio", "says"),
    [
        ({"max_ratio": 2}, shares(10_000, 9_700, 90_000, 89_100), "max_ratio", 3, "0.97 of 10,000"),
        ({"max_ratio": 2}, shares(100, 10, 900, 890), "gross", None, "0.1 of 100"),
        ({"most": 0.99}, shares(10_000, 9_700, 0, 0), "min", None, "0.97 of 10,000"),
    ],
)
def test_where_a_share_is_better_the_higher_the_share_is_shown(
    limits: dict[str, float], read: Readings, rule: str, ratio: float | None, says: str
) -> None:
    """What is counted and compared are the misses: the record says so, and keeps the share."""
    metric = replace(SHARE, **{"max_ratio": None, "most": None, "better": Better.HIGHER, **limits})  # type: ignore[arg-type]
    watch = Watch(metrics=(metric,))
    observation = look(watch, read)
    [finding] = observation.findings
    assert (finding.rule, finding.verdict, finding.misses) == (rule, BAD, True)
    assert finding.message.startswith(f"refused: {says} (")
    assert ("misses ×3" in finding.message) == (ratio is not None)
    if ratio is not None:
        assert finding.ratio is not None
        assert finding.ratio.value == pytest.approx(ratio, rel=0.05)
    shown = observation_view(observation, baking(watch).plan)["findings"][0]
    assert shown["new"]["hits"] / shown["new"]["requests"] == pytest.approx(shown["new"]["value"], abs=0.01)
    assert shown["new"]["low"] <= shown["new"]["value"] <= shown["new"]["high"]
    if rule != "min":
        assert shown["old"]["value"] == pytest.approx(0.99, abs=0.005)


@pytest.mark.parametrize("verdict", [*Verdict])
def test_a_function_of_the_users_has_a_say(verdict: Verdict) -> None:
    watch = Watch(judge=Judge("orders-judge", 10))
    observation = look(watch, Readings(judge=JudgeAnswer(verdict, "because")))
    assert observation.verdict is verdict
    breach = find_breach(watch, observation)
    assert (breach.code if breach else None) == ("judge" if verdict is BAD else None)


def test_good_beyond_doubt_needs_every_limit() -> None:
    watch = Watch(limits=(RATIO, THROTTLES), end_early=True)
    many, few = VersionMetrics(100_000, 500), VersionMetrics(800, 4)
    assert is_beyond_doubt(look(watch, readings((), many, VersionMetrics(900_000, 4_500)), 60))
    assert not is_beyond_doubt(look(watch, readings((), few, VersionMetrics(7_200, 36)), 60))
    assert not is_beyond_doubt(look(Watch(alarms=("a",)), Readings(), 60))


@given(watches, st.data(), st.floats(0, 2 * BAKE))
def test_every_look_comes_to_a_verdict(watch: Watch, data: st.DataObject, elapsed: float) -> None:
    observation = look(watch, data.draw(possible_readings(watch)), elapsed)
    breach = find_breach(watch, observation)
    assert (breach is not None) == (observation.verdict is BAD)
    if observation.verdict is GOOD:
        assert find_unclear(observation) is None
    for finding in observation.findings:
        assert finding.message.startswith(finding.limit)


def more(read: Readings, errors: int) -> Readings:
    def worse(series: Series) -> Series:
        return replace(
            series,
            minutes=tuple(replace(one, x=min(one.n, one.x + errors)) for one in series.minutes),
        )

    return replace(read, series={name: worse(series) for name, series in read.series.items()})


@given(
    st.integers(0, 2_000),
    st.integers(0, 2_000),
    st.integers(0, 20_000),
    st.integers(0, 200),
    st.integers(1, 50),
)
def test_more_errors_never_make_the_verdict_better(n: int, x: int, m: int, y: int, errors: int) -> None:
    """With one minute alone, the dispersion is that of the hour before, either way."""
    watch = Watch(limits=(replace(RATIO, most=5.0),))
    minute = Minute(0, n, min(x, n), m, min(y, m))
    read = Readings(series={"errors": Series((minute,), ((m, 0),) * 180)})
    order = [GOOD, UNCLEAR, BAD]
    before, after = (look(watch, each).verdict for each in (read, more(read, errors)))
    assert order.index(after) >= order.index(before)


@pytest.mark.parametrize("bake", [1, 60, 3_600, MAX_BAKE])
@pytest.mark.parametrize("watch", [None, Watch(alarms=("a",))])
def test_a_bake_is_looked_at_a_bounded_number_of_times(bake: int, watch: Any) -> None:
    interval = observation_interval(watch, bake)
    assert interval >= (MIN_INTERVAL if watch else 1)
    assert bake / interval <= MAX_LOOKS
