"""A first deployment into another account and region, interrupted at each call that it makes there.

The deployer dies, the call fails, its response is lost, or a second deployer starts: afterwards the alias
serves the accepted code, there is one copy of it, and nothing was written anywhere else.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache

import pytest
from botocore.exceptions import BotoCoreError, ClientError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sluicegate.deployment.model import AliasOutcome, Deployment, Status
from sluicegate.deployment.plan import ALL_AT_ONCE, Plan, Target
from support.lambda_model import timeout
from support.refusals import refused
from support.simulation import OWN, Killed, Simulation, simulation
from support.world_model import World, world_of

AWAY = Plan(
    Target("222222222222", "eu-west-1"),
    "prod",
    ALL_AT_ONCE,
    "0" * 64,
    None,
    role="target",
    external_id="3c9e",
)
CHANGES = ("AssumeRole", "PutObject", "UpdateFunctionCode", "PublishVersion", "CreateAlias")


def die() -> None:
    raise Killed


def fail() -> None:
    raise refused("ServiceUnavailable", "Please reduce your request rate.", 503)


def lose() -> None:
    raise timeout()


@dataclass
class Interrupted:
    """Does something before or after the call of a number, in the target."""

    world: World
    before: dict[int, Callable[[], None]] = field(default_factory=dict)
    after: dict[int, Callable[[], None]] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)
    inside: bool = False

    def __post_init__(self) -> None:
        hooks = (self.world, self.world.lambdas[AWAY.target])
        for hook in hooks:
            hook.before, hook.after = self.called, self.answered

    def called(self, name: str) -> None:
        if not self.inside:
            self.names.append(name)
            self._run(self.before)

    def answered(self, _: str) -> None:
        if not self.inside:
            self._run(self.after)

    def _run(self, what: dict[int, Callable[[], None]]) -> None:
        if act := what.pop(len(self.names) - 1, None):
            self.inside = True
            try:
                act()
            finally:
                self.inside = False


@contextmanager
def scene() -> Iterator[tuple[Simulation, World, Deployment]]:
    with simulation() as at:
        world = world_of(at)
        world.add_target(AWAY).add("orders", b"code of somebody")
        yield at, world, at.accept(at.upload("orders", b"new"), plan=AWAY)


@cache
def calls() -> tuple[str, ...]:
    """Every call in the target, in order, where nothing interrupts it."""
    with scene() as (at, world, accepted):
        interrupted = Interrupted(world)
        at.run(accepted)
        return tuple(interrupted.names)


def run(at: Simulation, accepted: Deployment) -> None:
    """The state machine: what dies or fails is run again, by a new process."""
    for _ in range(8):
        try:
            at.run(accepted)
            return
        except (Killed, ClientError, BotoCoreError):
            at.runner._targets.forget(accepted)  # its sessions died with it
    raise AssertionError("it keeps failing")


def check(at: Simulation, world: World, accepted: Deployment) -> None:
    ended = at.now(accepted)
    assert (ended.status, ended.outcome) == (Status.SUCCEEDED, AliasOutcome.MOVED)
    model = world.lambdas[AWAY.target]
    assert model.serves("orders", "prod") == ("1", {})
    assert model.code_of("orders", "1") == accepted.sha256
    assert list(model.functions["orders"]["versions"]) == ["1"]
    assert world.bucket_of(AWAY).s3.objects == {f"orders/{accepted.sha256}.zip": b"new"}
    assert at.locks() == []
    assert {call.session.account for call in world.calls} <= {"222222222222"}


def test_the_calls_in_the_target_are_these() -> None:
    assert [name for name in calls() if name in (*CHANGES, "HeadObject")] == [
        "AssumeRole",
        "HeadObject",
        "AssumeRole",
        "PutObject",
        "HeadObject",
        "UpdateFunctionCode",
        "PublishVersion",
        "CreateAlias",
    ]


@pytest.mark.parametrize("kind", [die, lose])
@pytest.mark.parametrize("change", CHANGES)
def test_a_deployer_that_dies_or_loses_an_answer_finds_what_it_did(
    kind: Callable[[], None], change: str
) -> None:
    with scene() as (at, world, accepted):
        point = len(calls()) - 1 - calls()[::-1].index(change)
        Interrupted(world, after={point: kind})
        run(at, accepted)
        check(at, world, accepted)


@pytest.mark.parametrize("change", [*CHANGES, "HeadObject"])
def test_a_second_deployer_changes_nothing(change: str) -> None:
    with scene() as (at, world, accepted):
        point = calls().index(change)
        Interrupted(world, before={point: lambda: run(at, accepted)})
        run(at, accepted)
        check(at, world, accepted)


KINDS = {"die": die, "fail": fail, "lose": lose}


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.dictionaries(st.integers(0, 20), st.sampled_from(sorted(KINDS)), max_size=3),
    st.dictionaries(st.integers(0, 20), st.sampled_from(sorted(KINDS)), max_size=3),
    st.lists(st.booleans(), max_size=12),
)
def test_two_targets_at_once_never_mix_whatever_fails(
    before: dict[int, str], after: dict[int, str], order: Sequence[bool]
) -> None:
    """The same function and bytes, to the stack's own target and to another, in turns of any order."""
    with scene() as (at, world, away):
        at.model.add("orders", b"code of somebody")
        here = at.accept(away.sha256, plan=replace(AWAY, target=OWN, role=None, external_id=None))
        Interrupted(world, {n: KINDS[k] for n, k in before.items()}, {n: KINDS[k] for n, k in after.items()})
        for first in order:
            try:
                at.deployer.run_turn((away if first else here).id)
            except (Killed, ClientError, BotoCoreError):
                continue
        for deployment in (away, here):
            run(at, deployment)
            assert at.now(deployment).status is Status.SUCCEEDED
        assert at.model.code_of("orders", "1") == away.sha256
        where = {(call.session.deployment, call.session.account, call.region) for call in world.calls}
        assert where <= {(away.id, "222222222222", "eu-west-1"), (here.id, OWN.account, OWN.region)}
        world.calls[:] = [call for call in world.calls if call.session.deployment == away.id]
        check(at, world, away)
