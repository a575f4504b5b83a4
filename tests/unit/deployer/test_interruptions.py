"""A canary, rollbacks, a breach, an abort and a fix, interrupted at every call to Lambda and to the table.

In each call the deployer dies, the call fails, its response is lost, a second deployer starts, or someone
aborts: afterwards the guarantees hold, and the record says what the alias serves.
"""

import copy
import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import product
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from sluicegate.deployment.fix_forward import FixForward
from sluicegate.deployment.model import AliasOutcome, AliasState, Deployment, EarlierVersion, Status
from sluicegate.deployment.observations import AlarmState
from sluicegate.deployment.plan import ALL_AT_ONCE, Limit, Metric, Plan, Smoke, TrafficStep, Watch
from sluicegate.store.errors import StaleRevision
from support.cloudwatch_model import Requests
from support.interruptions import Interruption, abort, abort_when_baking
from support.lambda_model import LambdaModel, timeout
from support.lambda_rules import error
from support.simulation import OWN, Clock, Killed, Simulation, simulation
from support.table_model import DynamoDbModel

SHA = [hashlib.sha256(code).hexdigest() for code in (b"one", b"two", b"three", b"four")]
WATCH = Watch(alarms=("orders-5xx",), limits=(Limit(Metric.ERRORS, 10, most=5.0),))
CANARY = Plan(
    OWN,
    "prod",
    (TrafficStep(10, 5), TrafficStep(100, 0)),
    "0" * 64,
    Smoke(10, '{"ping":true}', '{"ok":true}'),
    WATCH,
)
AT_ONCE = Plan(OWN, "prod", ALL_AT_ONCE, "0" * 64)
FIX = {
    "sha256": SHA[2],
    "plan": replace(AT_ONCE, watch=Watch(alarms=("orders-5xx",), silent_within=20)),
    "fix_forward": FixForward("v1.4 fails"),
}


@dataclass(frozen=True)
class Scene:
    """What is accepted, what happens before and during it, and how it ends without an interruption.

    If it is `fixed`, an alarm is firing until then. `moved` is the version that somebody moves the alias to
    by hand, `pruned` one that somebody deletes.
    """

    name: str
    fields: dict[str, Any]
    status: Status
    outcome: AliasOutcome
    served: str
    errors: int = 0
    aborted: bool = False
    fixed: bool = False
    moved: str | None = None
    pruned: str | None = None


SCENES = {
    scene.name: scene
    for scene in (
        Scene("canary", {"sha256": SHA[2], "plan": CANARY}, Status.SUCCEEDED, AliasOutcome.MOVED, "3"),
        Scene(
            "rollback",
            {"sha256": SHA[0], "plan": AT_ONCE, "action": "rollback", "version": "1"},
            Status.SUCCEEDED,
            AliasOutcome.MOVED,
            "1",
        ),
        Scene(
            "pruned",
            {
                "sha256": SHA[2],
                "plan": AT_ONCE,
                "action": "rollback",
                "version": "3",
                "fallbacks": (EarlierVersion("1", SHA[0]),),
            },
            Status.SUCCEEDED,
            AliasOutcome.MOVED,
            "1",
            pruned="3",
        ),
        Scene(
            "found",
            {"sha256": SHA[0], "plan": AT_ONCE, "action": "rollback", "version": "1"},
            Status.SUCCEEDED,
            AliasOutcome.MOVED,
            "1",
            moved="3",
        ),
        Scene(
            "breach",
            {"sha256": SHA[2], "plan": CANARY},
            Status.ROLLED_BACK,
            AliasOutcome.RESTORED,
            "2",
            errors=50,
        ),
        Scene(
            "abort",
            {"sha256": SHA[2], "plan": CANARY},
            Status.ABORTED,
            AliasOutcome.RESTORED,
            "2",
            aborted=True,
        ),
        Scene("new", {"sha256": SHA[3], "plan": AT_ONCE}, Status.SUCCEEDED, AliasOutcome.MOVED, "4"),
        Scene("fix", FIX, Status.SUCCEEDED, AliasOutcome.MOVED, "3", fixed=True),
    )
}


