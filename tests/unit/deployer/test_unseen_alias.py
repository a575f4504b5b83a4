"""New code moves the alias without a look, at the revision at which the last deployment left it.

Where Lambda refuses that revision, the deployment looks, records what it found, and goes on.
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from sluicegate.deployment.model import AliasOutcome, AliasState, Deployment, FoundVersion, Status
from sluicegate.deployment.plan import ALL_AT_ONCE, Plan, TrafficStep
from sluicegate.store import keys
from sluicegate.store.codec import marshal
from support.lambda_model import timeout
from support.lambda_rules import error
from support.simulation import OWN, TABLE, Killed, Simulation, simulation

CODE = [b"one", b"two", b"three"]
SHA = [hashlib.sha256(code).hexdigest() for code in CODE]
AT_ONCE = Plan(OWN, "prod", ALL_AT_ONCE, "0" * 64)
CANARY = replace(AT_ONCE, steps=(TrafficStep(10, 5), TrafficStep(100, 0)))


@pytest.fixture
def at() -> Iterator[Simulation]:
    """Prod serves version 2, and has served version 1. Its calls are noted from now on."""
    with simulation() as made:
        made.model.add("orders", b"code of somebody")
        for code in CODE:
            made.upload("orders", code)
        for sha256 in SHA[:2]:
            made.run(made.accept(sha256))
        made.model.calls.clear()
        yield made


def deploy(at: Simulation, sha256: str = SHA[2], **fields: Any) -> Deployment:
    return at.run(at.accept(sha256, **fields))


def by_hand(at: Simulation, version: str, weights: dict[str, float] | None = None) -> None:
    at.model.set_alias("orders", "prod", version, weights)


def messages(deployment: Deployment) -> str:
    return "\n".join(entry.message for entry in deployment.timeline)


def once(at: Simulation, name: str, what: Callable[[], None], *, after: bool = False) -> None:
    """Do something at the first call of that name."""
    left = [what]

    def called(each: str) -> None:
        if each == name and left:
            left.pop()()

    setattr(at.model, "after" if after else "before", called)


def control_plane(at: Simulation) -> list[str]:
    return [call for call in at.model.calls if call != "GetFunction"]


def test_new_code_takes_three_calls_of_the_control_plane(at: Simulation) -> None:
    deployment = deploy(at)
    assert control_plane(at) == ["UpdateFunctionCode", "PublishVersion", "UpdateAlias"]
    assert (deployment.original, deployment.outcome) == (AliasState("2"), AliasOutcome.MOVED)
    assert not deployment.unseen


def test_what_somebody_has_moved_since_is_found_and_recorded_before_it_is_moved(at: Simulation) -> None:
    by_hand(at, "1", {"2": 0.25})
    deployment = deploy(at)
    assert (deployment.status, deployment.outcome) == (Status.SUCCEEDED, AliasOutcome.MOVED)
    assert deployment.original == AliasState("1", {"2": 0.25})
    assert deployment.found == (FoundVersion("1", SHA[0], 0.75), FoundVersion("2", SHA[1], 0.25))
    assert "someone else has moved it since the last deployment" in messages(deployment)
    assert at.model.serves("orders", "prod") == ("3", {})
    seen = next(one for one in at.changes if one.original == AliasState("1", {"2": 0.25}))
    assert (seen.status, seen.current, seen.version) == (Status.SHIFTING, seen.original, "3")
    assert control_plane(at) == [
        "UpdateFunctionCode",
        "PublishVersion",
        "UpdateAlias",
        "GetAlias",
        "GetProvisionedConcurrencyConfig",
        "UpdateAlias",
    ]


def test_an_alias_that_somebody_has_deleted_since_is_created(at: Simulation) -> None:
    at.model.delete_alias(FunctionName="orders", Name="prod")
    deployment = deploy(at)
    assert (deployment.status, deployment.original) == (Status.SUCCEEDED, None)
    assert "was deleted by someone else since" in messages(deployment)
    assert at.model.serves("orders", "prod") == ("3", {})


def test_another_revision_of_the_same_state_is_no_move(at: Simulation) -> None:
    at.model.update_alias(FunctionName="orders", Name="prod", Description="by hand")
    at.model.calls.clear()
    deployment = deploy(at)
    assert (deployment.status, deployment.original) == (Status.SUCCEEDED, AliasState("2"))
    assert control_plane(at)[2:] == ["UpdateAlias", "GetAlias", "UpdateAlias"]


@pytest.mark.parametrize("stop", [Killed, timeout])
def test_whether_it_has_moved_is_not_known_and_so_what_somebody_made_of_it_stays(
    at: Simulation, stop: Callable[[], BaseException]
) -> None:
    """The move took effect, and nobody heard of it; then somebody moved the alias by hand."""

    def lost() -> None:
        assert at.model.serves("orders", "prod") == ("3", {})
        by_hand(at, "1")
        raise stop()

    once(at, "UpdateAlias", lost, after=True)
    accepted = at.accept(SHA[2])
    try:
        deployment = at.run(accepted)
    except Killed:
        deployment = at.run(accepted)
    assert (deployment.status, deployment.outcome) == (Status.FAILED, AliasOutcome.LEFT_TO_OTHER)
    assert at.model.serves("orders", "prod") == ("1", {})


def test_a_rejection_of_a_call_that_was_sent_twice_says_nothing_of_the_first_time(at: Simulation) -> None:
    def repeat() -> None:
        at.model.before = lambda _: None
        by_hand(at, "3")
        by_hand(at, "1")
        rejected: Any = error("PreconditionFailedException", 412)
        rejected.response["ResponseMetadata"]["RetryAttempts"] = 1
        raise rejected

    once(at, "UpdateAlias", repeat)
    deployment = deploy(at)
    assert (deployment.status, deployment.outcome) == (Status.FAILED, AliasOutcome.LEFT_TO_OTHER)
    assert at.model.serves("orders", "prod") == ("1", {})


def test_a_deployer_that_died_before_the_move_looks_first(at: Simulation) -> None:
    def die() -> None:
        raise Killed

    once(at, "UpdateAlias", die)
    accepted = at.accept(SHA[2])
    with pytest.raises(Killed):
        at.run(accepted)
    at.model.calls.clear()
    deployment = at.run(accepted)
    assert (deployment.status, deployment.original) == (Status.SUCCEEDED, AliasState("2"))
    assert "as the last deployment left it" in messages(deployment)
    assert control_plane(at) == ["GetAlias", "UpdateAlias"]


def same_code_in_latest(at: Simulation) -> None:
    at.model.update_function_code(FunctionName="orders", S3Key=f"orders/{SHA[2]}.zip")
    at.model.calls.clear()


def without_revision(at: Simulation) -> None:
    """As an earlier release noted it."""
    key = keys.serving(OWN, "orders", "prod", "prod")
    at.client.update_item(TableName=TABLE, Key=marshal(key), UpdateExpression="REMOVE revision")


@pytest.mark.parametrize(
    ("fields", "before"),
    [
        ({"sha256": SHA[0]}, None),
        ({"expected_version": "2"}, None),
        ({"plan": CANARY}, None),
        ({}, same_code_in_latest),
        ({}, without_revision),
    ],
)
def test_the_alias_is_read_where_more_depends_on_it(
    at: Simulation, fields: dict[str, Any], before: Callable[[Simulation], None] | None
) -> None:
    if before:
        before(at)
    deployment = deploy(at, **fields)
    assert (deployment.status, deployment.original) == (Status.SUCCEEDED, AliasState("2"))
    assert control_plane(at).index("GetAlias") < control_plane(at).index("UpdateAlias")


@pytest.mark.parametrize("call", ["UpdateAlias", "GetAlias", "GetFunction"])
def test_a_throttle_does_not_keep_what_somebody_has_moved_from_being_found(at: Simulation, call: str) -> None:
    """The first move had no effect for sure, so what the alias serves was there before."""
    by_hand(at, "1")
    accepted = at.accept(SHA[2])
    left = [error("TooManyRequestsException", 429)]

    def throttled(name: str) -> None:
        moves = "UpdateAlias" in at.model.calls
        if name == call and moves and left:
            raise left.pop()

    at.model.before = throttled
    deployment = at.run(accepted)
    assert not left
    assert (deployment.status, deployment.original) == (Status.SUCCEEDED, AliasState("1"))
