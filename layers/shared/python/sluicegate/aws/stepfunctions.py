"""Executions of the rollout's state machine: started once per attempt, woken by task token."""

import json
from contextlib import suppress
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from sluicegate.aws.errors import error_code
from sluicegate.deployment.model import Deployment

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient


class TaskTokens:
    """Ends waits by their task tokens."""

    def __init__(self, client: "SFNClient") -> None:
        self._client = client

    def wake(self, token: str, *, rollback: bool = False) -> bool:
        """End the wait with this task token. Return False if it had ended already, which is harmless.

        `rollback`: the turn after it is, or may be, one that takes something back.
        """
        errors = self._client.exceptions
        try:
            output = json.dumps({"rollback": True} if rollback else {})
            self._client.send_task_success(taskToken=token, output=output)
        except (errors.TaskTimedOut, errors.TaskDoesNotExist, errors.InvalidToken):
            return False
        return True


class Executions(TaskTokens):
    """The rollout's executions, named after the deployment and its attempt."""

    def __init__(self, client: "SFNClient", state_machine: str) -> None:
        super().__init__(client)
        self._state_machine = state_machine

    def start(self, deployment: Deployment) -> None:
        """Start the execution of the current attempt, unless it was started already."""
        with suppress(self._client.exceptions.ExecutionAlreadyExists):
            self._client.start_execution(
                stateMachineArn=self._state_machine,
                name=_name(deployment),
                input=json.dumps({"id": deployment.id, "rollback": deployment.goes_back}),
            )

    def state(self, deployment: Deployment) -> str | None:
        """Return the status of the current attempt (`RUNNING`, `FAILED`, …), or None if it never started."""
        arn = f"{self._state_machine.replace(':stateMachine:', ':execution:')}:{_name(deployment)}"
        try:
            return self._client.describe_execution(executionArn=arn)["status"]
        except ClientError as error:
            if error_code(error) == "ExecutionDoesNotExist":
                return None
            raise


def _name(deployment: Deployment) -> str:
    return f"{deployment.id}-{deployment.attempt}"
