"""One turn of the rollout's loop: run the steps that the record asks for, until one has to wait."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from sluicegate.deployment import Deployment
from sluicegate.rollout import End, Occupied, Outcome, advance, next_step, pause
from sluicegate.steps import Steps
from sluicegate.store import Busy, Changed, PublishedVersion, Store

TURN: Final = 20.0
"""Seconds that one turn may take before it hands over to the next; the function's timeout is far above."""

Told = Callable[[Deployment, Outcome], None]


@dataclass(frozen=True)
class Deployer:
    """`told` hears of every change of a record, once it is written."""

    store: Store
    steps: Steps
    told: Told
    clock: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep

    def turn(self, deployment_id: str) -> dict[str, Any]:
        """What the state machine does next: `{"next": "run" | "wait" | "end", "seconds": int}`.

        May run twice at once: whoever writes second finds the record changed, and goes on from there.
        """
        until = self.clock() + TURN
        deployment = self.store.deployment(deployment_id)
        if deployment is None:
            return _answer("end")
        while not isinstance(step := next_step(deployment), End):
            outcome, published = self.steps.run(deployment, step)
            try:
                deployment, outcome = self._record(deployment, outcome, published)
            except Changed:
                deployment = self.store.deployment(deployment_id) or deployment
                continue
            wait = pause(deployment, outcome)
            left = until - self.clock()
            if left <= 0 or wait > min(left, 2):
                return _answer("wait" if wait else "run", wait)
            if wait and not deployment.status.final:
                self.sleep(wait / 4)
        return _answer("end")

    def _record(
        self, before: Deployment, outcome: Outcome, published: PublishedVersion | None
    ) -> tuple[Deployment, Outcome]:
        after = advance(before, outcome, self.clock())
        if after is before:
            return before, outcome
        try:
            self.store.save(before, after, published)
        except Busy as busy:
            return self._record(before, Occupied(busy.deployment), None)
        self.told(after, outcome)
        return after, outcome


def _answer(what: str, wait: int = 0) -> dict[str, Any]:
    return {"next": what, "seconds": wait}
