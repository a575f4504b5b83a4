"""Transactions: what failed conditions mean, which of several decides, and when they are sent again."""

from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from sluicegate.aws.errors import ErrorKind, classify
from sluicegate.store.errors import Contended, Outdated, RequestKnown, TagMoved
from sluicegate.store.table import ABSENT, MAX_SENDS, PRESENT, Condition, Resolution, Table, Transaction
from support.simulation import TABLE, Simulation, simulation
from support.unprocessed import leave

ONE, OTHER = {"pk": "one", "sk": "x"}, {"pk": "other", "sk": "x"}


@pytest.fixture
def at() -> Iterator[Simulation]:
    with simulation() as made:
        yield made


@pytest.fixture
def table(at: Simulation) -> Table:
    return Table(at.client, TABLE, at.clock.sleep)


def sent(at: Simulation) -> list[None]:
    """Grows with each transaction that is sent."""
    calls: list[None] = []
    at.listen("before-call.dynamodb.TransactWriteItems", lambda **_: calls.append(None))
    return calls


def refusing(at: Simulation, code: str, **reasons: Any) -> None:
    def refuse(**_: Any) -> None:
        answer: Any = {"Error": {"Code": code}, **reasons}
        raise ClientError(answer, "TransactWriteItems")

    at.listen("before-call.dynamodb.TransactWriteItems", refuse)


def both(table: Table, first: Any, second: Any) -> Transaction:
    tx = table.transaction()
    tx.put({**ONE, "value": 2}, ABSENT, on_conflict=first)
    tx.put({**OTHER, "value": 2}, ABSENT, on_conflict=second)
    return tx


def test_all_is_written_or_nothing(table: Table) -> None:
    table.put({**OTHER, "value": 1})
    with pytest.raises(TagMoved):
        both(table, RequestKnown, TagMoved).commit()
    assert table.get(ONE) is None
    table.delete(OTHER)
    both(table, RequestKnown, TagMoved).commit()
    assert table.get(ONE) == {**ONE, "value": 2}
    assert table.get(OTHER) == {**OTHER, "value": 2}


def test_of_several_failed_conditions_the_first_write_decides(table: Table) -> None:
    table.put(dict(ONE))
    table.put(dict(OTHER))
    with pytest.raises(RequestKnown):
        both(table, RequestKnown, TagMoved).commit()
    with pytest.raises(TagMoved):
        both(table, TagMoved, RequestKnown).commit()


def test_a_function_says_what_a_conflict_means(table: Table) -> None:
    table.put(dict(ONE))
    with pytest.raises(Outdated):
        both(table, lambda: Outdated("newer"), TagMoved).commit()


def test_a_write_whose_answer_was_lost_is_done(at: Simulation, table: Table) -> None:
    table.put(dict(ONE))
    calls = sent(at)
    both(table, lambda: Resolution.TOOK_EFFECT, TagMoved).commit()
    assert len(calls) == 1


def test_a_write_is_dropped_and_the_rest_is_sent_at_once(at: Simulation, table: Table) -> None:
    table.put({**ONE, "value": 1})
    before, calls = at.clock(), sent(at)
    both(table, Resolution.DROP, TagMoved).commit()
    assert (len(calls), at.clock()) == (2, before)
    assert table.get(ONE) == {**ONE, "value": 1}
    assert table.get(OTHER) == {**OTHER, "value": 2}


def test_a_write_is_replaced_by_what_its_conflict_adds(table: Table) -> None:
    table.put({**ONE, "value": 1})
    tx = table.transaction()

    def instead() -> Resolution:
        tx.update(ONE, {"value": 3}, PRESENT, on_conflict=TagMoved)
        return Resolution.DROP

    tx.delete(ONE, ABSENT, on_conflict=instead)
    tx.commit()
    assert table.get(ONE) == {**ONE, "value": 3}


def test_a_condition_that_is_met_after_a_pause_is_no_conflict(at: Simulation, table: Table) -> None:
    table.put(dict(ONE))
    before = at.clock()

    def gone() -> Resolution:
        table.delete(ONE)
        return Resolution.RETRY

    both(table, gone, TagMoved).commit()
    assert at.clock() > before
    assert table.get(ONE) == {**ONE, "value": 2}


