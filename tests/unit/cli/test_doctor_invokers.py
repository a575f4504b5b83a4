"""`doctor --stack` lists who could forge a caller with IAM credentials, by invoking their functions."""

import json
from typing import Any

import pytest

from sluicegate_cli.doctor.findings import CheckVerdict, Finding
from sluicegate_cli.doctor.invoker_checks import invokers
from sluicegate_cli.doctor.stack import DeployedStack, Resource
from support.aws_account import AwsAccount

ACCOUNT = "111111111111"
FUNCTION = f"arn:aws:lambda:eu-central-1:{ACCOUNT}:function:sluicegate-gateway-iam"
API = f"arn:aws:execute-api:eu-central-1:{ACCOUNT}:a1b2c3d4e5"
STACK = DeployedStack(
    "sluicegate",
    f"arn:aws:cloudformation:eu-central-1:{ACCOUNT}:stack/sluicegate/0b1e",
    "UPDATE_COMPLETE",
    {},
    {},
    tuple(
        Resource(f"{name}Function", "AWS::Lambda::Function", f"sluicegate-{physical}", "UPDATE_COMPLETE")
        for name, physical in (
            ("Gateway", "gateway"),
            ("GatewayIam", "gateway-iam"),
            ("WatcherIam", "watcher-iam"),
        )
    ),
)
EVERYTHING = {"Effect": "Allow", "Action": "*", "Resource": "*"}


