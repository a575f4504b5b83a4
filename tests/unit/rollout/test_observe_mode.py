"""A watch, or a limit, that only observes: it stops nothing, and says once what it would have stopped."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from sluicegate.deployment.model import AliasOutcome, Deployment, Status
from sluicegate.deployment.observations import AlarmState, LimitFinding, Verdict, WouldHave
from sluicegate.deployment.plan import Limit, Metric, Plan, TrafficStep, Unclear, Watch
from sluicegate.relay.event import detail
from sluicegate.rollout import observe_mode
from sluicegate.store.codec import deployment_of, record
from support.simulation import OWN, START, Simulation, new_deployment, simulation

OK, ALARM, MISSING = AlarmState.OK, AlarmState.ALARM, AlarmState.MISSING
PLAN = Plan(OWN, "prod", (TrafficStep(10, 1_200), TrafficStep(100, 1_200)), "0" * 64)
ERRORS = Limit(Metric.ERRORS, 10, most=5)
OBSERVED = replace(ERRORS, observe=True)


@pytest.fixture
def at() -> Iterator[Simulation]:
    """Version 1 serves; version 2 will fail half of its requests."""
    with simulation() as made:
        made.model.add("orders", b"code of somebody")
        made.run(made.accept(made.upload("orders", b"old")))
        made.cloudwatch.alarms = {"5xx": OK}

        def meanwhile(deployment: Deployment) -> None:
            if deployment.weight:
                made.cloudwatch.serve("orders", "prod", "2", made.clock(), {10.0: 100}, errors=50)
                made.cloudwatch.serve("orders", "prod", "1", made.clock(), {10.0: 100})

        made.meanwhile = meanwhile  # type: ignore[method-assign]
        yield made


def deploy(at: Simulation, watch: Watch) -> Deployment:
    return at.run(at.accept(at.upload("orders", b"new"), plan=replace(PLAN, watch=watch)))


def noted(deployment: Deployment) -> list[str]:
    return [entry.message for entry in deployment.timeline if "mode: observe" in entry.message]


def test_the_same_limit_enforced_sends_it_back(at: Simulation) -> None:
    ended = deploy(at, Watch(limits=(ERRORS,)))
    assert (ended.status, ended.outcome) == (Status.ROLLED_BACK, AliasOutcome.RESTORED)
    assert ended.would_have == ()


@pytest.mark.parametrize(
    "watch",
    [
        Watch(limits=(OBSERVED,)),
        Watch(limits=(ERRORS,), observe=True),
        Watch(limits=(OBSERVED,), unclear=Unclear.FAIL),
        Watch(limits=(ERRORS,), observe=True, unclear=Unclear.FAIL),
    ],
)
def test_what_only_observes_rolls_nothing_back_and_says_so_once(at: Simulation, watch: Watch) -> None:
    ended = deploy(at, watch)
    assert (ended.status, ended.outcome) == (Status.SUCCEEDED, AliasOutcome.MOVED)
    [would] = ended.would_have
    assert (would.limit, would.step) == ("errors", 0)
    assert would.look is not None
    assert would.message.startswith("errors")
    assert len(noted(ended)) == 1
    assert noted(ended)[0].endswith("would have gone back (mode: observe)")
    [shown] = detail(ended, "")["would_have"]
    assert (shown["limit"], shown["percent"]) == ("errors", 10)
    assert deployment_of(record(ended)) == ended


@pytest.mark.parametrize("state", [ALARM, MISSING])
def test_an_observed_alarm_refuses_nothing_before_traffic_either(at: Simulation, state: AlarmState) -> None:
    at.cloudwatch.alarms["5xx"] = state
    ended = deploy(at, Watch(("5xx",), observe=True))
    assert ended.status is Status.SUCCEEDED
    before, looked = ended.would_have
    assert (before.limit, before.step, before.look) == ("alarm 5xx", None, None)
    assert (looked.limit, looked.step) == ("alarm 5xx", 0)
    assert "would have been refused (mode: observe)" in noted(ended)[0]
    assert "no alarm is firing" not in noted(ended)[0]
    assert len(noted(ended)) == 2


def test_an_observed_limit_does_not_soften_the_alarms_beside_it(at: Simulation) -> None:
    at.cloudwatch.alarms["5xx"] = ALARM
    ended = deploy(at, Watch(("5xx",), limits=(OBSERVED,)))
    assert (ended.status, ended.outcome) == (Status.FAILED, AliasOutcome.UNTOUCHED)
    assert ended.would_have == ()


def finding(limit: str, verdict: Verdict, *, observe: bool = True) -> LimitFinding:
    return LimitFinding(limit, "max_ratio", verdict, f"{limit}: {verdict.value}", observe=observe)


def test_each_limit_counts_the_first_time_it_is_bad() -> None:
    deployment = new_deployment(START, "a" * 64)
    bad, unclear = finding("errors", Verdict.BAD), finding("throttles", Verdict.UNCLEAR)
    enforced = finding("duration_p95", Verdict.BAD, observe=False)
    [first] = observe_mode.after_look(deployment, [bad, bad, unclear, enforced], (), START)
    assert (first.limit, first.look, first.step) == ("errors", 1, 0)
    later = replace(deployment, would_have=(first,))
    assert observe_mode.after_look(later, [bad], (), START + 60) == ()
    throttles = finding("throttles", Verdict.BAD)
    [second] = observe_mode.after_look(later, [bad, throttles], (), START + 60)
    assert second == WouldHave("throttles", second.at, "throttles: bad", 0, 1)
