"""Access to a target."""

import json
import tracemalloc
from dataclasses import replace
from typing import Any, cast

import pytest
from hypothesis import given

from sluicegate.aws import permissions
from sluicegate.deployer.target import Targets, session_policy
from sluicegate.deployment.plan import Plan, Smoke, Watch
from sluicegate.settings import DeployerSettings
from support.plans import plans
from support.simulation import new_deployment

SETTINGS = DeployerSettings(table="table", bucket="bucket", target_role="target", external_id="stack")


class Sts:
    """Grants every role."""

    def assume_role(self, **_: Any) -> dict[str, Any]:
        return {"Credentials": {"AccessKeyId": "id", "SecretAccessKey": "secret", "SessionToken": "token"}}


def test_each_deployment_of_a_busy_deployer_keeps_little_memory() -> None:
    """A deployer has 512 MB, and keeps a session for thirteen minutes."""
    targets = Targets(SETTINGS, cast(Any, Sts()))

    def access(number: int) -> None:
        deployment = new_deployment(0, "0" * 64)
        watched = replace(deployment.plan, watch=Watch(("alarm",)))
        assert targets.access(replace(deployment, id=str(number), plan=watched)).cloudwatch

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


OF_EVERY_PLAN = {
    " ".join(permissions.ACTIONS): [FUNCTION, f"{FUNCTION}:*"],
    "s3:GetObject s3:GetObjectVersion": "arn:aws:s3:::bucket/orders/*",
}


@pytest.mark.parametrize(
    ("plan", "more"),
    [
        (PLAN, {}),
        (replace(PLAN, approval=3_600), {}),
        (replace(PLAN, smoke=Smoke(10, "{}")), {"lambda:InvokeFunction": f"{FUNCTION}:*"}),
        (
            replace(PLAN, smoke=Smoke(10, hook="check")),
            {"lambda:InvokeFunction": FUNCTION.replace("orders", "check")},
        ),
        (
            replace(PLAN, watch=Watch(("alarm",))),
            {"cloudwatch:DescribeAlarms cloudwatch:GetMetricData": "*"},
        ),
    ],
)
def test_a_session_may_do_what_its_plan_needs_and_nothing_else(plan: Plan, more: dict[str, Any]) -> None:
    assert statements(plan) == {**OF_EVERY_PLAN, **more}


@given(plans())
def test_a_session_reaches_no_other_function(plan: Plan) -> None:
    names = {"orders", plan.smoke.hook if plan.smoke else None}
    for actions, resources in statements(plan).items():
        for resource in resources if isinstance(resources, list) else [resources]:
            if "lambda:" in actions:
                assert resource.split(":function:")[1].split(":")[0] in names
        if resources == "*":
            assert plan.watch
        if "lambda:InvokeFunction" in actions:
            assert plan.smoke
    # A session policy is at most 2,048 characters (STS AssumeRole).
    longest = replace(new_deployment(0, "0" * 64, "f" * 64), plan=plan)
    assert len(session_policy(longest, "aws-us-gov", "b" * 63)) <= 2_048
