"""What a stack has done before a run begins: each function has had releases, and can be rolled back."""

import copy
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from simulation.callers import Caller, digest, job
from simulation.choices import Choices
from simulation.invariants import CANARY, records
from simulation.ledger import Ledger
from simulation.traffic import FUNCTIONS
from simulation.world import Step, World
from sluicegate.deployment.observations import AlarmState
from support.gateway_simulation import gate_of

BEFORE: Final = (
    ("dev", "first"),
    ("prod", "second"),
    ("prod", "third"),
    ("prod", "oldest"),
    ("prod", "older"),
    ("dev", "newer"),
)
"""The stages and the codes that each function has had, in order."""

AGE: Final = 2 * 86_400.0
"""Seconds between this and a run: old enough for the pruner."""


@dataclass(frozen=True)
class History:
    """The state of a world after its history."""

    now: float
    tables: Any
    items: dict[Any, Any]
    functions: dict[str, Any]
    revision: int
    code: dict[str, bytes]
    ledger: Ledger


@cache
def history() -> History:
    """Return the history, made once per process: nothing fails in it."""
    world, ledger = World(Choices(), gate_of()), Ledger()

    def observe(step: Step) -> None:
        for _, after in records(ledger, step):
            ledger.note_record(after, world.engine.now)
        for move in step.moves:
            ledger.note_move(move, step.by, world.engine.now)

    world.observe = observe
    for function in FUNCTIONS:
        environment = {"Variables": {"PASSWORD": CANARY}}
        world.lambdas.add(function, f"first {function}".encode(), Environment=environment)
        world.cloudwatch.alarms[f"{function}-5xx"] = AlarmState.OK
    world.engine.spawn("history", lambda: _release(world))
    world.engine.run(until=world.engine.now + 600, finished=lambda: _is_over(ledger))
    world.engine.close()
    assert len(ledger.stories) == len(FUNCTIONS) * len(BEFORE)
    now = world.engine.now + AGE
    tables, items = world.table.client.copy_tables(), dict(world.table.items)
    return History(
        now,
        tables,
        items,
        world.lambdas.functions,
        world.lambdas._revision,
        dict(world.lambdas.code),
        ledger,
    )


def begin(world: World) -> Ledger:
    """Put a new world where the history ends, and return what has happened there so far."""
    past = history()
    world.engine.now = past.now
    world.table.client.tables = {name: table.copy() for name, table in past.tables.items()}
    world.table.items.update(past.items)
    world.lambdas.functions.update(copy.deepcopy(past.functions))
    world.lambdas._revision = past.revision
    world.lambdas.code.update(past.code)
    for function in FUNCTIONS:
        world.cloudwatch.alarms[f"{function}-5xx"] = AlarmState.OK
    ledger = Ledger(stories=dict(past.ledger.stories), serves=dict(past.ledger.serves))
    for alias, versions in past.ledger.foreign.items():
        ledger.foreign[alias] |= versions
    return ledger


def _release(world: World) -> None:
    caller = Caller(world)
    for number, (function, (stage, code)) in enumerate((f, b) for f in FUNCTIONS for b in BEFORE):
        data = code.encode()
        sha256 = digest(data)
        world.lambdas.code[f"{function}/{sha256}.zip"] = data
        claims = job(world.engine.now, f"before-{number}", number + 1)
        caller.send(claims, "/artifacts", {"function": function, "sha256": sha256, "size": len(data)})
        body = {"function": function, "stage": stage, "action": "deploy", "artifact": {"sha256": sha256}}
        status, answer = caller.send(claims, "/deployments", body)
        assert status == 202, answer
        world.engine.sleep(10)


def _is_over(ledger: Ledger) -> bool:
    final = [one.record.status.final for one in ledger.stories.values()]
    return all(final) and len(final) == len(FUNCTIONS) * len(BEFORE)
