"""Check the stacks of targets: that they are there, as the gate file says, and trust the deployer alone.

What is in an account shows to credentials of that account only. For every other target, the finding says so.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from sluicegate_cli.doctor.aws_calls import AwsCalls, looked
from sluicegate_cli.doctor.findings import CheckVerdict, Finding
from sluicegate_cli.doctor.stack_checks import deploying, listed, principals
from sluicegate_gatefile.target_template import TargetStack

TARGET: Final = "target {} is as the gate file says"
TRUST: Final = "target {} trusts the deployer alone"
ACCOUNT: Final = "the credentials are of the target's account"
DIGEST_TAG: Final = "sluicegate:digest"

_GUIDE: Final = "docs/guides/targets.md"
_ENTER: Final = "sts:AssumeRole"
_TRUSTED: Final = frozenset({_ENTER, "sts:SetSourceIdentity", "sts:TagSession"})


def of_targets(
    aws: AwsCalls, account: str, deployer: str, stacks: Mapping[str, TargetStack]
) -> Iterator[Finding]:
    """Check what credentials of one account show of all targets. Raises NoAccess.

    `account` is the stack's own, and `deployer` the ARN of the deployer's role.
    """
    for stack in stacks.values():
        if stack.account != account:
            seen = (
                f"it is in account {stack.account}, which these credentials do not show; the gate file's "
                f"digest of it is {stack.digest}"
            )
            change = f"With credentials of that account: `sluicegate doctor --target {stack.name}`."
            yield Finding(TARGET.format(stack.name), CheckVerdict.UNKNOWN, seen, change)
        else:
            yield from of_target(aws, stack, deployer)


def of_own_account(aws: AwsCalls, stack: TargetStack) -> Iterator[Finding]:
    """Check one target with credentials of its own account. Raises NoAccess and CouldNotCheck."""
    account = str(aws.call("sts", "GetCallerIdentity")["Account"])
    if account != stack.account:
        change = f"Set AWS_PROFILE, or other credentials, for account {stack.account}."
        seen = f"they are of account {account}, and target {stack.name} is in {stack.account}"
        yield Finding(ACCOUNT, CheckVerdict.WRONG, seen, change)
        return
    yield from of_target(aws, stack)


def of_target(aws: AwsCalls, stack: TargetStack, deployer: str | None = None) -> Iterator[Finding]:
    """Check a target whose account the credentials are of; its bucket and rule if its region is theirs too.

    Without `deployer`, any one role may be the deployer's. Raises NoAccess.
    """
    title, trust = TARGET.format(stack.name), TRUST.format(stack.name)
    yield from looked(title, lambda: _of_role(aws, stack, deployer, title, trust))
    if aws.region == stack.region:
        yield from looked(title, lambda: _of_bucket(aws, stack, title))
        yield from looked(title, lambda: _of_rule(aws, stack, title))


def _of_role(
    aws: AwsCalls, stack: TargetStack, deployer: str | None, title: str, trust: str
) -> Iterator[Finding]:
    name = stack.values["RoleName"]
    found = aws.find("iam", "GetRole", RoleName=name)
    deploy = f"Deploy build/targets/{stack.name}.yaml in {stack.account} {stack.region}: {_GUIDE}."
    if found is None:
        seen = f"there is no role {name} in account {stack.account}: every deployment there fails"
        yield Finding(title, CheckVerdict.WRONG, seen, deploy)
        return
    role = found["Role"]
    tags = {tag["Key"]: tag["Value"] for tag in role.get("Tags") or ()}
    digest = tags.get(DIGEST_TAG)
    if digest is None:
        seen = f"the role {name} has no tag {DIGEST_TAG}, so it is not from the target's template"
        yield Finding(title, CheckVerdict.WARNING, seen, deploy)
    elif digest != stack.digest:
        seen = f"its stack is from another gate file: it has the digest {digest}, not {stack.digest}"
        yield Finding(title, CheckVerdict.WARNING, seen, deploy)
    else:
        yield Finding(title, CheckVerdict.OK, f"its role {name} has the digest {digest}")
    yield _of_trust(role["AssumeRolePolicyDocument"], stack, deployer, trust)


def _of_trust(document: Mapping[str, Any], stack: TargetStack, deployer: str | None, title: str) -> Finding:
    statements = deploying(document, deployer)
    trusted = sorted({arn for one in statements for arn in principals(one)})
    change = "Deploy the target's stack again, with the output DeployerRoleArn of Sluicegate's own stack."
    gone = [arn for arn in trusted if arn.startswith(("AROA", "AIDA"))]
    if gone:
        # IAM shows the id of a principal that no longer exists (IAM user guide, "Principal").
        seen = (
            f"it trusts {', '.join(gone)}, a role that was deleted. A role of the same name that was made "
            "since is another one, which may not assume it"
        )
        return Finding(title, CheckVerdict.WRONG, seen, f"{change} A changed parameter is what updates it.")
    others = [arn for arn in trusted if arn != (deployer or trusted[0])]
    if others or not trusted or ":role/" not in trusted[0]:
        seen = f"{', '.join(others or trusted) or 'nobody'} may assume it"
        return Finding(title, CheckVerdict.WRONG, seen, change)
    for statement in statements:
        actions = set(listed(statement.get("Action")))
        condition = statement.get("Condition") or {}
        if actions - _TRUSTED:
            return Finding(
                title, CheckVerdict.WRONG, f"it allows {', '.join(sorted(actions - _TRUSTED))}", change
            )
        if _ENTER not in actions:
            continue
        if listed((condition.get("StringEquals") or {}).get("sts:ExternalId")) != [stack.external_id]:
            seen = "it asks for another external id than the gate file's, or for none"
            return Finding(title, CheckVerdict.WRONG, seen, change)
        if str((condition.get("Null") or {}).get("sts:SourceIdentity")).lower() != "false":
            seen = "it may be assumed without a source identity, which says in CloudTrail on whose behalf"
            return Finding(title, CheckVerdict.WARNING, seen, change)
    if not any(_ENTER in listed(one.get("Action")) for one in statements):
        return Finding(title, CheckVerdict.WRONG, "the deployer may not assume it", change)
    return Finding(title, CheckVerdict.OK, f"it trusts {trusted[0].rpartition('/')[2]}, with the external id")


def _of_bucket(aws: AwsCalls, stack: TargetStack, title: str) -> Iterator[Finding]:
    name = stack.values["Bucket"]
    if aws.find("s3", "HeadBucket", Bucket=name, ExpectedBucketOwner=stack.account) is None:
        change = f"Deploy build/targets/{stack.name}.yaml there: {_GUIDE}."
        yield Finding(title, CheckVerdict.WRONG, f"there is no bucket {name}: no code gets there", change)


def _of_rule(aws: AwsCalls, stack: TargetStack, title: str) -> Iterator[Finding]:
    name = stack.values["AlarmsRule"]
    rule = aws.find("events", "DescribeRule", Name=name)
    if rule is None or rule.get("State") == "DISABLED":
        state = "there is no rule" if rule is None else "disabled is the rule"
        seen = f"{state} {name}: rollouts there see an alarm only at their next look"
        enable = f"Enable it (`aws events enable-rule --name {name}`), or deploy"
        change = f"{'Deploy' if rule is None else enable} the target's stack again."
        yield Finding(title, CheckVerdict.WARNING, seen, change)
