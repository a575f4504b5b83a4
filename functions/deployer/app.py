"""Handler of the deployer: one turn of a deployment's rollout."""

from functools import cache
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from sluicegate.aws import clients
from sluicegate.aws.s3 import Artifacts
from sluicegate.aws.stepfunctions import TaskTokens
from sluicegate.deployer.runner import Runner
from sluicegate.deployer.target import Targets
from sluicegate.deployer.worker import Deployer
from sluicegate.deployment.model import AliasOutcome, Deployment
from sluicegate.observability import count, logger, metrics
from sluicegate.rollout.outcomes import Outcome
from sluicegate.settings import DeployerSettings
from sluicegate.store.errors import Contended
from sluicegate.store.store import Store


@cache
def service() -> Deployer:
    """Made at the first event."""
    settings = DeployerSettings.from_environment()
    store = Store(clients.client("dynamodb"), settings.table)
    artifacts = Artifacts(clients.client("s3"), settings.bucket)
    steps = Runner(store, artifacts, Targets(settings, clients.client("sts")))
    return Deployer(store, steps, TaskTokens(clients.client("stepfunctions")), told)


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
    """Of the state machine: `{"id"}` runs a turn, and the answer says what comes next; a `token` is noted.

    A table that does not answer is an outcome like any other: the turn changed nothing, or its repetition
    sees what it changed. What trying again cannot help is raised, and ends the execution.
    """
    deployment = str(event["id"])
    if "token" in event:
        service().wait(deployment, int(event["revision"]), str(event["token"]), int(event["seconds"]))
        return {}
    try:
        return service().turn(deployment)
    except (ClientError, BotoCoreError) as error:
        logger.warning("the record did not answer", extra={"error": clients.error_code(error)})
        if not clients.is_retryable(error):
            raise
        return {"next": "wait", "seconds": 5, "revision": 0}
    except Contended:
        return {"next": "wait", "seconds": 1, "revision": 0}
