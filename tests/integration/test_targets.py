"""Functions in another account, another region and both, on the emulator with IAM enforced.

A monitor reads every call of a session from its signature: none of one target's touches another.
"""

import base64
import hashlib
import json
import time
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import httpx2
import pytest

from stand import Stand, package
from stand.afar import STAGES, Afar, empty, targets
from stand.session_monitor import SessionMonitor

pytestmark = pytest.mark.extended

SOURCE = "def handler(event, context):\n    return {'release': %r}\n"


def code(text: str) -> bytes:
    return package(SOURCE % text)


@pytest.fixture(scope="module")
def afar(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Afar]:
    with targets(tmp_path_factory.mktemp("afar")) as made:
        yield made


@pytest.fixture(autouse=True)
def monitor(afar: Afar) -> Iterator[None]:
    """Watch what sessions call while a test runs. Fails where one strays, or is used in two places."""
    stand = afar.stand
    roles = {f"arn:aws:iam::{stand.account_id}:role/sluicegate-target": (stand.account_id, stand.region)}
    for stage in STAGES:
        target = afar.target(stage)
        roles[f"arn:aws:iam::{target.account}:role/{target.role}"] = (target.account, target.region)
    with SessionMonitor(roles).watching() as touched:
        yield
    assert touched.calls
    assert {len(places) for places in touched.places.values()} == {1}


@pytest.fixture
def function(afar: Afar) -> Iterator[str]:
    """A function of that name in every target, and in the stack's own."""
    name = f"roam-{uuid4().hex[:8]}"
    places = [
        None,
        *{stage: afar.target(stage).where for stage in ("away-account", "away-both", "away-region")}.values(),
    ]
    for where in places:
        afar.stand.create_function(name, where=where)
    yield name
    for where in places:
        afar.stand.delete_function(name, where=where)


def serves(afar: Afar, function: str, stage: str) -> str | None:
    lambda_ = afar.client("lambda", stage)
    try:
        return str(lambda_.get_alias(FunctionName=function, Name=stage)["FunctionVersion"])
    except lambda_.exceptions.ResourceNotFoundException:
        return None


def digest(afar: Afar, function: str, stage: str) -> str:
    """The code that a stage's alias serves, by Lambda's own hash."""
    found = afar.client("lambda", stage).get_function_configuration(FunctionName=function, Qualifier=stage)
    return base64.b64decode(found["CodeSha256"]).hex()


@pytest.mark.parametrize("stage", ["away-account", "away-both", "away-region"])
def test_a_job_releases_into_a_target(afar: Afar, function: str, stage: str) -> None:
    data = code("one")
    done = afar.release(function, stage, data)
    target = afar.target(stage)
    assert (done["status"], done["version"]) == ("succeeded", "1"), done["timeline"]
    assert done["target"] == {"name": STAGES[stage], "account": target.account, "region": target.region}
    assert digest(afar, function, stage) == hashlib.sha256(data).hexdigest()
    assert {one for one in STAGES if serves(afar, function, one)} == {stage}
    key = f"{function}/{hashlib.sha256(data).hexdigest()}.zip"
    head = afar.client("s3", stage).head_object(Bucket=afar.bucket(stage), Key=key, ChecksumMode="ENABLED")
    assert base64.b64decode(head["ChecksumSHA256"]).hex() == hashlib.sha256(data).hexdigest()


def test_a_promotion_crosses_targets_and_a_rollback_stays(afar: Afar, function: str) -> None:
    first, second = code("first"), code("second")
    afar.release(function, "dev", first)
    afar.release(function, "dev", second)
    for source, stage in (
        ("dev", "away-account"),
        ("away-account", "away-both"),
        ("away-both", "away-region"),
    ):
        artifact = {"sha256": hashlib.sha256(second).hexdigest()}
        done = afar.ask("promote", function, stage, artifact=artifact, source=source)
        assert (done["status"], done["version"]) == ("succeeded", "1"), done["timeline"]
        assert digest(afar, function, stage) == artifact["sha256"]
        assert done["built"]["project_id"] == "4800"
    afar.release(function, "away-both", first)
    back = afar.ask("rollback", function, "away-both")
    assert (back["status"], back["version"]) == ("succeeded", "1")
    assert digest(afar, function, "away-both") == hashlib.sha256(second).hexdigest()
    shown = afar.stand.http("GET", f"/functions/{function}", token=afar.token()).json()["stages"]
    assert {stage: one["target"]["name"] for stage, one in shown.items()} == {
        "dev": "default",
        "away-account": "other-account",
        "away-both": "other-both",
        "away-region": "other-region",
    }


