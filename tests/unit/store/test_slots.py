"""Slots: exact sliding windows, also where many requests race for the last ones."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sluicegate.deployment.durations import seconds
from sluicegate.store.errors import LimitReached, SlotTaken
from sluicegate.store.slots import DAY, HOUR, Allowance, Slot
from support.simulation import START, TABLE, Simulation, new_deployment, simulation

SUBJECT = ("project", "https://gitlab.example.com", "4213")
AN_HOUR, A_DAY = HOUR * 1_000, DAY * 1_000
T = int(START) * 1_000
SHA = "a" * 64


@pytest.fixture
def at() -> Iterator[Simulation]:
    with simulation() as made:
        yield made


def hourly(most: int, rule: str = "orders", subject: tuple[str, ...] = SUBJECT) -> Allowance:
    return Allowance(rule, subject, HOUR, most)


def accept(at: Simulation, slots: tuple[Slot, ...], name: str = "") -> str:
    """Accept a deployment of a stage of its own, with these slots."""
    at.clock.now += 0.001
    deployment = new_deployment(at.clock(), SHA, alias=name or f"stage-{at.clock.now}")
    at.store.deployments.accept(deployment, request_key=deployment.id, fingerprint="f", uses=(), slots=slots)
    return deployment.id


def start(at: Simulation, moment: int, *allowances: Allowance) -> None:
    accept(at, tuple(at.store.slots.pick(allowance, moment) for allowance in allowances))


def test_a_limit_lifts_when_its_oldest_deployment_is_an_hour_old(at: Simulation) -> None:
    for moment in (T, T + 1_000, T + 2_000):
        start(at, moment, hourly(3))
    with pytest.raises(LimitReached) as reached:
        start(at, T + 3_000, hourly(3))
    error = reached.value
    assert (error.seconds, error.most, error.lifts_at) == (HOUR, 3, T + AN_HOUR)
    with pytest.raises(LimitReached):
        start(at, error.lifts_at - 1, hourly(3))
    start(at, error.lifts_at, hourly(3))
    with pytest.raises(LimitReached) as reached:
        start(at, error.lifts_at, hourly(3))
    assert reached.value.lifts_at == T + 1_000 + AN_HOUR


def test_rules_and_subjects_have_limits_of_their_own(at: Simulation) -> None:
    others = [
        hourly(1),
        hourly(1, rule="other"),
        hourly(1, subject=("project", "https://gitlab.example.org", "4213")),
        hourly(1, subject=("principal", "111111111111", "AROAAGENT111111111111")),
        replace(hourly(1), seconds=DAY),
    ]
    for allowance in others:
        start(at, T, allowance)
    for allowance in others:
        with pytest.raises(LimitReached):
            start(at, T, allowance)


def test_the_limit_of_the_day_counts_beside_that_of_the_hour(at: Simulation) -> None:
    both = (hourly(2), replace(hourly(3), seconds=DAY))
    for moment in (T, T + 1, T + AN_HOUR + 1):
        start(at, moment, *both)
    with pytest.raises(LimitReached) as reached:
        start(at, T + 2 * AN_HOUR + 2, *both)
    assert (reached.value.seconds, reached.value.lifts_at) == (DAY, T + A_DAY)


def test_a_taken_slot_writes_nothing_else(at: Simulation) -> None:
    slot = at.store.slots.pick(hourly(1), T)
    accept(at, (slot,), "first")
    before = at.client.scan(TableName=TABLE)["Items"]
    day = at.store.slots.pick(replace(hourly(5), seconds=DAY), T)
    with pytest.raises(SlotTaken):
        accept(at, (day, slot), "second")
    assert at.client.scan(TableName=TABLE)["Items"] == before


@pytest.mark.parametrize("most", [2, 3])
def test_a_lowered_limit_counts_what_was_started_before(at: Simulation, most: int) -> None:
    for moment in range(T, T + 5):
        start(at, moment, hourly(5))
    with pytest.raises(LimitReached) as reached:
        start(at, T + 5, hourly(most))
    lifts_at = reached.value.lifts_at
    assert lifts_at == T + 5 - most + AN_HOUR
    with pytest.raises(LimitReached):
        start(at, lifts_at - 1, hourly(most))
    start(at, lifts_at, hourly(most))


def test_slots_expire_after_they_are_free(at: Simulation) -> None:
    start(at, T, hourly(1))
    [slot] = [item for item in at.client.scan(TableName=TABLE)["Items"] if "taken_at" in item]
    assert int(slot["expires_at"]["N"]) * 1_000 >= T + AN_HOUR


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    most=st.integers(1, 3),
    gaps=st.lists(
        st.one_of(st.integers(0, 3), st.integers(AN_HOUR // 3, AN_HOUR // 2), st.just(AN_HOUR)),
        min_size=1,
        max_size=14,
    ),
    lowered=st.integers(0, 14),
)
def test_no_window_has_more_than_the_limit(at: Simulation, most: int, gaps: list[int], lowered: int) -> None:
    """At any times: what is refused would have exceeded the limit, and what is accepted does not."""
    rule = f"{most} {gaps} {lowered}"
    moment, accepted = T, list[int]()
    for number, gap in enumerate(gaps):
        moment += gap
        limit = max(1, most - 1) if number >= lowered else most
        in_window = sum(one > moment - AN_HOUR for one in accepted)
        if in_window < limit:
            start(at, moment, hourly(limit, rule))
            accepted.append(moment)
            continue
        with pytest.raises(LimitReached) as reached:
            start(at, moment, hourly(limit, rule))
        lifts_at = reached.value.lifts_at
        assert sum(one > lifts_at - AN_HOUR for one in accepted) < limit
        assert sum(one > lifts_at - 1 - AN_HOUR for one in accepted) >= limit


@pytest.mark.parametrize("already", [0, 3])
def test_fifty_racing_requests_share_five_slots(at: Simulation, already: int) -> None:
    for _ in range(already):
        start(at, T, hourly(5))
    store = at.store
    together = Barrier(50)

    def request(number: int) -> bool:
        deployment = new_deployment(START + number / 1_000, SHA, alias=f"stage-{number}")
        moment = int(seconds(deployment.created_at) * 1_000)
        for attempt in range(50):
            try:
                slot = store.slots.pick(hourly(5), moment)
                if not attempt:
                    together.wait()
                store.deployments.accept(
                    deployment, request_key=deployment.id, fingerprint="f", uses=(), slots=(slot,)
                )
            except LimitReached:
                return False
            except SlotTaken:
                continue
            return True
        raise AssertionError("a request loses no more than once for each slot")

    with ThreadPoolExecutor(50) as threads:
        accepted = list(threads.map(request, range(50)))
    assert sum(accepted) == 5 - already
