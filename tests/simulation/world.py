"""One stack of Sluicegate, and the AWS around it, in memory: real handlers over models of services."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, Final, cast

from simulation.choices import Choices
from simulation.engine import SCHEDULERS, Engine, Task
from simulation.executions import Executions
from simulation.handlers import handler
from simulation.lambdas import Move, TimedLambda
from simulation.processes import Client, Faults, Process
from simulation.tables import Change, table
from sluicegate.aws.stepfunctions import Executions as ExecutionsApi
from sluicegate.aws.stepfunctions import TaskTokens
from sluicegate.deployer.runner import Runner
from sluicegate.deployer.worker import Deployer
from sluicegate.deployment.model import Deployment
from sluicegate.gate.policy import Gate
from sluicegate.gateway.context import Context
from sluicegate.oidc.jwks import Keyring
from sluicegate.recovery.janitor import Janitor
from sluicegate.recovery.waker import Waker
from sluicegate.relay.relay import Relay
from sluicegate.store.store import Store
from support.cloudwatch_model import CloudWatchModel
from support.s3_model import S3Model
from support.signing import NOW
from support.simulation import OWN, TABLE, FakeTargets, artifacts_of
from support.state_machine import ARN, TaskFailed

TIMEOUTS: Final[Mapping[str, float]] = {
    "gateway": 20,
    "deployer": 105,
    "janitor": 55,
    "waker": 30,
    "relay": 60,
    "notifier": 90,
    "pruner": 900,
}
"""Seconds after which Lambda ends an invocation (template.yaml)."""

FUNCTIONS: Final[Mapping[str, str]] = {"${DeployerArn}": "deployer", "${RollbackArn}": "deployer"}
"""The functions that the state machine invokes, by their names in its definition."""

SKEWS: Final = (0.0, -4.0, 3.0, -0.4, 0.7)
"""Seconds by which a process' clock may be wrong."""

SWEEP_EVERY: Final = 60.0
"""Seconds between two runs of the janitor."""

Json = dict[str, Any]


@dataclass
class Step:
    """What one call changed: items of the table, or aliases; `task` made it."""

    task: Task | None
    changes: list[Change] = field(default_factory=list)
    moves: list[Move] = field(default_factory=list)
    deletions: list[tuple[str, str]] = field(default_factory=list)
    """Functions and versions that DeleteFunction has just deleted."""

    arguments: Mapping[str, Any] = field(default_factory=dict)
    """The call's."""

    records: list[tuple[Deployment | None, Deployment]] | None = None
    """The records among the changes, before and after, once somebody has asked."""

    @property
    def by(self) -> str | None:
        """The deployment that the task works for; None for somebody else."""
        return self.task.about if self.task else None


