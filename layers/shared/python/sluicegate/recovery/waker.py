"""Wake waiting rollouts when an alarm that they watch fires, so that they react before their next look.

The event is a hint only: what follows from the alarm, the rollout decides after it has looked at it itself.
"""

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sluicegate.aws.stepfunctions import TaskTokens
from sluicegate.deployment.plan import Target
from sluicegate.gate.alarm_names import matches
from sluicegate.store.store import Store

PATIENCE: Final = 10.0
"""Seconds for which a rollout that does not wait yet is tried again: it may have looked before the alarm."""

_PAUSE: Final = 0.5
"""Seconds between two attempts."""


def fired(event: Mapping[str, Any]) -> tuple[str, Target] | None:
    """Return the alarm that an event says has fired, and where it is; None for every other event.

    The account and region are those of the alarm, also in an event that another account's rule has sent here.
    Nobody can choose them: only AWS sends events whose source begins with `aws.`, and a rule that sends them
    to a bus sends them as they are (EventBridge API reference, PutEvents; user guide, "Sending and receiving
    events between AWS accounts"; November 2026). So an account wakes rollouts of its own functions at most.
    """
    if event.get("source") != "aws.cloudwatch" or event.get("detail-type") != "CloudWatch Alarm State Change":
        return None
    detail = event.get("detail")
    state = detail.get("state") if isinstance(detail, Mapping) else None
    if not isinstance(detail, Mapping) or not isinstance(state, Mapping) or state.get("value") != "ALARM":
        return None
    alarm, account, region = detail.get("alarmName"), event.get("account"), event.get("region")
    if not (isinstance(alarm, str) and isinstance(account, str) and isinstance(region, str)):
        return None
    if not alarm or not re.fullmatch(r"[0-9]{12}", account):
        return None
    return alarm, Target(account, region)


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
        watching = self.store.deployments.watching(target)
        left = [one.id for one in watching if any(matches(name, alarm) for name in one.alarms)]
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
        return token is not None and self.task_tokens.wake(token, rollback=True)

    def _is_watching(self, deployment_id: str) -> bool:
        deployment = self.store.deployments.get(deployment_id)
        return deployment is not None and bool(deployment.alarms)
