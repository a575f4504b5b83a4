"""Handler of the deployer: one turn of a deployment's rollout."""

from functools import cache
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from sluicegate.aws import clients
from sluicegate.aws.errors import ErrorKind, classify, error_code, error_message
from sluicegate.aws.s3 import Artifacts
from sluicegate.aws.stepfunctions import TaskTokens
from sluicegate.deployer.runner import Runner
from sluicegate.deployer.target import Targets
from sluicegate.deployer.worker import Deployer
from sluicegate.deployment.call_budget import InLine
from sluicegate.deployment.model import AliasOutcome, Deployment
from sluicegate.observability import count, logger, metrics
from sluicegate.rollout.outcomes import Outcome, TransientFailure
from sluicegate.settings import DeployerSettings
from sluicegate.store.errors import Contended
from sluicegate.store.store import Store


@cache
def service() -> Deployer:
    """Return the process's deployer, made at the first event."""
    settings = DeployerSettings.from_environment()
    store = Store(clients.client("dynamodb"), settings.table)
    artifacts = Artifacts(clients.client("s3"), settings.bucket)
    runner = Runner(store, artifacts, Targets(settings, clients.sts_of))
    return Deployer(store, runner, TaskTokens(clients.client("stepfunctions")), log_change)


def log_change(deployment: Deployment, outcome: Outcome) -> None:
    """Log each change once. An alias in an unknown state, or one that cannot be restored, raises an alarm."""
    reason = deployment.reason
    logger.info(
        deployment.timeline[-1].message,
        extra={
            "deployment": deployment.id,
            "revision": deployment.revision,
            "status": deployment.status.value,
            "function": deployment.function,
            "stage": deployment.stage,
            "outcome": type(outcome).__name__,
            "reason": reason and reason.code,
        },
    )
    if isinstance(outcome, InLine):
        count("ControlPlaneQueue", outcome.place)
    if isinstance(outcome, TransientFailure) and outcome.throttled:
        count("ThrottledCalls")
    if deployment.status.final:
        count(deployment.status.name.title().replace("_", ""))
    if deployment.outcome in (AliasOutcome.UNKNOWN, AliasOutcome.NOT_RESTORED):
        count("OutcomeUnknown")


@metrics.log_metrics
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Run a turn for `{"id", "rollback"}`, and return what comes next. With a `token`, store it instead.

    If the table fails, wait and run another turn: it sees what this one changed. An error that a retry
    cannot help is raised, and fails the execution.
    """
    deployment, rollback = str(event["id"]), bool(event.get("rollback"))
    if "token" in event:
        revision, seconds = int(event["revision"]), int(event["seconds"])
        service().register_wait(deployment, revision, str(event["token"]), seconds)
        return {}
    try:
        return service().run_turn(deployment)
    except (ClientError, BotoCoreError) as error:
        logger.warning(
            "table_unavailable", extra={"error": error_code(error), "error_message": error_message(error)}
        )
        if classify(error) not in (ErrorKind.THROTTLED, ErrorKind.UNAVAILABLE, ErrorKind.CONFLICT):
            raise
        return {"next": "wait", "seconds": 5, "revision": 0, "rollback": rollback}
    except Contended:
        return {"next": "wait", "seconds": 1, "revision": 0, "rollback": rollback}
