"""Waking what waits: an alarm fired, and the rollouts that watch it must not sleep through it."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sluicegate.aws.stepfunctions import Executions
from sluicegate.deployment.model import Deployment, Status
from sluicegate.deployment.plan import Target
from sluicegate.store.store import Store

PATIENCE: Final = 10.0
"""Seconds for which a rollout that is at work is tried again: it may have looked just before the alarm."""

_AWAKE: Final = frozenset({Status.VERIFYING, Status.SHIFTING, Status.BAKING})


@dataclass(frozen=True)
class Waker:
    """Wakes rollouts by the alarms in their plans."""

    store: Store
    executions: Executions
    clock: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep

    def wake(self, alarm: str, target: Target) -> list[str]:
        """End the waits of all that watch this alarm there; their ids.

        Who looked just before the alarm and has not begun to wait yet would see it at the next look only,
        which can be hours away: such a one is tried again until it waits, or has seen it.
        """
        left = [one.id for one in self.store.deployments.unfinished() if _watches(one, alarm, target)]
        woken: list[str] = []
        until = self.clock() + PATIENCE
        while left:
            woken += (done := [one for one in left if self._wake(one)])
            left = [one for one in left if one not in done and self._may_sleep(one)]
            if not left or self.clock() > until:
                break
            self.sleep(0.5)
        return woken

    def _wake(self, deployment_id: str) -> bool:
        token = self.store.waits.token(deployment_id)
        return token is not None and self.executions.wake(token)

    def _may_sleep(self, deployment_id: str) -> bool:
        deployment = self.store.deployments.get(deployment_id)
        return deployment is not None and deployment.status in _AWAKE


def _watches(deployment: Deployment, alarm: str, target: Target) -> bool:
    watch = deployment.plan.watch
    return (
        deployment.status in _AWAKE
        and deployment.plan.target == target
        and watch is not None
        and alarm in watch.alarms
    )