def test_an_alarm_in_the_target_rolls_a_canary_back(afar: Afar, function: str) -> None:
    stage = "away-canary"
    cloudwatch = afar.client("cloudwatch", stage)
    alarm = f"{function}-{stage}"
    cloudwatch.put_metric_alarm(
        AlarmName=alarm, Namespace="Stand/Alarms", MetricName=alarm, Statistic="Sum", Period=60,
        EvaluationPeriods=1, Threshold=1, ComparisonOperator="GreaterThanOrEqualToThreshold",
    )  # fmt: skip
    cloudwatch.set_alarm_state(AlarmName=alarm, StateValue="OK", StateReason="test")
    try:
        assert afar.release(function, stage, code("good"))["status"] == "succeeded"
        token = afar.token()
        artifact = {"sha256": afar.stand.upload(function, code("bad"), token=token)}
        asked = afar.ask("deploy", function, stage, token, wait=False, artifact=artifact)
        waiting = _until(
            afar, asked["id"], token, lambda one: bool(one["status"] == "baking" or one["final"])
        )
        assert waiting["weight"] == 10, waiting["timeline"]
        cloudwatch.set_alarm_state(AlarmName=alarm, StateValue="ALARM", StateReason="test")
        done = afar.stand.wait(asked["id"], token=token, patience=60)
        assert (done["status"], done["alias"]["outcome"]) == ("rolled_back", "restored")
        assert done["reason"]["code"] == "alarm"
        assert serves(afar, function, stage) == "1"
    finally:
        cloudwatch.delete_alarms(AlarmNames=[alarm])


def test_what_a_target_refuses_ends_with_its_reason_and_nothing_is_done(afar: Afar, function: str) -> None:
    """Last, as the targets are broken by it; all at once, as a denial takes a minute."""
    near, south = afar.target("away-account"), afar.target("away-region")
    iam = afar.client("iam", "away-account")
    trust = iam.get_role(RoleName=near.role)["Role"]["AssumeRolePolicyDocument"]
    changed = json.dumps(trust).replace(near.external_id, "another")
    iam.update_assume_role_policy(RoleName=near.role, PolicyDocument=changed)
    iam = afar.client("iam", "away-region")
    for policy in iam.list_role_policies(RoleName=south.role)["PolicyNames"]:
        iam.delete_role_policy(RoleName=south.role, PolicyName=policy)
    for attached in iam.list_attached_role_policies(RoleName=south.role)["AttachedPolicies"]:
        iam.detach_role_policy(RoleName=south.role, PolicyArn=attached["PolicyArn"])
    iam.delete_role(RoleName=south.role)
    s3 = afar.client("s3", "away-both")
    empty(s3, afar.bucket("away-both"))
    s3.delete_bucket(Bucket=afar.bucket("away-both"))

    token = afar.token()
    artifact = {"sha256": afar.stand.upload(function, code("new"), token=token)}
    asked = {
        stage: afar.ask("deploy", function, stage, token, wait=False, artifact=artifact)
        for stage in ("away-account", "away-region", "away-both")
    }
    ends = {stage: afar.stand.wait(one["id"], token=token, patience=150) for stage, one in asked.items()}
    reasons = {stage: end["reason"] for stage, end in ends.items()}
    assert {stage: reason["code"] for stage, reason in reasons.items()} == {
        "away-account": "target_denied",
        "away-region": "target_denied",
        "away-both": "target_unreachable",
    }
    assert "another external id than the gate file" in reasons["away-account"]["message"]
    assert "there is no such role" in reasons["away-region"]["message"]
    assert f"bucket {afar.bucket('away-both')} does not exist" in reasons["away-both"]["message"]
    for stage, end in ends.items():
        assert (end["status"], end["alias"]["outcome"]) == ("failed", "untouched")
        assert serves(afar, function, stage) is None
        assert _versions(afar, function, stage) == ["$LATEST"]


def _versions(afar: Afar, function: str, stage: str) -> list[str]:
    found = afar.client("lambda", stage).list_versions_by_function(FunctionName=function)["Versions"]
    return [one["Version"] for one in found]


def _until(
    afar: Afar, deployment: str, token: str, holds: Callable[[dict[str, Any]], bool]
) -> dict[str, Any]:
    revision, deadline = 0, time.monotonic() + 120
    while time.monotonic() < deadline:
        answer = _look(afar.stand, deployment, token, revision)
        found: dict[str, Any] = answer.raise_for_status().json()
        if holds(found):
            return found
        revision = found["revision"]
        if "retry-after" in answer.headers:
            time.sleep(0.2)
    raise AssertionError("it never got there")


def _look(stand: Stand, deployment: str, token: str, revision: int) -> httpx2.Response:
    params = {"after": revision, "wait": 10}
    return stand.http("GET", f"/deployments/{deployment}", token=token, params=params)
