"""Rollouts that watch metrics of the user's own: presets for failures without an error, and a judge."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from sluicegate.deployment.model import AliasOutcome, Deployment, Status
from sluicegate.deployment.observations import LimitFinding, Verdict
from sluicegate.deployment.plan import CustomMetric, Judge, MetricSource, Plan, TrafficStep, Unclear, Watch
from sluicegate.rollout.analysis import _Look
from sluicegate.rollout.presets import expand
from support.lambda_model import error
from support.simulation import OWN, Simulation, simulation

STEPS = (TrafficStep(50, 1_200), TrafficStep(100, 0))
MAPPING = "11111111-1111-4111-8111-111111111111"


@pytest.fixture
def at() -> Iterator[Simulation]:
    with simulation() as made:
        made.model.add("orders", b"code of somebody")
        made.run(made.accept(made.upload("orders", b"old")))
        yield made


def rollout(at: Simulation, watch: Watch) -> Deployment:
    return at.accept(at.upload("orders", b"new"), plan=Plan(OWN, "prod", STEPS, "0" * 64, watch=watch))


def preset(name: str) -> tuple[CustomMetric, ...]:
    """Return the preset's metrics as the gate file gives them to a plan."""
    fills = {"{function}": "orders", "{alias}": "prod"}
    return tuple(
        replace(metric, sources=tuple(_filled(source, fills) for source in metric.sources))
        for metric in expand(name)
    )


def _filled(source: MetricSource, fills: dict[str, str]) -> MetricSource:
    dimensions = dict(source.dimensions)
    for word, value in fills.items():
        dimensions = {key: each.replace(word, value) for key, each in dimensions.items()}
    return replace(source, dimensions=tuple(dimensions.items()))


