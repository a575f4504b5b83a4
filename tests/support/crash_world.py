"""Gateway, state machine, deployer and janitor that can die at every call, and what must hold afterwards.

A process that dies loses what it held in memory. The caller asks again, with the same
credentials and key: at once, or with `patient` after everything has ended.
"""

import copy
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final, cast

from botocore.exceptions import BotoCoreError, ClientError

from sluicegate.aws.secrets import Secrets
from sluicegate.aws.stepfunctions import Executions
from sluicegate.deployer.runner import Runner
from sluicegate.deployer.worker import Deployer
from sluicegate.deployment.model import Deployment, Status
from sluicegate.deployment.plan import Plan, Target
from sluicegate.gate.policy import Gate
from sluicegate.gateway.app import dispatch
from sluicegate.gateway.context import Context
from sluicegate.gateway.http import GatewayRequest, GatewayResponse
from sluicegate.gateway.problems import Problem
from sluicegate.oidc.jwks import Keyring
from sluicegate.recovery.janitor import Janitor
from sluicegate.store import codec
from sluicegate.store.store import Store
from support import signing
from support.cloudwatch_model import CloudWatchModel
from support.crash_points import Counted, CrashPoints
from support.entropy import entropy
from support.gateway_simulation import GatewaySimulation, function
from support.lambda_model import LambdaModel
from support.simulation import OWN, TABLE, Clock, Killed, artifacts_of, dynamodb
from support.state_machine import ARN, Execution, Machine
from support.stepfunctions_model import StepFunctionsModel
from support.table_model import DynamoDbModel
from support.table_storage import StoredTable
from support.world_model import World, world_of

PATIENCE: Final = 40
"""Sweeps of the janitor, a minute apart, until everything has ended."""

AWAY: Final = Target("222222222222", "eu-west-1")
ROLE: Final = "sluicegate-target-eu-west-1"
EXTERNAL_ID: Final = "3c9e"
HOOK_SECRET: Final = "a secret token"

Json = dict[str, Any]
Images = tuple[Json | None, Json | None]
"""An item before and after a change."""


@dataclass
class CountedMachine(Machine):
    """The state machine, behind a client whose calls are counted."""

    points: CrashPoints = field(default_factory=CrashPoints)

    @property
    def api(self) -> Executions:
        client = StepFunctionsModel(self.executions.get, self._begin, self._end_wait)
        return Executions(cast(Any, Counted(client, self.points)), ARN)


class HookSecrets:
    """Secrets Manager, with the webhook's."""

    def get_secret_value(self, **_: Any) -> Json:
        return {"SecretString": HOOK_SECRET, "CreatedDate": datetime.fromtimestamp(signing.NOW - 86_400, UTC)}


@dataclass(frozen=True)
class Saved:
    """A world in which no process is at work, from which many are made that go on from there."""

    tables: Mapping[str, StoredTable]
    models: Mapping[Target, LambdaModel]
    cloudwatch: CloudWatchModel
    executions: tuple[Execution, ...]
    tokens: frozenset[str]
    now: float
    jobs: int
    gate: Gate
    pauses: frozenset[Status]
    known: frozenset[str]
    stream: tuple[Images, ...]
    retries: int


