"""Step Functions as AWS answers it: an execution is started once, and woken by its task token.

Recorded: localstack/localstack, `tests/aws/services/stepfunctions/v2/test_sfn_api.snapshot.json`, of 21
August 2024. Documented: Step Functions API reference, read on 26 November 2026.
"""

import json
from typing import Any

import pytest

from contract.witness import Emulator, Witness, eventually, refusal, role, unique


def definition(seconds: int) -> str:
    wait = {"Type": "Wait", "Seconds": seconds, "End": True}
    return json.dumps({"QueryLanguage": "JSONata", "StartAt": "Wait", "States": {"Wait": wait}})


def machine(witness: Witness, seconds: int) -> str:
    if not isinstance(witness, Emulator):
        pytest.skip("the unit tests have no model of Step Functions with boto3's methods")
    created = witness.client("stepfunctions").create_state_machine(
        name=unique(), definition=definition(seconds), roleArn=role(witness, "states.amazonaws.com")
    )
    arn: str = created["stateMachineArn"]
    return arn


@pytest.fixture(scope="module")
def waiting(witness: Witness) -> str:
    """A state machine whose executions wait for longer than any test."""
    return machine(witness, 600)


@pytest.fixture(scope="module")
def brief(witness: Witness) -> str:
    """A state machine whose executions end at once."""
    return machine(witness, 0)


def start(witness: Witness, arn: str, name: str, given: Any) -> Any:
    return witness.client("stepfunctions").start_execution(
        stateMachineArn=arn, name=name, input=json.dumps(given)
    )


def test_the_same_start_again_while_it_runs_is_the_same_execution(witness: Witness, waiting: str) -> None:
    """Recorded: test_start_execution_idempotent."""
    name = unique()
    first = start(witness, waiting, name, {"id": 1})
    again = start(witness, waiting, name, {"id": 1})
    assert again["executionArn"] == first["executionArn"]
    assert again["startDate"] == first["startDate"]


def test_the_same_name_with_another_input_is_refused(witness: Witness, waiting: str) -> None:
    """Recorded: test_start_execution_idempotent, start_exec_already_exists."""
    name = unique()
    start(witness, waiting, name, {"id": 1})
    answer = refusal(
        witness.client("stepfunctions").start_execution, stateMachineArn=waiting, name=name, input='{"id":2}'
    )
    assert answer[:2] == ("ExecutionAlreadyExists", 400)


def test_the_name_of_an_execution_that_ended_is_refused(witness: Witness, brief: str) -> None:
    """Documented: StartExecution, a closed execution of that name is ExecutionAlreadyExists for 90 days."""
    states, name = witness.client("stepfunctions"), unique()
    execution = start(witness, brief, name, {})["executionArn"]
    eventually(lambda: states.describe_execution(executionArn=execution)["status"], "SUCCEEDED")
    answer = refusal(states.start_execution, stateMachineArn=brief, name=name, input="{}")
    assert answer[:2] == ("ExecutionAlreadyExists", 400)


def test_an_execution_that_never_was_does_not_exist(witness: Witness, waiting: str) -> None:
    arn = f"{waiting.replace(':stateMachine:', ':execution:')}:{unique()}"
    answer = refusal(witness.client("stepfunctions").describe_execution, executionArn=arn)
    assert answer[:2] == ("ExecutionDoesNotExist", 400)


def test_what_is_no_token_is_invalid(witness: Witness, waiting: str) -> None:
    assert waiting
    answer = refusal(
        witness.client("stepfunctions").send_task_success, taskToken="never was one", output="{}"
    )
    assert answer[:2] == ("InvalidToken", 400)
