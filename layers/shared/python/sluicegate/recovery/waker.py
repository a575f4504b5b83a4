"""Wake waiting rollouts when an alarm that they watch fires, so that they react before their next look."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sluicegate.aws.stepfunctions import TaskTokens
from sluicegate.deployment.model import Deployment, Status
from sluicegate.deployment.plan import Target
from sluicegate.store.store import Store

PATIENCE: Final = 10.0
"""Seconds for which a rollout that does not wait yet is tried again: it may have looked before the alarm."""

_PAUSE: Final = 0.5
"""Seconds between two attempts."""

_WATCHING: Final = frozenset({Status.VERIFYING, Status.SHIFTING, Status.BAKING})
"""Statuses in which a rollout looks at alarms, or soon will."""


@dataclass(frozen=True)
class Waker:
    """Wakes rollouts by the alarms in their plans."""

    store: Store
    task_tokens: TaskTokens
    clock: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep

    def wake(self, alarm: str, target: Target) -> list[str]:
        """End the waits of all rollouts that watch this alarm in this target; return their ids.

        A rollout that looked just before the alarm, and has not begun to wait, would see the alarm only at
        its next look, which can be hours away. It is tried again until it waits, or has moved on.
        """
        left = [one.id for one in self.store.deployments.unfinished() if _watches(one, alarm, target)]
        woken: list[str] = []
        until = self.clock() + PATIENCE
        while left:
            done = [deployment_id for deployment_id in left if self._wake(deployment_id)]
            woken += done
            left = [one for one in left if one not in done and self._is_watching(one)]
            if not left or self.clock() > until:
                break
            self.sleep(_PAUSE)
        return woken

    def _wake(self, deployment_id: str) -> bool:
        token = self.store.waits.token(deployment_id)
        return token is not None and self.task_tokens.wake(token)

    def _is_watching(self, deployment_id: str) -> bool:
        deployment = self.store.deployments.get(deployment_id)
        return deployment is not None and deployment.status in _WATCHING


def _watches(deployment: Deployment, alarm: str, target: Target) -> bool:
    watch = deployment.plan.watch
    return (
        deployment.status in _WATCHING
        and deployment.plan.target == target
        and watch is not None
        and alarm in watch.alarms
    )