@cache
def prepared() -> tuple[Any, LambdaModel, float]:
    """Three versions are published, prod serves the second one: the table, Lambda and the time then."""
    with simulation() as at:
        at.model.add("orders", b"code of somebody")
        for code, alias in ((b"one", "prod"), (b"two", "prod"), (b"three", "dev")):
            at.run(at.accept(at.upload("orders", code), alias=alias))
        assert at.model.serves("orders", "prod") == ("2", {})
        at.upload("orders", b"four")
        return at.client.copy_tables(), at.model, at.clock.now


@contextmanager
def prepared_simulation(scene: Scene) -> Iterator[tuple[Simulation, Deployment]]:
    """A simulation of its own, with the scene's deployment accepted."""
    before, model, now = prepared()
    clock = Clock(now)
    client = DynamoDbModel(clock, tables={name: table.copy() for name, table in before.items()})
    at = Simulation(client, copy.deepcopy(model), clock)
    at.cloudwatch.alarms["orders-5xx"] = AlarmState.OK
    at.cloudwatch.metrics["3"] = Requests(invocations=100, errors=scene.errors)
    if scene.pruned:
        at.model.set_alias("orders", "dev", "2")
        at.model.prune("orders", scene.pruned)
    if scene.moved:
        at.model.set_alias("orders", "prod", scene.moved)
    accepted = at.accept(**scene.fields)
    if scene.aborted:
        at.meanwhile = abort_when_baking(at)  # type: ignore[method-assign, assignment]
    if scene.fixed:
        at.cloudwatch.alarms["orders-5xx"] = AlarmState.ALARM
        at.meanwhile = silence(at)  # type: ignore[method-assign, assignment]
    yield at, accepted


def silence(at: Simulation) -> Callable[[Deployment], None]:
    def meanwhile(deployment: Deployment) -> None:
        if deployment.weight == 100:
            at.cloudwatch.alarms["orders-5xx"] = AlarmState.OK

    return meanwhile


READS = (
    "BatchGetItem",
    "GetItem",
    "Query",
    "GetAlias",
    "GetFunction",
    "GetProvisionedConcurrencyConfig",
    "Invoke",
)
"""Calls that change nothing. A smoke test whose response is lost has failed."""


def die() -> None:
    raise Killed


def fail() -> None:
    raise error("ServiceException", 500)


def lose() -> None:
    raise timeout()


@cache
def calls(scene: str) -> tuple[str, ...]:
    """Every call of the scene, in order, where nothing interrupts it."""
    with prepared_simulation(SCENES[scene]) as (at, accepted):
        interruption = Interruption(at, None)
        run(at, accepted)
        return tuple(interruption.names)


def run(at: Simulation, accepted: Deployment) -> Deployment:
    """The state machine: what dies or fails is run again."""
    for _ in range(5):
        try:
            return at.run(accepted)
        except (Killed, ClientError, BotoCoreError):
            continue
    raise AssertionError("it keeps failing")


def check_every_change(at: Simulation) -> None:
    """Check after every action that the alias serves what the record says."""

    def on_change(deployment: Deployment, _: object) -> None:
        at.changes.append(deployment)
        if deployment.failures or deployment.current is None or deployment.outcome is AliasOutcome.UNKNOWN:
            return  # a response was lost: it may have moved
        assert at.model.serves("orders", "prod") == (deployment.current.version, deployment.current.weights)

    at.deployer = replace(at.deployer, on_change=on_change)


