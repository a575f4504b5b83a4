"""One turn of the rollout's loop: run the steps that the record asks for, until one has to wait."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from sluicegate.aws.stepfunctions import TaskTokens
from sluicegate.deployer.runner import Runner
from sluicegate.deployment.model import Deployment
from sluicegate.rollout.actions import End
from sluicegate.rollout.machine import advance, next_action, next_delay
from sluicegate.rollout.outcomes import Blocked, Outcome
from sluicegate.store.errors import Busy, StaleRevision
from sluicegate.store.store import Store
from sluicegate.store.versions import PublishedVersion

TURN: Final = 20.0
"""Seconds that one turn may take before it hands over to the next; the function's timeout is far above."""

Told = Callable[[Deployment, Outcome], None]


@dataclass(frozen=True)
class Deployer:
    """`told` hears of every change of a record, once it is written."""

    store: Store
    steps: Runner
    task_tokens: TaskTokens
    told: Told
    clock: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep

    def turn(self, deployment_id: str) -> dict[str, Any]:
        """What the state machine does next: `{"next": "run"|"wait"|"end", "seconds": int, "revision": int}`.

        May run twice at once: whoever writes second finds the record changed, and goes on from there.
        """
        until = self.clock() + TURN
        deployment = self.store.deployments.get(deployment_id)
        if deployment is None:
            return {"next": "end", "seconds": 0, "revision": 0}
        while not isinstance(step := next_action(deployment), End):
            outcome, published = self.steps.run(deployment, step)
            try:
                deployment, outcome = self._record(deployment, outcome, published)
            except StaleRevision:
                deployment = self.store.deployments.get(deployment_id) or deployment
                continue
            if deployment.status.final:
                break
            wait = next_delay(deployment, outcome, self.clock())
            left = until - self.clock()
            if left <= 0 or wait > min(left, 2):
                return _answer("wait" if wait else "run", deployment, wait)
            if wait:
                self.sleep(wait / 4)
                # Whoever aborts writes to the record.
                deployment = self.store.deployments.get(deployment_id) or deployment
        return _answer("end", deployment)

    def wait(self, deployment_id: str, revision: int, token: str, seconds: int) -> None:
        """Leave word how to wake the rollout, for `seconds`; wake it if there was news since `revision`.

        Revision 0 knows of none: the record could not be read or written, and is let alone for those seconds.

        Whoever changes the record looks for the token after that, and here the record is read after the token
        is written: one of the two sees the other.
        """
        self.store.waits.add(deployment_id, token, int(self.clock()) + seconds + 3_600)
        deployment = self.store.deployments.get(deployment_id)
        if deployment is None or revision not in (0, deployment.revision):
            self.task_tokens.wake(token)

    def _record(
        self, before: Deployment, outcome: Outcome, published: PublishedVersion | None
    ) -> tuple[Deployment, Outcome]:
        after = advance(before, outcome, self.clock())
        if after is before:
            return before, outcome
        try:
            self.store.deployments.save(before, after, published)
        except Busy as busy:
            return self._record(before, Blocked(busy.deployment), None)
        self.told(after, outcome)
        return after, outcome


def _answer(what: str, deployment: Deployment, wait: int = 0) -> dict[str, Any]:
    return {"next": what, "seconds": wait, "revision": deployment.revision}
