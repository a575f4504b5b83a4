"""`doctor --stack`: what it makes of a stack and an account, as botocore's models have their answers."""

import base64
import io
import json
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import (
    ClientError,
    EndpointConnectionError,
    NoCredentialsError,
    SSOTokenLoadError,
)

from sluicegate.gate.codec import parse
from sluicegate_cli.doctor import (
    account_checks,
    endpoint_checks,
    evidence_checks,
    gate_checks,
    stack_checks,
)
from sluicegate_cli.doctor.aws_calls import AwsCalls, CouldNotCheck, permission_of
from sluicegate_cli.doctor.findings import API, CheckVerdict, Finding
from sluicegate_cli.doctor.stack import STACK
from sluicegate_cli.doctor.stack_checks import deploying
from sluicegate_cli.doctor.stack_examination import StackExamination, masked
from sluicegate_gatefile.compile import check
from support.aws_account import AwsAccount, Refusal
from support.cli_server import Reply, Server, problem, serving

ACCOUNT = "111111111111"
STACK_ID = f"arn:aws:cloudformation:eu-central-1:{ACCOUNT}:stack/sluicegate/0b1e"
DEPLOYER = f"arn:aws:iam::{ACCOUNT}:role/sluicegate-DeployerRole-1"
TARGET = f"arn:aws:iam::{ACCOUNT}:role/sluicegate-target"
QUEUE = f"https://sqs.eu-central-1.amazonaws.com/{ACCOUNT}/sluicegate-dead-letters"
KEY = f"arn:aws:kms:eu-central-1:{ACCOUNT}:key/0b1c2d3e-0000-4000-8000-000000000000"
LAYER = f"arn:aws:lambda:eu-central-1:{ACCOUNT}:layer:sluicegate-gate:7"
LOCATION = "https://layers.example.com/gate?X-Amz-Signature=canary-of-the-signature"
RESOURCES = (
    ("GatewayFunction", "AWS::Lambda::Function", "sluicegate-gateway"),
    ("DeployerFunction", "AWS::Lambda::Function", "sluicegate-deployer"),
    ("GatewayErrorsAlarm", "AWS::CloudWatch::Alarm", "sluicegate-GatewayErrorsAlarm-1"),
    ("DeadLetters", "AWS::SQS::Queue", QUEUE),
    ("NotifierQueue", "AWS::SQS::Queue", f"{QUEUE}-not-asked"),
    ("RelayFunctionRecord", "AWS::Lambda::EventSourceMapping", "0b1e4f6a-0000-4000-8000-000000000000"),
    ("JanitorFunctionEveryMinute", "AWS::Events::Rule", "sluicegate-every-minute"),
    ("NotifierRule", "AWS::Events::Rule", "sluicegate|sluicegate-NotifierRule-1"),
    ("GatewayLog", "AWS::Logs::LogGroup", "/aws/lambda/sluicegate-gateway"),
    ("ApiGatewayLogWriter", "AWS::IAM::Role", "sluicegate-ApiGatewayLogWriter-1"),
)
GATE = """
version: 1
issuers:
  gitlab:
    url: https://gitlab.example.com
    audience: https://deploy.example.com
    feedback: {secret: sluicegate/gitlab/main, commit_status: true}
stages:
  dev: {}
  prod:
    strategy: {type: canary, percent: 10, bake: 5m}
    watch: {alarms: ["{function}-5xx", shared]}
functions:
  orders-api: {}
  jobs-*: {}
rules:
  - name: orders
    claims: {project_id: "4213", ref_type: branch, ref: main}
    allow: {actions: [deploy], functions: [orders-api], stages: [dev, prod]}
"""


def trust(**changes: Any) -> dict[str, Any]:
    """The target role's trust policy as the template has it, with changes to its first statement."""
    assume = {
        "Effect": "Allow",
        "Principal": {"AWS": DEPLOYER},
        "Action": "sts:AssumeRole",
        "Condition": {"StringEquals": {"sts:ExternalId": STACK_ID}},
    }
    behalf = {
        "Effect": "Allow",
        "Principal": {"AWS": DEPLOYER},
        "Action": ["sts:SetSourceIdentity", "sts:TagSession"],
    }
    return {"Version": "2012-10-17", "Statement": [assume | changes, behalf]}


