"""The part of Step Functions that `functions/rollout.asl.yaml` uses, with a clock that waiting moves.

It runs the real definition. It rejects every state, field and expression that it does not know.
Source: Amazon States Language, and "Transforming data with JSONata" (Step Functions developer guide).
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final, cast

import yaml

from sluicegate.aws.stepfunctions import Executions
from sluicegate.deployment.model import Deployment
from support.simulation import Clock, Killed
from support.stepfunctions_model import StepFunctionsModel

DEFINITION: Final = Path(__file__).parents[2] / "functions" / "rollout.asl.yaml"
ARN: Final = "arn:aws:states:eu-central-1:111111111111:stateMachine:rollout"
MOST_EVENTS: Final = 25_000
"""Events that one execution's history may have (Step Functions quotas)."""

EVENTS_OF_A_WAIT = 13
"""Events that one wait adds to the history: 5 of Run (entered, scheduled, started, succeeded, exited), 2 of
Next, 6 of Wait (the same, and submitted). The test of the state machine counts them."""

Json = dict[str, Any]


class TaskFailed(Exception):
    """A task ended with this error."""

    def __init__(self, error: str, cause: str = "") -> None:
        super().__init__(f"{error}: {cause}")
        self.error = error


class ServiceError(Exception):
    """An error of the Lambda service, such as `Lambda.TooManyRequestsException`."""


@dataclass
class Execution:
    """One execution of the input `text`. `path` lists its states, `events` is the length of its history.

    `answer` is what its task token was used with.
    """

    name: str
    input: Json
    at: str
    text: str = ""
    status: str = "RUNNING"
    path: list[str] = field(default_factory=list)
    events: int = 1
    token: str | None = None
    answer: Json | None = None
    until: float | None = None
    tries: dict[int, int] = field(default_factory=dict)

    @property
    def answered(self) -> bool:
        return self.answer is not None


