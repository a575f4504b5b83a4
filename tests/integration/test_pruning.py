"""Old versions of a function with three stages, pruned with the rights of the real roles."""

import base64
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import uuid4

import pytest
from botocore.exceptions import ClientError

from sluicegate.aws.lambda_ import LambdaAccessDenied, LambdaConflict, LambdaRejected
from sluicegate.aws.lambda_versions import CodeStorage, NumberedVersion
from sluicegate.deployment.durations import timestamp
from sluicegate.deployment.plan import Target
from sluicegate.deployment.ulid import least_id
from sluicegate.gate.policy import Gate
from sluicegate.pruning.places import PrunePlace
from sluicegate.pruning.pruner import MOST_DELETIONS, Pruner
from sluicegate.settings import PrunerSettings
from sluicegate.store import keys
from sluicegate.store.store import Store
from sluicegate_gatefile import compile as gatefile
from stand import Stand, package
from stand.roles import credentials_of, role_named
from stand.wide import Wide

pytestmark = pytest.mark.extended

SOURCE = "def handler(event, context):\n    return {}\n"
JOB = {"project_id": "4800", "ref_type": "tag", "ref": "v1.0.0", "ref_protected": "true"}
DIRECT = 50
"""Versions that are published directly, and written into the record as releases would."""
LATER = 40 * 86_400
"""Seconds that the pruner is ahead: versions are old then."""


class Place(PrunePlace):
    """The real place, but for the code storage, which the process's own client measures."""

    def storage(self) -> CodeStorage:
        return CodeStorage(0, 1)


@dataclass
class Scene:
    """A function whose versions are pruned. `credentials` are those of the pruner's role."""

    stand: Stand
    function: str
    gate: Gate
    credentials: dict[str, str]
    stack: str

    @property
    def target(self) -> Target:
        return Target(self.stand.account_id, self.stand.region)

    def client(self, service: str) -> Any:
        return self.stand.client(service, **self.credentials)

    def place(self) -> Place:
        settings = PrunerSettings(self.stand.table, self.target, "", (), "sluicegate-prune", self.stack)
        return Place(settings, self.client("sts"))

    def prune(self) -> list[str]:
        """Prune once, as if it was much later, with the credentials of the pruner's own role."""

        def clock() -> float:
            return time.time() + LATER

        def no_pause(_: float) -> None:
            """The stand has no quota."""

        store = Store(self.client("dynamodb"), self.stand.table, sleep=no_pause)  # leases and budget: now
        run = Pruner(store, self.gate, self.place(), clock, no_pause).run(clock() + 600)
        assert run.unseen == []
        return [version for function, version in run.deleted if function == self.function]

    def versions(self) -> set[str]:
        pages = self.stand.client("lambda").get_paginator("list_versions_by_function")
        found = [one for page in pages.paginate(FunctionName=self.function) for one in page["Versions"]]
        return {one["Version"] for one in found} - {"$LATEST"}

    def token(self) -> str:
        return self.stand.token(**JOB)

    def ask(self, stage: str, **body: Any) -> Any:
        asked = {"function": self.function, "stage": stage, **body}
        return self.stand.http("POST", "/deployments", asked, token=self.token())

    def deploy(self, stage: str, code: str, **body: Any) -> str:
        """Request a deployment of new code; return its id."""
        sha256 = self.stand.upload(self.function, package(f"# {code}\n{SOURCE}"), token=self.token())
        answer = self.ask(stage, action="deploy", artifact={"sha256": sha256}, **body)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    def release(self, stage: str, code: str) -> str:
        """Deploy to the end; return the version."""
        done = self.stand.wait(self.deploy(stage, code), token=self.token())
        assert done["status"] == "succeeded", done
        return str(done["version"])

    def publish_directly(self) -> None:
        """Publish many versions, and note them as releases to dev long ago would have."""
        lambda_, table = self.stand.client("lambda"), self.stand.client("dynamodb")
        now = time.time()
        for number in range(1, DIRECT + 1):
            code = package(f"# direct {number}\n{SOURCE}")
            lambda_.update_function_code(FunctionName=self.function, ZipFile=code)
            lambda_.get_waiter("function_updated_v2").wait(FunctionName=self.function)
            published = lambda_.publish_version(FunctionName=self.function)
            assert published["Version"] == str(number)
            sha256 = base64.b64decode(published["CodeSha256"]).hex()
            at = now - 86_400 + number
            text = {"version": str(number), "sha256": sha256, "deployment": least_id(at), "at": timestamp(at)}
            item = {name: {"S": value} for name, value in text.items()}
            for key in (
                keys.published_version(self.target, self.function, str(number)),
                keys.served(self.target, self.function, "dev", str(number)),
            ):
                served = {"withdrawn": {"BOOL": False}} if key["pk"].startswith("served#") else {}
                own = {name: {"S": value} for name, value in key.items()}
                table.put_item(TableName=self.stand.table, Item={**own, **item, **served})


