"""Starting the state machine, so that starting twice is starting once; and ending its waits."""

from contextlib import suppress
from typing import Any

from botocore.exceptions import ClientError

from sluicegate.deployment.model import Deployment


class Executions:
    """Executions of the rollout, named after the deployment and its attempt."""

    def __init__(self, client: Any, state_machine: str) -> None:
        self._client = client
        self._state_machine = state_machine

    def start(self, deployment: Deployment) -> None:
        """Start the present attempt; one that was started already is left as it is."""
        with suppress(self._client.exceptions.ExecutionAlreadyExists):
            self._client.start_execution(
                stateMachineArn=self._state_machine,
                name=_name(deployment),
                input=f'{{"id":"{deployment.id}"}}',
            )

    def wake(self, token: str) -> bool:
        """End a wait, whose task token it is; False where it is over already, which is fine."""
        errors = self._client.exceptions
        try:
            self._client.send_task_success(taskToken=token, output="{}")
        except (errors.TaskTimedOut, errors.TaskDoesNotExist, errors.InvalidToken):
            return False
        return True

    def state(self, deployment: Deployment) -> str | None:
        """The present attempt's status (`RUNNING`, `FAILED`, ...), None where it never started."""
        arn = f"{self._state_machine.replace(':stateMachine:', ':execution:')}:{_name(deployment)}"
        try:
            return str(self._client.describe_execution(executionArn=arn)["status"])
        except ClientError as error:
            if error.response["Error"]["Code"] == "ExecutionDoesNotExist":
                return None
            raise


def _name(deployment: Deployment) -> str:
    return f"{deployment.id}-{deployment.attempt}"