def check(at: Simulation, accepted: Deployment, scene: Scene | None) -> Deployment:
    """Check the guarantees of a deployment that has ended."""
    deployment = at.now(accepted)
    moved, pruned = (scene.moved, scene.pruned) if scene else (None, None)
    assert deployment.status.final
    assert [entry.status.final for entry in deployment.timeline].count(True) == 1
    assert [entry.seq for entry in deployment.timeline] == list(range(1, deployment.revision + 1))
    assert at.locks() == []
    served = at.model.serves("orders", "prod")
    assert served is not None
    assert served[1] == {}
    assert deployment.current in (None, AliasState(served[0]))
    if deployment.status is Status.SUCCEEDED:
        assert served[0] == deployment.version
        assert at.model.code_of("orders", served[0]) == deployment.sha256
    else:
        assert AliasState(served[0]) == deployment.original or deployment.original is None
        assert served[0] == (moved or "2")
    if scene:
        assert (deployment.status, deployment.outcome) == (scene.status, scene.outcome)
        assert served[0] == scene.served
    versions = len(at.model.functions["orders"]["versions"])
    if deployment.sha256 != SHA[3]:
        assert versions == 3 - bool(pruned)
    else:  # an abort may come right after its version was published
        assert versions in ((4,) if scene else (3, 4))
    past = {one.version: one for one in at.store.versions.past(OWN, "orders", "prod")}
    if pruned:
        assert [one.version for one in deployment.unusable] == [pruned]
        assert at.store.versions.gone_since(OWN, "orders", pruned, SHA[int(pruned) - 1])
    if moved:
        assert (past[moved].found, past[moved].withdrawn, past[moved].sha256) == (True, True, SHA[2])
    assert not [one for one in past.values() if one.gone_since]
    return deployment


def points(*scenes: str, reads: bool = True) -> list[Any]:
    """The calls of the scenes; of those that begin as the canary does, from where they differ on."""
    canary = calls("canary")
    return [
        pytest.param(name, point, id=f"{name}-{point}-{call}")
        for name in scenes or SCENES
        for point, call in enumerate(calls(name))
        if (reads or call not in READS)
        and (name not in ("breach", "abort") or calls(name)[: point + 1] != canary[: point + 1])
    ]


@pytest.mark.parametrize("name", SCENES)
def test_a_scene_without_an_interruption_ends_as_described(name: str) -> None:
    with prepared_simulation(SCENES[name]) as (at, accepted):
        check_every_change(at)
        at.run(accepted)
        check(at, accepted, SCENES[name])


@pytest.mark.parametrize(("name", "point"), points(reads=False))
def test_a_deployer_that_dies_after_any_call_does_not_change_the_end(name: str, point: int) -> None:
    """Only calls that change something: after a read it is the same as after the change before it."""
    with prepared_simulation(SCENES[name]) as (at, accepted):
        check_every_change(at)
        Interruption(at, point, after=die)
        with pytest.raises(Killed):
            at.run(accepted)
        run(at, accepted)
        check(at, accepted, SCENES[name])


@pytest.mark.parametrize(("name", "point"), points())
def test_a_call_that_fails_is_retried(name: str, point: int) -> None:
    with prepared_simulation(SCENES[name]) as (at, accepted):
        check_every_change(at)
        Interruption(at, point, before=fail)
        run(at, accepted)
        check(at, accepted, SCENES[name])


@pytest.mark.parametrize(("name", "point"), points(reads=False))
def test_a_call_whose_response_is_lost_is_retried(name: str, point: int) -> None:
    with prepared_simulation(SCENES[name]) as (at, accepted):
        check_every_change(at)
        Interruption(at, point, after=lose)
        run(at, accepted)
        check(at, accepted, SCENES[name])


@pytest.mark.parametrize(("name", "point"), points())
def test_a_second_deployer_that_starts_in_any_call_does_not_change_the_end(name: str, point: int) -> None:
    with prepared_simulation(SCENES[name]) as (at, accepted):
        Interruption(at, point, before=lambda: run(at, accepted))
        run(at, accepted)
        check(at, accepted, SCENES[name])


@pytest.mark.parametrize(("name", "point"), points("canary", "new"))
def test_an_abort_in_any_call_ends_it_where_it_began(name: str, point: int) -> None:
    with prepared_simulation(SCENES[name]) as (at, accepted):
        Interruption(at, point, before=lambda: abort(at, accepted))
        run(at, accepted)
        deployment = check(at, accepted, None)
        assert deployment.status in (Status.ABORTED, Status.SUCCEEDED)
        assert (deployment.status is Status.ABORTED) == (deployment.abort is not None)


