"""How a deployment ends where AWS refuses, and what its record says about it."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, cast

import pytest
from botocore.exceptions import ClientError

from sluicegate.aws.metric_data import LookFailed
from sluicegate.deployer.target import TargetAccess
from sluicegate.deployment.durations import seconds
from sluicegate.deployment.model import AliasOutcome, Deployment, Status
from sluicegate.deployment.observations import AlarmState
from sluicegate.deployment.plan import Limit, Metric, Plan, TrafficStep, Watch
from sluicegate.deployment.strategy import checked
from sluicegate.rollout.transitions import RESTORE_SECONDS
from support.cloudwatch_model import Requests
from support.refusals import refused
from support.simulation import OWN, Simulation, simulation


@pytest.fixture
def simulated() -> Iterator[Simulation]:
    with simulation() as made:
        yield made


refusal = partial(refused, call="AssumeRole")


@dataclass
class Refusing:
    """STS, which refuses for so many seconds from the first call on."""

    simulation: Simulation
    granted: Any
    error: ClientError
    seconds: float = float("inf")
    calls: list[float] = field(default_factory=list)

    def access(self, deployment: Deployment) -> TargetAccess:
        self.calls.append(self.simulation.clock())
        if self.simulation.clock() - self.calls[0] < self.seconds:
            raise self.error
        return cast(TargetAccess, self.granted.access(deployment))

    def forget(self, deployment: Deployment) -> None:
        self.granted.forget(deployment)


def refuse(simulated: Simulation, error: ClientError, seconds: float = float("inf")) -> Refusing:
    refusing = Refusing(simulated, simulated.runner._targets, error, seconds)
    simulated.runner._targets = cast(Any, refusing)
    return refusing


def deployed(simulated: Simulation, **fields: Any) -> Deployment:
    simulated.model.add("orders", b"old")
    return simulated.run(simulated.accept(simulated.upload("orders", b"new"), **fields))


def test_a_refusal_that_stays_ends_at_once_with_awss_own_words(simulated: Simulation) -> None:
    words = "Packed size of session tags consumes 104% of allotted space."
    sts = refuse(simulated, refusal("PackedPolicyTooLarge", words))
    ended = deployed(simulated)
    assert (ended.status, ended.outcome) == (Status.FAILED, AliasOutcome.UNTOUCHED)
    assert ended.reason is not None
    assert (ended.reason.code, ended.reason.data) == ("aws_refused", {"error": "PackedPolicyTooLarge"})
    assert words in ended.reason.message
    assert "AssumeRole" in ended.reason.message
    assert len(sts.calls) == 1


NOT_YET = refusal("AccessDenied", "User: x is not authorized to perform: sts:AssumeRole", 403)


@pytest.mark.parametrize("seconds", [1, 30, 59])
def test_a_role_that_is_not_known_everywhere_yet_delays_a_deployment(
    simulated: Simulation, seconds: float
) -> None:
    """The first deployments after `make deploy`: a change of IAM's takes seconds to spread."""
    refuse(simulated, NOT_YET, seconds)
    ended = deployed(simulated)
    assert ended.status is Status.SUCCEEDED
    assert "permissions may take time to spread" in ended.timeline[1].message


def test_what_stays_denied_ends_after_a_minute_with_awss_own_words(simulated: Simulation) -> None:
    sts = refuse(simulated, NOT_YET)
    ended = deployed(simulated)
    assert (ended.status, ended.outcome) == (Status.FAILED, AliasOutcome.UNTOUCHED)
    assert ended.reason is not None
    assert ended.reason.code == "target_denied"
    assert "not authorized to perform: sts:AssumeRole" in ended.reason.message
    assert 60 <= sts.calls[-1] - sts.calls[0] < 95
    assert len(sts.calls) <= 10


WATCHED = Plan(
    OWN, "prod", checked((TrafficStep(10, 600), TrafficStep(100, 0))), "0" * 64, watch=Watch(("a",))
)


def canary_then_refused(
    simulated: Simulation, error: ClientError, seconds: float
) -> tuple[Refusing, Deployment]:
    """A canary whose target is out of reach from its bake on, for so many seconds."""
    simulated.model.add("orders", b"first")
    simulated.run(simulated.accept(simulated.upload("orders", b"old")))
    simulated.cloudwatch.alarms["a"] = AlarmState.OK
    refusing: list[Refusing] = []

    def meanwhile(deployment: Deployment) -> None:
        if deployment.status is Status.BAKING and not refusing:
            refusing.append(refuse(simulated, error, seconds))

    simulated.meanwhile = meanwhile  # type: ignore[method-assign]
    ended = simulated.run(simulated.accept(simulated.upload("orders", b"new"), plan=WATCHED))
    return refusing[0], ended


@pytest.mark.parametrize("seconds", [5, 59])
def test_a_denied_look_does_not_roll_a_good_release_back(simulated: Simulation, seconds: float) -> None:
    _, ended = canary_then_refused(simulated, NOT_YET, seconds)
    assert ended.status is Status.SUCCEEDED


def test_a_watch_that_stays_denied_restores_the_alias_as_soon_as_it_may(simulated: Simulation) -> None:
    sts, ended = canary_then_refused(simulated, NOT_YET, 1_800)
    assert ended.reason is not None
    assert (ended.status, ended.outcome) == (Status.ROLLED_BACK, AliasOutcome.RESTORED)
    assert ended.reason.code == "target_denied"
    assert sts.calls[-1] - sts.calls[0] < 1_800 + 60