@dataclass
class CrashWorld(GatewaySimulation):
    """One world for one story. `points` count the calls of its processes from `begin` on."""

    points: CrashPoints = field(default_factory=CrashPoints)
    patient: bool = False
    pauses: frozenset[Status] = frozenset({Status.AWAITING_APPROVAL})
    """The statuses in which something else happens in the story."""

    known: frozenset[str] = frozenset()
    """Ids of the deployments before the story."""

    stream: list[Images] = field(default_factory=list)
    """Items that were changed, the oldest first."""

    between_turns: Callable[[], None] = lambda: None
    """Called before each step of the state machine, while no process is at work."""

    away: World | None = None
    retries: int = 0
    """How often a client had to ask again."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.again: Callable[[], object] = lambda: None
        self.machine = CountedMachine(self.invoke, self.clock)
        self.away = world_of(self)
        self.away.add_target(Plan(AWAY, "prod", (), "", role=ROLE, external_id=EXTERNAL_ID))
        self.be_reborn()

    # Processes

    def be_reborn(self) -> None:
        """Begin all processes again: nothing is left of what they held in memory."""
        self.points.first = True
        self.store = Store(self.client, TABLE, self.clock, self.clock.sleep)
        artifacts = artifacts_of(self.model, cast(Any, Counted(self.s3, self.points)))
        assert self.away is not None
        targets = self.away.targets(self.clock)
        self.runner = Runner(self.store, artifacts, targets, self.clock.sleep, self.clock)
        self.deployer = Deployer(
            self.store, self.runner, cast(Any, self.machine), self._changed, self.clock, self.clock.sleep
        )
        self.janitor = Janitor(self.store, cast(Any, self.machine), self.clock)
        self.gateway = Context(
            gate=self.gate,
            keys=Keyring(clock=self.clock),
            store=self.store,
            artifacts=artifacts,
            executions=cast(Any, self.machine),
            secrets=Secrets(lambda: cast(Any, HookSecrets()), self.clock),
            own=OWN,
            log=lambda *_, **__: None,
            waits=self.polls,
            clock=self.clock,
            sleep=self.clock.sleep,
        )

    def _changed(self, deployment: Deployment, _: object) -> None:
        self.changes.append(deployment)

    @property
    def context(self) -> Context:
        return self.gateway

    def overtake(self) -> None:
        """Do in another process what the one at work does, which is only held up, and goes on later."""
        self.again()

    def _finish(self, deployment_id: str) -> None:
        """Run turns of a second deployer until the rollout ends, or waits for what the story has next."""
        second = Deployer(
            self.store, self.runner, cast(Any, self.machine), self._changed, self.clock, self.clock.sleep
        )
        for _ in range(200):
            turn = second.run_turn(deployment_id)
            record = self.store.deployments.get(deployment_id)
            if turn["next"] == "end" or record is None or record.status in self.pauses:
                return
            self.clock.sleep(min(turn["seconds"], 30))
        raise AssertionError("the second deployer does not end")

    def invoke(self, payload: Json) -> Any:
        """Run the deployer's function, in a new process after one that died."""
        self.points.first = True
        self.again = lambda: self._finish(payload["id"])
        module = function("deployer")
        vars(module)["service"] = lambda: self.deployer
        try:
            return module.handler(payload, None)
        except Killed:
            self.be_reborn()
            raise

    def signed(self, claims: Json) -> str:
        return _token(json.dumps(claims))

    def answer(self, request: GatewayRequest) -> GatewayResponse:
        """Answer a client that asks again where it got no answer, or one that says so."""
        for _ in range(8):
            self.points.first = True
            self.again = lambda: dispatch(self.context, request)
            try:
                return dispatch(self.context, request)
            except Killed:
                self.be_reborn()
            except (ClientError, BotoCoreError):
                pass  # the handler answers 503
            except Problem as problem:
                if problem.status < 500:
                    raise
            self.retries += 1
            self.clock.now += 3
            if self.patient:
                self._wait()
        raise AssertionError("the gateway never answers")

    def _wait(self) -> None:
        """Let the janitor find what was accepted, and the rollouts go on until each waits or has ended."""
        self.clock.now += 120
        self._sweep()
        self.machine.run(lambda: all(one.token for one in self._running()))
        started = {name.rpartition("-")[0] for name in self.machine.executions}
        assert started >= {one.id for one in self.deployments()}, "nobody started what was accepted"

    def _running(self) -> list[Any]:
        return [one for one in self.machine.executions.values() if one.status == "RUNNING"]

    def settle(self, until: Callable[[], bool] | None = None) -> None:
        """Run the executions, with the janitor each minute, until all has ended or `until` is true."""
        reached = until or self.has_ended

        def is_over() -> bool:
            self.between_turns()
            return reached()

        for _ in range(PATIENCE):
            self.machine.run(is_over)
            if reached():
                return
            self.clock.now += 60
            self._sweep()
        raise AssertionError("it does not end")

    def _sweep(self) -> None:
        """Run the janitor, which can die too."""
        self.points.first = True
        self.again = self.janitor.sweep
        try:
            swept = self.janitor.sweep()
        except Killed:
            self.be_reborn()
        except (ClientError, BotoCoreError):
            pass  # the next sweep does it
        else:
            assert not [
                error for _, error in swept.failed if not isinstance(error, (ClientError, BotoCoreError))
            ]

    def has_ended(self) -> bool:
        """Whether every deployment is final, and no execution runs."""
        return not self._running() and all(one.status.final for one in self.deployments())

    def check_end(self) -> None:
        """Check that the janitor, when it comes again later, finds nothing to do."""
        self.points.paused = True
        items = dict(self.client.tables[TABLE].items)
        for _ in range(2):
            self.clock.now += 3_600
            self._sweep()
            self.machine.run()
        self.points.paused = False
        assert self.has_ended()
        assert self.client.tables[TABLE].items == items, "the janitor changed what has ended"

    def deployments(self) -> list[Deployment]:
        """Return what the story's requests were accepted as, the oldest first."""
        return [codec.deployment_of(codec.unmarshal(item)) for item in self._records()]

    def _records(self) -> list[Json]:
        items = self.client.tables[TABLE].items
        found = [one.item for (_, sk), one in items.items() if sk == "record"]
        return sorted(
            (item for item in found if item["id"]["S"] not in self.known), key=lambda item: item["id"]["S"]
        )

    def ids(self) -> frozenset[str]:
        """Return the ids of all deployments, those before the story included."""
        items = self.client.tables[TABLE].items
        return frozenset(one.item["id"]["S"] for (_, sk), one in items.items() if sk == "record")

    def save(self) -> Saved:
        """Return this world as it is now."""
        assert self.away is not None
        return Saved(
            tables=self.client.copy_tables(),
            models={target: _copied(model) for target, model in self.away.lambdas.items()},
            cloudwatch=self.cloudwatch,
            executions=tuple(map(_held, self.machine.executions.values())),
            tokens=frozenset(self.machine.tokens),
            now=self.clock.now,
            jobs=self.jobs,
            gate=self.gate,
            pauses=self.pauses,
            known=self.known,
            stream=tuple(self.stream),
            retries=self.retries,
        )


