"""`doctor` and `make deploy` about targets: what shows to the credentials at hand, and what does not."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from sluicegate_cli.deployed_targets import lines
from sluicegate_cli.doctor import gate_checks
from sluicegate_cli.doctor.aws_calls import AwsCalls, NoAccess
from sluicegate_cli.doctor.findings import CheckVerdict, Finding
from sluicegate_cli.doctor.target_checks import of_own_account, of_target, of_targets
from sluicegate_gatefile.target_template import TargetStack
from support.aws_account import AwsAccount, Refusal
from support.target_stacks import DEPLOYER, GATE, gate_of, resolved, stacks_of
from support.template import Json

ACCOUNT: Final = "222222222222"
GONE: Final = Refusal("NoSuchEntity", "no such role", 404)


@pytest.fixture(scope="module")
def stacks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, TargetStack]:
    return stacks_of(tmp_path_factory.mktemp("gate"))


def role(stack: TargetStack, **changes: Any) -> Json:
    """The role as its template makes it, as IAM describes it."""
    made = resolved(stack)["Resources"]["TargetRole"]["Properties"]
    trust = changes.pop("trust", made["AssumeRolePolicyDocument"])
    return {
        "Role": {
            "Path": "/",
            "RoleName": made["RoleName"],
            "RoleId": "AROATARGET",
            "Arn": f"arn:aws:iam::{stack.account}:role/{made['RoleName']}",
            "AssumeRolePolicyDocument": json.dumps(trust),
            "Tags": made["Tags"],
            **changes,
        }
    }


@pytest.fixture
def account(stacks: dict[str, TargetStack]) -> AwsAccount:
    """Target prod-eu's account, with which nothing is wrong."""
    stack = stacks["prod-eu"]
    return AwsAccount(
        {
            "sts:GetCallerIdentity": {
                "Account": ACCOUNT,
                "UserId": "A",
                "Arn": f"arn:aws:iam::{ACCOUNT}:user/a",
            },
            "iam:GetRole": role(stack),
            "s3:HeadBucket": {},
            "events:DescribeRule": {"Name": stack.values["AlarmsRule"], "State": "ENABLED"},
        }
    )


def found(account: AwsAccount, stack: TargetStack, deployer: str | None = DEPLOYER) -> list[Finding]:
    return list(of_target(account.calls(), stack, deployer))


def wrong(findings: list[Finding]) -> list[tuple[CheckVerdict, str]]:
    return [(one.verdict, one.seen) for one in findings if one.verdict is not CheckVerdict.OK]


def test_a_target_as_the_gate_file_says(account: AwsAccount, stacks: dict[str, TargetStack]) -> None:
    findings = found(account, stacks["prod-eu"])
    assert [one.verdict for one in findings] == [CheckVerdict.OK, CheckVerdict.OK]
    assert stacks["prod-eu"].digest in findings[0].seen
    asked = dict(account.asked)
    assert asked["s3:HeadBucket"] == {
        "Bucket": "sluicegate-222222222222-eu-central-1-48df97c8",
        "ExpectedBucketOwner": ACCOUNT,
    }


def trusting(change: Callable[[list[Json]], object]) -> Callable[[TargetStack], Json]:
    def changed(stack: TargetStack) -> Json:
        made = resolved(stack)["Resources"]["TargetRole"]["Properties"]["AssumeRolePolicyDocument"]
        document: Json = json.loads(json.dumps(made))
        change(document["Statement"])
        return role(stack, trust=document)

    return changed


def principal(arn: str) -> Callable[[TargetStack], Json]:
    return trusting(lambda statements: [each.update(Principal={"AWS": arn}) for each in statements])


