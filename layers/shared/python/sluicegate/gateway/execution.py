"""Start and wake the rollout of a deployment. The record says what is to be done; both may be repeated."""

from sluicegate.aws.errors import error_code, error_message
from sluicegate.deployment.model import Deployment
from sluicegate.gateway.context import Context
from sluicegate.gateway.problems import unavailable


def start(context: Context, deployment: Deployment) -> None:
    """Start the execution. If that fails, the same request again starts it, or the janitor does."""
    try:
        context.executions.start(deployment)
    except Exception as error:
        _log(context, "execution_not_started", deployment, error)
        raise unavailable(
            f"The deployment was accepted as {deployment.id}, but not started. Retry the request, or wait a"
            " minute."
        ) from None


def wake(context: Context, deployment: Deployment) -> None:
    """End the rollout's wait. If that fails, the wait times out, or the janitor ends it."""
    try:
        if token := context.store.waits.token(deployment.id):
            context.executions.wake(token, rollback=deployment.goes_back)
    except Exception as error:
        _log(context, "execution_not_woken", deployment, error)


def _log(context: Context, event: str, deployment: Deployment, error: Exception) -> None:
    words = {"error": error_code(error), "error_message": error_message(error)}
    context.log(event, deployment=deployment.id, **words)