def allow(action: Any = "lambda:InvokeFunction", resource: Any = FUNCTION, **more: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


def deny(**more: Any) -> dict[str, Any]:
    return {**allow(), "Effect": "Deny", **more}


def policy(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def permission(source: str = f"{API}/v1/GET/iam/whoami", **changes: Any) -> dict[str, Any]:
    """A statement of a function's own policy, as Lambda writes it for AddPermission."""
    usual = {
        "Sid": "sluicegate-IamGetWhoami",
        "Effect": "Allow",
        "Principal": {"Service": "apigateway.amazonaws.com"},
        "Action": "lambda:InvokeFunction",
        "Resource": FUNCTION,
        "Condition": {"ArnLike": {"AWS:SourceArn": source}},
    }
    return usual | changes


def role(name: str, *statements: dict[str, Any], path: str = "/", attached: str = "") -> dict[str, Any]:
    return {
        "Path": path,
        "RoleName": name,
        "RolePolicyList": [{"PolicyName": "p", "PolicyDocument": policy(*statements)}] if statements else [],
        "AttachedManagedPolicies": [{"PolicyName": "m", "PolicyArn": attached}] if attached else [],
    }


def account(*roles: dict[str, Any], own: str | None = None, **details: Any) -> AwsAccount:
    """An account with these roles, and an administrator; other kinds of details by their key."""
    found = {
        "RoleDetailList": [role("admin", EVERYTHING), *roles],
        "UserDetailList": [],
        "GroupDetailList": [],
        "Policies": [],
        "IsTruncated": False,
        **details,
    }
    kinds = {"Role": "RoleDetailList", "User": "UserDetailList", "Group": "GroupDetailList"}

    def authorization(given: Any) -> Any:
        key = kinds.get(given["Filter"][0], "Policies")
        return {key: found[key], "IsTruncated": False}

    return AwsAccount(
        {
            "lambda:GetPolicy": {"Policy": own or policy(permission()), "RevisionId": "1"},
            "iam:GetAccountAuthorizationDetails": authorization,
        }
    )


def examined(made: AwsAccount) -> list[Finding]:
    return list(invokers(made.calls(), STACK))


def test_api_gateway_and_administrators_are_counted_and_no_more() -> None:
    [finding] = examined(account())
    assert (finding.verdict, finding.seen) == (
        CheckVerdict.OK,
        "API Gateway, and 1 administrator of the account",
    )


@pytest.mark.parametrize(
    ("statements", "able"),
    [
        ([allow()], True),
        ([allow("lambda:*", "*")], True),
        ([allow(["s3:GetObject", "Lambda:Invoke*"], "arn:aws:lambda:*:*:function:sluicegate-*")], True),
        ([allow(resource=f"{FUNCTION}:*")], True),
        ([allow("lambda:InvokeFunctio?", f"{FUNCTION[:-1]}?")], True),
        ([{"Effect": "Allow", "NotAction": "iam:*", "Resource": "*"}], True),
        ([{"Effect": "Allow", "Action": "lambda:*", "NotResource": "arn:aws:s3:::*"}], True),
        ([allow(Condition={"Bool": {"aws:MultiFactorAuthPresent": "true"}})], True),
        ([allow(), deny(Condition={"Bool": {"aws:MultiFactorAuthPresent": "false"}})], True),
        ([allow(resource="*"), deny()], True),
        ([allow(resource="*"), deny(Resource="*")], False),
        ([allow("lambda:GetFunction", "*")], False),
        ([allow(resource=f"{FUNCTION}-other")], False),
        ([allow(resource="arn:aws:lambda:eu-central-1:111111111111:function:orders-*")], False),
        ([{"Effect": "Allow", "NotAction": "lambda:*", "Resource": "*"}], False),
        ([{"Effect": "Allow", "Action": "lambda:*", "NotResource": "arn:aws:lambda:*"}], False),
    ],
)
def test_a_role_is_listed_if_its_policies_let_it_invoke(statements: list[dict[str, Any]], able: bool) -> None:
    [finding] = examined(account(role("ci", *statements)))
    assert finding.verdict is (CheckVerdict.WARNING if able else CheckVerdict.OK)
    assert ("role/ci may invoke sluicegate-gateway-iam or sluicegate-watcher-iam" in finding.seen) is able


def test_policies_of_groups_and_attached_ones_count() -> None:
    arn = f"arn:aws:iam::{ACCOUNT}:policy/invoke"
    versions = [
        {"VersionId": "v1", "IsDefaultVersion": False, "Document": policy()},
        {"VersionId": "v2", "IsDefaultVersion": True, "Document": policy(allow())},
    ]
    group = {
        "GroupName": "developers",
        "GroupPolicyList": [{"PolicyName": "p", "PolicyDocument": policy(allow(resource="*"))}],
        "AttachedManagedPolicies": [],
    }
    users = [
        {"Path": "/", "UserName": name, "GroupList": groups, "AttachedManagedPolicies": []}
        for name, groups in (("ada", ["developers"]), ("grace", []))
    ]
    made = account(
        role("ci", attached=arn),
        Policies=[{"Arn": arn, "PolicyVersionList": versions}],
        GroupDetailList=[group],
        UserDetailList=users,
    )
    [finding] = examined(made)
    assert finding.seen.startswith("role/ci, user/ada may invoke")


def test_a_role_of_an_aws_service_is_nobodys() -> None:
    [finding] = examined(account(role("scaling", allow(), path="/aws-service-role/scaling.amazonaws.com/")))
    assert finding.verdict is CheckVerdict.OK


def test_many_are_counted_and_not_all_printed() -> None:
    [finding] = examined(account(*(role(f"team-{number:02}", allow()) for number in range(25))))
    assert "role/team-09 and 15 more may invoke" in finding.seen


@pytest.mark.parametrize(
    "statement",
    [
        permission(Principal="*"),
        permission(Principal={"AWS": "arn:aws:iam::222222222222:root"}),
        permission(Principal={"Service": "events.amazonaws.com"}),
        permission(f"{API}/*/GET/iam/whoami"),
        permission(f"{API}/test-invoke-stage/GET/iam/whoami"),
        permission(f"arn:aws:execute-api:eu-central-1:{ACCOUNT}:*/v1/GET/iam/whoami"),
        permission(f"{API}/v1/GET/whoami"),
        permission(Condition={}),
    ],
)
def test_the_functions_own_policy_lets_api_gateways_stage_in_and_nobody_else(
    statement: dict[str, Any],
) -> None:
    findings = examined(account(own=policy(permission(), statement)))
    assert [one.verdict for one in findings] == [CheckVerdict.WRONG] * 2
    assert all("lets" in one.seen and "invoke it" in one.seen for one in findings)


def test_a_stack_without_these_functions_has_nothing_to_check() -> None:
    stack = DeployedStack("sluicegate", STACK.id, "UPDATE_COMPLETE", {}, {}, STACK.resources[:1])
    made = account()
    assert list(invokers(made.calls(), stack)) == []
    assert made.names() == set()