@pytest.mark.parametrize(
    ("answer", "verdict", "says"),
    [
        (lambda _: GONE, CheckVerdict.WRONG, "there is no role sluicegate-target-eu-central-1"),
        (lambda stack: role(stack, Tags=[]), CheckVerdict.WARNING, "not from the target's template"),
        (
            lambda stack: role(stack, Tags=[{"Key": "sluicegate:digest", "Value": "0123456789abcdef"}]),
            CheckVerdict.WARNING,
            "it has the digest 0123456789abcdef, not",
        ),
        (principal("AROADELETED"), CheckVerdict.WRONG, "it trusts AROADELETED, a role that was deleted"),
        (principal(f"{DEPLOYER}-2"), CheckVerdict.WRONG, f"{DEPLOYER}-2 may assume it"),
        (principal("*"), CheckVerdict.WRONG, "* may assume it"),
        (principal("arn:aws:iam::111111111111:root"), CheckVerdict.WRONG, "root may assume it"),
        (
            trusting(lambda statements: statements[0]["Condition"].pop("StringEquals")),
            CheckVerdict.WRONG,
            "another external id",
        ),
        (
            trusting(
                lambda statements: statements[0]["Condition"]["StringEquals"].update({"sts:ExternalId": "x"})
            ),
            CheckVerdict.WRONG,
            "another external id",
        ),
        (
            trusting(lambda statements: statements[0]["Condition"].pop("Null")),
            CheckVerdict.WARNING,
            "without a source identity",
        ),
        (
            trusting(lambda statements: statements.pop(0)),
            CheckVerdict.WRONG,
            "the deployer may not assume it",
        ),
        (trusting(lambda statements: statements.clear()), CheckVerdict.WRONG, "nobody may assume it"),
        (
            trusting(lambda statements: statements[1].update(Action="sts:*")),
            CheckVerdict.WRONG,
            "it allows sts:*",
        ),
    ],
)
def test_what_is_wrong_with_a_role(
    account: AwsAccount,
    stacks: dict[str, TargetStack],
    answer: Callable[[TargetStack], Any],
    verdict: CheckVerdict,
    says: str,
) -> None:
    account.answers["iam:GetRole"] = answer(stacks["prod-eu"])
    [(seen_verdict, seen)] = wrong(found(account, stacks["prod-eu"]))
    assert seen_verdict is verdict
    assert says in seen


def test_without_the_deployers_arn_any_one_role_may_be_it(
    account: AwsAccount, stacks: dict[str, TargetStack]
) -> None:
    account.answers["iam:GetRole"] = principal(f"{DEPLOYER}-2")(stacks["prod-eu"])
    assert wrong(found(account, stacks["prod-eu"], None)) == []
    account.answers["iam:GetRole"] = principal("arn:aws:iam::111111111111:root")(stacks["prod-eu"])
    assert len(wrong(found(account, stacks["prod-eu"], None))) == 1


def test_a_bucket_and_a_rule_that_are_gone(account: AwsAccount, stacks: dict[str, TargetStack]) -> None:
    account.answers["s3:HeadBucket"] = Refusal("404", "Not Found", 404)
    account.answers["events:DescribeRule"] = Refusal("ResourceNotFoundException", "no rule", 400)
    findings = found(account, stacks["prod-eu"])
    verdicts = dict(wrong(findings))
    assert [verdict.value for verdict in verdicts] == ["wrong", "warning"]
    assert findings[-1].change == "Deploy the target's stack again."


def test_what_may_not_be_read_is_not_known(account: AwsAccount, stacks: dict[str, TargetStack]) -> None:
    account.answers.clear()
    findings = found(account, stacks["prod-eu"])
    assert {one.verdict for one in findings} == {CheckVerdict.UNKNOWN}
    assert "needs iam:GetRole" in findings[0].seen


def test_in_another_region_the_role_is_looked_at(account: AwsAccount, stacks: dict[str, TargetStack]) -> None:
    account.answers["iam:GetRole"] = role(stacks["pay"])
    assert wrong(found(account, stacks["pay"])) == []
    assert [name for name, _ in account.asked] == ["iam:GetRole"]


def test_targets_of_other_accounts_are_not_guessed(
    account: AwsAccount, stacks: dict[str, TargetStack]
) -> None:
    account.answers["iam:GetRole"] = lambda given: role(
        next(
            stack for stack in stacks.values() if stack.account == ACCOUNT and stack.role == given["RoleName"]
        )
    )
    findings = list(of_targets(account.calls(), ACCOUNT, DEPLOYER, stacks))
    [unknown] = [one for one in findings if one.verdict is CheckVerdict.UNKNOWN]
    assert "012345678901" in unknown.seen
    assert "sluicegate doctor --target prod-us" in unknown.change
    assert {one.verdict for one in findings} == {CheckVerdict.OK, CheckVerdict.UNKNOWN}


