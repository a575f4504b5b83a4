"""What an acceptance reads at once: the request, the announcement, and the list of a stage's holds."""

import random
from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any

import pytest

from sluicegate.deployment.durations import timestamp
from sluicegate.owner import Owner
from sluicegate.store import keys
from sluicegate.store.codec import marshal
from sluicegate.store.grounds import Ground
from sluicegate.store.holds import COMPARED_EVERY, Hold
from sluicegate.store.store import Store
from sluicegate.store.uploads import Announcer, Upload
from support.simulation import START, TABLE, Simulation, simulation
from support.unprocessed import leave

OWNER = Owner("project", "https://gitlab.example.com", "4213")
SHA = "a" * 64
MINE = Announcer("orders", SHA, OWNER, "main", "c0ffee")


@pytest.fixture
def at() -> Iterator[Simulation]:
    with simulation() as made:
        yield made


def hold(rule: str, number: int = 1, stage: str = "prod") -> Hold:
    since = timestamp(START + number)
    by = {"job_id": "1", "user_login": None}
    return Hold(stage, rule, ("orders*",), "freeze", since, by, id=f"hold-{rule}-{number}")


def ground(at: Simulation, store: Store | None = None) -> Ground:
    return (store or at.store).grounds.read("key", "prod", MINE)


def process(at: Simulation) -> Store:
    """The store of a process that has just started."""
    return Store(at.client, TABLE, at.clock, at.clock.sleep)


def calls(at: Simulation) -> list[str]:
    made: list[str] = []
    at.listen("before-call.dynamodb", lambda model, **_: made.append(model.name))
    return made


def announce(at: Simulation, **changes: Any) -> None:
    fields = {"function": "orders", "sha256": SHA, "size": 1, "owner": OWNER, "ref": "main", "sha": "c0ffee"}
    at.store.uploads.add(Upload(**{**fields, **changes}))


def earlier_release(at: Simulation, one: Hold) -> None:
    """Place a hold as an earlier release did: it wrote no list."""
    at.client.put_item(TableName=TABLE, Item=marshal({**keys.hold(one.stage, one.rule), **asdict(one)}))


def test_one_call_reads_all_of_it(at: Simulation) -> None:
    announce(at)
    at.store.holds.place(hold("a"))
    ground(at).holds()  # compared once
    made = calls(at)
    found = ground(at)
    assert (found.request, found.holds(), found.is_registered("orders", SHA)) == (None, [hold("a")], True)
    assert made == ["BatchGetItem"]


@pytest.mark.parametrize("changes", [{"ref": "other"}, {"owner": replace(OWNER, id="7")}, {"sha": ""}])
def test_what_another_job_announced_is_looked_for(at: Simulation, changes: dict[str, Any]) -> None:
    announce(at, **changes)
    assert ground(at).is_registered("orders", SHA)
    assert not ground(at).is_registered("orders", "b" * 64)
    assert not ground(at).is_registered("orders-api", SHA)


def test_keys_that_are_left_are_read_before_anything_is_decided(at: Simulation) -> None:
    announce(at)
    at.store.holds.place(hold("a"))
    ground(at).holds()
    leave(at, times=2)
    found = ground(at)
    assert (found.holds(), found.is_registered("orders", SHA)) == ([hold("a")], True)


def test_a_process_compares_the_list_first(at: Simulation) -> None:
    assert ground(at).holds() == []
    earlier_release(at, hold("a"))
    other = process(at)
    assert ground(at, other).holds() == [hold("a")]
    # It is mended for the others too.
    made = calls(at)
    assert (ground(at, other).holds(), ground(at).holds()) == ([hold("a")], [hold("a")])
    assert made == ["BatchGetItem", "BatchGetItem"]


def test_a_hold_of_an_earlier_release_that_runs_beside_counts_within_minutes(at: Simulation) -> None:
    """Both run for a while when a stack is updated."""
    assert ground(at).holds() == []
    earlier_release(at, hold("a"))
    assert ground(at).holds() == []
    at.clock.sleep(COMPARED_EVERY)
    assert ground(at).holds() == [hold("a")]


def test_a_hold_that_an_earlier_release_took_away_is_gone(at: Simulation) -> None:
    at.store.holds.place(hold("a"))
    assert ground(at).holds() == [hold("a")]
    at.client.delete_item(TableName=TABLE, Key=marshal(keys.hold("prod", "a")))
    assert ground(at, process(at)).holds() == []


def test_a_hold_without_an_id_is_listed(at: Simulation) -> None:
    at.store.holds.place(replace(hold("a"), id=""))
    assert ground(at).holds() == ground(at).holds() == [replace(hold("a"), id="")]


@pytest.mark.parametrize("call", ["Query", "UpdateItem"])
def test_a_hold_that_comes_while_the_list_is_compared_is_not_lost(at: Simulation, call: str) -> None:
    others = [process(at)]

    def place(**_: Any) -> None:
        if others:
            others.pop().holds.place(hold("a"))

    at.listen(f"before-call.dynamodb.{call}", place)
    ground(at).holds()
    assert ground(at).holds() == [hold("a")]


@pytest.mark.parametrize("call", ["GetItem", "Query", "TransactWriteItems"])
@pytest.mark.parametrize("rule", ["a", "b"])
def test_two_changes_at_once_are_both_listed(at: Simulation, call: str, rule: str) -> None:
    at.store.holds.place(hold("a"))
    others = [process(at)]

    def release(**_: Any) -> None:
        if others:
            others.pop().holds.release(hold("a"))

    at.listen(f"before-call.dynamodb.{call}", release)
    at.store.holds.place(hold(rule, 2))
    ground(at).holds()
    assert ground(at).holds() == at.store.holds.of_stage("prod") == [hold(rule, 2)]


def test_the_list_is_what_the_items_are(at: Simulation) -> None:
    choose = random.Random(13)  # noqa: S311 (the same every time)
    ground(at).holds()
    for number in range(60):
        rule = choose.choice("abc")
        if choose.random() < 0.6:
            at.store.holds.place(hold(rule, number))
        else:
            there = {one.rule: one for one in at.store.holds.of_stage("prod")}
            at.store.holds.release(choose.choice([there.get(rule, hold(rule)), hold(rule, 99)]))
        assert ground(at).holds() == at.store.holds.of_stage("prod")
