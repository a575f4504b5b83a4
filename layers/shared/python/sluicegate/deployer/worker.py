"""One turn of a rollout: run the actions that the record asks for, until one has to wait."""

import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from math import ceil
from typing import Any, Final, Literal

from botocore.exceptions import BotoCoreError, ClientError

from sluicegate.aws.stepfunctions import TaskTokens
from sluicegate.deployer.runner import Runner
from sluicegate.deployer.turn import Turn
from sluicegate.deployment.call_budget import InLine
from sluicegate.deployment.model import Deployment, Status
from sluicegate.rollout.actions import End
from sluicegate.rollout.machine import advance, backoff, next_action, next_delay
from sluicegate.rollout.outcomes import Blocked, LockLost, Outcome, TransientFailure
from sluicegate.store.errors import AliasLockLost, Busy, Condemned, StaleRevision
from sluicegate.store.locks import PUBLISH_LEASE
from sluicegate.store.store import Store
from sluicegate.store.versions import PublishedVersion
from sluicegate.store.waits import Wait

TURN_SECONDS: Final = 20.0
"""Seconds after which a turn hands over to the next one. The function's timeout is far above."""

MAX_SLEEP: Final = 2
"""Seconds that a turn waits itself. A longer wait is the state machine's, and so is one for a lock."""

MIN_SLEEP: Final = 0.02
"""Seconds between two looks at the line, at least."""


@dataclass(frozen=True)
class Deployer:
    """Runs turns. `on_change` is called with each new revision of a record, after it is saved."""

    store: Store
    runner: Runner
    task_tokens: TaskTokens
    on_change: Callable[[Deployment, Outcome], None]
    clock: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep

    def run_turn(self, deployment_id: str) -> dict[str, Any]:
        """Return what the state machine does next: `{"next", "seconds", "revision", "rollback"}`.

        `next` is `run`, `wait` or `end`. `rollback` says whether what is next takes something
        back, for which other concurrency is reserved.

        Two turns may run at once: the one that saves second finds the record changed, and continues from
        there.
        """
        ends_at, turn = self.clock() + TURN_SECONDS, Turn()
        deployment = self.store.deployments.get(deployment_id)
        if deployment is None:
            return {"next": "end", "seconds": 0, "revision": 0, "rollback": False}
        while not isinstance(action := next_action(deployment), End):
            if (pause := backoff(deployment, self.clock())) > 0:
                if pause > min(ends_at - self.clock(), MAX_SLEEP):
                    return _turn_result("wait", deployment, ceil(pause))
                self.sleep(pause)
                deployment = self.store.deployments.get(deployment_id) or deployment  # it may be aborted
                continue
            outcome, published = self.runner.run(deployment, action, turn)
            try:
                deployment, outcome = self._save(deployment, outcome, published, turn)
            except StaleRevision:
                turn = Turn()
                deployment = self.store.deployments.get(deployment_id) or deployment
                continue
            if deployment.status.final:
                break
            if backoff(deployment, self.clock()) > 0:
                continue
            delay = next_delay(deployment, outcome, self.clock())
            remaining = ends_at - self.clock()
            waits = isinstance(outcome, Blocked | InLine | LockLost) and delay > 0
            if waits or remaining <= 0 or delay > min(remaining, MAX_SLEEP):
                return _turn_result("wait" if delay else "run", deployment, delay)
            # The state machine waits for whole seconds: for less in line, calls would be left unused.
            pause = max(MIN_SLEEP, outcome.look_in) if isinstance(outcome, InLine) else delay / 4
            if pause:
                self.sleep(pause)
                # An abort is written to the record.
                deployment = self.store.deployments.get(deployment_id) or deployment
        return _turn_result("end", deployment)

    def register_wait(self, deployment_id: str, revision: int, token: str, seconds: int) -> None:
        """Store the task token that wakes the rollout. Wake it now if the record changed since `revision`.

        Revision 0 means that the record could not be read or written: then the wait is not ended early.

        A change looks for the token after it is saved, and here the record is read after the token is saved:
        one of the two sees the other.
        """
        now = int(self.clock())
        self.store.waits.add(deployment_id, Wait(token, revision, now + seconds, now))
        deployment = self.store.deployments.get(deployment_id)
        if deployment is None or revision not in (0, deployment.revision):
            self.task_tokens.wake(token, rollback=deployment is not None and deployment.goes_back)

    def _save(
        self, before: Deployment, outcome: Outcome, published: PublishedVersion | None, turn: Turn
    ) -> tuple[Deployment, Outcome]:
        now = self.clock()
        after = advance(before, outcome, now)
        if after is before:
            return before, outcome
        try:
            joins = outcome.joins if isinstance(outcome, InLine) else None
            waiting = self.store.deployments.save(
                before, after, published, newest_pipeline=turn.newest_pipeline, joins=joins
            )
        except Busy as busy:
            turn.look = None
            self.runner.blocked(before)
            return self._save(before, Blocked(busy.deployment), None, turn)
        except AliasLockLost:
            lost = TransientFailure("LockLost", "this deployment does not hold the alias lock")
            return self._save(before, lost, None, turn)
        except Condemned:
            turn.look = None
            message = f"version {after.version} is being deleted as an old one"
            return self._save(before, TransientFailure("VersionCondemned", message), None, turn)
        if after.status is not before.status:
            turn.leased_until = now + PUBLISH_LEASE if after.status is Status.PUBLISHING else 0.0
            turn.checked = after.revision if after.status is Status.SHIFTING else 0
        self.on_change(after, outcome)
        self._wake(waiting)
        return after, outcome

    def _wake(self, waiting: Iterable[str]) -> None:
        """Wake those that wait for what is free now. One that misses it tries again soon."""
        for waiter in sorted(waiting):
            with suppress(ClientError, BotoCoreError):
                if token := self.store.waits.token(waiter):
                    self.task_tokens.wake(token)


def _turn_result(
    next_state: Literal["run", "wait", "end"], deployment: Deployment, delay: int = 0
) -> dict[str, Any]:
    return {
        "next": next_state,
        "seconds": delay,
        "revision": deployment.revision,
        "rollback": deployment.goes_back,
    }