def role(name: str, document: Any) -> dict[str, Any]:
    return {
        "Role": {
            "Path": "/",
            "RoleName": name,
            "RoleId": "AROA1",
            "Arn": f"arn:aws:iam::{ACCOUNT}:role/{name}",
            "AssumeRolePolicyDocument": json.dumps(document),
        }
    }


def heads(*, minutes: float) -> dict[str, Any]:
    """The signed heads in the bucket: one of long ago, one of so many minutes ago."""
    now = datetime.now(UTC)
    return {
        "Contents": [
            {"Key": "heads/000000000009-a.note", "LastModified": now - timedelta(minutes=minutes)},
            {"Key": "heads/000000000001-b.note", "LastModified": now - timedelta(days=300)},
        ]
    }


def locked(days: int, mode: str = "GOVERNANCE") -> dict[str, Any]:
    rule = {"DefaultRetention": {"Mode": mode, "Days": days}}
    return {"ObjectLockConfiguration": {"ObjectLockEnabled": "Enabled", "Rule": rule}}


def key(**changes: Any) -> dict[str, Any]:
    known = {"KeyId": "0b1c", "Arn": KEY, "KeyState": "Enabled", "KeyUsage": "SIGN_VERIFY"}
    return {"KeyMetadata": {**known, "KeySpec": "ECC_NIST_EDWARDS25519", **changes}}


@pytest.fixture
def gate_file(tmp_path: Path) -> Path:
    path = tmp_path / "sluicegate.yaml"
    path.write_text(GATE)
    return path


@pytest.fixture
def document(gate_file: Path) -> bytes:
    compiled = check(gate_file).document
    assert compiled is not None
    return compiled


@pytest.fixture
def api() -> Iterator[Server]:
    with serving() as server:
        server.on("GET", "/health", Reply(200, {"status": "ok", "version": "0.1.0"}))
        missing = problem(403, "not_signed", "there is no such path and method here")
        server.on("GET", "/no-such-path", Reply(403, missing, {"Content-Type": "application/problem+json"}))
        server.on("GET", "/whoami", Reply(401, problem(401, "invalid_token", "no such key", check="kid")))
        yield server


@pytest.fixture
def account(api: Server) -> AwsAccount:
    """A stack with which nothing is wrong."""
    outputs = {
        "Endpoint": api.url,
        "Table": "sluicegate-Table-1",
        "TargetRoleArn": TARGET,
        "DeployerRoleArn": DEPLOYER,
        "EvidenceBucket": "evidence",
        "EvidenceKeyArn": KEY,
    }
    parameters = {"EvidenceDays": "400", "EvidenceMode": "GOVERNANCE", "EvidencePreviousKeyArn": ""}
    stack = {
        "StackId": STACK_ID,
        "StackName": "sluicegate",
        "StackStatus": "UPDATE_COMPLETE",
        "Parameters": [{"ParameterKey": name, "ParameterValue": value} for name, value in parameters.items()],
        "Outputs": [{"OutputKey": key, "OutputValue": value} for key, value in outputs.items()],
    }
    summaries = [
        {
            "LogicalResourceId": logical,
            "ResourceType": kind,
            "PhysicalResourceId": physical,
            "ResourceStatus": "CREATE_COMPLETE",
        }
        for logical, kind, physical in RESOURCES
    ]
    limits = {
        "AccountLimit": {
            "ConcurrentExecutions": 1000,
            "UnreservedConcurrentExecutions": 900,
            "TotalCodeSize": 300_000_000_000,
        },
        "AccountUsage": {"TotalCodeSize": 1_200_000_000, "FunctionCount": 9},
    }

    def alarms(given: Any) -> Any:
        return {
            "MetricAlarms": [
                {
                    "AlarmName": name,
                    "StateValue": "OK",
                    "AlarmActions": ["arn:aws:sns:eu-central-1:1:on-call"],
                }
                for name in given["AlarmNames"]
            ]
        }

    def get_role(given: Any) -> Any:
        return role(given["RoleName"], trust())

    def groups(given: Any) -> Any:
        return {"logGroups": [{"logGroupName": given["logGroupNamePrefix"], "retentionInDays": 90}]}

    return AwsAccount(
        {
            "cloudformation:DescribeStacks": {"Stacks": [stack]},
            "cloudformation:ListStackResources": {"StackResourceSummaries": summaries},
            "lambda:GetAccountSettings": limits,
            "lambda:GetFunctionConcurrency": {"ReservedConcurrentExecutions": 50},
            "lambda:GetFunctionConfiguration": {"Layers": [{"Arn": LAYER}]},
            "lambda:GetLayerVersionByArn": {"Content": {"Location": LOCATION}},
            "lambda:GetEventSourceMapping": {"State": "Enabled", "LastProcessingResult": "OK"},
            "apigateway:GetAccount": {
                "cloudwatchRoleArn": f"arn:aws:iam::{ACCOUNT}:role/sluicegate-ApiGatewayLogWriter-1"
            },
            "iam:GetRole": get_role,
            "events:DescribeRule": {"State": "ENABLED"},
            "sqs:GetQueueAttributes": {
                "Attributes": {
                    "ApproximateNumberOfMessages": "0",
                    "ApproximateNumberOfMessagesNotVisible": "0",
                }
            },
            "cloudwatch:DescribeAlarms": alarms,
            "logs:DescribeLogGroups": groups,
            "secretsmanager:DescribeSecret": {
                "Name": "sluicegate/gitlab/main",
                "VersionIdsToStages": {"v1": ["AWSPREVIOUS"], "v2": ["AWSCURRENT"]},
            },
            "s3:ListObjectsV2": heads(minutes=50),
            "s3:GetObjectLockConfiguration": locked(400),
            "kms:DescribeKey": key(),
        }
    )


