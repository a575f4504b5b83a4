"""`doctor --stack`: whether the functions that judge are there, and may be invoked by the target role."""

import json
from pathlib import Path
from typing import Any, Final

import pytest

from sluicegate.gate.policy import Gate
from sluicegate_cli.doctor import judge_checks
from sluicegate_cli.doctor.aws_calls import CouldNotCheck
from sluicegate_cli.doctor.findings import CheckVerdict
from sluicegate_cli.doctor.stack import DeployedStack
from sluicegate_gatefile import target_policy
from support.aws_account import AwsAccount, Refusal
from support.target_stacks import GATE, gate_of

ACCOUNT: Final = "111111111111"
STACK: Final = DeployedStack(
    "sluicegate",
    f"arn:aws:cloudformation:eu-central-1:{ACCOUNT}:stack/sluicegate/0b1e",
    "CREATE_COMPLETE",
    {},
    {"TargetRoleArn": f"arn:aws:iam::{ACCOUNT}:role/sluicegate-target"},
    (),
)
JUDGED: Final = GATE.replace(
    "  dev: {}", "  dev: {watch: {judge: {function: orders-judge}, alarms: [shared]}}"
)
GONE: Final = Refusal("ResourceNotFoundException", "Function not found", 404)


def resolved(policy: dict[str, Any]) -> dict[str, Any]:
    """The policy as CloudFormation makes it in this account."""
    text = json.dumps(policy)
    for name, value in (("Partition", "aws"), ("Region", "eu-central-1"), ("AccountId", ACCOUNT)):
        text = text.replace(f"${{AWS::{name}}}", value)
    document: dict[str, Any] = json.loads(text, object_hook=lambda one: one.get("Fn::Sub", one))
    return document


def account_of(*policies: dict[str, Any]) -> AwsAccount:
    """The account whose target role has the first policy inline, and the second attached."""
    first, *attached = policies
    return AwsAccount(
        {
            "lambda:GetFunctionConfiguration": {"FunctionName": "orders-judge"},
            "iam:ListRolePolicies": {"PolicyNames": ["gate"]},
            "iam:GetRolePolicy": {
                "RoleName": "sluicegate-target",
                "PolicyName": "gate",
                "PolicyDocument": json.dumps(first),
            },
            "iam:ListAttachedRolePolicies": {
                "AttachedPolicies": [
                    {"PolicyName": "two", "PolicyArn": f"arn:aws:iam::{ACCOUNT}:policy/two"} for _ in attached
                ]
            },
            "iam:GetPolicy": {"Policy": {"DefaultVersionId": "v3"}},
            "iam:GetPolicyVersion": lambda _: {"PolicyVersion": {"Document": json.dumps(attached[0])}},
        }
    )


def allowing(*resources: str, effect: str = "Allow") -> dict[str, Any]:
    statement = {"Effect": effect, "Action": "lambda:InvokeFunction", "Resource": list(resources)}
    return {"Version": "2012-10-17", "Statement": [statement]}


ARN: Final = f"arn:aws:lambda:eu-central-1:{ACCOUNT}:function:orders-judge"


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    return gate_of(tmp_path, JUDGED)


def found(account: AwsAccount, gate: Gate) -> list[tuple[CheckVerdict, str]]:
    return [(one.verdict, one.seen) for one in judge_checks.judges(account.calls(), STACK, gate)]


def test_the_policies_of_this_gate_file_let_the_role_invoke_its_judges(gate: Gate) -> None:
    account = account_of(*map(resolved, target_policy.of(gate)))
    assert found(account, gate) == [(CheckVerdict.OK, "sluicegate-target may invoke orders-judge")]
    assert dict(account.asked)["lambda:GetFunctionConfiguration"] == {"FunctionName": "orders-judge"}


def test_the_policies_of_an_earlier_gate_file_do_not(gate: Gate, tmp_path: Path) -> None:
    (tmp_path / "earlier").mkdir()
    earlier = gate_of(tmp_path / "earlier")
    [(verdict, seen)] = found(account_of(*map(resolved, target_policy.of(earlier))), gate)
    assert verdict is CheckVerdict.WRONG
    assert seen == "sluicegate-target may not invoke orders-judge: what it would judge stays unclear"


@pytest.mark.parametrize(
    ("policies", "verdict"),
    [
        ((allowing(f"{ARN}-2"), allowing(ARN)), CheckVerdict.OK),
        ((allowing("*"),), CheckVerdict.OK),
        ((allowing(f"{ARN}:*"),), CheckVerdict.WRONG),  # versions, and not the function itself
        ((allowing(ARN.replace("eu-central-1", "eu-west-1")),), CheckVerdict.WRONG),
        ((allowing(ARN), allowing("*", effect="Deny")), CheckVerdict.WRONG),
    ],
)
def test_what_counts_is_the_function_itself(
    gate: Gate, policies: tuple[dict[str, Any], ...], verdict: CheckVerdict
) -> None:
    assert [one for one, _ in found(account_of(*policies), gate)] == [verdict]


def test_a_judge_that_is_not_there_is_said(gate: Gate) -> None:
    account = account_of(allowing(ARN))
    account.answers["lambda:GetFunctionConfiguration"] = GONE
    [(verdict, seen)] = found(account, gate)
    assert verdict is CheckVerdict.WRONG
    assert seen.startswith("orders-judge is not in eu-central-1")


def test_without_a_judge_nothing_is_asked(tmp_path: Path) -> None:
    account = AwsAccount()
    assert found(account, gate_of(tmp_path)) == []
    assert not account.asked


def test_what_may_not_be_read_stays_open(gate: Gate) -> None:
    account = account_of(allowing(ARN))
    del account.answers["iam:ListRolePolicies"]
    with pytest.raises(CouldNotCheck, match="iam:ListRolePolicies"):
        found(account, gate)