@lru_cache(maxsize=1_000)
def _token(claims: str) -> str:
    """Return a job's token: to sign one takes longer than all that becomes of it."""
    return signing.token(json.loads(claims))


def resumed(saved: Saved, points: CrashPoints, *, patient: bool = False) -> CrashWorld:
    """Return a world as it was saved, whose calls are counted from now on."""
    clock = Clock(saved.now)
    client = DynamoDbModel(clock, tables={name: table.copy() for name, table in saved.tables.items()})
    world = CrashWorld(
        client,
        _copied(saved.models[OWN]),
        clock,
        replace(saved.cloudwatch, calls=[]),
        gate=saved.gate,
        jobs=saved.jobs,
        points=points,
        patient=patient,
        pauses=saved.pauses,
        known=saved.known,
        stream=list(saved.stream),
        retries=saved.retries,
    )
    world.machine.executions = {one.name: _held(one) for one in saved.executions}
    world.machine.tokens = set(saved.tokens)
    cast(CountedMachine, world.machine).points = points
    assert world.away is not None
    away = world.away.lambdas[AWAY]
    bucket = away.code
    bucket.update(saved.models[AWAY].code)
    away.__dict__.update(_copied(saved.models[AWAY]).__dict__)
    away.code = bucket
    for model in world.away.lambdas.values():
        model.before, model.after = points.called, lambda _: points.answered()
    world.away.before, world.away.after = points.called, lambda _: points.answered()
    client.meta.events.register("before-call.dynamodb", lambda model, **_: points.called(model.name))
    client.meta.events.register("after-call.dynamodb", lambda **_: points.answered())
    client.on_write = lambda *images: world.stream.append(images)
    world.be_reborn()
    return world


def prepared(prepare: Callable[[CrashWorld], None]) -> Saved:
    """Return a world in which `prepare` has happened."""
    with entropy():
        clock = Clock(float(signing.NOW))
        world = CrashWorld(dynamodb(clock), LambdaModel(), clock)
        assert world.away is not None
        for model in world.away.lambdas.values():
            model.add("orders", b"code of somebody")
        prepare(world)
        world.known = world.ids()
        return world.save()


def _copied(model: LambdaModel) -> LambdaModel:
    """Return a copy that nobody listens to. Its code is a dictionary of its own, with the same bytes."""
    copied = copy.copy(model)
    copied.functions = copy.deepcopy(model.functions)
    copied.code = dict(model.code)
    copied.calls, copied.requests, copied.invoked = [], [], []
    copied.before = copied.after = lambda _: None
    return copied


def _held(one: Execution) -> Execution:
    """Return an execution that stays as this one is now."""
    return replace(one, path=list(one.path), tries=dict(one.tries))
