"""One deletion, interrupted at every call to Lambda, to CloudWatch and to the table.

In each call the pruner dies, the call fails or its answer is lost, or somebody needs the version after all:
what is deleted is in the record, and nothing that is needed is deleted.
"""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from itertools import count
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from sluicegate.deployment.model import Deployment
from sluicegate.store.codec import unmarshal
from sluicegate.store.errors import Condemned, Spared, StoreError
from sluicegate.store.prunings import CondemnedVersion
from support.crash_counts import COUNTS
from support.interruptions import Interruption
from support.lambda_model import timeout
from support.lambda_rules import error
from support.lambda_versions_model import VersionsModel
from support.pruning import PlaceModel, PruningSimulation, gate, pruning
from support.simulation import OWN, TABLE, Clock, Killed, Simulation
from support.table_model import DynamoDbModel

CODES = [f"code {number}" for number in range(1, 6)]


@cache
def prepared() -> tuple[Any, VersionsModel, float]:
    """Five versions are published, of which prod serves the last: the first alone is old, and may go."""
    with pruning() as made:
        made.release(CODES[0])
        made.age()
        made.release(*CODES[1:])
        return made.at.client.copy_tables(), made.model, made.at.clock.now


@contextmanager
def scene() -> Iterator[PruningSimulation]:
    before, model, now = prepared()
    clock = Clock(now)
    client = DynamoDbModel(clock, tables={name: table.copy() for name, table in before.items()})
    at = Simulation(client, copy.deepcopy(model), clock)
    assert isinstance(at.model, VersionsModel)
    yield PruningSimulation(at, at.model, PlaceModel(at, at.model))


@cache
def calls() -> tuple[str, ...]:
    """Every call of a run, in order, where nothing interrupts it."""
    with scene() as here:
        interruption = Interruption(here.at, None)
        assert here.prune().deleted == [("orders", "1")]
        return tuple(interruption.names)


POINTS = [pytest.param(point, id=f"{point}-{call}") for point, call in enumerate(calls())]


def die() -> None:
    raise Killed


def fail() -> None:
    raise error("ServiceException", 500)


def lose() -> None:
    raise timeout()


def throttle() -> None:
    raise error("TooManyRequestsException", 429)


def prune_again(here: PruningSimulation, used: Any = None) -> None:
    """The next runs of the schedule: a lease is over by then."""
    for _ in range(2):
        here.age(3_600)
        here.prune(used)
    here.age(3_600)


def facts(here: PruningSimulation) -> list[str]:
    items = map(unmarshal, here.at.client.scan(TableName=TABLE)["Items"])
    return [one["sk"] for one in items if one["pk"].startswith("fact#pruned#")]


def check(here: PruningSimulation) -> None:
    """Nothing is left half done, and no alias serves what is gone."""
    assert here.at.store.prunings.condemned() == []
    assert here.at.locks() == []
    served = here.model.serves("orders", "prod")
    assert served
    assert served[0] in here.versions()
    assert set(here.versions()) >= {"2", "3", "4", "5"}
    past = {one.version: one for one in here.at.store.versions.past(OWN, "orders", "prod")}
    pruned = past["1"].pruned
    assert pruned == ("1" not in here.versions())
    assert len(facts(here)) == int(pruned)


def check_pruned(here: PruningSimulation) -> None:
    check(here)
    assert here.versions() == ["2", "3", "4", "5"]


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_run_that_dies_is_finished_by_the_next_one(point: int, when: str) -> None:
    with scene() as here:
        Interruption(here.at, point, **{when: die})
        with pytest.raises(Killed):
            here.prune()
        prune_again(here)
        check_pruned(here)


@pytest.mark.extended
@pytest.mark.parametrize("point", POINTS)
def test_two_runs_that_die_are_finished_by_the_third(point: int) -> None:
    """Whatever the second one still had to do: it dies after each of its calls."""
    for second in count():
        with scene() as here:
            Interruption(here.at, point, after=die)
            with pytest.raises(Killed):
                here.prune()
            here.age(3_600)
            Interruption(here.at, second, after=die)
            try:
                here.prune()
            except Killed:
                prune_again(here)
                check_pruned(here)
                COUNTS["pairs in a pruning"] += 1
            else:
                assert second > 1  # it had something to do
                break  # and has no more calls


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("failure", [fail, lose, throttle])
def test_a_call_that_fails_or_whose_answer_is_lost_does_not_change_the_end(
    point: int, failure: Callable[[], None]
) -> None:
    with scene() as here:
        Interruption(here.at, point, **{"before" if failure is not lose else "after": failure})
        with suppress(ClientError, BotoCoreError):
            here.prune()
        prune_again(here)
        check_pruned(here)


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("dies", [False, True])
def test_a_rollback_wins_or_the_deletion_does(point: int, dies: bool) -> None:
    """One of both: a rollback that is accepted finds its version, whatever the pruner was at."""
    accepted: list[Deployment] = []
    refused: list[StoreError] = []

    with scene() as here:
        digest = here.model.code_of("orders", "1")

        def roll_back() -> None:
            try:
                accepted.append(here.at.accept(digest, action="rollback", version="1"))
            except Condemned as error:
                refused.append(error)
            if dies:
                raise Killed

        Interruption(here.at, point, before=roll_back)
        with suppress(Killed):
            here.prune()
        assert len(accepted) + len(refused) == 1
        if accepted:
            assert here.at.run(accepted[0]).status == "succeeded"
            prune_again(here)
            check(here)
            assert here.model.serves("orders", "prod") == ("1", {})
            assert "1" in here.versions()
        else:
            prune_again(here)
            check_pruned(here)