@dataclass
class Machine:
    """The state machine, with the methods of `aws.stepfunctions`. `invoke` is the Lambda function.

    `busy`: functions with no concurrency left, by their names in the definition. `invoked`: those that were.
    """

    invoke: Callable[[Json], Any]
    clock: Clock
    executions: dict[str, Execution] = field(default_factory=dict)
    plans: list[tuple[float, Callable[[], object]]] = field(default_factory=list)
    lost_wakes: int = 0
    tokens: set[str] = field(default_factory=set)
    busy: set[str] = field(default_factory=set)
    invoked: list[str] = field(default_factory=list)

    # What `Executions` does, through a client that answers as AWS does

    @property
    def api(self) -> Executions:
        client = StepFunctionsModel(self.executions.get, self._begin, self._end_wait)
        return Executions(cast(Any, client), ARN)

    def start(self, deployment: Deployment) -> None:
        self.api.start(deployment)

    def wake(self, token: str, *, rollback: bool = False) -> bool:
        return self.api.wake(token, rollback=rollback)

    def state(self, deployment: Deployment) -> str | None:
        return self.api.state(deployment)

    def _begin(self, name: str, text: str) -> None:
        self.executions[name] = Execution(name, json.loads(text), definition()["StartAt"], text=text)

    def _end_wait(self, token: str, result: Json) -> bool | None:
        if self.lost_wakes:
            self.lost_wakes -= 1
            return True
        waiting = [one for one in self.executions.values() if one.token == token and not one.answered]
        for execution in waiting:
            execution.answer = result
        return bool(waiting) if token in self.tokens else None

    # Time

    def later(self, seconds: float, what: Callable[[], object]) -> None:
        """Run `what` so many seconds from now."""
        self.plans.append((self.clock.now + seconds, what))

    def run(self, until: Callable[[], bool] = lambda: False, steps: int = 20_000) -> None:
        """Run until nothing runs any more, or until `until` returns true."""
        for _ in range(steps):
            if until():
                return
            self._happen()
            running = [one for one in self.executions.values() if one.status == "RUNNING"]
            ready = [one for one in running if self._ready(one)]
            if ready:
                for one in ready:
                    self._step(one)
                continue
            times = [one.until for one in running if one.until is not None] + [at for at, _ in self.plans]
            if not running or not times:
                return
            self.clock.now = max(self.clock.now, min(times))
        raise AssertionError("the executions do not end")

    def of(self, deployment: Deployment) -> Execution:
        """Return the deployment's last execution."""
        names = [name for name in self.executions if name.startswith(deployment.id)]
        return self.executions[names[-1]]

    def waits(self, deployment: Deployment) -> bool:
        """Return whether the deployment's execution waits for its task token."""
        execution = self.of(deployment)
        return execution.token is not None and not execution.answered

    def _happen(self) -> None:
        due = [plan for plan in self.plans if plan[0] <= self.clock.now]
        self.plans = [plan for plan in self.plans if plan not in due]
        for _, what in sorted(due, key=lambda plan: plan[0]):
            what()

    def _ready(self, one: Execution) -> bool:
        return one.answered or one.until is None or one.until <= self.clock.now

    # States

    def _step(self, one: Execution) -> None:
        state = definition()["States"][one.at]
        waited = one.until is not None
        if not waited:
            one.path.append(one.at)
            one.events += 2  # entered, exited
        match state["Type"]:
            case "Task":
                _only(state, "Arguments", "Resource", "TimeoutSeconds", "Output", "Retry", "Catch", "Next")
                self._task(one, state, waited)
            case "Wait":
                _only(state, "Seconds", "Next")
                self._pause(one, state, waited)
            case "Choice":
                _only(state, "Choices", "Default")
                chosen = (
                    c["Next"] for c in state["Choices"] if evaluate(c["Condition"], {"input": one.input})
                )
                one.at = next(chosen, state["Default"])
            case "Succeed":
                _only(state)
                one.status = "SUCCEEDED"
            case "Fail":
                _only(state, "Error", "Cause")
                one.status = "FAILED"
            case kind:
                raise AssertionError(f"a state of type {kind}")
        if one.events > MOST_EVENTS:
            one.status = "FAILED"

    def _pause(self, one: Execution, state: Json, waited: bool) -> None:
        if waited:
            one.until, one.at = None, state["Next"]
        else:
            one.until = self.clock.now + state["Seconds"]

    def _task(self, one: Execution, state: Json, waited: bool) -> None:
        scope: Json = {"input": one.input, "context": {"Task": {"Token": f"{one.name}#{one.events}"}}}
        try:
            if state["Resource"].endswith(":lambda:invoke"):
                scope["result"] = {"Payload": self._run(one, state, scope)}
            elif not waited:
                self._ask(one, state, scope)
                return
            else:
                scope["result"] = self._answer(one)
        except TaskFailed as failure:
            one.token, one.until, one.answer = None, None, None
            self._fail(one, state, scope, failure)
            return
        one.tries.clear()
        one.input, one.at = evaluate(state["Output"], scope), state["Next"]

    def _run(self, one: Execution, state: Json, scope: Json) -> Any:
        one.events += 3  # scheduled, started, succeeded or failed
        began = self.clock.now
        answer = self._lambda(state, scope)
        if self.clock.now - began > state["TimeoutSeconds"]:
            raise TaskFailed("States.Timeout")
        return answer

    def _ask(self, one: Execution, state: Json, scope: Json) -> None:
        """`.waitForTaskToken`: give the function the token; the task ends when the token is used."""
        assert state["Resource"].endswith(":lambda:invoke.waitForTaskToken")
        one.events += 4  # scheduled, started, submitted, succeeded or timed out
        seconds = evaluate(state["TimeoutSeconds"], scope)
        assert isinstance(seconds, int)
        assert 1 <= seconds <= 99_999_999
        one.token, one.until = scope["context"]["Task"]["Token"], self.clock.now + seconds
        self.tokens.add(one.token)
        self._lambda(state, scope)

    def _answer(self, one: Execution) -> Json:
        answer, one.token, one.until, one.answer = one.answer, None, None, None
        if answer is None:
            raise TaskFailed("States.Timeout")
        return answer

    def _lambda(self, state: Json, scope: Json) -> Any:
        name = evaluate(state["Arguments"]["FunctionName"], scope)
        if name in self.busy:
            raise TaskFailed("Lambda.TooManyRequestsException")
        self.invoked.append(name)
        payload = json.loads(json.dumps(evaluate(state["Arguments"]["Payload"], scope)))
        try:
            return json.loads(json.dumps(self.invoke(payload)))
        except Killed:
            raise TaskFailed("Runtime.ExitError") from None
        except ServiceError as error:
            raise TaskFailed(str(error)) from None
        except Exception as error:
            raise TaskFailed(type(error).__name__, str(error)) from error

    def _fail(self, one: Execution, state: Json, scope: Json, failure: TaskFailed) -> None:
        for number, retry in enumerate(state.get("Retry", [])):
            _only(retry, *RETRY, kind="")
            if not _matches(retry, failure):
                continue
            if (tried := one.tries.get(number, 0)) < retry["MaxAttempts"]:
                one.tries[number] = tried + 1
                delay = retry["IntervalSeconds"] * retry["BackoffRate"] ** tried
                self.clock.sleep(min(delay, retry.get("MaxDelaySeconds", delay)))
                return  # the same state again
            break
        for caught in state.get("Catch", []):
            _only(caught, "ErrorEquals", "Output", "Next", kind="")
            if _matches(caught, failure):
                one.tries.clear()
                one.input, one.at = evaluate(caught["Output"], scope), caught["Next"]
                return
        one.status = "FAILED"


