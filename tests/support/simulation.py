"""A simulation of rollouts: a table and Lambda in memory, and a clock that only sleeping moves."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, cast

from sluicegate.aws.call_meter import CallMeter
from sluicegate.aws.cloudwatch import CloudWatch
from sluicegate.aws.lambda_ import FunctionApi
from sluicegate.aws.s3 import Artifacts
from sluicegate.deployer.runner import Runner
from sluicegate.deployer.target import TargetAccess
from sluicegate.deployer.worker import Deployer
from sluicegate.deployment.durations import timestamp
from sluicegate.deployment.model import Deployment, Entry, Requester, Status
from sluicegate.deployment.plan import Plan, Target, TrafficStep
from sluicegate.deployment.ulid import new_id
from sluicegate.store.keys import digest
from sluicegate.store.store import Store
from support.cloudwatch_model import CloudWatchModel
from support.lambda_model import LambdaModel
from support.s3_model import S3Model
from support.table_model import DynamoDbModel

OWN = Target("111111111111", "eu-central-1")
START = 1_780_000_000.0
TABLE = "sluicegate"


class Killed(BaseException):
    """The process died here. Not an Exception: nothing in the product may catch it."""


@dataclass
class Clock:
    now: float = START

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def artifacts_of(model: LambdaModel, s3: S3Model | None = None) -> Artifacts:
    """Return the bucket from which that model of Lambda takes its code."""
    s3 = s3 or S3Model()
    s3.objects = model.code
    return Artifacts(cast(Any, s3), "artifacts")


@dataclass
class FakeTargets:
    """Access to the one account that the tests have."""

    model: LambdaModel
    cloudwatch: CloudWatchModel
    meter: CallMeter = field(default_factory=CallMeter)

    def access(self, deployment: Deployment) -> TargetAccess:
        smoke, watch = deployment.plan.smoke, deployment.plan.watch
        return TargetAccess(
            self._function(deployment.function),
            self._function(smoke.hook) if smoke and smoke.hook else None,
            CloudWatch(cast(Any, self.cloudwatch)) if watch else None,
            judge=self._function(watch.judge.function) if watch and watch.judge else None,
        )

    def forget(self, deployment: Deployment) -> None:
        """There are no sessions to forget."""

    def writer(self, _: Deployment) -> Artifacts:
        raise AssertionError("nothing is copied within the stack's own account and region")

    def _function(self, name: str) -> FunctionApi:
        return FunctionApi(cast(Any, self.model), name, self._single_attempt_client, self.meter)

    def _single_attempt_client(self, timeout: int) -> Any:
        self.model.timeout = timeout
        return self.model


@dataclass
class Waits:
    """Step Functions, as far as waits go: the tokens that were ended early."""

    woken: list[str] = field(default_factory=list)

    def wake(self, token: str, **_: bool) -> None:
        self.woken.append(token)


@dataclass
class Simulation:
    client: Any
    model: LambdaModel = field(default_factory=LambdaModel)
    clock: Clock = field(default_factory=Clock)
    cloudwatch: CloudWatchModel = field(default_factory=CloudWatchModel)
    s3: S3Model = field(default_factory=S3Model)
    waits: Waits = field(default_factory=Waits)

    def __post_init__(self) -> None:
        self.store = Store(self.client, TABLE, self.clock, self.clock.sleep)
        self.runner = Runner(
            self.store,
            artifacts_of(self.model, self.s3),
            cast(Any, FakeTargets(self.model, self.cloudwatch)),
            self.clock.sleep,
            self.clock,
        )
        self.changes: list[Deployment] = []
        self.deployer = Deployer(
            self.store,
            self.runner,
            cast(Any, self.waits),
            lambda d, _: self.changes.append(d),
            self.clock,
            self.clock.sleep,
        )

    def upload(self, function: str, code: bytes) -> str:
        sha256 = hashlib.sha256(code).hexdigest()
        self.model.code[f"{function}/{sha256}.zip"] = code
        return sha256

    def accept(
        self, sha256: str, *, function: str = "orders", alias: str = "prod", **fields: Any
    ) -> Deployment:
        """A deployment as the gateway accepts it."""
        self.clock.now += 1
        deployment = replace(new_deployment(self.clock(), sha256, function, alias), **fields)
        self.store.deployments.accept(
            deployment,
            request_key=digest(deployment.id),
            fingerprint="fingerprint",
            uses=(),
        )
        return deployment

    def run(self, deployment: Deployment, turns: int = 5_000) -> Deployment:
        """The state machine: turns until it ends."""
        for _ in range(turns):
            answer = self.deployer.run_turn(deployment.id)
            if answer["next"] == "end":
                return self.now(deployment)
            self.meanwhile(self.now(deployment))
            if self.now(deployment).revision == answer["revision"]:  # else its wait is ended at once
                self.clock.sleep(answer["seconds"])
        raise AssertionError("the rollout does not end")

    def meanwhile(self, deployment: Deployment) -> None:
        """What happens while the rollout waits; a test puts its own here."""

    def now(self, deployment: Deployment) -> Deployment:
        found = self.store.deployments.get(deployment.id)
        assert found is not None
        return found

    def listen(self, event: str, listener: Callable[..., None]) -> None:
        """Hear an event of the table's client."""
        self.client.meta.events.register(event, listener)

    def locks(self) -> list[str]:
        items = self.client.scan(TableName=TABLE)["Items"]
        return [item["sk"]["S"] for item in items if item["pk"]["S"].startswith("lock#")]


def new_deployment(now: float, sha256: str, function: str = "orders", alias: str = "prod") -> Deployment:
    moment = timestamp(now)
    return Deployment(
        id=new_id(now),
        revision=1,
        status=Status.ACCEPTED,
        action="deploy",
        function=function,
        stage=alias,
        sha256=sha256,
        plan=Plan(OWN, alias, (TrafficStep(100, 0),), "0" * 64),
        rule="a rule",
        requested_by=Requester("https://gitlab.example.com", "4213", job_id="302"),
        created_at=moment,
        updated_at=moment,
        since=moment,
        timeline=(Entry(1, moment, Status.ACCEPTED, "accepted"),),
    )


def dynamodb(clock: Clock) -> DynamoDbModel:
    """Return a client of a table of its own, which is empty."""
    client = DynamoDbModel(clock)
    create_table(client)
    return client


@contextmanager
def simulation() -> Iterator[Simulation]:
    clock = Clock()
    yield Simulation(dynamodb(clock), clock=clock)


def create_table(client: Any) -> None:
    indexes = {
        "by_function": ("function", "id"),
        "by_project": ("project", "id"),
        "by_time": ("kind", "id"),
        "unfinished": ("unfinished", "due"),
        "watching": ("watching", "id"),
        "unsealed": ("unsealed", "at"),
    }
    short = {"unfinished": ["id", "status", "function", "stage", "project"], "watching": ["alarms"]}
    names = {"pk", "sk"}.union(*indexes.values())
    client.create_table(
        TableName=TABLE,
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in sorted(names)],
        GlobalSecondaryIndexes=[
            {
                "IndexName": index,
                "KeySchema": [
                    {"AttributeName": key, "KeyType": "HASH"},
                    {"AttributeName": sort, "KeyType": "RANGE"},
                ],
                "Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": short[index]}
                if index in short
                else {"ProjectionType": "ALL"},
            }
            for index, (key, sort) in indexes.items()
        ],
        BillingMode="PAY_PER_REQUEST",
    )