@pytest.fixture(scope="module")
def at(wide: Wide, monkeypatch_module: pytest.MonkeyPatch) -> Iterator[Scene]:
    stand = wide.stand
    function = f"pruned-{uuid4().hex[:8]}"
    stand.create_function(function)
    for name, value in {
        "AWS_ENDPOINT_URL": stand.emulator.url,
        "AWS_DEFAULT_REGION": stand.region,
        "AWS_REGION": stand.region,
    }.items():
        monkeypatch_module.setenv(name, value)
    stacks = stand.client("cloudformation")
    stack = stacks.describe_stacks(StackName="sluicegate")["Stacks"][0]["StackId"]
    gate = gatefile.check(wide.gate, allow_loopback=True).gate
    assert gate
    yield Scene(stand, function, gate, credentials_of(stand, role_named(stand, "PrunerRole")), stack)
    stand.delete_function(function)


@pytest.fixture(scope="module")
def monkeypatch_module() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patch:
        yield patch


def test_of_sixty_versions_only_those_go_that_may(at: Scene) -> None:
    """Three stages and a canary in flight, a withdrawn version, and a stage that was last moved by hand."""
    at.publish_directly()
    dev = [at.release("dev", f"dev {number}") for number in range(2)]
    staging = [at.release("staging", f"staging {number}") for number in range(2)]
    back = at.ask("staging", action="rollback")
    assert at.stand.wait(back.json()["id"], token=at.token())["version"] == staging[0]
    prod = [at.release("prod", f"prod {number}") for number in range(2)]
    lambda_ = at.stand.client("lambda")
    lambda_.update_alias(FunctionName=at.function, Name="prod", FunctionVersion="10")
    first = at.release("canary", "canary 0")
    at.release("dev", "dev 2")
    dev.append(str(max(map(int, at.versions()))))
    canary = at.deploy("canary", "canary 1", strategy={"type": "canary", "percent": 10, "bake": "10m"})
    until(lambda: at.stand.alias_state(at.function, "canary") != {"version": first, "weights": {}})
    at.release("dev", "dev 3")
    dev.append(str(max(map(int, at.versions()))))
    everything = at.versions()
    assert len(everything) >= 60
    shown = at.stand.alias_state(at.function, "canary")
    assert shown
    [new] = shown["weights"]

    deleted: list[str] = []
    while found := at.prune():
        assert len(found) <= MOST_DELETIONS
        deleted += found

    newest = {str(number) for number in sorted(map(int, everything))[-3:]}
    kept = {*newest, *dev[-3:], staging[0], *prod, "10", first, new}
    assert at.versions() == kept
    assert set(deleted) == everything - kept
    assert staging[1] not in kept  # withdrawn
    assert at.stand.alias_state(at.function, "canary") == shown
    refused = at.ask("dev", action="rollback", version="7")
    assert (refused.status_code, refused.json()["code"]) == (422, "pruned")
    assert at.ask("canary", action="rollback").status_code == 202
    assert at.stand.wait(canary, token=at.token())["final"]
    answer = at.stand.http("GET", f"/functions/{at.function}", token=at.token())
    [report] = answer.json()["pruning"]
    reasons = {one["version"]: {keep["reason"] for keep in one["keep"]} for one in report["versions"]}
    assert set(reasons) == kept
    assert reasons["10"] == {"alias"}
    assert "in_flight" in reasons[new]


def until(done: Callable[[], bool], patience: float = 60) -> None:
    ends = time.time() + patience
    while not done():
        assert time.time() < ends
        time.sleep(0.3)


def test_the_deployed_function_deletes_nothing_that_is_young(at: Scene) -> None:
    before = at.versions()
    answer = at.stand.invoke("sluicegate-pruner")
    assert answer["looked"] >= 1
    assert (answer["deleted"], answer["unseen"], answer["finished"]) == (0, 0, True)
    assert at.versions() == before


def refused(call: Callable[[], Any]) -> None:
    with pytest.raises((ClientError, LambdaAccessDenied)) as denied:
        call()
    error: Any = denied.value
    code = error.code if isinstance(error, LambdaAccessDenied) else error.response["Error"]["Code"]
    assert code in ("AccessDenied", "AccessDeniedException"), error