def each_minute(at: Simulation, put: Callable[[float], None]) -> None:
    """Have values for every minute since the rollout began, again at each look."""
    begun = at.clock.now
    done = set[int]()

    def meanwhile(_: Deployment) -> None:
        for minute in range(int(begun // 60), int(at.clock.now // 60)):
            if minute not in done:
                done.add(minute)
                put(60 * minute + 30)

    at.meanwhile = meanwhile  # type: ignore[method-assign, assignment]


def batch(at: Simulation, failed: int, of: int = 100) -> None:
    at.model.mappings.append((MAPPING, "orders:prod", ["EventCount"]))

    def put(moment: float) -> None:
        dimensions = {"EventSourceMappingUUID": MAPPING}
        at.cloudwatch.put("AWS/Lambda", "InvokedEventCount", dimensions, moment, of)
        at.cloudwatch.put("AWS/Lambda", "FailedInvokeEventCount", dimensions, moment, failed)

    each_minute(at, put)


def findings(deployment: Deployment) -> dict[str, LimitFinding]:
    return {one.limit: one for one in deployment.observations[-1].findings if not one.step}


def test_a_batch_whose_items_fail_goes_back_without_any_error(at: Simulation) -> None:
    batch(at, failed=30)
    deployment = at.run(rollout(at, Watch(metrics=preset("batch"))))
    assert (deployment.status, deployment.outcome) == (Status.ROLLED_BACK, AliasOutcome.RESTORED)
    assert deployment.reason is not None
    assert (deployment.reason.code, deployment.reason.data["metric"]) == ("metric", "batch_failed")


def test_a_batch_that_is_processed_stays(at: Simulation) -> None:
    batch(at, failed=1)
    deployment = at.run(rollout(at, Watch(metrics=preset("batch"), unclear=Unclear.FAIL)))
    assert deployment.status is Status.SUCCEEDED
    assert {name: one.verdict for name, one in findings(deployment).items()} == dict.fromkeys(
        ("batch_failed", "batch_iterator_age", "batch_dropped", "batch_undelivered"), Verdict.GOOD
    )


@pytest.mark.parametrize(
    ("mappings", "problem"),
    [
        ([], "alias prod has no event source mapping"),
        ([(MAPPING, "orders:dev", ["EventCount"])], "alias prod has no event source mapping"),
        ([(MAPPING, "orders:prod", [])], f"event source mapping {MAPPING} counts no events"),
        (
            [(f"{MAPPING[:-2]}{i}", "orders:prod", ["EventCount"]) for i in range(10, 31)],
            "alias prod has more than the 20 event source mappings that are read",
        ),
    ],
)
def test_event_sources_that_say_nothing_are_unclear_with_the_reason(
    at: Simulation, mappings: list[Any], problem: str
) -> None:
    at.model.mappings += mappings
    deployment = at.run(rollout(at, Watch(metrics=preset("batch"), unclear=Unclear.FAIL)))
    assert deployment.status is Status.ROLLED_BACK
    assert deployment.reason is not None
    assert deployment.reason.code == "unclear"
    assert problem in deployment.reason.message


def test_a_lookup_that_is_throttled_is_repeated(at: Simulation) -> None:
    batch(at, failed=0)
    failures = iter([error("TooManyRequestsException", 429, "Rate Exceeded.")] * 2)

    def throttle(name: str) -> None:
        if name == "ListEventSourceMappings" and (failure := next(failures, None)):
            raise failure

    at.model.before = throttle
    assert at.run(rollout(at, Watch(metrics=preset("batch")))).status is Status.SUCCEEDED


def test_durable_executions_count_and_not_their_invocations(at: Simulation) -> None:
    def put(moment: float) -> None:
        at.cloudwatch.serve("orders", "prod", "2", moment, {20.0: 100})
        at.cloudwatch.serve("orders", "prod", "1", moment, {20.0: 100})
        for name, count in {"DurableExecutionStarted": 20, "DurableExecutionFailed": 9}.items():
            at.cloudwatch.put("AWS/Lambda", name, {"FunctionName": "orders"}, moment, count)

    each_minute(at, put)
    deployment = at.run(rollout(at, Watch(metrics=preset("durable"))))
    assert deployment.status is Status.ROLLED_BACK
    assert deployment.reason is not None
    assert deployment.reason.data["metric"] == "durable_failed"


@pytest.mark.parametrize(
    ("name", "value", "metric"),
    [
        ("AsyncEventAge", 600_000.0, "async_age"),
        ("DeadLetterErrors", 1.0, "async_dead_letter_errors"),
        ("DestinationDeliveryFailures", 1.0, "async_delivery_failures"),
    ],
)
def test_asynchronous_events_that_wait_or_are_lost_go_back(
    at: Simulation, name: str, value: float, metric: str
) -> None:
    alias = {"Resource": "orders:prod"} if name != "AsyncEventAge" else {}

    def put(moment: float) -> None:
        at.cloudwatch.put("AWS/Lambda", name, {"FunctionName": "orders", **alias}, moment, value)

    each_minute(at, put)
    deployment = at.run(rollout(at, Watch(metrics=preset("async"))))
    assert deployment.status is Status.ROLLED_BACK
    assert deployment.reason is not None
    assert deployment.reason.data["metric"] == metric


def test_one_lost_event_now_and_then_ends_no_rollout(at: Simulation) -> None:
    dimensions = {"FunctionName": "orders", "Resource": "orders:prod"}

    def put(moment: float) -> None:
        if moment // 60 % 3 == 0:
            at.cloudwatch.put("AWS/Lambda", "DeadLetterErrors", dimensions, moment, 1)

    each_minute(at, put)
    assert at.run(rollout(at, Watch(metrics=preset("async")))).status is Status.SUCCEEDED


VERSION = (("Version", "{version}"),)
REFUSED = CustomMetric(
    "refused",
    (
        MetricSource("refused", "Shop", "Refused", "Sum", VERSION),
        MetricSource("calls", "Shop", "Calls", "Sum", VERSION),
    ),
    "refused/calls",
    max_ratio=2,
)


@pytest.mark.parametrize(("refused", "status"), [(9, Status.ROLLED_BACK), (1, Status.SUCCEEDED)])
def test_a_share_of_ones_own_is_compared_with_the_old_version(
    at: Simulation, refused: int, status: Status
) -> None:
    def put(moment: float) -> None:
        for version, count in {"2": refused, "1": 1}.items():
            at.cloudwatch.put("Shop", "Calls", {"Version": version}, moment, 100)
            at.cloudwatch.put("Shop", "Refused", {"Version": version}, moment, count)

    each_minute(at, put)
    assert at.run(rollout(at, Watch(metrics=(REFUSED,)))).status is status


@pytest.mark.parametrize(
    ("unclear", "status"), [(Unclear.PASS, Status.SUCCEEDED), (Unclear.FAIL, Status.ROLLED_BACK)]
)
def test_an_expression_that_cloudwatch_refuses_is_unclear_in_its_words(
    at: Simulation, unclear: Unclear, status: Status
) -> None:
    wrong = replace(REFUSED, name="wrong", expression="NO_SUCH(refused, calls)", max_ratio=None, most=5)
    deployment = at.run(rollout(at, Watch(metrics=(wrong,), unclear=unclear)))
    assert deployment.status is status
    assert "Error in expression 'e0new': Function 'NO_SUCH' not found" in str(deployment.timeline)


# The function that judges


def judged(at: Simulation, response: Any, **watch: Any) -> Deployment:
    at.model.add("orders-judge", b"code")
    at.model.responses["orders-judge"] = response
    return at.run(rollout(at, Watch(judge=Judge("orders-judge", 10), **watch)))


def test_a_judge_that_says_bad_sends_the_version_back(at: Simulation) -> None:
    deployment = judged(at, b'{"verdict": "bad", "reason": "empty baskets"}')
    assert deployment.status is Status.ROLLED_BACK
    assert deployment.reason is not None
    assert deployment.reason.code == "judge"
    assert "empty baskets" in deployment.reason.message
    [(name, sent)] = at.model.invoked
    assert name == "orders-judge"
    assert {key: sent[key] for key in ("function", "version", "old_version", "stage", "alias")} == {
        "function": "orders",
        "version": "2",
        "old_version": "1",
        "stage": "prod",
        "alias": "prod",
    }
    assert sent["observation"]["percent"] == 50


def test_a_look_is_analysed_once_for_judge_and_record(
    at: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = []
    findings_of = _Look.findings

    def counting(look: _Look) -> Iterator[LimitFinding]:
        counted.append(look.spend)
        return findings_of(look)

    monkeypatch.setattr(_Look, "findings", counting)
    deployment = judged(at, b'{"verdict": "good", "reason": "fine"}', metrics=(REFUSED,))
    assert len(counted) == len(at.model.invoked) > 0
    newest = deployment.observations[-1]
    assert newest.spend in counted
    assert [finding.limit for finding in newest.findings][-1] == "judge"
    assert len(newest.findings) > 1


def test_a_judge_that_says_good_lets_it_stay(at: Simulation) -> None:
    deployment = judged(at, b'{"verdict": "good", "reason": "fine"}', unclear=Unclear.FAIL)
    assert deployment.status is Status.SUCCEEDED


@pytest.mark.parametrize(
    "response", [b"nonsense", (b"{}", "Unhandled"), error("AccessDeniedException", 403, "no")]
)
@pytest.mark.parametrize(
    ("unclear", "status"), [(Unclear.PASS, Status.SUCCEEDED), (Unclear.FAIL, Status.ROLLED_BACK)]
)
def test_a_judge_that_does_not_answer_is_unclear(
    at: Simulation, response: Any, unclear: Unclear, status: Status
) -> None:
    assert judged(at, response, unclear=unclear).status is status


def test_a_judge_that_only_observes_changes_nothing(at: Simulation) -> None:
    deployment = judged(at, b'{"verdict": "bad", "reason": "empty baskets"}', observe=True)
    assert deployment.status is Status.SUCCEEDED
    assert findings(deployment)["judge"].verdict is Verdict.BAD


def test_a_judge_is_not_asked_where_it_is_bad_already(at: Simulation) -> None:
    batch(at, failed=100)
    at.model.add("orders-judge", b"code")
    at.model.responses["orders-judge"] = b'{"verdict": "good"}'
    watch = Watch(metrics=preset("batch"), judge=Judge("orders-judge", 10))
    deployment = at.run(rollout(at, watch))
    assert deployment.status is Status.ROLLED_BACK
    bad = [one for one in deployment.observations if one.verdict is Verdict.BAD]
    assert bad
    assert all(finding.limit != "judge" for one in bad for finding in one.findings)
