"""Check the parts of a stack: alarms, queues, triggers, roles and log groups. Nothing is changed."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from sluicegate.aws import permissions
from sluicegate_cli.doctor.aws_calls import AwsCalls
from sluicegate_cli.doctor.findings import CheckVerdict, Finding
from sluicegate_cli.doctor.stack import DeployedStack

ALARMS: Final = "no alarm of the stack fires"
DEAD_LETTERS: Final = "dead-letter queues are empty"
TRIGGERS: Final = "triggers are enabled"
TARGET_ROLE: Final = "only the deployer assumes the target role"
LOGS: Final = "log groups exist"

_ALARM_NAMES: Final = 100  # of one DescribeAlarms
_ASSUMING: Final = frozenset({"sts:AssumeRole", "sts:SetSourceIdentity", "sts:TagSession"})


def alarms(aws: AwsCalls, stack: DeployedStack) -> Iterator[Finding]:
    """Report the stack's alarms that fire or are missing, and whether they notify anybody."""
    names = [one.physical for one in stack.of_type("AWS::CloudWatch::Alarm")]
    found = alarms_by_name(aws, names)
    for name in names:
        alarm = found.get(name)
        if alarm is None:
            change = "Somebody deleted it. Run `make deploy` after a change of the stack, or create it again."
            yield Finding(ALARMS, CheckVerdict.WRONG, f"the alarm {name} does not exist any more", change)
        elif alarm["StateValue"] == "ALARM":
            since = alarm.get("StateUpdatedTimestamp")
            when = f" since {since.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if isinstance(since, datetime) else ""
            seen = f"{name} fires{when}"
            yield Finding(ALARMS, CheckVerdict.WRONG, seen, str(alarm.get("AlarmDescription", "")))
    if any(alarm["StateValue"] == "ALARM" for alarm in found.values()) or len(found) < len(names):
        return
    if found and not any(alarm.get("AlarmActions") for alarm in found.values()):
        change = "Create an SNS topic, and deploy with `--parameter-overrides AlarmTopicArn=ARN`."
        seen = f"none of {len(found)} fires; but they notify nobody"
        yield Finding(ALARMS, CheckVerdict.WARNING, seen, change)
        return
    yield Finding(ALARMS, CheckVerdict.OK, f"none of {len(found)} fires")


def alarms_by_name(aws: AwsCalls, names: list[str]) -> dict[str, Mapping[str, Any]]:
    """Return metric and composite alarms by name, without those that do not exist."""
    found: dict[str, Mapping[str, Any]] = {}
    for start in range(0, len(names), _ALARM_NAMES):
        answer = aws.call(
            "cloudwatch",
            "DescribeAlarms",
            AlarmNames=names[start : start + _ALARM_NAMES],
            AlarmTypes=["MetricAlarm", "CompositeAlarm"],
        )
        for alarm in (*answer.get("MetricAlarms", ()), *answer.get("CompositeAlarms", ())):
            found[alarm["AlarmName"]] = alarm
    return found


def dead_letters(aws: AwsCalls, stack: DeployedStack) -> Iterator[Finding]:
    """Report the messages in queues that should be empty."""
    queues = [one for one in stack.of_type("AWS::SQS::Queue") if "DeadLetter" in one.logical]
    for queue in queues:
        name = queue.physical.rpartition("/")[2]
        answer = aws.find(
            "sqs",
            "GetQueueAttributes",
            QueueUrl=queue.physical,
            AttributeNames=["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"],
        )
        if answer is None:
            change = "Run `make deploy` after a change of the stack, or create the queue again."
            yield Finding(
                DEAD_LETTERS, CheckVerdict.WRONG, f"the queue {name} does not exist any more", change
            )
            continue
        count = sum(int(value) for value in answer.get("Attributes", {}).values())
        if count:
            change = (
                "The function's log has the reason; docs/guides/commit-statuses.md and events.md, the way."
            )
            seen = f"{name} has {count} message{'' if count == 1 else 's'}"
            yield Finding(DEAD_LETTERS, CheckVerdict.WRONG, seen, change)
        else:
            yield Finding(DEAD_LETTERS, CheckVerdict.OK, f"{name} is empty")