@pytest.mark.parametrize(("name", "point"), points("canary", "rollback", "new"))
def test_a_call_that_is_held_up_until_an_abort_is_over_has_no_effect(name: str, point: int) -> None:
    """Someone aborts, and a second deployer ends the deployment, before the first one's call is sent."""

    def abort_and_end() -> None:
        abort(at, accepted)
        run(at, accepted)

    with prepared_simulation(SCENES[name]) as (at, accepted):
        Interruption(at, point, before=abort_and_end)
        run(at, accepted)
        deployment = check(at, accepted, None)
        assert deployment.status in (Status.ABORTED, Status.SUCCEEDED)


def test_a_record_that_was_changed_is_never_overwritten() -> None:
    with prepared_simulation(SCENES["canary"]) as (at, accepted):
        run(at, accepted)
        with pytest.raises(StaleRevision):
            at.store.deployments.save(accepted, accepted.changed(at.clock(), "late", Status.PUBLISHING))


BAKED = replace(AT_ONCE, steps=(TrafficStep(100, 5),), watch=WATCH)


@contextmanager
def new_code(errors: int = 0) -> Iterator[tuple[Simulation, Deployment, list[tuple[str, str]]]]:
    """New code all at once, with a bake. The list grows with each move of prod: by whom, and to what."""
    scene = Scene("", {"sha256": SHA[3], "plan": BAKED}, Status.SUCCEEDED, AliasOutcome.MOVED, "4")
    with prepared_simulation(scene) as (at, accepted):
        at.cloudwatch.metrics["4"] = Requests(invocations=100, errors=errors)
        moves: list[tuple[str, str]] = []
        set_alias = at.model.set_alias

        def noted(name: str, alias: str, version: str, *more: Any) -> None:
            if at.model.serves(name, alias) != (version, {}):  # a fence writes what is there
                moves.append(("deployer", version))
            set_alias(name, alias, version, *more)

        at.model.set_alias = noted  # type: ignore[method-assign, assignment]
        yield at, accepted, moves


def by_hand(at: Simulation, moves: list[tuple[str, str]], version: str) -> None:
    at.model.set_alias("orders", "prod", version)
    moves[-1] = ("hand", version)


def new_code_calls(errors: int) -> int:
    with new_code(errors) as (at, accepted, _):
        interruption = Interruption(at, None)
        run(at, accepted)
        return len(interruption.names)


INTERRUPTED: dict[str, dict[str, Any]] = {
    "die": {"after": die},
    "lose": {"after": lose},
    "fail": {"before": fail},
}


@pytest.mark.parametrize(
    ("what", "errors"),
    [
        (None, 0),
        (None, 50),
        ("die", 0),
        *(pytest.param(*one, marks=pytest.mark.extended) for one in product(("lose", "fail"), (0, 50))),
        pytest.param("die", 50, marks=pytest.mark.extended),
    ],
)
def test_a_move_by_hand_at_any_call_is_never_undone(what: str | None, errors: int) -> None:
    """New code gets the traffic without a look at the alias. Somebody moves that, and another call is hit."""
    number = new_code_calls(errors)
    for moved in range(number):
        for point in range(number) if what else [0]:
            with new_code(errors) as (at, accepted, moves):
                Interruption(at, moved, before=partial(by_hand, at, moves, "1"))
                if what:
                    Interruption(at, point, **INTERRUPTED[what])
                deployment = run(at, accepted)
                assert deployment.status.final
                check_moves(at, deployment, moves)


def check_moves(at: Simulation, deployment: Deployment, moves: list[tuple[str, str]]) -> None:
    """Check that nobody's move was undone, and that without a success the alias is as it was found."""
    who, served = [by for by, _ in moves], at.model.serves("orders", "prod")
    assert served == (moves[-1][1] if moves else "2", {})
    after_hand = who[who.index("hand") :] if "hand" in who else []
    assert who[0] == "hand" or "deployer" not in after_hand, (moves, deployment.timeline)
    if deployment.status is not Status.SUCCEEDED:
        assert served[0] == ("1" if after_hand else "2"), (moves, deployment.timeline)
