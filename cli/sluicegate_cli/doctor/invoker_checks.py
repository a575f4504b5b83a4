"""Check who may invoke the functions that take API Gateway's word for a caller: they could forge one.

What an organization or a permissions boundary denies is not seen here, so that the list may be too long.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sluicegate_cli.doctor.aws_calls import AwsCalls
from sluicegate_cli.doctor.findings import CheckVerdict, Finding
from sluicegate_cli.doctor.invoke_policies import (
    PolicyDocument,
    listed,
    may_invoke,
    names_invoke,
    statements_of,
)
from sluicegate_cli.doctor.stack import DeployedStack

INVOKERS: Final = "few can invoke the functions for signed calls"

_FUNCTIONS: Final = ("GatewayIamFunction", "WatcherIamFunction")
_API_GATEWAY: Final = "apigateway.amazonaws.com"
_SERVICE_ROLES: Final = "/aws-service-role/"
"""The path of roles that only AWS's own services assume."""

_SHOWN: Final = 10
_RESTRICT: Final = (
    "Allow lambda:InvokeFunction on names, not on `*`, or deny it on these two functions: their callers could"
    " pass for any principal (docs/explanation/security.md#roles)."
)


@dataclass(frozen=True)
class Invokers:
    """Users and roles of the account, by what their policies let them do to the functions."""

    administrators: int
    others: tuple[str, ...]
    """`role/NAME` or `user/NAME` of those that may invoke and are no administrators."""


def invokers(aws: AwsCalls, stack: DeployedStack) -> Iterator[Finding]:
    """Report everybody who may invoke the functions beside API Gateway."""
    names = [one.physical for each in _FUNCTIONS if (one := stack.resource(each))]
    if not names:
        return
    partition = stack.id.split(":")[1]
    arns = [f"arn:{partition}:lambda:{aws.region}:{stack.account}:function:{name}" for name in names]
    own = [finding for name in names for finding in _of_function(aws, name)]
    yield from own
    found = _principals(aws, arns)
    administrators = f"{found.administrators} administrator{'' if found.administrators == 1 else 's'}"
    if found.others:
        shown = ", ".join(found.others[:_SHOWN])
        more = f" and {len(found.others) - _SHOWN} more" if len(found.others) > _SHOWN else ""
        seen = f"{shown}{more} may invoke {' or '.join(names)}, beside {administrators} of the account"
        yield Finding(INVOKERS, CheckVerdict.WARNING, seen, _RESTRICT)
    elif not own:
        seen = f"API Gateway, and {administrators} of the account"
        yield Finding(INVOKERS, CheckVerdict.OK, seen)


def _of_function(aws: AwsCalls, name: str) -> Iterator[Finding]:
    """Report what the function's own policy allows beyond API Gateway's stage v1."""
    import json

    answer = aws.find("lambda", "GetPolicy", FunctionName=name)
    statements = listed(json.loads(answer["Policy"])["Statement"]) if answer else []
    for statement in statements:
        if statement.get("Effect") != "Allow" or not names_invoke(statement):
            continue
        principal = statement.get("Principal")
        source = _source_arn(statement)
        if principal == {"Service": _API_GATEWAY} and re.fullmatch(
            r"arn:.+:[^/:*?]+/v1/[A-Z]+/iam/.+", source
        ):
            continue
        who = principal if isinstance(principal, str) else ", ".join(map(str, _values(principal)))
        seen = f"the policy of {name} lets {who} invoke it{f' for {source}' if source else ''}"
        change = f"Remove the statement {statement.get('Sid', '')} (`aws lambda remove-permission`)."
        yield Finding(INVOKERS, CheckVerdict.WRONG, seen, change)


def _source_arn(statement: PolicyDocument) -> str:
    for keys in (statement.get("Condition") or {}).values():
        for key, value in keys.items():
            if key.lower() == "aws:sourcearn" and isinstance(value, str):
                return value
    return ""


def _principals(aws: AwsCalls, arns: list[str]) -> Invokers:
    """Return the account's users and roles whose policies allow to invoke one of the functions."""

    def details(key: str, *kinds: str) -> Iterator[PolicyDocument]:
        yield from aws.pages("iam", "GetAccountAuthorizationDetails", key, Filter=list(kinds))

    managed = {
        policy["Arn"]: version["Document"]
        for policy in details("Policies", "LocalManagedPolicy", "AWSManagedPolicy")
        for version in policy.get("PolicyVersionList", ())
        if version.get("IsDefaultVersion")
    }

    def documents(of: PolicyDocument, inline: str) -> list[PolicyDocument]:
        attached = [managed.get(one["PolicyArn"], {}) for one in of.get("AttachedManagedPolicies", ())]
        return [*(one["PolicyDocument"] for one in of.get(inline, ())), *attached]

    groups = {
        one["GroupName"]: documents(one, "GroupPolicyList") for one in details("GroupDetailList", "Group")
    }
    held: dict[str, list[PolicyDocument]] = {}
    for role in details("RoleDetailList", "Role"):
        if not role["Path"].startswith(_SERVICE_ROLES):
            held[f"role/{role['RoleName']}"] = documents(role, "RolePolicyList")
    for user in details("UserDetailList", "User"):
        of_groups = [document for group in user.get("GroupList", ()) for document in groups.get(group, [])]
        held[f"user/{user['UserName']}"] = [*documents(user, "UserPolicyList"), *of_groups]
    able = {
        name: policies
        for name, policies in held.items()
        if any(may_invoke(policies, arn, f"{arn}:$LATEST") for arn in arns)
    }
    administrators = {
        name for name, policies in able.items() if any(map(_is_everything, statements_of(policies)))
    }
    return Invokers(len(administrators), tuple(sorted(able.keys() - administrators)))


def _is_everything(statement: PolicyDocument) -> bool:
    whole = statement.get("Effect") == "Allow" and not statement.get("Condition")
    return whole and "*" in listed(statement.get("Action")) and "*" in listed(statement.get("Resource"))


def _values(principal: Any) -> Iterator[Any]:
    for value in principal.values() if isinstance(principal, Mapping) else ():
        yield from listed(value)
