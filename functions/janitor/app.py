"""Lambda handler of the janitor: every minute, restart deployments that do not run."""

from functools import cache
from typing import Any

from sluicegate.aws import clients
from sluicegate.aws.errors import error_code, error_message
from sluicegate.aws.stepfunctions import Executions
from sluicegate.deployment.model import AliasOutcome
from sluicegate.observability import count, logger, metrics
from sluicegate.recovery.janitor import Janitor
from sluicegate.settings import JanitorSettings
from sluicegate.store.store import Store


@cache
def service() -> Janitor:
    """Build the janitor at the first event."""
    settings = JanitorSettings.from_environment()
    return Janitor(
        Store(clients.client("dynamodb"), settings.table),
        Executions(clients.client("stepfunctions"), settings.state_machine),
    )


@metrics.log_metrics
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Sweep at each event of the schedule. Raises the first error once all deployments are swept."""
    swept = service().sweep()
    for deployment_id in swept.started:
        logger.warning("rollout_restarted", extra={"deployment": deployment_id})
    for deployment in swept.abandoned:
        logger.error(
            "deployment_given_up", extra={"deployment": deployment.id, "status": deployment.status.value}
        )
        if deployment.outcome is AliasOutcome.UNKNOWN:
            count("OutcomeUnknown")
    count("Stuck", len(swept.abandoned))
    for deployment_id, error in swept.failed:
        words = {"error": error_code(error), "error_message": error_message(error)}
        logger.warning("sweep_failed", extra={"deployment": deployment_id, **words})
    if swept.failed:
        raise swept.failed[0][1]
    return {
        "started": swept.started,
        "abandoned": [deployment.id for deployment in swept.abandoned],
        "running": swept.running,
    }