def layer_of(gate_json: bytes, name: str = "sluicegate/gate.json") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, gate_json)
    return buffer.getvalue()


class Looking:
    """Examines the account with a given layer."""

    def __init__(self, account: AwsAccount, document: bytes) -> None:
        self.account, self.layer = account, layer_of(document)
        self.local = parse(document, own_functions=())

    def __call__(self, **options: Any) -> list[Finding]:
        examination = StackExamination(
            self.account.calls(),
            "sluicegate",
            gate=self.local,
            gate_path="sluicegate.yaml",
            download=lambda _, most: self.layer[: most + 1],
            **options,
        )
        return examination.findings()

    def of(self, title: str) -> list[Finding]:
        return [one for one in self() if one.check == title]


@pytest.fixture
def looking(account: AwsAccount, document: bytes) -> Looking:
    return Looking(account, document)


def worst(findings: list[Finding]) -> Finding:
    order = (CheckVerdict.OK, CheckVerdict.UNKNOWN, CheckVerdict.WARNING, CheckVerdict.WRONG)
    return max(findings, key=lambda one: order.index(one.verdict))


def test_a_healthy_stack_has_only_good_findings(looking: Looking) -> None:
    findings = looking()

    assert {one.verdict for one in findings} == {CheckVerdict.OK}, [
        one for one in findings if one.verdict != "ok"
    ]
    assert {one.check for one in findings} == {
        STACK,
        API,
        account_checks.CONCURRENCY,
        account_checks.STORAGE,
        account_checks.LOG_ROLE,
        stack_checks.TARGET_ROLE,
        stack_checks.TRIGGERS,
        stack_checks.DEAD_LETTERS,
        stack_checks.ALARMS,
        stack_checks.LOGS,
        evidence_checks.HEADS,
        evidence_checks.KEYS,
        evidence_checks.LOCK,
        gate_checks.DIGEST,
        gate_checks.FUNCTIONS,
        gate_checks.WATCHED,
        gate_checks.SECRETS,
        endpoint_checks.REACHED,
        endpoint_checks.GATEWAY_RESPONSES,
    }