def test_the_role_deletes_numbered_versions_and_nothing_else(at: Scene) -> None:
    """With nothing to narrow it. Without a version, or with `$LATEST`, the call deletes the function."""
    lambda_ = at.stand.client("lambda")
    lambda_.update_function_code(FunctionName=at.function, ZipFile=package(f"# for the role\n{SOURCE}"))
    lambda_.get_waiter("function_updated_v2").wait(FunctionName=at.function)
    version = lambda_.publish_version(FunctionName=at.function)["Version"]
    entered = at.client("sts").assume_role(
        RoleArn=f"arn:aws:iam::{at.stand.account_id}:role/sluicegate-prune",
        RoleSessionName="probe",
        SourceIdentity="sluicegate-prune",
        ExternalId=at.stack,
    )["Credentials"]
    mine = at.stand.client(
        "lambda",
        access_key=entered["AccessKeyId"],
        secret_key=entered["SecretAccessKey"],
        token=entered["SessionToken"],
    )
    other = f"orders-{uuid4().hex[:8]}"
    at.stand.create_function(other)
    lambda_.publish_version(FunctionName=other)
    try:
        for call in (
            lambda: mine.delete_function(FunctionName=at.function),
            lambda: mine.delete_function(FunctionName=at.function, Qualifier="$LATEST"),
            lambda: mine.delete_function(FunctionName=f"{at.function}:$LATEST"),
            lambda: mine.delete_function(FunctionName=other),
            lambda: mine.delete_function(FunctionName=other, Qualifier="1"),
            lambda: mine.delete_function(FunctionName="sluicegate-gateway"),
            lambda: mine.delete_alias(FunctionName=at.function, Name="dev"),
            lambda: mine.update_alias(FunctionName=at.function, Name="dev", FunctionVersion=version),
            lambda: mine.update_function_code(FunctionName=at.function, ZipFile=b"x"),
            lambda: mine.get_function(FunctionName=at.function),
            lambda: mine.invoke(FunctionName=at.function),
        ):
            refused(call)
        mine.delete_function(FunctionName=at.function, Qualifier=version)
    finally:
        at.stand.delete_function(other)
    assert version not in at.versions()
    assert at.versions()


def test_a_session_deletes_its_one_version(at: Scene) -> None:
    low, *_, high = sorted(at.versions(), key=int)
    place = at.place()
    refused(lambda: place.look().client.delete_function(FunctionName=at.function, Qualifier=low))
    deleter = place.deleter(at.function, NumberedVersion("999999"))
    deleter.delete()  # AWS answers 204 for what is not there
    client: Any = vars(deleter)["_client"]
    for more in ({}, {"Qualifier": "$LATEST"}, {"Qualifier": low}, {"Qualifier": high}):
        refused(partial(client.delete_function, FunctionName=at.function, **more))


def test_lambda_refuses_to_delete_what_an_alias_names(at: Scene) -> None:
    state = at.stand.alias_state(at.function, "dev")
    assert state
    with pytest.raises((LambdaConflict, LambdaRejected)):
        at.place().deleter(at.function, NumberedVersion(state["version"])).delete()
    assert state["version"] in at.versions()


def test_nobody_else_enters_the_role(at: Scene) -> None:
    def enter(client: Any, **more: Any) -> Any:
        return client.assume_role(
            RoleArn=f"arn:aws:iam::{at.stand.account_id}:role/sluicegate-prune",
            RoleSessionName="probe",
            **{"SourceIdentity": "sluicegate-prune", "ExternalId": at.stack, **more},
        )

    refused(lambda: enter(at.client("sts"), ExternalId="guess"))
    refused(lambda: enter(at.client("sts"), SourceIdentity="project-1-job-2"))
    deployer = credentials_of(at.stand, role_named(at.stand, "DeployerRole"))
    refused(lambda: enter(at.stand.client("sts", **deployer)))


def test_the_pruner_writes_nothing_of_a_deployment(at: Scene) -> None:
    table = at.client("dynamodb")
    key = {"pk": {"S": "deployment#1"}, "sk": {"S": "record"}}
    refused(lambda: table.put_item(TableName=at.stand.table, Item=key))
    refused(lambda: table.delete_item(TableName=at.stand.table, Key=key))
    refused(lambda: table.put_item(TableName=at.stand.table, Item={**key, "pk": {"S": "serving"}}))
