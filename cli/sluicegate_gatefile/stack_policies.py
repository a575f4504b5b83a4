"""What Sluicegate's own stack allows because of the gate file's targets; template.yaml includes the policies.

The deployer may assume exactly the targets' roles, and the bus takes alarms from exactly the roles that the
targets' stacks have for them.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from sluicegate.deployment.target_names import alarms_role_name
from sluicegate_gatefile.target_policy import NOTHING_MORE, Policy, PolicyError, size
from sluicegate_gatefile.target_template import TargetStack

ROLES: Final = "target-roles.json"
"""The file of `roles`, beside the target role's first policy."""

EVENTS: Final = "target-events.json"
"""The file of `events`, beside it."""

MAX_ROLES: Final = 6_000
"""Of 10,240 characters for all inline policies of the deployer's role, without white space (IAM quotas)."""

MAX_EVENTS: Final = 10_000
"""Of 10,240 for a bus (EventBridge API reference, PutPermission: 10 KB)."""

_ROLE: Final = "arn:${AWS::Partition}:iam::"
_BUS: Final = "arn:${AWS::Partition}:events:${AWS::Region}:${AWS::AccountId}:event-bus/${AWS::StackName}"


def roles(stacks: Iterable[TargetStack]) -> Policy:
    """The roles that the deployer may assume, on somebody's behalf. Raises PolicyError."""
    arns = [{"Fn::Sub": arn} for arn in sorted({_arn(stack.account, stack.role) for stack in stacks})]
    statement = {
        "Sid": "EnterTargets",
        "Effect": "Allow",
        "Action": ["sts:AssumeRole", "sts:SetSourceIdentity", "sts:TagSession"],
        "Resource": arns,
    }
    return _policy([statement if arns else NOTHING_MORE], MAX_ROLES, len(arns), "the deployer's role")


def events(stacks: Iterable[TargetStack]) -> Policy:
    """Who may send what to the stack's bus from another account. Raises PolicyError.

    A principal that does not exist yet is no valid one, so that the statement is about the targets' accounts,
    and a condition names the roles. Only AWS itself can send events whose source begins with `aws.`, and an
    event that a rule forwards keeps the account and region that it is from (EventBridge user guide, "Sending
    and receiving events between AWS accounts", and API reference, PutEvents; November 2026).
    """
    senders = sorted({_arn(stack.account, alarms_role_name(stack.role)) for stack in stacks})
    accounts = sorted({stack.account for stack in stacks})
    statements: list[dict[str, Any]] = [
        # What is so anyhow: a policy needs a statement, and without targets there is no other.
        {
            "Sid": "OwnAccount",
            "Effect": "Allow",
            "Principal": {"AWS": {"Ref": "AWS::AccountId"}},
            "Action": "events:PutEvents",
            "Resource": {"Fn::Sub": _BUS},
        }
    ]
    if senders:
        statements.append(
            {
                "Sid": "AlarmsOfTargets",
                "Effect": "Allow",
                "Principal": {"AWS": accounts},
                "Action": "events:PutEvents",
                "Resource": {"Fn::Sub": _BUS},
                "Condition": {
                    "ArnEquals": {"aws:PrincipalArn": [{"Fn::Sub": arn} for arn in senders]},
                    "ForAllValues:StringEquals": {
                        "events:source": "aws.cloudwatch",
                        "events:detail-type": "CloudWatch Alarm State Change",
                    },
                    # A key that is not there meets ForAllValues (IAM user guide, "Set operators for
                    # multivalued context keys"; November 2026).
                    "Null": {"events:source": "false", "events:detail-type": "false"},
                },
            }
        )
    return _policy(statements, MAX_EVENTS, len(senders), "an event bus")


def write(stacks: Iterable[TargetStack], directory: Path) -> None:
    """Write both policies into the directory. Raises PolicyError. The same targets give the same bytes."""
    every = list(stacks)
    for name, policy in ((ROLES, roles(every)), (EVENTS, events(every))):
        (directory / name).write_text(json.dumps(policy, indent=1) + "\n", encoding="utf-8")


def _arn(account: str, role: str) -> str:
    return f"{_ROLE}{account}:role/{role}"


def _policy(statements: list[dict[str, Any]], limit: int, count: int, whose: str) -> Policy:
    if size(statements) > limit:
        raise PolicyError(
            f"the roles of {count} targets are more than the policy of {whose} takes: move some targets to a "
            "second stack with a gate file of its own"
        )
    return {"Version": "2012-10-17", "Statement": statements}