def test_a_check_writes_nothing(table: Table) -> None:
    tx = table.transaction()
    tx.put(dict(ONE))
    tx.check(OTHER, PRESENT, on_conflict=Outdated)
    with pytest.raises(Outdated):
        tx.commit()
    table.put({**OTHER, "value": 1})
    tx.commit()
    assert table.get(OTHER) == {**OTHER, "value": 1}


@pytest.mark.parametrize("code", ["TransactionConflict", "ThrottlingError"])
def test_a_transaction_that_is_always_in_the_way_is_given_up(at: Simulation, table: Table, code: str) -> None:
    calls = sent(at)
    refusing(at, "TransactionCanceledException", CancellationReasons=[{"Code": code}, {"Code": "None"}])
    with pytest.raises(Contended):
        both(table, RequestKnown, TagMoved).commit()
    assert len(calls) == MAX_SENDS


@pytest.mark.parametrize("code", ["ValidationError", "ItemCollectionSizeLimitExceeded"])
def test_a_transaction_that_can_never_be_written_is_not_sent_again(
    at: Simulation, table: Table, code: str
) -> None:
    """An item that has become too large, for example: as a conflict, it would be sent for ever."""
    calls = sent(at)
    refusing(at, "TransactionCanceledException", CancellationReasons=[{"Code": "None"}, {"Code": code}])
    with pytest.raises(ClientError) as cancelled:
        both(table, RequestKnown, TagMoved).commit()
    assert len(calls) == 1
    assert classify(cancelled.value) is ErrorKind.PERMANENT


def test_an_error_of_the_table_is_raised_as_it_is(at: Simulation, table: Table) -> None:
    refusing(at, "AccessDeniedException")
    with pytest.raises(ClientError):
        both(table, RequestKnown, TagMoved).commit()


def test_an_update_says_whether_its_condition_held(at: Simulation, table: Table) -> None:
    mine = Condition("claims = :found", {":found": 1})
    assert not table.update(ONE, {"state": "x", "claims": 2}, mine)
    table.put({**ONE, "claims": 1})
    assert table.update(ONE, {"state": "x", "claims": 2}, mine)
    assert table.get(ONE) == {**ONE, "state": "x", "claims": 2}
    with pytest.raises(ClientError):
        Table(at.client, "another").update(ONE, {"state": "x"}, PRESENT)


@pytest.mark.parametrize("page", [1, 2, 100, None])
def test_a_query_reads_page_after_page(table: Table, page: int | None) -> None:
    for number in range(5):
        table.put({"pk": "many", "sk": str(number)})
    found = table.query(Condition("pk = :pk", {":pk": "many"}), page=page)
    assert [item["sk"] for item in found] == list("01234")
    [newest, *_] = table.query(Condition("pk = :pk", {":pk": "many"}), newest_first=True, page=page)
    assert newest["sk"] == "4"


# Several items in one call


def test_items_that_dynamodb_leaves_for_another_call_are_read_in_one(at: Simulation, table: Table) -> None:
    several = [{"pk": "one", "sk": str(number)} for number in range(7)]
    for item in several[:6]:
        table.put(item)
    calls = leave(at, times=2)
    found = list(table.get_many(several, consistent=True))
    assert sorted(item["sk"] for item in found) == [item["sk"] for item in several[:6]]
    assert [len(call["Keys"]) for call in calls] == [7, 6, 5]
    assert all(call["ConsistentRead"] for call in calls)


def test_items_that_are_left_every_time_are_no_answer(at: Simulation, table: Table) -> None:
    """Where a decision rests on them, a missing item must not look like one that is not there."""
    calls = leave(at, times=100)
    several = [{"pk": "one", "sk": str(number)} for number in range(MAX_SENDS + 1)]
    with pytest.raises(Contended):
        list(table.get_many(several, consistent=True))
    assert len(calls) == MAX_SENDS
