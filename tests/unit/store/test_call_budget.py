"""The budget in the table: one write while nobody waits, an order when some do, and no call too many."""

from collections import Counter

import pytest

from sluicegate.deployment.call_budget import BURST, LATE, MIN_RATE, START_RATE, CallClass, InLine
from sluicegate.store import keys
from sluicegate.store.call_budget import CallClaim
from support.line_model import Granted, LineModel, take
from support.simulation import OWN, START, TABLE

CALLS = 4


def claim(name: str, level: CallClass = CallClass.DEPLOY) -> CallClaim:
    return CallClaim(name, "one", level, CALLS)


def calls(at: LineModel) -> list[str]:
    names: list[str] = []
    at.client.meta.events.register("before-call.dynamodb", lambda model, **_: names.append(model.name))
    return names


def burst(number: int, **fields: object) -> LineModel:
    at = LineModel(**fields)  # type: ignore[arg-type]
    for index in range(number):
        at.ask(f"{index:03}", owner=f"project-{index % 7}", at=index * 0.003)
    return at


def order(granted: list[Granted]) -> str:
    return "".join(one.claim.deployment for one in granted)


def check_rate(granted: list[Granted]) -> None:
    """No window has more calls than a burst and the rate."""
    for index, first in enumerate(granted):
        total = 0
        for one in granted[index:]:
            total += one.claim.calls
            assert total <= START_RATE * (BURST / 1_000 + one.granted - first.granted) + 0.1


def test_while_nobody_waits_a_deployment_costs_one_write() -> None:
    at = LineModel(processes=1)
    names = calls(at)
    assert at.budgets[0].take(OWN, claim("a"), in_line=False) is None
    assert names == ["UpdateItem"]
    at.now += 10
    assert at.budgets[0].take(OWN, claim("b"), in_line=False) is None
    assert names == ["UpdateItem"] * 2
    assert at.budgets[0].take(OWN, claim("c", CallClass.UNDER_WAY), in_line=False) is None
    assert names == ["UpdateItem"] * 3


def test_the_fourth_of_a_second_is_in_line_and_the_next_ones_behind_it() -> None:
    at = LineModel(processes=5)
    answers = [take(at.budgets[index], OWN, claim(str(index)), in_line=False) for index in range(5)]
    assert answers[:3] == [None] * 3
    fourth, fifth = answers[3:]
    assert isinstance(fourth, InLine)
    assert isinstance(fifth, InLine)
    assert (fourth.place, fifth.place) == (1, 2)
    assert 0 < fourth.seconds < fifth.seconds < 0.6


def test_nobody_passes_those_in_line() -> None:
    at = burst(40)
    at.ask("late", owner="project-0", at=1.9)
    granted = at.run()
    assert granted[-1].claim.deployment == "late"


def test_rollbacks_and_ways_back_pass_everybody() -> None:
    at = burst(60)
    at.ask("rollback", level=CallClass.UNDER_WAY, calls=2, at=5)
    [rollback] = [one for one in at.run() if one.claim.deployment == "rollback"]
    assert (rollback.granted - rollback.asked, rollback.looks) == (0, 1)


def test_promotions_go_before_deployments_and_none_waits_for_ever() -> None:
    at = burst(30)
    at.ask("promotion", level=CallClass.PROMOTION, calls=2, at=2)
    names = [one.claim.deployment for one in at.run()]
    assert names.index("promotion") < 15
    at = LineModel()
    at.ask("deploy", at=1)
    for index in range(900):  # as many promotions as the rate allows, for more than two minutes
        at.ask(f"p{index}", owner=f"project-{index}", level=CallClass.PROMOTION, calls=2, at=index / 7.2)
    [deploy] = [one for one in at.run() if one.claim.deployment == "deploy"]
    assert deploy.granted - deploy.asked < 75


def test_a_project_with_one_deployment_does_not_wait_for_one_with_many() -> None:
    at = LineModel()
    for index in range(100):
        at.ask(f"{index:03}", owner="many", at=0.001 * index)
    at.ask("one", owner="few", at=1)
    at.ask("two", owner="few", at=1.1)
    granted = {one.claim.deployment: one.granted - one.asked for one in at.run()}
    assert granted["one"] < 1.5
    assert granted["two"] < 2.5


@pytest.mark.parametrize("lateness", [(0.0, 0.05), (0.05, 0.3), (0.2, 1.0)])
def test_a_burst_takes_what_the_rate_takes_and_no_call_more(lateness: tuple[float, float]) -> None:
    at = burst(120, lateness=lateness)
    granted = at.run()
    assert len(granted) == 120
    check_rate(granted)
    assert granted[-1].granted - START <= 120 * CALLS / START_RATE * 1.02
    assert max(one.looks for one in granted) <= 6
    assert at.budgets[0].line(OWN) == []


def test_what_it_says_about_the_time_is_true_while_nothing_changes() -> None:
    for one in burst(60, lateness=(0.0, 0.05)).run():
        if one.first:
            assert abs(one.granted - one.asked - one.first.seconds) < 0.5


def test_those_that_die_in_line_hold_up_nobody_for_long() -> None:
    at = burst(60)
    at.at(3, lambda: at.drop(lambda one: one.claim.deployment < "040"))
    granted = at.run()
    assert {one.claim.deployment for one in granted} >= {f"{index:03}" for index in range(40, 60)}
    assert granted[-1].granted - START < 60 * CALLS / START_RATE + LATE / 1_000
    # Those that come later do not wait for the dead either.
    at.now += 60
    assert at.budgets[0].take(OWN, claim("late"), in_line=False) is None


