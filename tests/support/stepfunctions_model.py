"""Step Functions as AWS answers it: the client's calls, over executions that something else runs.

Sources: AWS Step Functions API reference (StartExecution, SendTaskSuccess, DescribeExecution), read on 26
November 2026. Recorded answers: localstack/localstack,
`tests/aws/services/stepfunctions/v2/test_sfn_api.snapshot.json`, of 21 August 2024.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, Protocol

import boto3

NAME: Final = re.compile(r"""[^\s<>{}\[\]?*"#%\\^|~`$&,;:/\x00-\x1f\x7f-\x9f]{1,80}""")
"""1 to 80 characters: neither white space, brackets, wildcards nor special or control characters."""


class StartedExecution(Protocol):
    """What must be known of an execution."""

    status: str
    text: str


@cache
def errors() -> Any:
    """Return the error classes that boto3's client has: code catches them by these."""
    client = boto3.client(
        "stepfunctions", region_name="eu-central-1", aws_access_key_id="test", aws_secret_access_key="test"
    )
    return client.exceptions


@dataclass
class StepFunctionsModel:
    """A client of one state machine. `find` and `begin` know its executions, `end_wait` its task tokens.

    `end_wait` gets a token and the task's result. It returns True if the token's task was waiting, False if
    that is over, None if it never was one.
    """

    find: Callable[[str], StartedExecution | None]
    begin: Callable[[str, str], None]
    end_wait: Callable[[str, dict[str, Any]], bool | None]

    @property
    def exceptions(self) -> Any:
        return errors()

    def start_execution(self, *, stateMachineArn: str, name: str, input: str) -> dict[str, Any]:
        """The same name and input, while it runs, is the same execution; a name is kept for 90 days."""
        if not NAME.fullmatch(name):
            raise self._refused("InvalidName", "StartExecution")
        known = self.find(name)
        if known is None:
            self.begin(name, input)
        elif known.status != "RUNNING" or known.text != input:
            raise self._refused("ExecutionAlreadyExists", "StartExecution")
        return {"executionArn": f"{stateMachineArn.replace(':stateMachine:', ':execution:')}:{name}"}

    def describe_execution(self, *, executionArn: str) -> dict[str, Any]:
        known = self.find(executionArn.rpartition(":")[2])
        if known is None:
            raise self._refused("ExecutionDoesNotExist", "DescribeExecution")
        return {"status": known.status}

    def send_task_success(self, *, taskToken: str, output: str) -> dict[str, Any]:
        ended = self.end_wait(taskToken, json.loads(output))
        if ended is None:
            raise self._refused("InvalidToken", "SendTaskSuccess")
        if not ended:
            raise self._refused("TaskTimedOut", "SendTaskSuccess")
        return {}

    def _refused(self, code: str, call: str) -> Exception:
        answer = {"Error": {"Code": code, "Message": code}, "ResponseMetadata": {"HTTPStatusCode": 400}}
        kind: type[Exception] = getattr(self.exceptions, code)
        return kind(answer, call)