def triggers(aws: AwsCalls, stack: DeployedStack) -> Iterator[Finding]:
    """Check that streams and queues invoke their functions, and that rules and schedules are on."""
    enabled = 0
    for mapping in stack.of_type("AWS::Lambda::EventSourceMapping"):
        answer = aws.find("lambda", "GetEventSourceMapping", UUID=mapping.physical) or {}
        state = answer.get("State", "missing")
        problem = str(answer.get("LastProcessingResult") or "")
        if state not in ("Enabled", "Creating", "Enabling", "Updating"):
            change = (
                f"Enable it: `aws lambda update-event-source-mapping --uuid {mapping.physical} --enabled`."
            )
            yield Finding(TRIGGERS, CheckVerdict.WRONG, f"{mapping.logical} is {state}", change)
        elif problem.startswith("PROBLEM"):
            seen = f"{mapping.logical} is enabled, but its last run ended with: {problem}"
            yield Finding(TRIGGERS, CheckVerdict.WRONG, seen, "See the function's log.")
        else:
            enabled += 1
    for rule in stack.of_type("AWS::Events::Rule"):
        answer = _rule(aws, stack, rule.physical)
        name = rule.physical.rpartition("|")[2]
        if answer.get("State", "missing") == "DISABLED" or not answer:
            change = f"Enable it: `aws events enable-rule --name {name}`."
            state = str(answer.get("State", "missing")).lower()
            yield Finding(TRIGGERS, CheckVerdict.WRONG, f"the rule {rule.logical} is {state}", change)
        else:
            enabled += 1
    if enabled:
        yield Finding(TRIGGERS, CheckVerdict.OK, f"{enabled} are enabled")


def _rule(aws: AwsCalls, stack: DeployedStack, physical: str) -> Mapping[str, Any]:
    """Look a rule up by CloudFormation's name: `NAME` on the default bus, or `BUS|NAME`; empty for none."""
    bus, _, name = physical.rpartition("|")
    for place in (bus, *(one.physical for one in stack.of_type("AWS::Events::EventBus"))):
        found = aws.find("events", "DescribeRule", Name=name, **({"EventBusName": place} if place else {}))
        if found:
            return found
    return {}


def target_role(aws: AwsCalls, stack: DeployedStack) -> Iterator[Finding]:
    """Check who may assume the target role: the deployer's role, with the stack's id as external id."""
    arn, deployer = stack.outputs.get("TargetRoleArn", ""), stack.outputs.get("DeployerRoleArn", "")
    name = arn.rpartition("/")[2]
    role = aws.find("iam", "GetRole", RoleName=name)
    if role is None:
        seen = f"the role {name} does not exist"
        yield Finding(TARGET_ROLE, CheckVerdict.WRONG, seen, "Run `make deploy`: no deployment can succeed.")
        return
    yield from _of_trust(role["Role"]["AssumeRolePolicyDocument"], name, deployer, stack.id)


def _of_trust(document: Mapping[str, Any], role: str, deployer: str, stack_id: str) -> Iterator[Finding]:
    statements = deploying(document, deployer)
    others = sorted({arn for one in statements for arn in principals(one) if arn != deployer})
    change = (
        f"Restore the trust policy of {role} as the template has it: `make deploy` after drift detection."
    )
    if others:
        hint = ""
        if any(arn.startswith(("AROA", "AIDA")) for arn in others):
            hint = " (an id in place of an ARN: that role or user was deleted)"
        seen = f"{', '.join(others)} may assume {role}{hint}"
        yield Finding(TARGET_ROLE, CheckVerdict.WRONG, seen, change)
        return
    assuming = [one for one in statements if "sts:AssumeRole" in listed(one.get("Action"))]
    unbound = [
        one
        for one in assuming
        if listed((one.get("Condition") or {}).get("StringEquals", {}).get("sts:ExternalId")) != [stack_id]
    ]
    actions = {action for one in statements for action in listed(one.get("Action"))}
    if not assuming:
        seen = f"the deployer may not assume {role}"
    elif unbound:
        seen = f"{role} may be assumed without the stack's id as external id"
    elif actions - _ASSUMING:
        seen = f"the trust policy of {role} allows {', '.join(sorted(actions - _ASSUMING))}"
    else:
        yield Finding(TARGET_ROLE, CheckVerdict.OK, f"{role} trusts {deployer.rpartition('/')[2]} alone")
        return
    yield Finding(TARGET_ROLE, CheckVerdict.WRONG, seen, change)