@pytest.mark.parametrize(
    ("call", "answer", "verdict", "seen"),
    [
        ("s3:ListObjectsV2", partial(heads, minutes=119), "ok", "signed 2.0 h ago"),
        ("s3:ListObjectsV2", partial(heads, minutes=130), "wrong", "signed 2.2 h ago"),
        ("s3:ListObjectsV2", {}, "warning", "no signed head of log 1 yet"),
        ("kms:DescribeKey", key(KeyState="Disabled"), "wrong", "is Disabled"),
        ("kms:DescribeKey", key(KeyState="PendingDeletion"), "wrong", "is PendingDeletion"),
        ("kms:DescribeKey", Refusal("NotFoundException"), "wrong", "is missing"),
        ("kms:DescribeKey", key(KeySpec="ECC_NIST_P256"), "wrong", "is ECC_NIST_P256 for SIGN_VERIFY"),
        ("kms:DescribeKey", key(KeyUsage="KEY_AGREEMENT"), "wrong", "for KEY_AGREEMENT"),
        ("s3:GetObjectLockConfiguration", locked(1), "wrong", "1 days, GOVERNANCE; the stack says 400 days"),
        ("s3:GetObjectLockConfiguration", locked(400, "COMPLIANCE"), "wrong", "400 days, COMPLIANCE"),
        (
            "s3:GetObjectLockConfiguration",
            Refusal("ObjectLockConfigurationNotFoundError", status=404),
            "wrong",
            "no Object Lock",
        ),
        (
            "secretsmanager:DescribeSecret",
            {"Name": "x", "VersionIdsToStages": {"v1": ["AWSPREVIOUS"]}},
            "wrong",
            "has no value",
        ),
    ],
)
def test_the_evidence_and_secrets_that_do_not_work_are_named(
    looking: Looking, account: AwsAccount, call: str, answer: Any, verdict: str, seen: str
) -> None:
    # What says how long ago it was is made now: tests are collected minutes before they run.
    account.answers[call] = answer() if isinstance(answer, partial) else answer
    found = [one for one in looking() if seen in one.seen]
    assert [one.verdict for one in found] == [verdict]
    assert verdict == "ok" or found[0].change


def test_a_stack_from_before_there_was_evidence_is_to_be_updated(
    looking: Looking, account: AwsAccount
) -> None:
    stack: Any = account.answers["cloudformation:DescribeStacks"]
    outputs = stack["Stacks"][0]["Outputs"]
    outputs[:] = [one for one in outputs if not one["OutputKey"].startswith("Evidence")]
    (found,) = [one for one in looking() if "evidence" in one.check]
    assert (found.verdict, found.check) == (CheckVerdict.WARNING, evidence_checks.HEADS)


def test_every_check_stands_alone_when_its_call_is_denied(looking: Looking, account: AwsAccount) -> None:
    looking()
    used = sorted(account.names())
    assert len(used) == len(account.answers)
    for name in used:
        answer = account.answers.pop(name)

        findings = looking()

        account.answers[name] = answer
        service, operation = name.split(":")
        wanted = f"could not check: needs {permission_of(service, operation)}"
        unknown = [one for one in findings if one.verdict is CheckVerdict.UNKNOWN]
        assert any(one.seen == wanted for one in unknown), (name, unknown)
        assert not [one for one in findings if one.verdict is CheckVerdict.WRONG], name
        if not name.startswith("cloudformation:"):
            assert len({one.check for one in findings}) >= 13, name


@pytest.mark.parametrize(
    ("error", "seen", "change"),
    [
        (Refusal("ExpiredTokenException"), "the AWS credentials have expired", "Sign in again"),
        (Refusal("ExpiredToken"), "the AWS credentials have expired", "Sign in again"),
        (Refusal("InvalidClientTokenId"), "AWS does not accept the credentials", "Set AWS_PROFILE"),
        (NoCredentialsError(), "there are no AWS credentials", "Set AWS_PROFILE"),
        (
            SSOTokenLoadError(profile_name="ops", error_msg="x"),
            "the AWS sign-in has expired",
            "Sign in again",
        ),
        (
            EndpointConnectionError(endpoint_url="https://cloudformation.nowhere.amazonaws.com"),
            "got no answer",
            "the region",
        ),
    ],
)
def test_credentials_that_cannot_be_used_are_said_once(
    looking: Looking, account: AwsAccount, error: Any, seen: str, change: str
) -> None:
    for name in account.answers:
        account.answers[name] = error

    findings = looking()

    assert len(findings) == 1
    assert seen in findings[0].seen
    assert change in findings[0].change