RETRY: Final = (
    "ErrorEquals", "IntervalSeconds", "BackoffRate", "MaxDelaySeconds", "MaxAttempts", "JitterStrategy",
)  # fmt: skip


@cache
def definition() -> Json:
    """Return the real definition."""
    found: Json = yaml.safe_load(DEFINITION.read_text())
    assert found["QueryLanguage"] == "JSONata"
    return found


def _only(value: Mapping[str, Any], *known: str, kind: str = "Type") -> None:
    unknown = set(value) - {*known, kind}
    assert not unknown, f"unknown fields: {unknown}"


def _matches(handler: Json, failure: TaskFailed) -> bool:
    return failure.error in handler["ErrorEquals"] or "States.ALL" in handler["ErrorEquals"]


_EXPRESSION: Final = re.compile(r"\{% (.*) %\}", re.DOTALL)
_PATH: Final = re.compile(r"\$states((?:\.\w+)+)")
_EQUALS: Final = re.compile(r"(\S+) = (?:'(\w+)'|true)")
_CHOICE: Final = re.compile(r"(.+) \? '([^']+)' : '([^']+)'")


def evaluate(value: Any, scope: Json) -> Any:
    """Evaluate JSONata of four forms: a path into `$states`, conditions, and a choice between two strings.

    A condition says that a path equals a string, or true, or that one of two does. What is not there equals
    nothing (JSONata, "Comparison operators").
    """
    match value:
        case dict():
            return {name: evaluate(item, scope) for name, item in value.items()}
        case str() if found := _EXPRESSION.fullmatch(value):
            if choice := _CHOICE.fullmatch(found[1]):
                return choice[2] if _holds(choice[1], scope) else choice[3]
            return _holds(found[1], scope) if " = " in found[1] else _path(found[1], scope)
        case str() if "{%" in value or value.startswith("$"):
            raise AssertionError(f"unknown expression: {value}")
        case _:
            return value


def _holds(text: str, scope: Json) -> bool:
    equations = [_EQUALS.fullmatch(each) for each in text.split(" or ")]
    assert all(equations), f"unknown expression: {text}"
    return any(_path(equation[1], scope, None) == (equation[2] or True) for equation in equations if equation)


_REQUIRED: Final = object()


def _path(text: str, scope: Json, absent: Any = _REQUIRED) -> Any:
    found = _PATH.fullmatch(text)
    assert found, f"unknown expression: {text}"
    value: Any = scope
    for name in found[1].removeprefix(".").split("."):
        if absent is not _REQUIRED and name not in value:
            return absent
        value = value[name]  # what is not there would be an error of the execution
    return value
