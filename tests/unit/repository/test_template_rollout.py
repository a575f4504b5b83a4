"""The state machine in template.yaml and functions/rollout.asl.yaml."""

import re

from sluicegate.deployer import worker
from sluicegate.store import locks
from support.template import MACHINE, ROOT, Json, properties


def test_the_rollout_logs_errors_without_data() -> None:
    logging = properties("Rollout")["Logging"]
    assert logging["Level"] == "ERROR"
    assert logging["IncludeExecutionData"] is False
    assert properties("Rollout")["Type"] == "STANDARD"


def test_the_rollout_is_a_loop_of_few_states_that_all_lead_somewhere() -> None:
    states = MACHINE["States"]
    assert MACHINE["QueryLanguage"] == "JSONata"
    assert len(states) <= 10
    following = {MACHINE["StartAt"]}
    for state in states.values():
        following |= {state[key] for key in ("Next", "Default") if key in state}
        following |= {way["Next"] for way in (*state.get("Choices", []), *state.get("Catch", []))}
    assert following == set(states)
    assert {state["Type"] for state in states.values() if "Next" not in state} == {
        "Choice",
        "Succeed",
        "Fail",
    }


def test_the_rollout_knows_every_answer_of_the_deployer() -> None:
    conditions = " ".join(choice["Condition"] for choice in MACHINE["States"]["Next"]["Choices"])
    assert set(re.findall(r"'(\w+)'", conditions)) == {"run", "wait", "end"}


def test_state_between_turns_is_the_id_and_what_comes_next() -> None:
    run, wait = MACHINE["States"]["Run"], MACHINE["States"]["Wait"]
    assert set(run["Arguments"]["Payload"]) == {"id", "rollback"}
    assert set(run["Output"]) == {"id", "next", "seconds", "revision", "rollback"}
    for output in outputs(wait):
        assert set(output) == {"id", "rollback"}
        assert output["id"] == "{% $states.input.id %}"


def test_turns_that_take_something_back_have_a_function_of_their_own() -> None:
    run, wait = MACHINE["States"]["Run"], MACHINE["States"]["Wait"]
    chosen = "{% $states.input.rollback = true ? '${RollbackArn}' : '${DeployerArn}' %}"
    assert run["Arguments"]["FunctionName"] == wait["Arguments"]["FunctionName"] == chosen


def outputs(state: Json) -> list[Json]:
    return [state["Output"], *(caught["Output"] for caught in state["Catch"])]


def test_the_rollout_retries_wherever_it_runs() -> None:
    retried = {error for retry in MACHINE["States"]["Run"]["Retry"] for error in retry["ErrorEquals"]}
    assert {
        "Lambda.ServiceException",
        "Lambda.TooManyRequestsException",
        "Lambda.Unknown",
        "Runtime.ExitError",
        "Runtime.HandlerError",
        "Sandbox.Timedout",
        "States.Timeout",
    } <= retried


def test_a_turn_fits_the_function_the_task_and_the_lease() -> None:
    function = properties("DeployerFunction")["Timeout"]
    task = MACHINE["States"]["Run"]["TimeoutSeconds"]
    assert worker.TURN_SECONDS * 2 < function < task < locks.PUBLISH_LEASE


def test_every_substitution_of_the_rollout_is_given() -> None:
    text = (ROOT / "functions" / "rollout.asl.yaml").read_text()
    assert set(re.findall(r"\$\{(\w+)\}", text)) == set(properties("Rollout")["DefinitionSubstitutions"])
