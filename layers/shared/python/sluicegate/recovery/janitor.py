"""Restart deployments whose execution never began or died (guarantees.md#3-exactly-one-end)."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sluicegate.aws.stepfunctions import Executions
from sluicegate.deployment.durations import seconds
from sluicegate.deployment.model import Deployment, Status
from sluicegate.rollout.transitions import force_fail
from sluicegate.store.errors import StaleRevision
from sluicegate.store.store import Store

QUIET: Final = 45
"""Seconds without a change after which an unfinished deployment is looked at."""

ATTEMPTS: Final = 5
"""Executions that a deployment may use up before it is given up."""


@dataclass(frozen=True)
class Swept:
    """What one sweep did, by deployment id, and what went wrong with which."""

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
        """Start what is not running; give up what has used up its attempts, and free its locks.

        What goes wrong with one of them keeps no other from it.
        """
        started: list[str] = []
        abandoned: list[Deployment] = []
        failed: list[tuple[str, Exception]] = []
        running = 0
        for listed in self.store.deployments.unfinished():
            if self.clock() - seconds(listed.updated_at) < QUIET:
                continue
            try:
                deployment = self.store.deployments.get(listed.id)  # the index lags behind
                if deployment is None or deployment.status.final:
                    continue
                state = self.executions.state(deployment)
                if state == "RUNNING":
                    running += 1
                    self._nudge(deployment)
                elif state is not None and deployment.attempt >= ATTEMPTS:
                    abandoned.append(self._abandon(deployment, state))
                else:
                    started.append(self._start(deployment, state))
            except StaleRevision:
                continue
            except Exception as error:
                failed.append((listed.id, error))
        return Swept(tuple(started), tuple(abandoned), running, tuple(failed))

    def _nudge(self, deployment: Deployment) -> None:
        """What changed a record and died before it woke the rollout is made up for.

        Only while it waits for that: each wake-up call is a turn, and an execution has only so many.
        """
        approved = deployment.status is Status.AWAITING_APPROVAL and deployment.approval is not None
        aborted = deployment.status is not Status.ROLLING_BACK and deployment.abort is not None
        if (approved or aborted) and (token := self.store.waits.token(deployment.id)):
            self.executions.wake(token)

    def _start(self, deployment: Deployment, state: str | None) -> str:
        if state is not None:
            again = deployment.attempt + 1
            message = f"the rollout's execution ended {state.lower()}; starting it again"
            after = deployment.changed(self.clock(), message, attempt=again)
            self.store.deployments.save(deployment, after)
            deployment = after
        self.executions.start(deployment)
        return deployment.id

    def _abandon(self, deployment: Deployment, state: str) -> Deployment:
        why = f"the rollout's execution ended {state.lower()} {ATTEMPTS} times"
        after = force_fail(deployment, why, self.clock())
        self.store.deployments.save(deployment, after)
        return after