def test_credentials_that_expire_midway_end_the_examination(looking: Looking, account: AwsAccount) -> None:
    account.answers["iam:GetRole"] = Refusal("ExpiredToken")

    findings = looking()

    assert findings[-1].seen == "the AWS credentials have expired"
    assert [one.seen for one in findings].count("the AWS credentials have expired") == 1


def test_a_stack_that_is_not_there(looking: Looking, account: AwsAccount) -> None:
    account.answers["cloudformation:DescribeStacks"] = Refusal(
        "ValidationError", "Stack with id sluicegate does not exist"
    )

    (finding,) = looking()

    assert (finding.check, finding.verdict) == (STACK, CheckVerdict.WRONG)
    assert finding.seen == "there is no stack sluicegate in eu-central-1"
    assert "make deploy" in finding.change


def test_another_stack_is_not_examined_further(looking: Looking, account: AwsAccount) -> None:
    other = {"StackId": STACK_ID, "StackName": "shop", "StackStatus": "CREATE_COMPLETE"}
    account.answers["cloudformation:DescribeStacks"] = {"Stacks": [other]}

    (finding,) = looking()

    assert "not a stack of Sluicegate" in finding.seen


@pytest.mark.parametrize(
    ("limit", "unreserved", "reserved", "verdict", "seen"),
    [
        (
            1000,
            867,
            50,
            CheckVerdict.OK,
            "the limit is 1000, of which 867 are unreserved; the stack reserves 100",
        ),
        (1000, 90, 50, CheckVerdict.WARNING, "AWS wants 100 unreserved"),
        (10, 10, None, CheckVerdict.WARNING, "everything in the account shares 10"),
        (1000, 1000, None, CheckVerdict.OK, "the stack reserves 0"),
        (1000, 1000, 0, CheckVerdict.WRONG, "sluicegate-gateway, sluicegate-deployer may not run"),
    ],
)
def test_concurrency(
    looking: Looking,
    account: AwsAccount,
    limit: int,
    unreserved: int,
    reserved: int | None,
    verdict: CheckVerdict,
    seen: str,
) -> None:
    settings = {
        "ConcurrentExecutions": limit,
        "UnreservedConcurrentExecutions": unreserved,
        "TotalCodeSize": 1,
    }
    usage = {"TotalCodeSize": 0}
    account.answers["lambda:GetAccountSettings"] = {"AccountLimit": settings, "AccountUsage": usage}
    answer = {} if reserved is None else {"ReservedConcurrentExecutions": reserved}
    account.answers["lambda:GetFunctionConcurrency"] = answer

    (finding,) = looking.of(account_checks.CONCURRENCY)

    assert finding.verdict is verdict
    assert seen in finding.seen


