"""The rollout's state machine: start executions at most once each, read their state, and end their waits."""

from contextlib import suppress
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from sluicegate.deployment.model import Deployment

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions.client import SFNClient


class TaskTokens:
    """Ends waits by their task tokens. `client` is a Step Functions client."""

    def __init__(self, client: "SFNClient") -> None:
        self._client = client

    def wake(self, token: str) -> bool:
        """End a wait; return False where it is over already, which is fine."""
        errors = self._client.exceptions
        try:
            self._client.send_task_success(taskToken=token, output="{}")
        except (errors.TaskTimedOut, errors.TaskDoesNotExist, errors.InvalidToken):
            return False
        return True


class Executions(TaskTokens):
    """Executions of the rollout, named after the deployment and its attempt."""

    def __init__(self, client: "SFNClient", state_machine: str) -> None:
        super().__init__(client)
        self._state_machine = state_machine

    def start(self, deployment: Deployment) -> None:
        """Start the current attempt; one that was started already is left as it is."""
        with suppress(self._client.exceptions.ExecutionAlreadyExists):
            self._client.start_execution(
                stateMachineArn=self._state_machine,
                name=_name(deployment),
                input=f'{{"id":"{deployment.id}"}}',
            )

    def state(self, deployment: Deployment) -> str | None:
        """Return the current attempt's status (`RUNNING`, `FAILED`, ...), or None where it never started."""
        arn = f"{self._state_machine.replace(':stateMachine:', ':execution:')}:{_name(deployment)}"
        try:
            return str(self._client.describe_execution(executionArn=arn)["status"])
        except ClientError as error:
            if error.response["Error"]["Code"] == "ExecutionDoesNotExist":
                return None
            raise


def _name(deployment: Deployment) -> str:
    return f"{deployment.id}-{deployment.attempt}"
