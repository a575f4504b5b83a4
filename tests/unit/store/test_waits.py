"""Waits of rollouts: the token of the newest one can always be found."""

from dataclasses import replace

from sluicegate.store.store import Store
from sluicegate.store.waits import CLOCKS_DIFFER, Wait
from support.simulation import START, TABLE, create_table
from support.table_model import DynamoDbModel

NOW = int(START)
FIRST = Wait("first", 2, NOW + 600, NOW)


def store() -> Store:
    table = DynamoDbModel()
    create_table(table)
    return Store(table, TABLE)  # type: ignore[arg-type]


def test_a_write_that_takes_effect_late_takes_no_place_of_a_later_wait() -> None:
    waits = store().waits
    later = replace(FIRST, token="later", began=NOW + CLOCKS_DIFFER, until=NOW + 300)
    waits.add("D", later)
    waits.add("D", FIRST)
    assert waits.last("D") == later


def test_a_wait_without_a_revision_takes_no_place_of_one_that_has_one() -> None:
    waits = store().waits
    waits.add("D", FIRST)
    waits.add("D", Wait("seconds", 0, NOW + 5, NOW))
    assert waits.token("D") == "first"


def test_a_wait_of_a_later_revision_takes_the_place_whatever_the_clocks_say() -> None:
    waits = store().waits
    waits.add("D", FIRST)
    waits.add("D", Wait("later", 3, NOW, NOW - 60))
    assert waits.token("D") == "later"


def test_the_next_wait_takes_the_place_of_the_last_one_though_its_clock_is_behind() -> None:
    waits = store().waits
    behind = replace(FIRST, token="behind", began=NOW - CLOCKS_DIFFER + 1, until=NOW + 5)
    waits.add("D", FIRST)
    waits.add("D", behind)
    assert waits.token("D") == "behind"


def test_a_wait_of_an_earlier_release_gives_way() -> None:
    made = store()
    made.waits._table.put({"pk": "deployment#D", "sk": "wait", "token": "old", "expires_at": NOW})
    assert made.waits.token("D") == "old"
    made.waits.add("D", FIRST)
    assert made.waits.last("D") == FIRST
