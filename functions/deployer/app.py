"""Handler of the deployer: one turn of a deployment's rollout."""

from functools import cache
from typing import Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from sluicegate import aws
from sluicegate.artifacts import Artifacts
from sluicegate.config import Config
from sluicegate.deployer import Deployer
from sluicegate.deployment import AliasOutcome, Deployment
from sluicegate.rollout import Outcome
from sluicegate.steps import Steps
from sluicegate.store import Store
from sluicegate.targets import Targets

logger = Logger()
metrics = Metrics()


@cache
def service() -> Deployer:
    """Made at the first event."""
    config = Config.from_environment()
    store = Store(aws.client("dynamodb"), config.table)
    artifacts = Artifacts(aws.client("s3"), config.bucket)
    return Deployer(store, Steps(store, artifacts, Targets(config, aws.client("sts"))), told)


def told(deployment: Deployment, outcome: Outcome) -> None:
    """One change, one event; an alias in an unknown state raises the alarm."""
    reason = deployment.reason
    logger.info(
        deployment.timeline[-1].message,
        extra={
            "deployment": deployment.id,
            "revision": deployment.revision,
            "status": deployment.status.value,
            "function": deployment.function,
            "stage": deployment.stage,
            "step": type(outcome).__name__,
            "reason": reason and reason.code,
        },
    )
    if deployment.status.final:
        metrics.add_metric(
            name=deployment.status.name.title().replace("_", ""), unit=MetricUnit.Count, value=1
        )
    if deployment.outcome is AliasOutcome.UNKNOWN:
        metrics.add_metric(name="OutcomeUnknown", unit=MetricUnit.Count, value=1)


@metrics.log_metrics
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Of `{"id": "<deployment>"}` from the state machine; the answer says what it does next."""
    return service().turn(str(event["id"]))
