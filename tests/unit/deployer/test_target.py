"""Access to a target."""

import json
import tracemalloc
from dataclasses import replace
from typing import Any, cast

import pytest
from botocore.exceptions import ClientError
from hypothesis import example, given
from hypothesis import strategies as st

from sluicegate.aws import permissions
from sluicegate.deployer.sessions import (
    copy_policy,
    request_session,
    session_policy,
    session_tags,
    source_identity,
)
from sluicegate.deployer.target import Targets
from sluicegate.deployment.model import Deployment
from sluicegate.deployment.plan import Judge, Plan, Smoke, Target, Watch
from sluicegate.deployment.target_names import bucket_name
from sluicegate.rollout.presets import expand
from sluicegate.settings import DeployerSettings
from support.plans import plans
from support.simulation import new_deployment
from support.sts_model import PACKED_BEFORE, StsModel

SETTINGS = DeployerSettings(table="table", bucket="bucket", target_role="target", external_id="stack")


def sts(**fields: Any) -> StsModel:
    """STS with the target's role."""
    model = StsModel(**fields)
    for partition in ("aws", "aws-cn"):
        model.add_role(f"arn:{partition}:iam::111111111111:role/target")
    return model


def ask(model: StsModel, deployment: Deployment) -> None:
    request_session(cast(Any, model), SETTINGS, deployment, "aws")


def targets(model: StsModel) -> Targets:
    return Targets(SETTINGS, lambda _: cast(Any, model))


def test_each_deployment_of_a_busy_deployer_keeps_little_memory() -> None:
    """A deployer has 512 MB, and keeps a session for thirteen minutes."""
    target = targets(sts())

    def access(number: int) -> None:
        deployment = new_deployment(0, "0" * 64)
        watched = replace(deployment.plan, watch=Watch(("alarm",)))
        assert target.access(replace(deployment, id=f"id-{number}", plan=watched)).cloudwatch

    access(0)  # what all of them share
    tracemalloc.start()
    try:
        for number in range(1, 6):
            access(number)
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept / 5 < 2_000_000


FUNCTION = "arn:aws:lambda:eu-central-1:111111111111:function:orders"
PLAN = new_deployment(0, "0" * 64).plan


def statements(plan: Plan) -> dict[str, Any]:
    """Of a session's policy: resources by the actions on them."""
    deployment = replace(new_deployment(0, "0" * 64), plan=plan)
    policy = json.loads(session_policy(deployment, "aws", "bucket"))
    assert {statement["Effect"] for statement in policy["Statement"]} == {"Allow"}
    return {" ".join(statement["Action"]): statement["Resource"] for statement in policy["Statement"]}


WATCHING = {"cloudwatch:DescribeAlarms cloudwatch:GetMetricData": "*"}
OF_EVERY_PLAN = {
    " ".join(permissions.ACTIONS): [FUNCTION, f"{FUNCTION}:*"],
    "s3:GetObject s3:GetObjectVersion": "arn:aws:s3:::bucket/orders/*",
    "kms:Decrypt kms:GenerateDataKey": "arn:aws:kms:eu-central-1:*:key/*",
}


@pytest.mark.parametrize(
    ("plan", "more"),
    [
        (PLAN, {}),
        (replace(PLAN, approval=3_600), {}),
        (replace(PLAN, smoke=Smoke(10, "{}")), {"lambda:InvokeFunction": [f"{FUNCTION}:*"]}),
        (
            replace(PLAN, smoke=Smoke(10, hook="check")),
            {"lambda:InvokeFunction": [FUNCTION.replace("orders", "check")]},
        ),
        (replace(PLAN, watch=Watch(("alarm",))), WATCHING),
        (
            replace(PLAN, watch=Watch(metrics=expand("batch"))),
            {f"{next(iter(WATCHING))} lambda:ListEventSourceMappings": "*"},
        ),
        (replace(PLAN, watch=Watch(metrics=expand("url"))), WATCHING),
        (
            replace(PLAN, watch=Watch(judge=Judge("orders-judge", 10))),
            {**WATCHING, "lambda:InvokeFunction": [FUNCTION.replace("orders", "orders-judge")]},
        ),
    ],
)
def test_a_session_may_do_what_its_plan_needs_and_nothing_else(plan: Plan, more: dict[str, Any]) -> None:
    assert statements(plan) == {**OF_EVERY_PLAN, **more}


def test_a_session_uses_a_key_only_for_what_is_encrypted_for_its_function() -> None:
    policy = json.loads(session_policy(new_deployment(0, "0" * 64), "aws", "bucket"))
    (conditions,) = [s["Condition"] for s in policy["Statement"] if s["Action"] == list(permissions.KEYS)]
    context = "kms:EncryptionContext:aws:lambda:FunctionArn"
    assert conditions == {"StringLike": {context: [FUNCTION, f"{FUNCTION}:*"]}}


