"""Deployments that take calls of a control plane's budget, each in a process of its own, in virtual time.

As the deployer does it: a wait of a second or more is the state machine's, takes whole seconds, and ends a
moment late; a shorter one is slept. Nothing but the budget takes time.
"""

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from sluicegate.deployment.call_budget import CallClass, InLine
from sluicegate.deployment.plan import Target
from sluicegate.store.call_budget import CallBudget, CallClaim
from sluicegate.store.table import Table
from support.simulation import OWN, START, TABLE, create_table
from support.table_model import DynamoDbModel


def take(budget: CallBudget, target: Target, claim: CallClaim, *, in_line: bool) -> InLine | None:
    """Take calls, or stand in line, as a deployment does with the change of its record."""
    waits = budget.take(target, claim, in_line=in_line)
    if waits is not None and waits.joins is not None:
        tx = budget._table.transaction()
        budget.join(tx, target, waits.joins)
        tx.commit()
    return waits


@dataclass
class Granted:
    """When a deployment asked, when it was granted its calls, and how often it looked."""

    claim: CallClaim
    asked: float
    granted: float
    looks: int
    first: InLine | None


@dataclass
class LineModel:
    """`processes` deployers share one table. `lateness` is by how many seconds a process begins late."""

    processes: int = 20
    lateness: tuple[float, float] = (0.05, 0.3)
    seed: int = 1
    target: Target = OWN
    now: float = START
    granted: list[Granted] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.client = DynamoDbModel(clock=lambda: self.now)
        create_table(self.client)
        self._random = random.Random(self.seed)  # noqa: S311 (the same at each run)
        self.budgets = [
            CallBudget(Table(self.client, TABLE), lambda: self.now)  # type: ignore[arg-type]
            for _ in range(self.processes)
        ]
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._dead: list[Callable[[Granted], bool]] = []

    def at(self, seconds: float, what: Callable[[], None]) -> None:
        """Do something so many seconds after the start."""
        heapq.heappush(
            self._events, (START + seconds, len(self._events) + self._random.randrange(10**9), what)
        )

    def ask(
        self,
        name: str,
        *,
        owner: str = "one",
        level: CallClass = CallClass.DEPLOY,
        calls: int = 4,
        at: float = 0.0,
    ) -> None:
        """Let a deployment begin."""
        claim = CallClaim(name, owner, level, calls)
        self.at(at, lambda: self._look(Granted(claim, self.now, 0.0, 0, None), in_line=False))

    def drop(self, dies: Callable[[Granted], bool]) -> None:
        """Let the processes of those die that have asked by now."""
        self._dead.append(lambda one: dies(one) and one.asked < self.now)

    def look_again(self, name: str) -> None:
        """Let a deployment come back whose process has died, as the janitor starts it."""
        claim = CallClaim(name, "one", CallClass.DEPLOY, 4)
        self._look(Granted(claim, self.now, 0.0, 0, None), in_line=True)

    def _look(self, one: Granted, *, in_line: bool) -> None:
        if any(dies(one) for dies in self._dead):
            return
        one.looks += 1
        waits = take(self._random.choice(self.budgets), self.target, one.claim, in_line=in_line)
        if waits is None:
            one.granted = self.now
            self.granted.append(one)
            if in_line:
                tx = Table(self.client, TABLE).transaction()  # type: ignore[arg-type]
                self.budgets[0].leave(tx, self.target, one.claim.deployment)
                tx.commit()
            return
        one.first = one.first or waits
        pause = (
            waits.look_in if waits.look_in < 1 else int(waits.look_in) + self._random.uniform(*self.lateness)
        )
        self.at(self.now - START + max(0.02, pause), lambda: self._look(one, in_line=True))

    def run(self) -> list[Granted]:
        """Run until nothing happens any more; return what was granted, in order."""
        while self._events:
            self.now, _, what = heapq.heappop(self._events)
            what()
        return self.granted