def deploying(document: Mapping[str, Any], deployer: str | None) -> list[Mapping[str, Any]]:
    """Return a target role's statements that let somebody in, without that for the look for drift.

    That one asks for a source identity for which the role denies all but looking (security.md#roles), and
    names a role of the deployer's account: to look at code and environments is for nobody else.
    """
    allowed = [one for one in listed(document.get("Statement")) if one.get("Effect") == "Allow"]
    account = (deployer or "").split(":")[4:5]
    return [one for one in allowed if not (_only_looks(one) and _are_roles(principals(one), account))]


def _are_roles(arns: Iterable[str], account: list[str]) -> bool:
    """Say whether all are roles, of the account if that is known, or roles that were deleted."""
    return all(
        arn.startswith("AROA")
        or (":role/" in arn and arn.split(":")[4:5] == (account or arn.split(":")[4:5]))
        for arn in arns
    )


def _only_looks(statement: Mapping[str, Any]) -> bool:
    conditions = (statement.get("Condition") or {}).get("StringEquals") or {}
    actions = set(listed(statement.get("Action")))
    return (
        listed(conditions.get("sts:SourceIdentity")) == [permissions.DRIFT_IDENTITY]
        and bool(listed(conditions.get("sts:ExternalId")))
        and actions <= {"sts:AssumeRole", "sts:SetSourceIdentity"}
    )


def principals(statement: Mapping[str, Any]) -> Iterator[str]:
    """Yield whom a statement of a trust policy is about."""
    principal = statement.get("Principal")
    if isinstance(principal, Mapping):
        for kind, who in principal.items():
            yield from (one if kind == "AWS" else f"{kind} {one}" for one in listed(who))
    else:
        yield "anybody" if principal == "*" else str(principal or "an excluded list (NotPrincipal)")


def listed(value: Any) -> list[Any]:
    """Return the values of a policy's element, which may be one, several or none."""
    if value is None:
        return []
    return list(value) if isinstance(value, (list, tuple)) else [value]


def log_groups(aws: AwsCalls, stack: DeployedStack) -> Iterator[Finding]:
    """Check that each log group of the stack exists, and for how long it keeps its events."""
    groups = [one.physical for one in stack.of_type("AWS::Logs::LogGroup")]
    days: set[int | None] = set()
    for name in groups:
        found = [
            group
            for group in aws.pages("logs", "DescribeLogGroups", "logGroups", 2, logGroupNamePrefix=name)
            if group["logGroupName"] == name
        ]
        if not found:
            change = "Somebody deleted it. Create it again (`aws logs create-log-group`), with its retention."
            yield Finding(LOGS, CheckVerdict.WRONG, f"there is no log group {name}", change)
        else:
            days.add(found[0].get("retentionInDays"))
    if None in days:
        change = "Set a retention (`aws logs put-retention-policy`), or run `make deploy`."
        yield Finding(
            LOGS, CheckVerdict.WARNING, "a log group of the stack keeps its events for ever", change
        )
    elif groups and days:
        kept = ", ".join(str(one) for one in sorted(one for one in days if one is not None))
        yield Finding(LOGS, CheckVerdict.OK, f"{len(groups)} keep their events for {kept} days")