def test_a_session_decrypts_artifacts_of_a_key_of_the_operators() -> None:
    """UpdateFunctionCode reads the artifact with the session's rights, and S3 decrypts with them."""
    deployment = replace(new_deployment(0, "0" * 64), plan=PLAN)
    key = "arn:aws:kms:eu-central-1:111111111111:key/1"
    policy = json.loads(session_policy(deployment, "aws", "bucket", key))
    assert {"Effect": "Allow", "Action": ["kms:Decrypt"], "Resource": key} in policy["Statement"]
    assert key not in session_policy(deployment, "aws", "bucket")


AWAY = replace(
    PLAN, target=Target("222222222222", "eu-west-1"), role="target", external_id="3c9e", target_name="west"
)


def test_a_session_in_a_target_reads_that_targets_bucket_only() -> None:
    allowed = statements(AWAY)
    bucket = f"arn:aws:s3:::{bucket_name('222222222222', 'eu-west-1', 'target')}"
    assert allowed["s3:GetObject s3:GetObjectVersion"] == f"{bucket}/orders/*"
    assert allowed["s3:ListBucket"] == bucket
    assert "arn:aws:s3:::bucket/" not in str(allowed)


def test_a_session_that_copies_writes_one_object_and_has_a_key_only_through_s3() -> None:
    deployment = replace(new_deployment(0, "ab" * 32), plan=AWAY)
    write, key = json.loads(copy_policy(deployment, "aws"))["Statement"]
    bucket = bucket_name("222222222222", "eu-west-1", "target")
    resource = f"arn:aws:s3:::{bucket}/orders/{'ab' * 32}.zip"
    assert write == {"Effect": "Allow", "Action": ["s3:PutObject"], "Resource": resource}
    assert key["Condition"] == {"StringLike": {"kms:ViaService": "s3.eu-west-1.*"}}


def test_a_target_is_entered_by_its_own_role_and_external_id() -> None:
    model = StsModel()
    model.add_role("arn:aws:iam::222222222222:role/target", "3c9e")
    deployment = replace(new_deployment(0, "0" * 64), plan=AWAY)
    targets(model).access(deployment)
    targets(model).writer(deployment)
    for other in (replace(AWAY, external_id="stack"), replace(AWAY, role="other"), PLAN):
        with pytest.raises(ClientError, match="AccessDenied"):
            targets(model).access(replace(deployment, plan=other))


@given(plans())
def test_a_session_reaches_no_other_function(plan: Plan) -> None:
    judge = plan.watch.judge.function if plan.watch and plan.watch.judge else None
    names = {"orders", plan.smoke.hook if plan.smoke else None, judge}
    for actions, resources in statements(plan).items():
        for resource in resources if isinstance(resources, list) else [resources]:
            if "lambda:" in actions and "cloudwatch:" not in actions:
                assert resource.split(":function:")[1].split(":")[0] in names
        if resources == "*":
            assert plan.watch
        if "lambda:InvokeFunction" in actions:
            assert plan.smoke or judge
    # A session policy is at most 2,048 characters (STS AssumeRole).
    longest = replace(new_deployment(0, "0" * 64, "f" * 64), plan=plan)
    key = f"arn:aws-us-gov:kms:us-gov-west-1:111111111111:key/mrk-{'0' * 32}"
    assert len(session_policy(longest, "aws-us-gov", "b" * 63, key)) <= 2_048
    away = replace(longest, plan=replace(plan, target=Target("2" * 12, "ap-southeast-99"), role="r" * 64))
    assert len(session_policy(away, "aws-us-gov", "b" * 63, key)) <= 2_048
    assert len(copy_policy(away, "aws-us-gov")) <= 2_048


def test_the_longest_session_policy_fits() -> None:
    """A hook, a function that judges, and event sources, all with the longest names: 2,048 (AssumeRole)."""
    watch = Watch(metrics=expand("batch"), judge=Judge("j" * 64, 10))
    plan = replace(AWAY, smoke=Smoke(10, hook="h" * 64), watch=watch)
    plan = replace(plan, target=Target("2" * 12, "ap-southeast-99"), role="r" * 64)
    deployment = replace(new_deployment(0, "0" * 64, "f" * 64), plan=plan)
    assert len(session_policy(deployment, "aws-us-gov", "b" * 63)) <= 2_048


def requested_by(**fields: Any) -> Deployment:
    deployment = new_deployment(1_780_000_000.0, "0" * 64)
    return replace(deployment, requested_by=replace(deployment.requested_by, **fields))


hostile = st.text(max_size=400) | st.sampled_from(
    [
        "🚀" * 300,
        "a" * 5_000,
        "\u202egnp.exe",
        "aws:admin",
        "AWS:x",
        "a\nb\0",
        " ",
        "\ud800",
        "-",
        "é" * 256,
    ]
)


