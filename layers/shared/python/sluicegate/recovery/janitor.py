"""Restart deployments whose execution never began or died (guarantees.md#3-exactly-one-end)."""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from sluicegate.aws.stepfunctions import Executions
from sluicegate.deployment.model import Deployment
from sluicegate.rollout.transitions import force_fail
from sluicegate.store.codec import STUCK_AFTER
from sluicegate.store.errors import StaleRevision
from sluicegate.store.store import Store

MAX_EXECUTIONS: Final = 5
"""Executions of one deployment that may die before the janitor gives it up."""

TRUSTED: Final = 900
"""Seconds that a wait may still take for which nobody looks at its execution: nothing is due before."""

SWEEP_SECONDS: Final = 40
"""Seconds that a sweep takes at most; the next one continues with those that are due the longest."""

AGAIN_AFTER: Final = 60
"""Seconds until a deployment is looked at again that runs, or at which a look failed."""


@dataclass
class Swept:
    """The result of one sweep: ids that were started, records that were given up, and errors by id."""

    started: list[str] = field(default_factory=list)
    abandoned: list[Deployment] = field(default_factory=list)
    running: int = 0
    failed: list[tuple[str, Exception]] = field(default_factory=list)


@dataclass(frozen=True)
class Janitor:
    """Sweeps the unfinished deployments: each that is due, and no other.

    A change makes a deployment due soon after it. A look that finds it running puts that off, until its wait
    is over where it waits: ten thousand open bakes cost a few looks a minute.
    """

    store: Store
    executions: Executions
    clock: Callable[[], float] = time.time

    def sweep(self) -> Swept:
        """Start every deployment that does not run; give up those that have used up their attempts.

        An error with one deployment does not keep the others from being swept, in this sweep or the next.
        """
        swept = Swept()
        began = self.clock()
        for deployment_id in self.store.deployments.due(began):
            if self.clock() - began > SWEEP_SECONDS:
                break
            try:
                self._look(deployment_id, swept)
            except StaleRevision:
                continue  # it moves
            except Exception as error:
                swept.failed.append((deployment_id, error))
                self._put_off(deployment_id)
        return swept

    def _look(self, deployment_id: str, swept: Swept) -> None:
        deployment = self.store.deployments.get(deployment_id)  # the index lags behind
        if deployment is None or deployment.status.final:
            return
        now, wait = self.clock(), self.store.waits.last(deployment_id)
        waits_for = wait.until - now if wait and wait.lasts(deployment, now) else 0
        if 0 < waits_for <= TRUSTED:
            swept.running += 1
            self.store.deployments.put_off(deployment, now + waits_for + STUCK_AFTER)
            return
        state = self.executions.state(deployment)
        if state == "RUNNING":
            swept.running += 1
            if wait and deployment.has_unseen_decision:
                self.executions.wake(wait.token)  # the gateway may have died before it did
            self.store.deployments.put_off(deployment, now + (TRUSTED if waits_for else AGAIN_AFTER))
        elif state is not None and deployment.attempt >= MAX_EXECUTIONS:
            swept.abandoned.append(self._abandon(deployment, state))
        else:
            swept.started.append(self._start(deployment, state))

    def _put_off(self, deployment_id: str) -> None:
        """Let the others go first: one that fails each time must not be the first each time."""
        with suppress(Exception):
            if deployment := self.store.deployments.get(deployment_id):
                self.store.deployments.put_off(deployment, self.clock() + AGAIN_AFTER)

    def _start(self, deployment: Deployment, state: str | None) -> str:
        """Start the first execution, or the next one after an execution that ended as `state`."""
        if state is not None:
            attempt = deployment.attempt + 1
            message = f"the rollout's execution ended {state.lower()}; starting it again"
            after = deployment.changed(self.clock(), message, attempt=attempt)
            self.store.deployments.save(deployment, after)
            deployment = after
        self.executions.start(deployment)
        self.store.deployments.put_off(deployment, self.clock() + AGAIN_AFTER)
        return deployment.id

    def _abandon(self, deployment: Deployment, state: str) -> Deployment:
        """End the deployment as failed, which frees its locks."""
        message = f"the rollout's execution ended {state.lower()} {MAX_EXECUTIONS} times"
        after = force_fail(deployment, message, self.clock())
        self.store.deployments.save(deployment, after)
        return after
