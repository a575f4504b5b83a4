"""Executions of `functions/rollout.asl.yaml`, any number at once, in virtual time.

Each is a task that runs the real definition. States and fields that it does not know are refused. What an
expression means is `support.state_machine`'s.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, cast

from simulation.engine import Engine, Signal, Task
from support.state_machine import MOST_EVENTS, RETRY, TaskFailed, definition, evaluate
from support.stepfunctions_model import StepFunctionsModel

Json = dict[str, Any]

_TASK: Final = ("Arguments", "Resource", "TimeoutSeconds", "Output", "Retry", "Catch", "Next")


@dataclass(eq=False)
class RunningExecution:
    """One execution. `token` is that of the wait that it is in."""

    name: str
    text: str
    status: str = "RUNNING"
    events: int = 1
    task: Task | None = None
    tries: dict[int, int] = field(default_factory=dict)

    @property
    def deployment(self) -> str:
        """The id of the deployment: the name without the attempt."""
        return self.name.rpartition("-")[0]


class Executions:
    """The service. `invoke` starts an invocation of a function by its name there, and returns its task.

    The task's result is the function's answer; its error is the function's own exception, or TaskFailed.
    """

    def __init__(self, engine: Engine, invoke: Callable[[str, Json], Task]) -> None:
        self.engine = engine
        self.invoke = invoke
        self.running: dict[str, RunningExecution] = {}
        self.tokens: dict[str, Signal] = {}
        self.model = StepFunctionsModel(self._find, self._begin, self._end_wait)

    def end(self, execution: RunningExecution, status: str) -> None:
        """End an execution from outside, as an operator's StopExecution does."""
        if execution.status == "RUNNING":
            execution.status = status
            assert execution.task is not None
            self.engine.kill(execution.task)

    # The service's side

    def _find(self, name: str) -> Any:
        return self.running.get(name)

    def _begin(self, name: str, text: str) -> None:
        made = self.running[name] = RunningExecution(name, text)
        made.task = self.engine.spawn(
            f"execution {name[-8:]}", lambda: self._execute(made), about=made.deployment
        )

    def _end_wait(self, token: str, result: Json) -> bool | None:
        signal = self.tokens.get(token)
        if signal is None:
            return None
        waiting = not signal.is_set
        self.engine.set(signal, result)
        return waiting

    # One execution

    def _execute(self, one: RunningExecution) -> None:
        states: Json = definition()["States"]
        at: str | None = definition()["StartAt"]
        data: Json = json.loads(one.text)
        try:
            while at is not None:
                one.events += 2
                assert one.events <= MOST_EVENTS, f"the history of {one.name} is too long"
                at, data = self._state(one, states[at], data)
        except TaskFailed as failure:
            one.status = "FAILED"
            self.engine.note(f"{one.name} failed: {failure}")
            return
        one.status = "SUCCEEDED"

    def _state(self, one: RunningExecution, state: Json, data: Json) -> tuple[str | None, Json]:
        match state["Type"]:
            case "Task":
                only(state, *_TASK)
                return self._task(one, state, data)
            case "Wait":
                only(state, "Seconds", "Next")
                self.engine.sleep(state["Seconds"])
                return state["Next"], data
            case "Choice":
                only(state, "Choices", "Default")
                chosen = (
                    one["Next"] for one in state["Choices"] if evaluate(one["Condition"], {"input": data})
                )
                return next(chosen, state["Default"]), data
            case "Succeed":
                return None, data
            case "Fail":
                raise TaskFailed(state["Error"], state["Cause"])
            case kind:
                raise AssertionError(f"a state of type {kind}")

    def _task(self, one: RunningExecution, state: Json, data: Json) -> tuple[str, Json]:
        one.tries.clear()
        while True:
            scope: Json = {"input": data, "context": {"Task": {"Token": f"{one.name}#{one.events}"}}}
            try:
                if state["Resource"].endswith(":lambda:invoke"):
                    one.events += 3
                    scope["result"] = {"Payload": self._answer(state, scope)}
                else:
                    assert state["Resource"].endswith(":lambda:invoke.waitForTaskToken")
                    one.events += 4
                    scope["result"] = self._wait(state, scope)
            except TaskFailed as failure:
                delay = self._retry(one, state, failure)
                if delay is not None:
                    self.engine.sleep(delay)
                    continue
                for caught in state.get("Catch", []):
                    only(caught, "ErrorEquals", "Output", "Next", kind="")
                    if matches(caught, failure):
                        return caught["Next"], evaluate(caught["Output"], scope)
                raise
            return state["Next"], evaluate(state["Output"], scope)

    def _start(self, state: Json, scope: Json) -> Task:
        arguments = state["Arguments"]
        only(arguments, "FunctionName", "Payload", kind="")
        payload = json.loads(json.dumps(evaluate(arguments["Payload"], scope)))
        return self.invoke(evaluate(arguments["FunctionName"], scope), payload)

    def _answer(self, state: Json, scope: Json) -> Any:
        invocation = self._start(state, scope)
        if not self.engine.wait(invocation.done, evaluate(state["TimeoutSeconds"], scope)):
            raise TaskFailed("States.Timeout")
        if failure := failure_of(invocation):
            raise failure
        return json.loads(json.dumps(invocation.result))

    def _wait(self, state: Json, scope: Json) -> Json:
        """Pass the token on, and return what it is used with; an invocation that fails ends the wait."""
        seconds = evaluate(state["TimeoutSeconds"], scope)
        assert isinstance(seconds, int)
        assert 1 <= seconds <= 99_999_999
        signal = self.tokens[scope["context"]["Task"]["Token"]] = Signal()
        invocation = self._start(state, scope)

        def watch() -> None:
            self.engine.wait(invocation.done)
            if failure := failure_of(invocation):
                self.engine.set(signal, failure)

        self.engine.spawn(f"{invocation.name} watched", watch)
        answered = self.engine.wait(signal, seconds)
        self.engine.set(signal)  # a token that is over wakes nobody
        if isinstance(signal.value, TaskFailed):
            raise signal.value
        if not answered:
            raise TaskFailed("States.Timeout")
        return cast(Json, signal.value)

    def _retry(self, one: RunningExecution, state: Json, failure: TaskFailed) -> float | None:
        """Return the seconds until the state is tried again, or None if it is not."""
        for number, retry in enumerate(state.get("Retry", [])):
            only(retry, *RETRY, kind="")
            if not matches(retry, failure):
                continue
            tried = one.tries.get(number, 0)
            if tried >= retry["MaxAttempts"]:
                return None
            one.tries[number] = tried + 1
            delay = retry["IntervalSeconds"] * retry["BackoffRate"] ** tried
            return cast(float, min(delay, retry.get("MaxDelaySeconds", delay)))
        return None


def failure_of(invocation: Task) -> TaskFailed | None:
    """Return what Step Functions makes of an invocation that has failed."""
    if invocation.killed:
        return TaskFailed("Runtime.ExitError")
    if isinstance(invocation.error, TaskFailed):
        return invocation.error
    if invocation.error is not None:
        return TaskFailed(type(invocation.error).__name__, str(invocation.error))
    return None


def only(value: Json, *known: str, kind: str = "Type") -> None:
    """Fail for a field of the definition that this does not know."""
    unknown = set(value) - {*known, kind}
    assert not unknown, f"unknown fields: {unknown}"


def matches(handler: Json, failure: TaskFailed) -> bool:
    """Return whether a retry or a catch is for this failure."""
    return failure.error in handler["ErrorEquals"] or "States.ALL" in handler["ErrorEquals"]