@pytest.mark.parametrize("point", POINTS)
def test_what_prod_went_back_to_and_left_again_meanwhile_can_be_gone_back_to(point: int) -> None:
    """It is the first that a rollback goes to by then, whatever the pruner had read before."""
    done: list[Deployment] = []

    with scene() as here:
        digest = here.model.code_of("orders", "1")

        def there_and_on() -> None:
            with suppress(Condemned):
                done.append(here.at.run(here.at.accept(digest, action="rollback", version="1")))
                here.release("code 6")

        Interruption(here.at, point, before=there_and_on)
        here.prune()
        prune_again(here)
        check(here)
        assert bool(done) == ("1" in here.versions())


def test_a_run_that_was_held_up_takes_nothing_back_from_the_next_one() -> None:
    """It found an alias that is elsewhere by now, and would lift the fence that the next run relies on."""
    with scene() as here:
        digest = here.model.code_of("orders", "1")
        prunings, first = here.at.store.prunings, "prune-first"
        version = CondemnedVersion("orders", OWN.account, OWN.region, "1", digest, "2026-01-01T00:00:00Z")
        prunings.condemn(version, first)
        here.age(3_600)

        def held_up(name: str) -> None:
            if name == "DeleteFunction":
                with pytest.raises(Spared):
                    prunings.spare(version, first)
                with pytest.raises(Spared):
                    prunings.note_pruned(version, first, "", here.at.clock.now)
                with pytest.raises(Condemned):
                    here.at.accept(digest, action="rollback", version="1")

        here.model.before = held_up
        assert here.prune().deleted == [("orders", "1")]
        check_pruned(here)


def test_a_run_that_was_held_up_deletes_nothing_that_the_next_one_has_spared() -> None:
    """It has read that nothing needs the version. No fence keeps that so any more."""
    with scene() as here:

        def held_up() -> None:
            here.age(3_600)
            here.prune(gate(dry_run=True))
            assert here.at.store.prunings.condemned() == []

        Interruption(here.at, calls().index("TransactWriteItems"), after=held_up)
        assert here.prune().deleted == []
        prune_again(here, gate(dry_run=True))
        check(here)
        assert "1" in here.versions()


@pytest.mark.parametrize("point", POINTS)
def test_a_deployment_that_finds_the_version_by_its_digest_serves_one_that_exists(point: int) -> None:
    """It waits for the publishing lock, and longer than the pruner's lease; then the pruner goes on."""
    with scene() as here:
        digest = here.model.code_of("orders", "1")
        done: list[Deployment] = []
        here.model.configure("orders", Description="")
        Interruption(here.at, point, before=lambda: done.append(here.at.run(here.at.accept(digest))))
        here.prune()
        assert [one.status for one in done] == ["succeeded"]
        prune_again(here)
        check(here)
        served = here.model.serves("orders", "prod")
        assert served == (done[0].version, {})
        assert here.model.code_of("orders", served[0]) == digest


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("weights", [{}, {"1": 0.1}])
def test_an_alias_that_somebody_moves_there_keeps_its_version(point: int, weights: dict[str, float]) -> None:
    """Lambda itself refuses to delete what an alias names. Of a weight nothing says so.

    So people can set a weight between the pruner's last look and its deletion, and no deployment of ours can.
    """
    with scene() as here:
        moved: list[bool] = []

        def move() -> None:
            moved.append("1" in here.versions())
            if moved[0]:
                here.model.set_alias("orders", "hand", "5" if weights else "1", weights)

        Interruption(here.at, point, before=move)
        here.prune()
        prune_again(here)
        check(here)
        unseen = "ListAliases" not in calls()[point:]
        if moved[0] and not (weights and unseen):
            assert "1" in here.versions()


@pytest.mark.parametrize("point", POINTS)
def test_what_nobody_wants_deleted_any_more_is_spared(point: int) -> None:
    """The run dies, and the gate file is another one at the next."""
    with scene() as here:
        Interruption(here.at, point, after=die)
        with suppress(Killed):
            here.prune()
        there = "1" in here.versions()
        prune_again(here, gate(dry_run=True))
        check(here)
        assert ("1" in here.versions()) == there


def test_what_is_deleted_already_is_not_spared() -> None:
    """The run dies before it notes the deletion, and by the next one a rollback may go to the version."""
    with scene() as here:
        Interruption(here.at, calls().index("DeleteFunction"), after=die)
        with suppress(Killed):
            here.prune()
        assert "1" not in here.versions()
        prune_again(here, gate(rollbacks=5))
        check(here)