def test_one_that_comes_back_keeps_its_place() -> None:
    at = burst(100)
    began = at.now
    at.at(3, lambda: at.drop(lambda one: one.claim.deployment == "050" and one.asked < began + 3))
    at.at(20, lambda: at.look_again("050"))
    [back] = [one for one in at.run() if one.claim.deployment == "050"]
    assert back.granted - back.asked < 1.5


def test_a_throttled_call_makes_all_processes_slower_and_quiet_faster_again() -> None:
    at = burst(100)
    for second in range(2, 7):
        at.at(second, lambda: at.budgets[3].throttled(OWN))
        at.at(second + 0.1, lambda: at.budgets[4].throttled(OWN))  # the same, once more
    granted = at.run()
    per_second = Counter(int(one.granted - START) for one in granted)
    assert len(granted) == 100
    assert per_second[8] * CALLS <= 8
    assert per_second[26] * CALLS >= 8


def test_calls_that_are_given_back_can_be_taken() -> None:
    at = LineModel(processes=1)
    for name in "abc":
        assert at.budgets[0].take(OWN, claim(name), in_line=False) is None
    at.budgets[0].give_back(OWN, CALLS)
    assert at.budgets[0].take(OWN, claim("d"), in_line=False) is None
    assert at.budgets[0].take(OWN, claim("e"), in_line=False) is not None


def test_what_never_waits_overdraws_by_a_second_at_most() -> None:
    at = LineModel(processes=1)
    for _ in range(100):
        at.budgets[0].charge(OWN, 2)
    waits = at.budgets[0].take(OWN, claim("a"), in_line=False)
    assert waits is not None
    assert 1 < waits.seconds < 1.5


def test_a_place_is_kept_for_two_days_after_each_look() -> None:
    at = LineModel(processes=1)
    [budget] = at.budgets

    def look(*, in_line: bool) -> int:
        for _ in range(10):
            budget.charge(OWN, CALLS)
        assert take(budget, OWN, claim("a"), in_line=in_line)
        key = {"pk": {"S": f"budget#{OWN.account}#{OWN.region}"}, "sk": {"S": "wait#a"}}
        return int(at.client.get_item(TableName=TABLE, Key=key)["Item"]["expires_at"]["N"])

    first = look(in_line=False)
    at.now += 3_600
    assert look(in_line=True) == first + 3_600


def test_a_week_of_looks_fits_into_the_histories_of_five_executions() -> None:
    """Rollbacks and ways back take all that there is, all the time."""
    at = LineModel(processes=1)
    [budget] = at.budgets
    ends, looks, in_line = at.now + 7 * 86_400, 0, False
    while at.now < ends:
        for _ in range(10):
            budget.charge(OWN, CALLS)
        waits = take(budget, OWN, claim("a"), in_line=in_line)
        assert waits is not None
        looks, in_line = looks + 1, True
        at.now += max(1, int(waits.look_in))
    assert looks * 13 < 5 * 25_000  # events: a turn, a choice and a wait


def test_a_long_line_moves_as_fast_as_the_rate_that_others_leave() -> None:
    at = burst(200)
    for second in range(600):
        at.at(second, lambda: at.budgets[0].throttled(OWN))
    granted = at.run()
    assert granted[-1].granted - START < 1.1 * 200 * CALLS / MIN_RATE


def test_a_line_that_stood_still_for_long_moves_on_soon() -> None:
    at = burst(30)
    for tenth in range(6_000):
        at.at(1 + tenth / 10, lambda: at.budgets[0].charge(OWN, CALLS))
    granted = [one.granted - START for one in at.run()]
    stood = [time for time in granted if time > 2]
    assert min(stood) > 600
    assert max(stood) < 600 + 120


def test_a_clock_that_is_an_hour_ahead_holds_up_nobody() -> None:
    at = LineModel(processes=2)
    wrong, right = at.budgets
    at.now += 3_600
    wrong.charge(OWN, CALLS)
    wrong.throttled(OWN)
    for index in range(6):
        take(wrong, OWN, claim(f"wrong-{index}"), in_line=False)
    at.now -= 3_600
    assert right.take(OWN, claim("a"), in_line=False) is None
    for _ in range(40):
        right.throttled(OWN)
        at.now += 1
    item = at.client.get_item(
        TableName=TABLE, Key={name: {"S": value} for name, value in keys.call_bucket(OWN).items()}
    )["Item"]
    assert float(item["rate"]["N"]) < 3
    at.now += 60
    for _ in range(3):
        assert right.take(OWN, claim("b"), in_line=False) is None


def test_the_items_are_in_no_index() -> None:
    """A number in the key of an index would be refused, and a text would be found there."""
    at = LineModel(processes=1)
    for index in range(5):
        take(at.budgets[0], OWN, claim(str(index)), in_line=False)
    items = at.client.scan(TableName=TABLE)["Items"]
    assert {item["pk"]["S"] for item in items} == {keys.call_budget(OWN)}
    indexed = {"project", "function", "kind", "unfinished", "due", "watching", "unsealed", "at"}
    assert not any(indexed & set(item) for item in items)
