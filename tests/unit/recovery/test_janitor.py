"""The janitor looks at what is due and at nothing else, and the waker at what watches: 10,000 may be open."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, cast

import pytest

from sluicegate.deployment.durations import timestamp
from sluicegate.deployment.model import Deployment, Reason, Status
from sluicegate.deployment.plan import Target, Watch
from sluicegate.recovery.janitor import (
    AGAIN_AFTER,
    GIVES_UP_AFTER,
    RESTART_EVERY,
    SOON,
    SWEEP_SECONDS,
    TRUSTED,
    Janitor,
    Swept,
)
from sluicegate.recovery.waker import Waker
from sluicegate.rollout.transitions import request_abort
from sluicegate.store.codec import STUCK_AFTER, marshal, record
from sluicegate.store.store import Store
from sluicegate.store.waits import Wait
from support.counting_table import CountingTable
from support.simulation import OWN, TABLE, Simulation, new_deployment, simulation

OPEN = 10_000
NOW = 1_790_000_000


@dataclass
class Engine:
    """Step Functions: each look and each start is noted, with the time that it takes."""

    at: Simulation
    states: dict[str, str | Exception | None] = field(default_factory=dict)
    looks: list[str] = field(default_factory=list)
    started: list[str] = field(default_factory=list)
    woken: list[str] = field(default_factory=list)
    takes: float = 0

    def state(self, deployment: Deployment) -> str | None:
        self.looks.append(deployment.id)
        self.at.clock.sleep(self.takes)
        state = self.states.get(deployment.id, "RUNNING")
        if isinstance(state, Exception):
            raise state
        return state

    def start(self, deployment: Deployment) -> None:
        self.started.append(deployment.id)

    def wake(self, token: str, **_: bool) -> bool:
        self.woken.append(token)
        return True


@dataclass
class Sweeps:
    """A janitor over the models of AWS."""

    at: Simulation
    engine: Engine

    def accept(self, alias: str = "prod") -> Deployment:
        return self.at.accept("0" * 64, alias=alias)

    def wait(self, deployment: Deployment, seconds: int) -> None:
        self.at.deployer.register_wait(deployment.id, deployment.revision, "token", seconds)

    def after(self, seconds: float) -> Swept:
        """Sweep after so many seconds."""
        self.at.clock.sleep(seconds)
        self.engine.looks.clear()
        return Janitor(self.at.store, cast(Any, self.engine), self.at.clock).sweep()


@pytest.fixture
def sweeps() -> Iterator[Sweeps]:
    with simulation() as at:
        yield Sweeps(at, Engine(at))


def test_what_changed_a_moment_ago_is_not_looked_at(sweeps: Sweeps) -> None:
    sweeps.accept()
    sweeps.after(STUCK_AFTER - 1)
    assert sweeps.engine.looks == []
    assert sweeps.after(2).running == 1


def test_what_runs_is_looked_at_again_a_minute_later(sweeps: Sweeps) -> None:
    deployment = sweeps.accept()
    sweeps.after(STUCK_AFTER + 1)
    sweeps.after(AGAIN_AFTER - 1)
    assert sweeps.engine.looks == []
    sweeps.after(2)
    assert sweeps.engine.looks == [deployment.id]


def test_a_wait_that_is_over_soon_is_no_look(sweeps: Sweeps) -> None:
    deployment = sweeps.accept()
    sweeps.wait(deployment, 300)
    assert sweeps.after(STUCK_AFTER + 1).running == 1
    assert sweeps.engine.looks == []
    sweeps.after(300)
    assert sweeps.engine.looks == [deployment.id], "it did not go on when its wait was over"


def test_in_a_long_wait_the_execution_is_looked_at_now_and_then(sweeps: Sweeps) -> None:
    deployment = sweeps.accept()
    sweeps.wait(deployment, 24 * 3_600)
    looks = 0
    for _ in range(60):
        sweeps.after(60)
        looks += len(sweeps.engine.looks)
    assert looks == pytest.approx(3_600 / TRUSTED, abs=1)
    sweeps.engine.states[deployment.id] = "ABORTED"
    assert sweeps.after(TRUSTED).started == [deployment.id]


def test_a_decision_in_a_wait_is_not_trusted_to_it(sweeps: Sweeps) -> None:
    """Who decided may have died before the wake-up, and the execution may have ended."""
    accepted = sweeps.accept()
    baking = accepted.changed(sweeps.at.clock(), "The bake begins.", Status.BAKING)
    sweeps.at.store.deployments.save(accepted, baking)
    sweeps.wait(baking, 300)
    aborted = request_abort(baking, Reason("aborted", "by ada"), "ada aborts it", sweeps.at.clock())
    sweeps.at.store.deployments.save(baking, aborted)
    sweeps.after(STUCK_AFTER + 1)
    assert sweeps.engine.looks == [baking.id]
    assert sweeps.engine.woken == ["token"]


def test_what_cannot_be_looked_at_lets_the_others_go_first(sweeps: Sweeps) -> None:
    failing, other = sweeps.accept("a"), sweeps.accept("b")
    sweeps.engine.states = {failing.id: OSError("no connection"), other.id: None}
    sweeps.engine.takes = SWEEP_SECONDS + 1
    assert [each for each, _ in sweeps.after(STUCK_AFTER + 1).failed] == [failing.id]
    assert sweeps.after(0).started == [other.id]
    assert [each for each, _ in sweeps.after(AGAIN_AFTER).failed] == [failing.id]


def test_a_sweep_ends_in_time_and_the_next_one_goes_on(sweeps: Sweeps) -> None:
    accepted = [sweeps.accept(f"a{number}").id for number in range(4)]
    sweeps.engine.states = dict.fromkeys(accepted)
    sweeps.engine.takes = SWEEP_SECONDS / 2
    first = sweeps.after(STUCK_AFTER + 1).started
    assert 0 < len(first) < 4
    sweeps.engine.states |= dict.fromkeys(first, "RUNNING")
    sweeps.engine.takes = 0
    assert sorted(first + sweeps.after(0).started) == accepted


def test_deaths_between_which_it_got_further_are_not_added_up(sweeps: Sweeps) -> None:
    deployment = sweeps.accept()
    sweeps.engine.states[deployment.id] = "FAILED"

    def deaths() -> int:
        swept = sweeps.after(AGAIN_AFTER + 1)
        found = sweeps.at.now(deployment)
        assert swept.started == [deployment.id]
        assert found.deaths
        return found.deaths.number

    assert [deaths(), deaths(), deaths()] == [1, 2, 3]
    stopped = sweeps.at.now(deployment)
    further = stopped.changed(sweeps.at.clock(), "It goes on.", Status.QUEUED)
    sweeps.at.store.deployments.save(stopped, further)
    assert [deaths(), deaths()] == [1, 2]


def test_after_some_deaths_it_is_started_less_often_and_given_up_after_hours(sweeps: Sweeps) -> None:
    deployment = sweeps.accept()
    sweeps.engine.states[deployment.id] = "TIMED_OUT"
    began, starts = sweeps.at.clock.now, list[float]()
    while not sweeps.at.now(deployment).status.final:
        if sweeps.after(60).started:
            starts.append(sweeps.at.clock.now)
    pauses = [later - earlier for earlier, later in pairwise(starts)]
    assert max(pauses[: SOON - 1]) <= 2 * AGAIN_AFTER
    assert min(pauses[SOON:]) >= RESTART_EVERY
    assert GIVES_UP_AFTER < sweeps.at.clock.now - began < GIVES_UP_AFTER + 2 * RESTART_EVERY
    assert sweeps.at.now(deployment).timeline[-1].message == (
        f"the rollout's execution ended timed out {len(starts) + 1} times in 6 hours"
    )


# Ten thousand open


@pytest.fixture(scope="module")
def many() -> CountingTable:
    """Ten thousand canaries, of which each looks at an alarm of its own, in two regions."""
    table = CountingTable({"unfinished": "unfinished", "watching": "watching"})
    plan = new_deployment(NOW, "0" * 64).plan
    for number in range(OPEN):
        target = replace(OWN, region="eu-west-1") if number % 2 else OWN
        watched = replace(plan, target=target, watch=Watch((f"alarm-{number}",)))
        baking = replace(
            new_deployment(NOW, "0" * 64), id=f"01K{number:023d}", status=Status.BAKING, plan=watched
        )
        table.add(marshal(record(baking)))
        if not number % 10:
            wait = {"pk": f"deployment#{baking.id}", "sk": "wait", "token": "t", "revision": 1, "until": 0}
            table.add(marshal(wait))
    return table


def store_of(table: CountingTable, now: float) -> Store:
    table.calls = table.items = 0
    return Store(cast(Any, table), TABLE, lambda: now)


def test_a_sweep_reads_nothing_of_ten_thousand_that_are_not_due(many: CountingTable) -> None:
    at = NOW + STUCK_AFTER - 1
    Janitor(store_of(many, at), cast(Any, None), lambda: at).sweep()
    assert (many.calls, many.items) == (1, 0)


def test_an_alarm_reads_the_names_of_its_regions_alarms_and_one_wait(many: CountingTable) -> None:
    class Tokens:
        def wake(self, token: str, **_: bool) -> bool:
            return token == "t"

    waker = Waker(store_of(many, NOW), cast(Any, Tokens()), lambda: NOW, lambda _: None)
    assert waker.wake("alarm-4200", Target(OWN.account, OWN.region)) == [f"01K{4200:023d}"]
    assert many.calls <= 5
    assert many.items == OPEN / 2 + 1


def test_an_index_has_what_is_asked_of_it() -> None:
    """It is short: a bake of a week may have written tens of kilobytes."""
    waiting = Wait("token", revision=3, until=NOW + 10)
    deployment = new_deployment(NOW, "0" * 64)
    assert not waiting.lasts(deployment, NOW)
    assert waiting.lasts(replace(deployment, revision=3), NOW)
    assert not waiting.lasts(replace(deployment, revision=3), NOW + 10)
    item = record(deployment)
    assert item["due"] == timestamp(NOW + STUCK_AFTER)
    assert "watching" not in item
