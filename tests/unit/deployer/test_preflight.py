"""Before a person is asked to approve, all that can be known of the target is looked at."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from sluicegate.deployment.model import AliasOutcome, Deployment, Status
from sluicegate.deployment.observations import AlarmState
from sluicegate.deployment.plan import Smoke, TrafficStep, Watch
from support.lambda_model import error
from support.simulation import Simulation, new_deployment, simulation

CANARY = (TrafficStep(10, 300), TrafficStep(100, 0))
WATCH = Watch(("orders-5xx", "orders-slow"))


@pytest.fixture
def at() -> Iterator[Simulation]:
    with simulation() as made:
        made.model.add("orders", b"code of somebody")
        made.cloudwatch.alarms = dict.fromkeys(WATCH.alarms, AlarmState.OK)
        yield made


def asked(at: Simulation, code: bytes = b"new", **changes: Any) -> Deployment:
    """The deployment after its first turn: a canary, watched, which another person must approve."""
    plan = replace(new_deployment(0, "").plan, approval=3_600, steps=CANARY, watch=WATCH)
    deployment = at.accept(at.upload("orders", code), plan=plan, **changes)
    at.deployer.run_turn(deployment.id)
    return at.now(deployment)


def served(at: Simulation) -> None:
    """The alias serves a version."""
    at.run(at.accept(at.upload("orders", b"old")))


def test_where_nothing_is_wrong_a_person_is_asked_and_nothing_is_changed(at: Simulation) -> None:
    served(at)
    at.model.calls.clear()
    assert asked(at).status is Status.AWAITING_APPROVAL
    changes = {"UpdateFunctionCode", "PublishVersion", "UpdateAlias", "CreateAlias", "DeleteAlias", "Invoke"}
    assert not changes & set(at.model.calls)


def no_function(at: Simulation) -> None:
    at.model.functions.clear()


def no_alarm(at: Simulation) -> None:
    del at.cloudwatch.alarms["orders-slow"]


def provisioned(at: Simulation) -> None:
    at.model.provision("orders", "prod")


def weights(at: Simulation) -> None:
    at.model.set_alias("orders", "prod", "1", {"2": 0.1})


def latest(at: Simulation) -> None:
    at.model.set_alias("orders", "prod", "$LATEST")


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        (no_function, "function_not_found"),
        (no_alarm, "alarm_missing"),
        (provisioned, "weights_refused"),
        (weights, "weights_refused"),
        (latest, "weights_refused"),
    ],
)
def test_what_would_fail_after_the_approval_fails_before_anybody_is_asked(
    at: Simulation, wrong: Callable[[Simulation], None], code: str
) -> None:
    served(at)
    wrong(at)
    deployment = asked(at)
    assert (deployment.status, deployment.outcome) == (Status.FAILED, AliasOutcome.UNTOUCHED)
    assert deployment.reason is not None
    assert deployment.reason.code == code
    assert "awaiting_approval" not in [entry.status for entry in deployment.timeline]
    assert at.locks() == []


def test_an_artifact_that_was_announced_and_not_uploaded_is_missed_at_once(at: Simulation) -> None:
    served(at)
    plan = replace(new_deployment(0, "").plan, approval=3_600)
    deployment = at.accept("0" * 64, plan=plan)
    at.deployer.run_turn(deployment.id)
    reason = at.now(deployment).reason
    assert reason is not None
    assert reason.code == "artifact_not_found"


def test_an_expired_artifact_is_not_missed_where_its_version_is_there(at: Simulation) -> None:
    served(at)
    at.run(at.accept(at.upload("orders", b"new")))
    sha256 = at.upload("orders", b"old")
    at.model.code.clear()
    plan = replace(new_deployment(0, "").plan, approval=3_600)
    deployment = at.accept(sha256, plan=plan)
    at.deployer.run_turn(deployment.id)
    assert at.now(deployment).status is Status.AWAITING_APPROVAL


def test_a_role_that_may_not_look_is_found_before_anybody_is_asked(at: Simulation) -> None:
    served(at)

    def denies(_: str) -> None:
        raise error("AccessDeniedException", 403, "not authorized to perform: lambda:GetFunction")

    at.model.before = denies
    deployment = at.run(asked(at))
    assert deployment.status is Status.FAILED
    assert deployment.reason is not None
    assert deployment.reason.code == "target_denied"
    assert "awaiting_approval" not in [entry.status for entry in deployment.timeline]


def hooked(at: Simulation) -> Deployment:
    """The deployment after its first turn, with a hook that is asked once it is approved."""
    plan = replace(new_deployment(0, "").plan, approval=3_600, smoke=Smoke(10, hook="checks"))
    deployment = at.accept(at.upload("orders", b"new"), plan=plan)
    at.deployer.run_turn(deployment.id)
    return at.now(deployment)


def test_a_hook_that_does_not_exist_is_missed_before_anybody_is_asked(at: Simulation) -> None:
    deployment = hooked(at)
    assert (deployment.status, deployment.outcome) == (Status.FAILED, AliasOutcome.UNTOUCHED)
    assert deployment.reason is not None
    assert deployment.reason.code == "smoke_failed"
    assert "checks, does not exist" in deployment.reason.message


def test_a_hook_that_exists_is_not_run_before_the_approval(at: Simulation) -> None:
    at.model.add("checks", b"code of the hook")
    assert hooked(at).status is Status.AWAITING_APPROVAL
    assert at.model.invoked == []


def test_a_role_that_may_not_invoke_the_hook_is_found_before_anybody_is_asked(at: Simulation) -> None:
    at.model.add("checks", b"code of the hook")

    def denies(call: str) -> None:
        if call == "Invoke":
            raise error("AccessDeniedException", 403, "not authorized to perform: lambda:InvokeFunction")

    at.model.before = denies
    deployment = at.run(hooked(at))
    assert deployment.reason is not None
    assert deployment.reason.code == "target_denied"
    assert "awaiting_approval" not in [entry.status for entry in deployment.timeline]


def test_a_firing_alarm_may_be_over_by_the_time_of_the_approval(at: Simulation) -> None:
    served(at)
    at.cloudwatch.alarms["orders-5xx"] = AlarmState.ALARM
    assert asked(at).status is Status.AWAITING_APPROVAL


def test_an_expected_version_that_is_not_served_ends_it_at_once(at: Simulation) -> None:
    served(at)
    at.model.set_alias("orders", "prod", "7")
    deployment = asked(at, expected_version="1")
    assert deployment.reason is not None
    assert deployment.reason.code == "not_as_expected"


def test_the_first_deployment_of_a_function_needs_no_alias(at: Simulation) -> None:
    assert asked(at).status is Status.AWAITING_APPROVAL


def test_what_the_alias_serves_already_shares_no_traffic(at: Simulation) -> None:
    """Provisioned concurrency takes no weights, and a deploy of what is served needs none."""
    served(at)
    at.model.provision("orders", "prod")
    assert asked(at, b"old").status is Status.AWAITING_APPROVAL
