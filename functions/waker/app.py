"""Handler of the waker: an alarm fired, so the rollouts that watch it look at once."""

from functools import cache
from typing import Any

from sluicegate import aws
from sluicegate.config import Config
from sluicegate.deployment import Status
from sluicegate.executions import Executions
from sluicegate.observe import logger
from sluicegate.plan import Target
from sluicegate.store import Store


@cache
def service() -> tuple[Store, Executions]:
    """Made at the first event."""
    config = Config.from_environment()
    return Store(aws.client("dynamodb"), config.table), Executions(aws.client("stepfunctions"), "")


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Of EventBridge's `CloudWatch Alarm State Change`. What follows is for the rollout to decide."""
    store, executions = service()
    alarm, target = str(event["detail"]["alarmName"]), Target(str(event["account"]), str(event["region"]))
    woken = []
    for deployment in store.unfinished():
        watch = deployment.plan.watch
        if (
            deployment.status is Status.BAKING
            and deployment.plan.target == target
            and watch is not None
            and alarm in watch.alarms
            and (token := store.waiting(deployment.id))
        ):
            executions.wake(token)
            woken.append(deployment.id)
            logger.info("woken by an alarm", extra={"deployment": deployment.id, "alarm": alarm})
    return {"woken": woken}
