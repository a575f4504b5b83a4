"""The stack of a target in another account and region: its role, its bucket, and its alarms."""

import hashlib
import time
from collections.abc import Iterator
from typing import Any, Final
from uuid import uuid4

import pytest
from botocore.exceptions import ClientError

from sluicegate.deployment.target_names import alarms_role_name, bucket_name
from stand import Stand, package
from stand.afar import Afar, targets
from stand.api import Alarm
from stand.roles import credentials_of, role_named
from stand.targets import STACK, TARGETS

pytestmark = pytest.mark.extended

STAGE: Final = "away-canary"
TARGET: Final = TARGETS["other-both"]
ROLE: Final = f"arn:aws:iam::{TARGET.account}:role/{TARGET.role}"
BUCKET: Final = bucket_name(TARGET.account, TARGET.region, TARGET.role)


@pytest.fixture(scope="module")
def afar(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Afar]:
    with targets(tmp_path_factory.mktemp("gate")) as found:
        yield found


@pytest.fixture(scope="module")
def deployer(stand: Stand, afar: Afar) -> dict[str, str]:  # noqa: ARG001
    return credentials_of(stand, role_named(stand, "DeployerRole"))


def enter(stand: Stand, by: dict[str, str], **changes: str | None) -> dict[str, str]:
    """A session of the target's role. Raises ClientError."""
    given = {"ExternalId": TARGET.external_id, "SourceIdentity": "project-4213-job-1", **changes}
    request = {key: value for key, value in given.items() if value is not None}
    sts = stand.client("sts", region=TARGET.region, **by)
    answer = sts.assume_role(RoleArn=ROLE, RoleSessionName="test", **request)["Credentials"]
    return {
        "access_key": answer["AccessKeyId"],
        "secret_key": answer["SecretAccessKey"],
        "token": answer["SessionToken"],
        "region": TARGET.region,
    }


def refused(call: Any, **arguments: Any) -> str:
    with pytest.raises(ClientError) as error:
        call(**arguments)
    return str(error.value.response["Error"]["Code"])


@pytest.mark.parametrize(
    "changes",
    [
        {"ExternalId": None},
        {"ExternalId": "stand-7a02-other-bot"},
        {"ExternalId": TARGETS["other-account"].external_id},
        {"SourceIdentity": None},
    ],
)
def test_without_external_id_and_source_identity_nobody_enters(
    stand: Stand, deployer: dict[str, str], changes: dict[str, str | None]
) -> None:
    enter(stand, deployer)
    with pytest.raises(ClientError, match="AccessDenied"):
        enter(stand, deployer, **changes)


def test_it_trusts_the_deployer_and_the_look_for_drift(stand: Stand, afar: Afar) -> None:  # noqa: ARG001
    iam = stand.client("iam", **TARGET.where)
    trust = iam.get_role(RoleName=TARGET.role)["Role"]["AssumeRolePolicyDocument"]
    principals = sorted({one["Principal"]["AWS"] for one in trust["Statement"]})
    home = f"arn:aws:iam::{stand.account_id}:role/sluicegate-"
    assert [one.removeprefix(home).split("-")[0] for one in principals] == ["DeployerRole", "DriftRole"]


def test_a_session_copies_an_artifact_once_and_deletes_nothing(
    stand: Stand, deployer: dict[str, str]
) -> None:
    session = enter(stand, deployer)
    s3 = stand.client("s3", **session)
    key = f"roam-{uuid4().hex[:8]}/{hashlib.sha256(b'code').hexdigest()}.zip"
    assert refused(s3.head_object, Bucket=BUCKET, Key=key) == "404"
    assert refused(s3.put_object, Bucket=BUCKET, Key=key, Body=b"code") == "AccessDenied"
    s3.put_object(Bucket=BUCKET, Key=key, Body=b"code", IfNoneMatch="*", ExpectedBucketOwner=TARGET.account)
    assert (
        refused(s3.put_object, Bucket=BUCKET, Key=key, Body=b"evil", IfNoneMatch="*") == "PreconditionFailed"
    )
    assert refused(s3.delete_object, Bucket=BUCKET, Key=key) == "AccessDenied"
    assert s3.get_object(Bucket=BUCKET, Key=key)["Body"].read() == b"code"
    # The stack's own bucket, and a bucket of the target's account that is not the target's.
    assert refused(s3.get_object, Bucket=stand.artifact_bucket, Key=key) == "AccessDenied"