def test_credentials_of_another_account_say_so(account: AwsAccount, stacks: dict[str, TargetStack]) -> None:
    [finding] = of_own_account(account.calls(), stacks["prod-us"])
    assert finding.verdict is CheckVerdict.WRONG
    assert ACCOUNT in finding.seen
    assert "012345678901" in finding.change
    assert wrong(list(of_own_account(account.calls(), stacks["prod-eu"]))) == []


def test_credentials_that_are_none_end_it(account: AwsAccount, stacks: dict[str, TargetStack]) -> None:
    account.answers["iam:GetRole"] = Refusal("ExpiredToken", "expired", 403)
    with pytest.raises(NoAccess):
        found(account, stacks["prod-eu"])


# After `make deploy`


def test_make_deploy_ends_with_a_line_for_each_target(
    account: AwsAccount, stacks: dict[str, TargetStack]
) -> None:
    account.answers["cloudformation:DescribeStacks"] = {
        "Stacks": [
            {
                "StackName": "sluicegate",
                "StackId": f"arn:aws:cloudformation:eu-central-1:{ACCOUNT}:stack/sluicegate/1",
                "StackStatus": "UPDATE_COMPLETE",
                "CreationTime": "2026-11-26T00:00:00Z",
                "Outputs": [{"OutputKey": "DeployerRoleArn", "OutputValue": DEPLOYER}],
            }
        ]
    }
    account.answers["cloudformation:ListStackResources"] = {"StackResourceSummaries": []}
    account.answers["iam:GetRole"] = GONE
    printed = lines(account.calls, "sluicegate", stacks)
    text = "\n".join(printed)
    assert "target prod-eu is as the gate file says: no: there is no role" in text
    assert "Deploy build/targets/prod-eu.yaml in 222222222222 eu-central-1: docs/guides/targets.md." in text
    assert "target prod-us is as the gate file says: not known: it is in account 012345678901" in text


def test_whatever_cannot_be_read_is_one_line(account: AwsAccount, stacks: dict[str, TargetStack]) -> None:
    account.answers.clear()
    [line] = lines(account.calls, "sluicegate", stacks)
    assert line.startswith("targets: could not check")

    def unusable() -> AwsCalls:
        raise NoAccess("the AWS credentials have expired")

    assert lines(unusable, "sluicegate", stacks) == ["targets: the AWS credentials have expired"]


# What is in targets is not looked for in the stack's own region


def test_alarms_and_functions_of_targets_are_not_missed_here(account: AwsAccount, tmp_path: Path) -> None:
    gate = gate_of(tmp_path)  # watches in its targets only
    assert list(gate_checks.watched_alarms(account.calls(), gate)) == []
    account.answers["lambda:GetFunctionConfiguration"] = {"FunctionName": "any"}
    list(gate_checks.functions(account.calls(), gate))
    assert {given["FunctionName"] for _, given in account.asked} == {"payments", "internal"}
    account.asked.clear()
    elsewhere = gate_of(tmp_path, GATE.replace("stages: [dev, pay]", "stages: [pay]"))
    list(gate_checks.functions(account.calls(), elsewhere))
    assert {given["FunctionName"] for _, given in account.asked} == {"internal"}


def test_a_pattern_of_alarms_exists_if_one_alarm_matches(account: AwsAccount, tmp_path: Path) -> None:
    watch = "watch: {alarms: [orders-*, 'shop-*-slow']}"
    gate = gate_of(tmp_path, GATE.replace("  dev: {}", f"  dev: {{{watch}}}"))
    assert any(stage.rollout.watch for stage in gate.stages.values())
    pages = {
        ("orders-", None): {"MetricAlarms": [{"AlarmName": "orders-api-5xx"}]},
        ("shop-", None): {"MetricAlarms": [{"AlarmName": "shop-5xx"}], "NextToken": "more"},
        ("shop-", "more"): {"CompositeAlarms": [{"AlarmName": "shop-web-fast"}]},
    }
    account.answers["cloudwatch:DescribeAlarms"] = lambda given: pages[
        given["AlarmNamePrefix"], given.get("NextToken")
    ]
    [found] = gate_checks.watched_alarms(account.calls(), gate)
    assert found.verdict is CheckVerdict.WRONG
    assert found.seen.startswith("shop-*-slow is not in")
    pages["shop-", "more"] = {"CompositeAlarms": [{"AlarmName": "shop-web-slow"}]}
    [found] = gate_checks.watched_alarms(account.calls(), gate)
    assert found.verdict is CheckVerdict.OK