@pytest.mark.parametrize(
    ("title", "name", "answer", "verdict", "seen"),
    [
        (account_checks.LOG_ROLE, "apigateway:GetAccount", {}, CheckVerdict.WARNING, "no role for logs"),
        (
            account_checks.LOG_ROLE,
            "apigateway:GetAccount",
            {"cloudwatchRoleArn": f"arn:aws:iam::{ACCOUNT}:role/another"},
            CheckVerdict.OK,
            "not this stack's, which is fine",
        ),
        (
            stack_checks.DEAD_LETTERS,
            "sqs:GetQueueAttributes",
            {"Attributes": {"ApproximateNumberOfMessages": "3"}},
            CheckVerdict.WRONG,
            "sluicegate-dead-letters has 3 messages",
        ),
        (
            stack_checks.DEAD_LETTERS,
            "sqs:GetQueueAttributes",
            Refusal("AWS.SimpleQueueService.NonExistentQueue"),
            CheckVerdict.WRONG,
            "does not exist any more",
        ),
        (
            stack_checks.TRIGGERS,
            "lambda:GetEventSourceMapping",
            {"State": "Disabled"},
            CheckVerdict.WRONG,
            "RelayFunctionRecord is Disabled",
        ),
        (
            stack_checks.TRIGGERS,
            "lambda:GetEventSourceMapping",
            {"State": "Enabled", "LastProcessingResult": "PROBLEM: Function call failed"},
            CheckVerdict.WRONG,
            "PROBLEM: Function call failed",
        ),
        (
            stack_checks.TRIGGERS,
            "lambda:GetEventSourceMapping",
            Refusal("ResourceNotFoundException"),
            CheckVerdict.WRONG,
            "is missing",
        ),
        (
            stack_checks.TRIGGERS,
            "events:DescribeRule",
            {"State": "DISABLED"},
            CheckVerdict.WRONG,
            "rule JanitorFunctionEveryMinute is disabled",
        ),
        (stack_checks.LOGS, "logs:DescribeLogGroups", {"logGroups": []}, CheckVerdict.WRONG, "no log group"),
        (
            stack_checks.LOGS,
            "logs:DescribeLogGroups",
            {"logGroups": [{"logGroupName": "/aws/lambda/sluicegate-gateway"}]},
            CheckVerdict.WARNING,
            "for ever",
        ),
        (
            stack_checks.ALARMS,
            "cloudwatch:DescribeAlarms",
            {"MetricAlarms": []},
            CheckVerdict.WRONG,
            "sluicegate-GatewayErrorsAlarm-1 does not exist any more",
        ),
        (
            gate_checks.SECRETS,
            "secretsmanager:DescribeSecret",
            Refusal("ResourceNotFoundException"),
            CheckVerdict.WRONG,
            "there is no secret sluicegate/gitlab/main",
        ),
        (
            gate_checks.SECRETS,
            "secretsmanager:DescribeSecret",
            {"Name": "x", "DeletedDate": 1_790_000_000},
            CheckVerdict.WRONG,
            "is being deleted",
        ),
    ],
)
def test_what_is_wrong_is_said(
    looking: Looking,
    account: AwsAccount,
    title: str,
    name: str,
    answer: Any,
    verdict: CheckVerdict,
    seen: str,
) -> None:
    account.answers[name] = answer

    finding = worst(looking.of(title))

    assert finding.verdict is verdict
    assert seen in finding.seen
    assert finding.change or verdict is CheckVerdict.OK


def test_a_firing_alarm_is_explained_in_its_own_words(looking: Looking, account: AwsAccount) -> None:
    alarm = {
        "AlarmName": "sluicegate-GatewayErrorsAlarm-1",
        "StateValue": "ALARM",
        "AlarmDescription": "The gateway raised an unhandled error.",
        "AlarmActions": [],
    }
    account.answers["cloudwatch:DescribeAlarms"] = {"MetricAlarms": [alarm]}

    finding = worst(looking.of(stack_checks.ALARMS))

    assert finding.verdict is CheckVerdict.WRONG
    assert finding.change == "The gateway raised an unhandled error."


def test_alarms_that_notify_nobody_are_worth_a_look(looking: Looking, account: AwsAccount) -> None:
    account.answers["cloudwatch:DescribeAlarms"] = lambda given: {
        "MetricAlarms": [{"AlarmName": name, "StateValue": "OK"} for name in given["AlarmNames"]]
    }

    (finding,) = looking.of(stack_checks.ALARMS)

    assert finding.verdict is CheckVerdict.WARNING
    assert "AlarmTopicArn" in finding.change


@pytest.mark.parametrize(
    ("changes", "seen"),
    [
        ({"Principal": "*"}, "anybody may assume"),
        (
            {"Principal": {"AWS": [DEPLOYER, "arn:aws:iam::222222222222:root"]}},
            "222222222222:root may assume",
        ),
        ({"Principal": {"AWS": "AROAEXAMPLE"}}, "was deleted"),
        ({"Principal": {"Service": "ec2.amazonaws.com"}}, "Service ec2.amazonaws.com may assume"),
        ({"Principal": None, "NotPrincipal": {"AWS": DEPLOYER}}, "NotPrincipal"),
        ({"Condition": {}}, "without the stack's id"),
        ({"Condition": {"StringEquals": {"sts:ExternalId": [STACK_ID, "other"]}}}, "without the stack's id"),
        ({"Condition": {"StringLike": {"sts:ExternalId": "*"}}}, "without the stack's id"),
        ({"Action": "sts:*"}, "the deployer may not assume"),
        ({"Effect": "Deny"}, "the deployer may not assume"),
    ],
)
def test_who_may_assume_the_target_role(
    looking: Looking, account: AwsAccount, changes: Any, seen: str
) -> None:
    account.answers["iam:GetRole"] = lambda given: role(given["RoleName"], trust(**changes))

    finding = worst(looking.of(stack_checks.TARGET_ROLE))

    assert finding.verdict is CheckVerdict.WRONG
    assert seen in finding.seen


