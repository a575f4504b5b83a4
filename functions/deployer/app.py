"""Handler of the deployer: one turn of a deployment's rollout."""

from functools import cache
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from sluicegate import aws
from sluicegate.artifacts import Artifacts
from sluicegate.config import Config
from sluicegate.deployer import Deployer
from sluicegate.deployment import AliasOutcome, Deployment
from sluicegate.observe import count, logger, metrics
from sluicegate.rollout import Outcome
from sluicegate.steps import Steps
from sluicegate.store import Contended, Store
from sluicegate.targets import Targets


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
        count(deployment.status.name.title().replace("_", ""))
    if deployment.outcome is AliasOutcome.UNKNOWN:
        count("OutcomeUnknown")


@metrics.log_metrics
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Of `{"id": "<deployment>"}` from the state machine; the answer says what it does next.

    A table that does not answer is an outcome like any other: the turn changed nothing, or its repetition
    sees what it changed. What trying again cannot help is raised, and ends the execution.
    """
    try:
        return service().turn(str(event["id"]))
    except (ClientError, BotoCoreError) as error:
        logger.warning("the record did not answer", extra={"error": aws.error_code(error)})
        if not aws.may_pass(error):
            raise
        return {"next": "wait", "seconds": 5}
    except Contended:
        return {"next": "wait", "seconds": 1}