def test_a_restoration_that_is_refused_for_an_hour_is_given_up(simulated: Simulation) -> None:
    sts, ended = canary_then_refused(simulated, refusal("ServiceUnavailable", "later", 503), 1e9)
    assert (ended.status, ended.outcome) == (Status.FAILED, AliasOutcome.UNKNOWN)
    assert ended.reason is not None
    assert ended.reason.code == "watch_failed"
    assert 3_600 <= sts.calls[-1] - sts.calls[0] < 3_600 + 180 + 90


def test_a_session_that_is_denied_is_not_used_again(simulated: Simulation) -> None:
    forgotten: list[str] = []
    sts = refuse(simulated, NOT_YET, 10)
    sts.granted.forget = lambda deployment: forgotten.append(deployment.id)
    ended = deployed(simulated)
    assert set(forgotten) == {ended.id}


def wake(simulated: Simulation, deployment: Deployment, times: int = 100) -> Deployment:
    """What a flood of messages does: a turn for each, and no time passes but that of the turns."""
    for _ in range(times):
        assert simulated.deployer.run_turn(deployment.id)["next"] == "wait"
    return simulated.now(deployment)


def test_a_flood_of_wakes_changes_nothing(simulated: Simulation) -> None:
    """Neither is a bake cut short, nor are the retries of a way back used up, or its pauses shortened."""
    woken: dict[str, Deployment] = {}

    def meanwhile(deployment: Deployment) -> None:
        looks_again = deployment.status in (Status.BAKING, Status.ROLLING_BACK) and deployment.failures in (
            0,
            5,
        )
        if looks_again and f"{deployment.status}{deployment.failures}" not in woken:
            woken[f"{deployment.status}{deployment.failures}"] = deployment
            calls = len(simulated.model.calls)
            assert wake(simulated, deployment) == deployment
            if deployment.failures:
                assert len(simulated.model.calls) == calls
            else:
                simulated.model.before = unavailable

    def unavailable(_: str) -> None:
        raise refusal("ServiceException", "later", 500, call="GetAlias")

    simulated.model.add("orders", b"first")
    simulated.run(simulated.accept(simulated.upload("orders", b"old")))
    simulated.cloudwatch.alarms["a"] = AlarmState.OK
    simulated.meanwhile = meanwhile  # type: ignore[method-assign]
    ended = simulated.run(simulated.accept(simulated.upload("orders", b"new"), plan=WATCHED))
    assert list(woken) == ["baking0", "baking5", "rolling_back5"]
    assert ended.outcome is AliasOutcome.UNKNOWN
    [failing, given_up] = [woken["rolling_back5"].since, ended.finished_at]
    assert seconds(given_up or "") - seconds(failing) >= RESTORE_SECONDS


LIMITED = replace(WATCHED, watch=Watch(limits=(Limit(Metric.ERRORS, 100, most=5),)))


@pytest.mark.parametrize(
    ("failure", "seconds_failing", "status", "code"),
    [
        (LookFailed("InternalError", "incomplete"), 170, Status.SUCCEEDED, None),
        (LookFailed("InternalError", "incomplete"), 240, Status.ROLLED_BACK, "watch_failed"),
        (LookFailed("Forbidden", "incomplete", denied=True), 50, Status.SUCCEEDED, None),
        (LookFailed("Forbidden", "incomplete", denied=True), 120, Status.ROLLED_BACK, "target_denied"),
    ],
)
def test_a_look_that_is_answered_incompletely_is_repeated_and_then_nothing_is_watching(
    simulated: Simulation, failure: LookFailed, seconds_failing: int, status: Status, code: str | None
) -> None:
    began: list[float] = []

    def meanwhile(deployment: Deployment) -> None:
        if deployment.status is Status.BAKING:
            began.append(simulated.clock())
            failing = simulated.clock() - began[0] < seconds_failing
            simulated.cloudwatch.failure = failure if failing else None

    simulated.model.add("orders", b"first")
    simulated.run(simulated.accept(simulated.upload("orders", b"old")))
    simulated.cloudwatch.metrics["2"] = Requests(500, 0)
    simulated.meanwhile = meanwhile  # type: ignore[method-assign]
    ended = simulated.run(simulated.accept(simulated.upload("orders", b"new"), plan=LIMITED))
    assert (ended.status, ended.reason and ended.reason.code) == (status, code)


def test_a_clock_that_is_behind_looks_as_any_other(simulated: Simulation) -> None:
    """One turn saves when traffic moved, and the next one may run elsewhere."""
    behind: list[float] = []

    def meanwhile(deployment: Deployment) -> None:
        if deployment.status is Status.BAKING and not behind:
            behind.append(300)
            simulated.clock.now -= 300

    simulated.model.add("orders", b"first")
    simulated.run(simulated.accept(simulated.upload("orders", b"old")))
    simulated.cloudwatch.metrics["2"] = Requests(500, 0)
    simulated.meanwhile = meanwhile  # type: ignore[method-assign]
    ended = simulated.run(simulated.accept(simulated.upload("orders", b"new"), plan=LIMITED))
    assert (ended.status, ended.reason) == (Status.SUCCEEDED, None)


def test_a_session_that_ends_during_an_action_is_an_outcome_too(simulated: Simulation) -> None:
    """Also where the function is asked for once more, because Lambda did not find something."""
    simulated.model.add("orders", b"first")
    deployment = simulated.accept(simulated.upload("orders", b"new"))
    throttled = refusal("ThrottlingException", "slow down")

    def not_found(call: str) -> None:
        if call != "GetFunction":
            return
        simulated.model.before = lambda _: None
        refuse(simulated, throttled, 60)
        raise refusal("ResourceNotFoundException", "Function not found", 404, call=call)

    simulated.model.before = not_found
    assert simulated.run(deployment).status is Status.SUCCEEDED