class World:
    """Everything that one seed runs. `observe` gets each step that changes the table or an alias.

    `models` answer for AWS's services, and `makers` make what a function's handler uses.
    """

    def __init__(self, choices: Choices, gate: Gate) -> None:
        self.choices = choices
        self.engine = Engine(choices, scheduler=choices.one_of(SCHEDULERS), now=float(NOW))
        self.faults = Faults()
        self.table = table(lambda: self.engine.now)
        self.table.client.choose = self._seen
        self.lambdas = TimedLambda(lambda: self.engine.now)
        self.s3 = S3Model(objects=self.lambdas.code)
        self.cloudwatch = CloudWatchModel()
        self.executions = Executions(self.engine, self._invoke_by_name)
        self.gates = [gate]
        self.skewed = False
        self.pruned: set[tuple[str, str]] = set()
        self.duplicates = 0.0
        self.models: dict[str, Any] = {
            "dynamodb": self.table.client,
            "lambda": self.lambdas,
            "s3": self.s3,
            "cloudwatch": self.cloudwatch,
            "stepfunctions": self.executions.model,
        }
        self.observe: Callable[[Step], None] = lambda _: None
        self._idle: dict[str, list[Process]] = {}
        self._made = 0
        self.makers: dict[str, Callable[[Process], Any]] = {
            "gateway": self._gateway,
            "deployer": self._deployer,
            "janitor": self._janitor,
            "waker": self._waker,
            "relay": self._relay,
        }

    # Invocations

    def invoke(self, function: str, event: Json, about: str | None = None) -> Task:
        """Start an invocation of one of Sluicegate's functions, in a process of its own."""
        process = self._process(function)
        service = process.services["service"]

        def body() -> Any:
            answer = handler(function)(service, event)
            self._idle.setdefault(function, []).append(process)
            return answer

        task = self.engine.spawn(process.name, body, about=about, may_fail=True)
        self.engine.later(TIMEOUTS[function], lambda: self.engine.kill(task))
        return task

    def _invoke_by_name(self, name: str, payload: Json) -> Task:
        """What Step Functions invokes. It may be refused, or invoked twice."""
        function, about = FUNCTIONS[name], str(payload["id"])
        if self.faults.chances and self.choices.chance(self.duplicates):
            self.invoke(function, payload, about)
            self.engine.note(f"{function} is invoked twice")
        if self.faults.chances and self.choices.chance(self.faults.chances.get("throttled", 0.0)):
            return self.engine.spawn(f"{function} refused", _refused, about=about, may_fail=True)
        return self.invoke(function, payload, about)

    def _process(self, function: str) -> Process:
        idle = self._idle.get(function, [])
        if idle and not self.choices.chance(0.1):
            return idle.pop()
        self._made += 1
        skew = self.choices.one_of(SKEWS) if self.skewed else 0.0
        process = Process(self.engine, f"{function} {self._made}", skew)
        process.services["service"] = self.makers[function](process)
        return process

    def forget_processes(self, function: str) -> None:
        """Begin with new processes, as after a deployment of Sluicegate itself."""
        self._idle.pop(function, None)

    # Services

    def _seen(self, what: str, most: int) -> int:
        """Choose how much a read misses: an index and a read that is not consistent lag behind."""
        del what
        return self.choices.below(most + 1) if self.choices.chance(0.5) else 0

    def client(self, process: Process, service: str, model: Any = None) -> Any:
        """Return a client of a service for a process, with another model than the world's if there is one."""
        effects = {"dynamodb": self._table_effect, "lambda": self._lambda_effect}
        return Client(
            process, service, model or self.models[service], self.faults, effects.get(service, self._effect)
        )

    def _effect(self, name: str, call: Callable[..., Any], arguments: Json) -> Any:
        answer = call(**arguments)
        self.engine.note(name)
        return answer

    def _table_effect(self, name: str, call: Callable[..., Any], arguments: Json) -> Any:
        try:
            answer = call(**arguments)
        except Exception as error:
            self.engine.note(f"{name}: {error}")
            raise
        if changes := self.table.take():
            self.engine.note(f"{name}: {', '.join(map(_told, changes))}")
            self.observe(Step(self.engine.current, changes=changes, arguments=arguments))
        else:
            self.engine.note(name)
        return answer

    def _lambda_effect(self, name: str, call: Callable[..., Any], arguments: Json) -> Any:
        try:
            answer = call(**arguments)
        except Exception as error:
            self.engine.note(f"{name}: {error}")
            raise
        finally:
            moves, self.lambdas.moves = self.lambdas.moves, []
            deletions, self.lambdas.deletions = self.lambdas.deletions, []
        self.engine.note(f"{name} {' '.join([*map(_moved, moves), *map(':'.join, deletions)])}")
        if moves or deletions:
            self.observe(Step(self.engine.current, moves=moves, deletions=deletions))
        return answer

    def outside(self, change: Callable[[], None]) -> None:
        """Let somebody else change something of Lambda's, now."""
        change()
        moves, self.lambdas.moves = self.lambdas.moves, []
        self.engine.note(f"by hand {' '.join(map(_moved, moves))}")
        if moves:
            self.observe(Step(None, moves=moves))

    # The functions

    def store(self, process: Process) -> Store:
        """Return a process' view of the table."""
        return Store(self.client(process, "dynamodb"), TABLE, process.clock, process.sleep)

    def _deployer(self, process: Process) -> Deployer:
        store = self.store(process)
        runner = Runner(
            store,
            self._artifacts(process),
            cast(Any, FakeTargets(self.client(process, "lambda"), self.client(process, "cloudwatch"))),
            process.sleep,
            process.clock,
        )
        tokens = TaskTokens(self.client(process, "stepfunctions"))
        return Deployer(store, runner, tokens, lambda *_: None, process.clock, process.sleep)

    def _janitor(self, process: Process) -> Janitor:
        executions = ExecutionsApi(self.client(process, "stepfunctions"), ARN)
        return Janitor(self.store(process), executions, process.clock)

    def _waker(self, process: Process) -> Waker:
        tokens = TaskTokens(self.client(process, "stepfunctions"))
        return Waker(self.store(process), tokens, process.clock, process.sleep)

    def _relay(self, process: Process) -> Relay:
        return Relay(self.client(process, "events"), "bus", "https://board", lambda *_, **__: None)

    def _gateway(self, process: Process) -> Context:
        return Context(
            gate=self.gates[-1],
            keys=Keyring(clock=process.clock),
            store=self.store(process),
            artifacts=self._artifacts(process),
            executions=ExecutionsApi(self.client(process, "stepfunctions"), ARN),
            secrets=cast(Any, SimpleNamespace()),
            own=OWN,
            log=lambda *_, **__: None,
            waits=4,
            clock=process.clock,
            sleep=process.sleep,
        )

    def _artifacts(self, process: Process) -> Any:
        artifacts = artifacts_of(self.lambdas, self.s3)
        artifacts._client = self.client(process, "s3")
        return artifacts

    # Schedules

    def sweep_for_ever(self) -> None:
        """Run the janitor every minute."""

        def sweep() -> None:
            self.invoke("janitor", {})
            self.engine.later(SWEEP_EVERY, sweep)

        self.engine.later(SWEEP_EVERY, sweep)


def _refused() -> None:
    raise TaskFailed("Lambda.TooManyRequestsException")


def _told(change: Change) -> str:
    name = f"{change.key[0][:24]}/{change.key[1][:24]}"
    if change.after is None:
        return f"-{name}"
    if change.key[1] != "record":
        return name
    return f"{change.key[0][-6:]} r{change.after['revision']['N']} {change.after['status']['S']}"


def _moved(move: Move) -> str:
    return f"{move.function}:{move.alias} {json.dumps(move.before)} -> {json.dumps(move.after)}"