def test_a_session_reaches_the_functions_of_its_stages_and_no_others(
    stand: Stand, deployer: dict[str, str]
) -> None:
    session = enter(stand, deployer)
    names = [f"{prefix}-{uuid4().hex[:8]}" for prefix in ("roam", "billing")]
    for name in names:
        stand.create_function(name, where=TARGET.where)
    try:
        lambda_ = stand.client("lambda", **session)
        roam, billing = names
        assert lambda_.get_function(FunctionName=roam)["Configuration"]["FunctionName"] == roam
        lambda_.publish_version(FunctionName=roam)
        assert refused(lambda_.get_function, FunctionName=billing) == "AccessDeniedException"
        assert refused(lambda_.publish_version, FunctionName=billing) == "AccessDeniedException"
        assert refused(lambda_.delete_function, FunctionName=roam) == "AccessDeniedException"
        assert refused(lambda_.invoke, FunctionName=roam) == "AccessDeniedException"
        stand.client("cloudwatch", **session).describe_alarms()
        assert refused(stand.client("iam", **session).list_roles) == "AccessDenied"
    finally:
        for name in names:
            stand.delete_function(name, where=TARGET.where)


def test_the_stack_says_what_it_made(stand: Stand, afar: Afar) -> None:  # noqa: ARG001
    formation = stand.client("cloudformation", **TARGET.where)
    described = formation.describe_stacks(StackName=STACK)["Stacks"][0]
    outputs = {one["OutputKey"]: one["OutputValue"] for one in described["Outputs"]}
    assert outputs["TargetRoleArn"] == ROLE
    assert outputs["CopyBucket"] == BUCKET
    tags = stand.client("iam", **TARGET.where).get_role(RoleName=TARGET.role)["Role"]["Tags"]
    assert {"Key": "sluicegate:digest", "Value": outputs["Digest"]} in tags
    rule = stand.client("events", **TARGET.where).describe_rule(Name=alarms_role_name(TARGET.role))
    assert rule["State"] == "ENABLED"


def test_an_alarm_of_that_name_elsewhere_wakes_nobody_there(stand: Stand, afar: Afar) -> None:
    function = f"roam-{uuid4().hex[:8]}"
    lambda_ = stand.client("lambda", **TARGET.where)
    stand.create_function(function, where=TARGET.where)
    # In the stack's own account, in another region of the target's, and in the target.
    places: tuple[dict[str, str], ...] = ({}, TARGETS["other-account"].where, TARGET.where)
    alarms = [Alarm(f"{function}-{STAGE}", stand.client("cloudwatch", **where)) for where in places]
    for alarm in alarms:
        alarm.create("OK")
    try:
        first = lambda_.publish_version(FunctionName=function)["Version"]
        lambda_.create_alias(FunctionName=function, Name=STAGE, FunctionVersion=first)
        code = package("def handler(event, context):\n    return 'next'\n")
        artifact = {"sha256": stand.upload(function, code, token=afar.token())}
        deployment = afar.ask("deploy", function, STAGE, wait=False, artifact=artifact)["id"]

        def status() -> str:
            shown = stand.http("GET", f"/deployments/{deployment}", token=afar.token())
            return str(shown.raise_for_status().json()["status"])

        until(status, lambda now: now in ("baking", "failed"))
        *elsewhere, there = alarms
        for alarm in elsewhere:
            alarm.set("ALARM")
        time.sleep(3)
        assert status() == "baking"
        there.set("ALARM")
        done = stand.wait(deployment, token=afar.token())
        assert (done["status"], done["alias"]["outcome"]) == ("rolled_back", "restored"), done
        assert lambda_.get_alias(FunctionName=function, Name=STAGE)["FunctionVersion"] == first
    finally:
        for alarm in alarms:
            alarm.delete()
        stand.delete_function(function, where=TARGET.where)


def until(look: Any, enough: Any, patience: float = 60) -> None:
    deadline = time.monotonic() + patience
    while not enough(look()):
        assert time.monotonic() < deadline, look()
        time.sleep(0.3)
