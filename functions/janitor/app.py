"""Handler of the janitor: every minute, see that what was accepted is on its way."""

from functools import cache
from typing import Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from sluicegate import aws
from sluicegate.config import Config
from sluicegate.deployment import AliasOutcome
from sluicegate.executions import Executions
from sluicegate.janitor import Janitor
from sluicegate.store import Store

logger = Logger()
metrics = Metrics()


@cache
def service() -> Janitor:
    """Made at the first event."""
    config = Config.from_environment()
    return Janitor(
        Store(aws.client("dynamodb"), config.table),
        Executions(aws.client("stepfunctions"), config.state_machine),
    )


@metrics.log_metrics
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Of the schedule's event, whose content does not matter."""
    swept = service().sweep()
    for deployment_id in swept.started:
        logger.warning("started what was not running", extra={"deployment": deployment_id})
    for deployment in swept.abandoned:
        logger.error("given up", extra={"deployment": deployment.id, "status": deployment.status.value})
        if deployment.outcome is AliasOutcome.UNKNOWN:
            metrics.add_metric(name="OutcomeUnknown", unit=MetricUnit.Count, value=1)
    metrics.add_metric(name="Stuck", unit=MetricUnit.Count, value=len(swept.abandoned))
    return {
        "started": list(swept.started),
        "abandoned": [deployment.id for deployment in swept.abandoned],
        "running": swept.running,
    }
