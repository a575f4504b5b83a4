"""Lambda handler of the waker: an alarm fired, so the rollouts that watch it look at once."""

from functools import cache
from typing import Any

from sluicegate.aws import clients
from sluicegate.aws.stepfunctions import TaskTokens
from sluicegate.observability import logger
from sluicegate.recovery.waker import Waker, fired
from sluicegate.settings import WakerSettings
from sluicegate.store.store import Store


@cache
def service() -> Waker:
    """Build the waker at the first event."""
    settings = WakerSettings.from_environment()
    return Waker(
        Store(clients.client("dynamodb"), settings.table), TaskTokens(clients.client("stepfunctions"))
    )


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Handle EventBridge's `CloudWatch Alarm State Change`, of this account or of a target's."""
    alarm = fired(event)
    if alarm is None:
        logger.warning("event_ignored", extra={"source": str(event.get("source"))[:64]})
        return {"woken": []}
    name, target = alarm
    woken = service().wake(name, target)
    for deployment_id in woken:
        logger.info("rollout_woken", extra={"deployment": deployment_id, "alarm": name})
    return {"woken": woken}