def test_a_gate_file_that_is_not_the_deployed_one(looking: Looking, tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    other.write_text(GATE.replace("ref: main", "ref: trunk"))
    report = check(other)
    assert report.gate is not None
    looking.local = report.gate

    (finding,) = looking.of(gate_checks.DIGEST)

    assert finding.verdict is CheckVerdict.WARNING
    assert report.gate.digest[:12] in finding.seen


def test_alarms_and_functions_that_the_gate_file_names_but_aws_has_not(
    looking: Looking, account: AwsAccount
) -> None:
    everything = account.answers["cloudwatch:DescribeAlarms"]
    assert callable(everything)

    def alarms(given: Any) -> Any:
        names = [name for name in given["AlarmNames"] if name != "orders-api-5xx"]
        return everything({"AlarmNames": names})

    def configuration(given: Any) -> Any:
        if given["FunctionName"] == "orders-api":
            return Refusal("ResourceNotFoundException", status=404)
        return {"Layers": [{"Arn": LAYER}]}

    account.answers["cloudwatch:DescribeAlarms"] = alarms
    account.answers["lambda:GetFunctionConfiguration"] = configuration

    (watched,) = looking.of(gate_checks.WATCHED)
    (functions,) = looking.of(gate_checks.FUNCTIONS)

    assert watched.verdict is CheckVerdict.WRONG
    assert watched.seen.startswith("orders-api-5xx is not in eu-central-1")
    assert functions.verdict is CheckVerdict.WARNING
    assert functions.seen.startswith("orders-api is not in")


@pytest.mark.parametrize(
    ("layer", "seen"),
    [
        (b"not a zip", "not a readable zip"),
        (layer_of(b"{}", "other.json"), "no gate.json"),
        (layer_of(b"{}"), "cannot be read"),
        (layer_of(b'{"format": 99999}'), "build it again with this version"),
    ],
)
def test_a_layer_that_cannot_be_read_leaves_the_rest(looking: Looking, layer: bytes, seen: str) -> None:
    looking.layer = layer

    findings = looking()

    (digest,) = [one for one in findings if one.check == gate_checks.DIGEST]
    assert digest.verdict is CheckVerdict.UNKNOWN
    assert seen in digest.seen
    assert any(one.check == API and one.verdict is CheckVerdict.OK for one in findings)


@pytest.mark.parametrize(
    ("reply", "verdict", "seen"),
    [
        (
            Reply(401, problem(401, "invalid_token", "x", check="kid")),
            CheckVerdict.OK,
            "it fetched the keys of",
        ),
        (
            Reply(503, problem(503, "unavailable", "The issuer's signing keys are temporarily unavailable")),
            CheckVerdict.WRONG,
            "the gateway cannot fetch the keys of https://gitlab.example.com",
        ),
        (
            Reply(401, problem(401, "invalid_token", "x", check="iss")),
            CheckVerdict.UNKNOWN,
            "invalid_token iss",
        ),
        (Reply(200, {"claims": {}}), CheckVerdict.WRONG, "a token that nobody signed"),
    ],
)
def test_the_gateway_itself_is_asked_for_each_gitlab(
    looking: Looking, api: Server, reply: Reply, verdict: CheckVerdict, seen: str
) -> None:
    api.on("GET", "/whoami", reply)

    (finding,) = looking.of(endpoint_checks.REACHED)

    assert finding.verdict is verdict
    assert seen in finding.seen


def test_the_made_up_token_is_a_jobs_but_for_key_and_signature(looking: Looking, api: Server) -> None:
    looking()

    (asked,) = api.calls("GET", "/whoami")
    header, claims, _ = asked.headers["authorization"].removeprefix("Bearer ").split(".")
    decoded = json.loads(base64.urlsafe_b64decode(claims + "=="))
    assert (decoded["iss"], decoded["aud"]) == ("https://gitlab.example.com", "https://deploy.example.com")
    assert json.loads(base64.urlsafe_b64decode(header + "=="))["kid"].startswith("sluicegate-doctor-")


def test_what_answers_at_the_endpoint(looking: Looking, api: Server) -> None:
    api.on("GET", "/health", Reply(200, {"hello": "world"}))

    findings = looking()

    assert worst([one for one in findings if one.check == API]).verdict is CheckVerdict.WRONG
    assert not [one for one in findings if one.check == endpoint_checks.REACHED]
    assert not api.calls("GET", "/whoami")


def test_another_address_than_the_stacks_is_used_and_said(looking: Looking, api: Server) -> None:
    findings = looking(url=api.url.replace("127.0.0.1", "localhost"))

    seen = [one.seen for one in findings if one.check == API]
    assert any("not at the stack's output" in one for one in seen)


def test_gateway_responses_of_another_type_are_reported(looking: Looking, api: Server) -> None:
    api.on("GET", "/no-such-path", Reply(403, {"message": "Missing Authentication Token"}))

    (finding,) = looking.of(endpoint_checks.GATEWAY_RESPONSES)

    assert finding.verdict is CheckVerdict.WARNING
    assert "403" in finding.seen


def test_the_accounts_number_is_masked_everywhere(looking: Looking, account: AwsAccount) -> None:
    account.answers["iam:GetRole"] = lambda given: role(
        given["RoleName"], trust(Principal={"AWS": f"arn:aws:iam::{ACCOUNT}:root"})
    )
    findings = looking()
    assert any(ACCOUNT in one.seen for one in findings)

    hidden = masked(findings, ACCOUNT)

    assert not any(ACCOUNT in one.seen + one.change for one in hidden)
    assert not any("canary-of-the-signature" in one.seen + one.change for one in findings)


def test_a_layer_behind_another_scheme_or_too_large_is_not_read() -> None:
    with pytest.raises(CouldNotCheck, match="not https"):
        endpoint_checks.download("ftp://layers.example.com/x", 10)
    with serving() as server:
        server.on("GET", "/layer", Reply(200, b"x" * 1000))
        assert len(endpoint_checks.download(f"{server.url}/layer", 1000)) == 1000
        with pytest.raises(CouldNotCheck, match="larger"):
            endpoint_checks.download(f"{server.url}/layer", 999)


def test_an_error_never_shows_aws_s_own_sentence_about_who_asked(account: AwsAccount) -> None:
    calls: AwsCalls = account.calls()
    with pytest.raises(CouldNotCheck) as raised:
        calls.call("s3", "ListBuckets")
    assert "ada" not in raised.value.seen
    assert not isinstance(raised.value.__cause__, ClientError)


def test_the_page_names_every_permission(looking: Looking, account: AwsAccount) -> None:
    page = (Path(__file__).parents[3] / "docs/guides/troubleshooting.md").read_text()
    section = page.partition("\n## A stack\n")[2].partition("\n## ")[0]
    looking()

    for name in account.names():
        permission = permission_of(*name.split(":")).partition(" ")[0]
        assert f"`{permission}`" in section, permission


@pytest.mark.parametrize(
    ("who", "source", "left"),
    [
        ("arn:aws:iam::111111111111:role/sluicegate-DriftRole-1", "sluicegate-drift", 1),
        ("AROADELETED0000000000", "sluicegate-drift", 1),
        ("arn:aws:iam::999999999999:role/sluicegate-DriftRole-1", "sluicegate-drift", 2),
        ("arn:aws:iam::111111111111:user/somebody", "sluicegate-drift", 2),
        ("*", "sluicegate-drift", 2),
        ("arn:aws:iam::111111111111:role/sluicegate-DriftRole-1", "project-1-job-2", 2),
    ],
)
def test_only_the_look_for_drift_of_the_same_account_is_no_deployers(
    who: str, source: str, left: int
) -> None:
    deployer = "arn:aws:iam::111111111111:role/sluicegate-DeployerRole-1"
    looks = {
        "Effect": "Allow",
        "Principal": {"AWS": who},
        "Action": ["sts:AssumeRole", "sts:SetSourceIdentity"],
        "Condition": {"StringEquals": {"sts:ExternalId": "3c9e", "sts:SourceIdentity": source}},
    }
    trust = {"Statement": [{**looks, "Principal": {"AWS": deployer}, "Condition": {}}, looks]}
    assert len(deploying(trust, deployer)) == left
