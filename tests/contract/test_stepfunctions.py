"""Step Functions as AWS answers it: an execution is started once, and woken by its task token.

Recorded: localstack/localstack, `tests/aws/services/stepfunctions/v2/test_sfn_api.snapshot.json`, of 21
August 2024. Documented: Step Functions API reference, read on 26 November 2026.
"""

import json
from dataclasses import dataclass
from typing import Any

import pytest
from botocore.exceptions import ClientError, ParamValidationError

from contract.witness import Emulator, Witness, eventually, refusal, role, unique
from support.stepfunctions_model import StepFunctionsModel


def definition(seconds: int) -> str:
    wait = {"Type": "Wait", "Seconds": seconds, "End": True}
    return json.dumps({"QueryLanguage": "JSONata", "StartAt": "Wait", "States": {"Wait": wait}})


@dataclass
class Execution:
    """An execution of the model's."""

    text: str
    status: str


@dataclass(frozen=True)
class Machine:
    """A state machine, and a client for it."""

    client: Any
    arn: str

    def start(self, name: str, given: Any) -> Any:
        return self.client.start_execution(stateMachineArn=self.arn, name=name, input=json.dumps(given))


def machine(witness: Witness, seconds: int) -> Machine:
    """Return a state machine whose executions last for so long."""
    if not isinstance(witness, Emulator):
        return modelled("RUNNING" if seconds else "SUCCEEDED")
    client = witness.client("stepfunctions")
    created = client.create_state_machine(
        name=unique(), definition=definition(seconds), roleArn=role(witness, "states.amazonaws.com")
    )
    return Machine(client, created["stateMachineArn"])


def modelled(status: str) -> Machine:
    executions: dict[str, Execution] = {}

    def begin(name: str, given: str) -> None:
        executions[name] = Execution(given, status)

    model = StepFunctionsModel(executions.get, begin, lambda *_: None)
    return Machine(model, "arn:aws:states:eu-central-1:111111111111:stateMachine:rollout")


@pytest.fixture(scope="module")
def waiting(witness: Witness) -> Machine:
    """A state machine whose executions wait for longer than any test."""
    return machine(witness, 600)


@pytest.fixture(scope="module")
def brief(witness: Witness) -> Machine:
    """A state machine whose executions end at once."""
    return machine(witness, 0)


def test_the_same_start_again_while_it_runs_is_the_same_execution(waiting: Machine) -> None:
    """Recorded: test_start_execution_idempotent."""
    name = unique()
    first, again = (waiting.start(name, {"id": 1}) for _ in range(2))
    assert again["executionArn"] == first["executionArn"]
    assert again.get("startDate") == first.get("startDate")


def test_the_same_name_with_another_input_is_refused(waiting: Machine) -> None:
    """Recorded: test_start_execution_idempotent, start_exec_already_exists."""
    name = unique()
    waiting.start(name, {"id": 1})
    answer = refusal(waiting.start, name=name, given={"id": 2})
    assert answer[:2] == ("ExecutionAlreadyExists", 400)


def test_the_name_of_an_execution_that_ended_is_refused(brief: Machine) -> None:
    """Documented: StartExecution, a closed execution of that name is ExecutionAlreadyExists for 90 days."""
    name = unique()
    execution = brief.start(name, {})["executionArn"]
    eventually(lambda: brief.client.describe_execution(executionArn=execution)["status"], "SUCCEEDED")
    assert refusal(brief.start, name=name, given={})[:2] == ("ExecutionAlreadyExists", 400)


@pytest.mark.parametrize("name", ["a b", "a:b", "x" * 81])
def test_the_name_of_an_execution_has_a_small_alphabet(waiting: Machine, name: str) -> None:
    """Documented: StartExecution, name: 1 to 80 characters, no white space and no special ones."""
    with pytest.raises((ClientError, ParamValidationError)):
        waiting.start(name, {})


def test_an_execution_that_never_was_does_not_exist(waiting: Machine) -> None:
    arn = f"{waiting.arn.replace(':stateMachine:', ':execution:')}:{unique()}"
    answer = refusal(waiting.client.describe_execution, executionArn=arn)
    assert answer[:2] == ("ExecutionDoesNotExist", 400)


def test_what_is_no_token_is_invalid(waiting: Machine) -> None:
    answer = refusal(waiting.client.send_task_success, taskToken="never was one", output="{}")
    assert answer[:2] == ("InvalidToken", 400)
