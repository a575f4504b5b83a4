"""What the stack allows because of the gate file's targets: the deployer's roles, and who sends it alarms."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest

from sluicegate_gatefile import stack_policies
from sluicegate_gatefile.target_policy import NOTHING_MORE, PolicyError
from sluicegate_gatefile.target_template import TargetStack
from support.expanded import resolve
from support.iam_model import allowed
from support.target_stacks import BUS, resolved, stacks_of
from support.template import Json

ALARM: Final = {"events:source": "aws.cloudwatch", "events:detail-type": "CloudWatch Alarm State Change"}


@pytest.fixture(scope="module")
def stacks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, TargetStack]:
    return stacks_of(tmp_path_factory.mktemp("gate"))


def in_place(policy: dict[str, Any]) -> Json:
    """The policy in Sluicegate's own stack."""
    template = {
        "Parameters": {},
        "Conditions": {},
        "Resources": {"It": {"Type": "X", "Properties": policy}},
        "Outputs": {},
    }
    found = resolve(
        template, {}, stack="sluicegate", account="111111111111", region="eu-central-1", partition="aws"
    )
    document: Json = found["Resources"]["It"]["Properties"]
    return document


def test_the_deployer_enters_exactly_the_targets_roles(stacks: dict[str, TargetStack]) -> None:
    policy = in_place(stack_policies.roles(stacks.values()))
    theirs = {resolved(stack)["Outputs"]["TargetRoleArn"]["Value"] for stack in stacks.values()}
    [statement] = policy["Statement"]
    assert set(statement["Resource"]) == theirs
    assert not any("*" in arn for arn in theirs)
    for arn in theirs:
        for action in ("sts:AssumeRole", "sts:SetSourceIdentity", "sts:TagSession"):
            assert allowed([policy], action, arn)
        assert not allowed([policy], "sts:AssumeRole", arn + "-2")
        assert not allowed([policy], "sts:AssumeRole", arn.replace("role/", "role/path/"))
        assert not allowed([policy], "iam:PassRole", arn)


def test_without_targets_nothing_is_allowed_beyond_the_account() -> None:
    assert stack_policies.roles([])["Statement"] == [NOTHING_MORE]
    policy = in_place(stack_policies.events([]))
    assert not allowed([policy], "events:PutEvents", BUS, ALARM, principal="arn:aws:iam::222222222222:root")
    assert allowed([policy], "events:PutEvents", BUS, {}, principal="arn:aws:iam::111111111111:root")


def sends(
    stacks: dict[str, TargetStack], role: str, account: str = "222222222222", **changes: str | None
) -> bool:
    policy = in_place(stack_policies.events(stacks.values()))
    context = {**ALARM, "aws:PrincipalArn": f"arn:aws:iam::{account}:role/{role}"}
    given = {f"events:{key.replace('_', '-')}": value for key, value in changes.items()}
    merged = {key: value for key, value in {**context, **given}.items() if value is not None}
    return allowed([policy], "events:PutEvents", BUS, merged, principal=f"arn:aws:iam::{account}:role/{role}")


def test_the_bus_takes_alarms_of_the_targets_roles_for_them(stacks: dict[str, TargetStack]) -> None:
    for stack in stacks.values():
        own = resolved(stack)["Resources"]["AlarmsRole"]["Properties"]["RoleName"]
        assert sends(stacks, own, stack.account)
        assert not sends(stacks, own, "333333333333")  # nobody's account
        assert not sends(stacks, own, stack.account, source="sluicegate")  # as a deployment's change
        assert not sends(stacks, own, stack.account, detail_type="Sluicegate Deployment")
        assert not sends(stacks, own, stack.account, source=None)  # a key that AWS might leave out
        assert not sends(stacks, own, stack.account, detail_type=None)
    assert not sends(stacks, "sluicegate-target-eu-central-1")
    assert not sends(stacks, "admin")
    # The role of one target, under its name, in another target's account.
    assert not sends(stacks, "Deploy+1-alarms", "222222222222")


def test_another_account_may_send_and_nothing_else(stacks: dict[str, TargetStack]) -> None:
    policy = in_place(stack_policies.events(stacks.values()))
    own = "arn:aws:iam::222222222222:role/sluicegate-target-eu-central-1-alarms"
    for action in ("events:PutRule", "events:PutTargets", "events:DescribeRule", "events:DeleteRule"):
        assert not allowed([policy], action, BUS, {**ALARM, "aws:PrincipalArn": own}, principal=own)


def test_no_principal_is_a_role_that_may_not_exist_yet(stacks: dict[str, TargetStack]) -> None:
    """EventBridge refuses a policy with a principal that does not exist."""
    for statement in in_place(stack_policies.events(stacks.values()))["Statement"]:
        accounts = statement["Principal"]["AWS"]
        assert all(account.isdigit() for account in (accounts if isinstance(accounts, list) else [accounts]))


def many(stack: TargetStack, count: int) -> list[TargetStack]:
    return [replace(stack, account=f"{number:012}") for number in range(count)]


def test_what_fits_is_at_least_what_the_guide_says(stacks: dict[str, TargetStack]) -> None:
    """10 KB for a bus (PutPermission), and 10,240 characters inline in the deployer's role (IAM quotas)."""
    typical = stacks["prod-eu"]
    for make, limit in ((stack_policies.roles, 6_000), (stack_policies.events, 10_000)):
        assert len(json.dumps(in_place(make(many(typical, 75))), separators=(",", ":"))) <= limit
        with pytest.raises(PolicyError, match="second stack"):
            make(many(typical, 150))


def test_the_same_targets_give_the_same_bytes(stacks: dict[str, TargetStack], tmp_path: Path) -> None:
    stack_policies.write(stacks.values(), tmp_path)
    first = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    assert set(first) == {"target-roles.json", "target-events.json"}
    stack_policies.write(reversed(list(stacks.values())), tmp_path)
    assert first == {file.name: file.read_bytes() for file in tmp_path.iterdir()}
