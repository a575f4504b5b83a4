"""Restart deployments whose execution never began or died (guarantees.md#3-exactly-one-end)."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sluicegate.aws.stepfunctions import Executions
from sluicegate.deployment.durations import seconds
from sluicegate.deployment.model import Deployment
from sluicegate.rollout.transitions import force_fail
from sluicegate.store.errors import StaleRevision
from sluicegate.store.store import Store

STUCK_AFTER: Final = 45
"""Seconds without a change after which the janitor looks at an unfinished deployment."""

MAX_EXECUTIONS: Final = 5
"""Executions of one deployment that may die before the janitor gives it up."""


@dataclass(frozen=True)
class Swept:
    """The result of one sweep: ids that were started, records that were given up, and errors by id."""

    started: tuple[str, ...]
    abandoned: tuple[Deployment, ...]
    running: int
    failed: tuple[tuple[str, Exception], ...] = ()


@dataclass(frozen=True)
class Janitor:
    """Sweeps the unfinished deployments."""

    store: Store
    executions: Executions
    clock: Callable[[], float] = time.time

    def sweep(self) -> Swept:
        """Start every deployment that does not run; give up those that have used up their attempts.

        An error with one deployment does not keep the others from being swept.
        """
        started: list[str] = []
        abandoned: list[Deployment] = []
        failed: list[tuple[str, Exception]] = []
        running = 0
        for listed in self.store.deployments.unfinished():
            if self.clock() - seconds(listed.updated_at) < STUCK_AFTER:
                continue
            try:
                deployment = self.store.deployments.get(listed.id)  # the index lags behind
                if deployment is None or deployment.status.final:
                    continue
                state = self.executions.state(deployment)
                if state == "RUNNING":
                    running += 1
                    self._wake_if_missed(deployment)
                elif state is not None and deployment.attempt >= MAX_EXECUTIONS:
                    abandoned.append(self._abandon(deployment, state))
                else:
                    started.append(self._start(deployment, state))
            except StaleRevision:
                continue  # it moves
            except Exception as error:
                failed.append((listed.id, error))
        return Swept(tuple(started), tuple(abandoned), running, tuple(failed))

    def _wake_if_missed(self, deployment: Deployment) -> None:
        """Wake a rollout that may have missed a decision."""
        if deployment.has_unseen_decision and (token := self.store.waits.token(deployment.id)):
            self.executions.wake(token)

    def _start(self, deployment: Deployment, state: str | None) -> str:
        """Start the first execution, or the next one after an execution that ended as `state`."""
        if state is not None:
            attempt = deployment.attempt + 1
            message = f"the rollout's execution ended {state.lower()}; starting it again"
            after = deployment.changed(self.clock(), message, attempt=attempt)
            self.store.deployments.save(deployment, after)
            deployment = after
        self.executions.start(deployment)
        return deployment.id

    def _abandon(self, deployment: Deployment, state: str) -> Deployment:
        """End the deployment as failed, which frees its locks."""
        message = f"the rollout's execution ended {state.lower()} {MAX_EXECUTIONS} times"
        after = force_fail(deployment, message, self.clock())
        self.store.deployments.save(deployment, after)
        return after