@given(hostile, hostile, hostile)
@example("a" * 256, "https://" + "x" * 300, "b" * 300)
def test_no_text_from_outside_stops_a_session(ref: str, issuer: str, user: str) -> None:
    """Branches have any name that git takes, emoji included. STS validates tags and packs them."""
    deployment = requested_by(
        ref=ref,
        issuer=issuer,
        user_id=user,
        project_id="9" * 30,
        pipeline_id="9" * 30,
        job_id="9" * 30,
        sha="f" * 64,
        webhook=ref,
    )
    model = sts()
    ask(model, deployment)
    assert model.calls == 1
    [granted] = model.granted
    assert granted["Tags"][0] == {"Key": "Deployment", "Value": deployment.id}


@given(hostile, hostile)
def test_a_source_identity_is_one_that_sts_takes(project: str, webhook: str) -> None:
    model = sts()
    deployment = requested_by(project_id=project, webhook=webhook, job_id=None)
    ask(model, deployment)
    assert 2 <= len(source_identity(deployment.requested_by)) <= 64


@pytest.mark.parametrize(
    ("fields", "identity"),
    [
        ({}, "project-4213-job-302"),
        ({"job_id": None, "webhook": "orders-tags"}, "project-4213-webhook-orders-tags"),
        ({"via": "iam+id_token", "principal_id": "AROACALLER11111111111"}, "project-4213-job-302"),
        (
            {"via": "iam", "principal_id": "AROACALLER11111111111", "session_name": "ci"},
            "principal-AROACALLER11111111111-ci",
        ),
        ({"via": "iam", "principal_id": "AIDAUSER1111111111111"}, "principal-AIDAUSER1111111111111"),
        (
            {"via": "iam", "principal_type": "sso", "session_name": "ada+ops@example.com"},
            "person-ada+ops@example.com",
        ),
        (
            {"via": "iam", "principal_id": "AROACALLER11111111111", "session_name": "x" * 64},
            f"principal-AROACALLER11111111111-{'x' * 32}",
        ),
    ],
)
def test_a_source_identity_names_the_job_the_person_or_the_principal(
    fields: dict[str, Any], identity: str
) -> None:
    assert source_identity(requested_by(**fields).requested_by) == identity


def test_a_session_has_the_tags_of_the_principal() -> None:
    deployment = requested_by(
        issuer="",
        project_id="",
        job_id=None,
        via="iam",
        account="222222222222",
        role="caller",
        principal_id="AROACALLER11111111111",
        session_name="ci",
    )
    model = sts()
    ask(model, deployment)
    assert {tag["Key"]: tag["Value"] for tag in model.granted[0]["Tags"]} == {
        "Deployment": deployment.id,
        "Account": "222222222222",
        "Principal": "AROACALLER11111111111",
        "Role": "caller",
        "Session": "ci",
    }


def test_the_tags_of_a_usual_job_stay_below_what_china_takes() -> None:
    """Also with a branch of 255 characters, git's longest on most file systems."""
    deployment = requested_by(
        ref="feature/" + "x" * 247,
        issuer="https://gitlab.some-rather-long-company.example.com",
        project_id="12345678",
        pipeline_id="1234567890",
        job_id="12345678901",
        sha="f" * 40,
        user_id="12345678",
    )
    tags = session_tags(deployment)
    assert sum(len(tag["Key"] + tag["Value"]) for tag in tags) < PACKED_BEFORE
    assert [tag["Value"] for tag in tags if tag["Key"] == "Ref"] == ["feature/" + "x" * 53 + "..."]


def test_where_less_fits_the_session_has_fewer_tags_and_its_whole_policy() -> None:
    deployment = requested_by(ref="x" * 255, sha="f" * 40)
    wanted = session_policy(deployment, "aws", "bucket")
    model = sts(packed=400)
    ask(model, deployment)
    assert model.calls == 2
    [granted] = model.granted
    assert granted["Policy"] == wanted
    assert granted["Tags"] == [{"Key": "Deployment", "Value": deployment.id}]


def test_where_not_even_that_fits_awss_own_words_remain() -> None:
    model = sts(packed=100)
    with pytest.raises(ClientError, match="of allotted space"):
        ask(model, requested_by())
    assert model.calls == 2


def test_any_other_refusal_is_not_repeated_with_fewer_tags() -> None:
    model = StsModel()
    with pytest.raises(ClientError, match="AccessDenied"):
        ask(model, requested_by())
    assert model.calls == 1


def test_a_forgotten_session_is_asked_for_again() -> None:
    model = sts()
    target, deployment = targets(model), requested_by()
    assert target.access(deployment) is target.access(deployment)
    target.forget(deployment)
    target.forget(deployment)
    target.access(deployment)
    assert model.calls == 2
