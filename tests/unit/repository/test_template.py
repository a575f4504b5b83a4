"""What template.yaml promises, read from the template: also what no emulator enforces."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from sluicegate.deployer import worker
from sluicegate.gateway import problems
from sluicegate.notifier import consumer, ledger
from sluicegate.oidc.identity import FEEDBACK_SECRETS
from sluicegate.relay import event as events
from sluicegate.settings import (
    DeployerSettings,
    GatewaySettings,
    JanitorSettings,
    MissingSetting,
    NotifierSettings,
    RelaySettings,
    WakerSettings,
)
from sluicegate.store import locks

ROOT: Final = Path(__file__).resolve().parents[3]
FUNCTIONS: Final = ("Gateway", "Watcher", "Deployer", "Janitor", "Relay", "Waker", "Notifier")

Json = dict[str, Any]


class _Loader(yaml.SafeLoader):
    """CloudFormation's short forms become its long ones."""


def _long_form(loader: yaml.SafeLoader, suffix: str, node: yaml.Node) -> Json:
    name = suffix if suffix == "Ref" else f"Fn::{suffix}"
    if isinstance(node, yaml.ScalarNode):
        value: Any = loader.construct_scalar(node)
        return {name: value.split(".", 1) if suffix == "GetAtt" else value}
    if isinstance(node, yaml.SequenceNode):
        return {name: loader.construct_sequence(node, deep=True)}
    raise AssertionError(f"{node.start_mark}: no short form")


_Loader.add_multi_constructor("!", _long_form)

TEMPLATE: Final[Json] = yaml.load((ROOT / "template.yaml").read_text(), _Loader)  # noqa: S506, a SafeLoader
RESOURCES: Final[Json] = TEMPLATE["Resources"]
MACHINE: Final[Json] = yaml.safe_load((ROOT / "functions" / "rollout.asl.yaml").read_text())


def properties(name: str) -> Json:
    found: Json = RESOURCES[name]["Properties"]
    return found


def of_type(kind: str) -> list[str]:
    return [name for name, resource in RESOURCES.items() if resource["Type"] == kind]


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def policies(role: str) -> Iterator[Json]:
    """Written policies, those under a condition included; not the one that the gate file makes."""
    for policy in properties(role).get("Policies", []):
        policy = policy["Fn::If"][1] if "Fn::If" in policy else policy
        if "Fn::Transform" not in policy["PolicyDocument"]:
            yield policy


def statements(role: str) -> Iterator[Json]:
    for policy in policies(role):
        yield from policy["PolicyDocument"]["Statement"]


def actions(role: str, effect: str = "Allow") -> set[str]:
    found = (statement for statement in statements(role) if statement["Effect"] == effect)
    return {action for statement in found for action in listed(statement["Action"])}


LOG: Final = {"logs:CreateLogStream", "logs:PutLogEvents"}
TRACE: Final = {"xray:PutTelemetryRecords", "xray:PutTraceSegments"}
WAKE: Final = {"states:SendTaskSuccess"}
RECORD: Final = {
    "dynamodb:ConditionCheckItem",
    "dynamodb:DeleteItem",
    "dynamodb:GetItem",
    "dynamodb:PutItem",
    "dynamodb:UpdateItem",
}


@pytest.mark.parametrize(
    ("role", "allowed"),
    [
        (
            "GatewayRole",
            LOG | TRACE | RECORD | WAKE
            | {"dynamodb:Query", "s3:GetObject", "s3:ListBucket", "s3:PutObject", "states:StartExecution"}
            | {"secretsmanager:GetSecretValue"},
        ),
        ("WatcherRole", LOG | TRACE | {"dynamodb:GetItem"}),
        (
            "DeployerRole",
            LOG | TRACE | RECORD | WAKE
            | {"s3:GetObject", "s3:GetObjectVersion", "s3:ListBucket"}
            | {"sts:AssumeRole", "sts:SetSourceIdentity", "sts:TagSession"},
        ),
        (
            "JanitorRole",
            LOG | TRACE | RECORD | WAKE
            | {"dynamodb:Query", "states:DescribeExecution", "states:StartExecution"},
        ),
        (
            "RelayRole",
            LOG | TRACE
            | {"dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator"}
            | {"dynamodb:ListStreams", "events:PutEvents", "sqs:SendMessage"},
        ),
        ("WakerRole", LOG | TRACE | WAKE | {"dynamodb:GetItem", "dynamodb:Query"}),
        (
            "NotifierRole",
            LOG | TRACE
            | {"dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem", "secretsmanager:GetSecretValue"}
            | {"sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:GetQueueAttributes"}
            | {"sqs:ReceiveMessage", "sqs:SendMessage"},
        ),
        ("TargetRole", {"s3:GetObject", "s3:GetObjectVersion"}),
    ],
)  # fmt: skip
def test_a_role_may_do_this_and_nothing_else(role: str, allowed: set[str]) -> None:
    assert actions(role) == allowed


def test_each_kind_of_secret_has_one_reader() -> None:
    found = [
        (role, statement["Resource"]["Fn::Sub"].rpartition(":")[2])
        for role in of_type("AWS::IAM::Role")
        for statement in statements(role)
        if any(action.startswith("secretsmanager:") for action in listed(statement["Action"]))
    ]
    assert found == [("GatewayRole", "sluicegate/webhooks/*"), ("NotifierRole", "sluicegate/gitlab/*")]


def test_the_rollout_may_invoke_the_deployer_and_deliver_its_log() -> None:
    assert {action for action in actions("RolloutRole") - TRACE if not action.startswith("logs:")} == {
        "lambda:InvokeFunction"
    }
    [run] = [statement for statement in statements("RolloutRole") if statement.get("Sid") == "Run"]
    assert run["Resource"] == {"Fn::GetAtt": ["DeployerFunction", "Arn"]}


def test_no_statement_is_wide() -> None:
    for role in of_type("AWS::IAM::Role"):
        for statement in statements(role):
            assert not {"NotAction", "NotResource", "NotPrincipal"} & set(statement)
            assert not any("*" in action for action in listed(statement["Action"])), role


def test_only_what_knows_no_resources_is_allowed_on_all() -> None:
    """A task token is the permission: Step Functions knows no resource of `SendTaskSuccess`."""
    for role in of_type("AWS::IAM::Role"):
        for statement in statements(role):
            if statement["Resource"] == "*":
                allowed = set(listed(statement["Action"]))
                assert role in {"RolloutRole", "ApiGatewayLogWriter"} or allowed in (TRACE, WAKE), role


def test_every_role_is_written_out_and_can_be_bounded() -> None:
    for role in of_type("AWS::IAM::Role"):
        assert "ManagedPolicyArns" not in properties(role)
        assert properties(role)["PermissionsBoundary"]["Fn::If"][0] == "Bounded"
    assert not of_type("AWS::IAM::ManagedPolicy") + of_type("AWS::IAM::Policy")


def test_each_function_has_a_role_and_a_log_of_its_own() -> None:
    for name in FUNCTIONS:
        function = properties(f"{name}Function")
        assert function["Role"] == {"Fn::GetAtt": [f"{name}Role", "Arn"]}
        assert not {"Policies", "ManagedPolicyArns"} & set(function)
        assert function["LoggingConfig"] == {"LogGroup": {"Ref": f"{name}Log"}}
        [log] = [statement for statement in statements(f"{name}Role") if statement.get("Sid") == "Log"]
        assert log["Resource"] == {"Fn::GetAtt": [f"{name}Log", "Arn"]}
        assert properties(f"{name}Role")["AssumeRolePolicyDocument"]["Statement"] == [
            {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
        ]


def test_the_deployer_may_enter_the_target_role_only() -> None:
    [enter] = [statement for statement in statements("DeployerRole") if statement.get("Sid") == "EnterTarget"]
    name = "${AWS::StackName}-target"
    role = f"arn:${{AWS::Partition}}:iam::${{AWS::AccountId}}:role/{name}"
    assert enter["Resource"] == {"Fn::Sub": role}
    assert properties("TargetRole")["RoleName"] == {"Fn::Sub": name}
    environment = properties("DeployerFunction")["Environment"]["Variables"]
    assert environment["SLUICEGATE_TARGET_ROLE"] == {"Fn::Sub": name}


def test_only_the_deployer_enters_the_target_role_and_with_the_external_id() -> None:
    trust = properties("TargetRole")["AssumeRolePolicyDocument"]["Statement"]
    deployer_role = {"AWS": {"Fn::GetAtt": ["DeployerRole", "Arn"]}}
    assert all(statement["Principal"] == deployer_role for statement in trust)
    [enter] = [statement for statement in trust if "sts:AssumeRole" in listed(statement["Action"])]
    external_id = properties("DeployerFunction")["Environment"]["Variables"]["SLUICEGATE_EXTERNAL_ID"]
    assert enter["Condition"] == {"StringEquals": {"sts:ExternalId": external_id}}


def test_the_target_role_deploys_what_the_gate_file_names() -> None:
    included = [
        policy["PolicyDocument"]["Fn::Transform"]
        for policy in properties("TargetRole")["Policies"]
        if "Fn::Transform" in policy["PolicyDocument"]
    ]
    assert included == [{"Name": "AWS::Include", "Parameters": {"Location": "build/target-policy.json"}}]


def test_the_target_role_never_deploys_sluicegate_itself() -> None:
    [denied] = [statement for statement in statements("TargetRole") if statement["Effect"] == "Deny"]
    own = {resource["Fn::Sub"].rsplit("function:", 1)[1] for resource in denied["Resource"]}
    assert own == {f"${{AWS::StackName}}-{name.lower()}*" for name in FUNCTIONS}
    assert {
        "lambda:InvokeFunction",
        "lambda:PublishVersion",
        "lambda:UpdateAlias",
        "lambda:UpdateFunctionCode",
    } <= set(denied["Action"])


def test_the_functions_are_called_what_the_gate_refuses_to_deploy() -> None:
    names = [properties(f"{name}Function")["FunctionName"]["Fn::Sub"] for name in FUNCTIONS]
    assert names == [f"${{AWS::StackName}}-{name.lower()}" for name in FUNCTIONS]
    for name in ("Gateway", "Watcher", "Notifier"):
        own = properties(f"{name}Function")["Environment"]["Variables"]["SLUICEGATE_OWN_FUNCTIONS"]
        assert own["Fn::Sub"].split(",") == names


SETTINGS: Final[dict[str, Callable[[Mapping[str, str]], object]]] = {
    "Gateway": GatewaySettings.from_environment,
    "Watcher": GatewaySettings.from_environment,
    "Deployer": DeployerSettings.from_environment,
    "Janitor": JanitorSettings.from_environment,
    "Relay": RelaySettings.from_environment,
    "Waker": WakerSettings.from_environment,
    "Notifier": NotifierSettings.from_environment,
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_is_given_all_that_it_reads_and_nothing_else(name: str) -> None:
    shared = TEMPLATE["Globals"]["Function"]["Environment"]["Variables"]
    own = properties(f"{name}Function").get("Environment", {}).get("Variables", {})
    given = {**dict.fromkeys({**shared, **own}, "given"), "AWS_REGION": "eu-central-1"}
    SETTINGS[name](given)
    for variable in own:
        with pytest.raises(MissingSetting) as missing:
            SETTINGS[name]({key: value for key, value in given.items() if key != variable})
        assert missing.value.name == variable


def test_each_function_has_concurrency_of_its_own_that_can_be_left_out() -> None:
    for name in FUNCTIONS:
        condition, reserved, otherwise = properties(f"{name}Function")["ReservedConcurrentExecutions"][
            "Fn::If"
        ]
        assert condition == f"{name}Reserved"
        assert reserved == {"Ref": f"{name}Concurrency"}
        assert otherwise == {"Ref": "AWS::NoValue"}
        assert TEMPLATE["Conditions"][condition] == {
            "Fn::Not": [{"Fn::Equals": [{"Ref": f"{name}Concurrency"}, 0]}]
        }


def test_the_api_has_these_calls_and_the_watcher_the_long_one() -> None:
    calls = {
        (event["Properties"]["Method"], event["Properties"]["Path"]): name
        for name in FUNCTIONS
        for event in properties(f"{name}Function").get("Events", {}).values()
        if event["Type"] == "Api"
    }
    assert calls == {
        ("POST", "/artifacts"): "Gateway",
        ("POST", "/deployments"): "Gateway",
        ("GET", "/deployments"): "Gateway",
        ("GET", "/deployments/{id}"): "Watcher",
        ("POST", "/deployments/{id}/abort"): "Gateway",
        ("POST", "/deployments/{id}/approve"): "Gateway",
        ("POST", "/deployments/{id}/reject"): "Gateway",
        ("GET", "/stages/{stage}/hold"): "Gateway",
        ("POST", "/stages/{stage}/hold"): "Gateway",
        ("DELETE", "/stages/{stage}/hold"): "Gateway",
        ("GET", "/functions"): "Gateway",
        ("GET", "/functions/{name}"): "Gateway",
        ("POST", "/webhooks/gitlab/{name}"): "Gateway",
        ("GET", "/whoami"): "Gateway",
        ("GET", "/health"): "Gateway",
    }
    assert properties("WatcherFunction")["CodeUri"] == properties("GatewayFunction")["CodeUri"]


def test_the_watcher_outlives_the_longest_wait_and_not_the_api() -> None:
    assert 20 < properties("WatcherFunction")["Timeout"] < 29
    assert properties("GatewayFunction")["Timeout"] < 29


def test_the_api_is_throttled_and_traces_no_data() -> None:
    [settings] = properties("Api")["MethodSettings"]
    assert (settings["ResourcePath"], settings["HttpMethod"]) == ("/*", "*")
    assert settings["ThrottlingRateLimit"] == {"Ref": "ApiRate"}
    assert settings["ThrottlingBurstLimit"] == {"Ref": "ApiBurst"}
    assert settings["DataTraceEnabled"] is False
    assert settings["LoggingLevel"] == "OFF"


def test_the_access_log_is_json_of_what_api_gateway_itself_says() -> None:
    setting = properties("Api")["AccessLogSetting"]
    assert setting["DestinationArn"] == {"Fn::GetAtt": ["ApiLog", "Arn"]}
    assert "\n" not in setting["Format"]
    variables = set(json.loads(setting["Format"]).values())
    assert variables <= {
        "$context.error.responseType",
        "$context.extendedRequestId",
        "$context.httpMethod",
        "$context.identity.sourceIp",
        "$context.integration.latency",
        "$context.integration.status",
        "$context.requestId",
        "$context.requestTimeEpoch",
        "$context.resourcePath",
        "$context.responseLatency",
        "$context.responseLength",
        "$context.status",
    }


def test_bodies_reach_the_gateway_byte_for_byte() -> None:
    assert properties("Api")["BinaryMediaTypes"] == ["*~1*"]


RESPONSES: Final[Json] = properties("Api")["GatewayResponses"]


@pytest.mark.parametrize("kind", RESPONSES)
def test_what_api_gateway_answers_itself_is_a_problem(kind: str) -> None:
    response = RESPONSES[kind]
    [template] = response["ResponseTemplates"].values()
    body = json.loads(template)
    assert str(body["status"]) == response["StatusCode"]
    assert body["type"] == f"urn:sluicegate:problem:{body['code']}"
    assert body["title"] == problems.TITLES.get(body["code"], "Too many requests")
    assert body["request_id"] == "$context.requestId"
    headers = response["ResponseParameters"]["Headers"]
    assert headers["Content-Type"] == "'application/problem+json'"
    assert headers["Cache-Control"] == "'no-store'"
    assert ("Retry-After" in headers) == (response["StatusCode"] in {"429", "503"})


@pytest.mark.parametrize("kind", RESPONSES)
def test_what_api_gateway_answers_itself_repeats_nothing_that_was_sent(kind: str) -> None:
    """Its own messages can have the token in them (guarantees.md#7-no-secret-in-any-output)."""
    [template] = RESPONSES[kind]["ResponseTemplates"].values()
    assert set(re.findall(r"\$[\w.]+", template)) == {"$context.requestId"}


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("MISSING_AUTHENTICATION_TOKEN", "404"),
        ("RESOURCE_NOT_FOUND", "404"),
        ("REQUEST_TOO_LARGE", "413"),
        ("UNSUPPORTED_MEDIA_TYPE", "415"),
        ("THROTTLED", "429"),
        ("DEFAULT_5XX", "503"),
    ],
)
def test_api_gateways_own_answers_have_the_designs_status(kind: str, status: str) -> None:
    assert RESPONSES[kind]["StatusCode"] == status


def test_what_is_not_there_answers_word_for_word_as_the_gateway_does() -> None:
    [template] = RESPONSES["MISSING_AUTHENTICATION_TOKEN"]["ResponseTemplates"].values()
    assert json.loads(template) == problems.not_found().body("$context.requestId")


def test_every_log_group_forgets_in_time() -> None:
    logs = of_type("AWS::Logs::LogGroup")
    assert {*(f"{name}Log" for name in FUNCTIONS), "ApiLog", "RolloutLog"} == set(logs)
    assert all(properties(log)["RetentionInDays"] == {"Ref": "LogDays"} for log in logs)


@pytest.mark.parametrize("name", ["Table", "ArtifactBucket"])
def test_what_is_kept_outlives_the_stack(name: str) -> None:
    assert RESOURCES[name]["DeletionPolicy"] == RESOURCES[name]["UpdateReplacePolicy"] == "Retain"


def test_the_table_can_be_recovered_and_not_deleted() -> None:
    table = properties("Table")
    assert table["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    assert table["DeletionProtectionEnabled"] == {"Ref": "DeletionProtection"}
    assert TEMPLATE["Parameters"]["DeletionProtection"]["Default"] == "true"
    assert table["SSESpecification"] == {"SSEEnabled": True}
    assert table["StreamSpecification"] == {"StreamViewType": "NEW_AND_OLD_IMAGES"}
    assert table["TimeToLiveSpecification"] == {"AttributeName": "expires_at", "Enabled": True}


def test_the_table_has_the_indexes_that_the_store_asks() -> None:
    indexes = {
        index["IndexName"]: [key["AttributeName"] for key in index["KeySchema"]]
        for index in properties("Table")["GlobalSecondaryIndexes"]
    }
    assert indexes == {
        "by_function": ["function", "id"],
        "by_project": ["project", "id"],
        "by_time": ["kind", "id"],
        "unfinished": ["unfinished", "id"],
    }


def test_the_artifact_bucket_keeps_versions_encrypted_and_private() -> None:
    bucket = properties("ArtifactBucket")
    assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}
    assert bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert bucket["OwnershipControls"] == {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
    assert len(bucket["PublicAccessBlockConfiguration"]) == 4


@pytest.mark.parametrize(
    ("sid", "denied", "condition"),
    [
        ("OnlyOverTls", ["s3:*"], {"Bool": {"aws:SecureTransport": "false"}}),
        (
            "OnlyGatewayUploads",
            ["s3:PutObject"],
            {"StringNotLike": {"aws:userid": {"Fn::Sub": "${GatewayRole.RoleId}:*"}}},
        ),
        ("NothingIsDeleted", ["s3:DeleteObject", "s3:DeleteObjectVersion"], None),
    ],
)
def test_the_artifact_bucket_refuses(sid: str, denied: list[str], condition: Json | None) -> None:
    document = properties("ArtifactBucketPolicy")["PolicyDocument"]
    [statement] = [statement for statement in document["Statement"] if statement["Sid"] == sid]
    assert statement["Effect"] == "Deny"
    assert statement["Principal"] == "*"
    assert listed(statement["Action"]) == denied
    assert statement.get("Condition") == condition
    assert {"Fn::Sub": "${ArtifactBucket.Arn}/*"} in listed(statement["Resource"])


def test_the_bucket_policy_allows_nobody_anything() -> None:
    document = properties("ArtifactBucketPolicy")["PolicyDocument"]
    assert {statement["Effect"] for statement in document["Statement"]} == {"Deny"}


RELAYED: Final[Json] = properties("RelayFunction")["Events"]["Record"]


@pytest.mark.parametrize(
    ("sid", "resource"),
    [
        ("Stream", {"Fn::GetAtt": ["Table", "StreamArn"]}),
        ("FindStream", {"Fn::Sub": "${Table.Arn}/stream/*"}),
        ("Tell", {"Fn::GetAtt": ["EventBus", "Arn"]}),
        ("SetAside", {"Fn::GetAtt": ["DeadLetters", "Arn"]}),
    ],
)
def test_the_relay_reads_one_stream_and_tells_one_bus(sid: str, resource: Json) -> None:
    [statement] = [statement for statement in statements("RelayRole") if statement.get("Sid") == sid]
    assert statement["Resource"] == resource


def test_the_bus_is_told_by_the_relay_alone_and_called_after_the_stack() -> None:
    assert properties("EventBus") == {"Name": {"Ref": "AWS::StackName"}}
    tellers = [role for role in of_type("AWS::IAM::Role") if "events:PutEvents" in actions(role)]
    assert tellers == ["RelayRole"]
    assert properties("RelayFunction")["Environment"]["Variables"] == {"SLUICEGATE_BUS": {"Ref": "EventBus"}}


def test_the_relay_is_given_every_change_of_a_deployment_and_nothing_else() -> None:
    mapping = RELAYED["Properties"]
    assert RELAYED["Type"] == "DynamoDB"
    assert mapping["Stream"] == {"Fn::GetAtt": ["Table", "StreamArn"]}
    assert mapping["StartingPosition"] == "TRIM_HORIZON"
    [given] = mapping["FilterCriteria"]["Filters"]
    assert json.loads(given["Pattern"]) == {
        "eventName": ["INSERT", "MODIFY"],
        "dynamodb": {"Keys": {"sk": {"S": ["record"]}}},
    }


def test_what_the_relay_could_not_tell_comes_again_until_it_is_set_aside() -> None:
    mapping = RELAYED["Properties"]
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert mapping["BisectBatchOnFunctionError"] is True
    assert mapping["MaximumRetryAttempts"] == -1
    assert mapping["ParallelizationFactor"] == 1
    # The stream forgets after a day; a dead letter is of use while the stream still has what it points to.
    assert 3_600 <= mapping["MaximumRecordAgeInSeconds"] <= 12 * 3_600
    assert mapping["DestinationConfig"] == {
        "OnFailure": {"Type": "SQS", "Destination": {"Fn::GetAtt": ["DeadLetters", "Arn"]}}
    }
    assert properties("DeadLetters")["SqsManagedSseEnabled"] is True
    assert properties("DeadLetters")["MessageRetentionPeriod"] == 14 * 86_400


@pytest.mark.parametrize(
    ("sid", "resource"),
    [
        ("Hear", {"Fn::GetAtt": ["NotifierQueue", "Arn"]}),
        ("SetAside", {"Fn::GetAtt": ["NotifierDeadLetters", "Arn"]}),
        ("Read", {"Fn::GetAtt": ["Table", "Arn"]}),
        ("Note", {"Fn::GetAtt": ["Table", "Arn"]}),
    ],
)
def test_the_notifier_hears_one_queue_and_reads_the_record(sid: str, resource: Json) -> None:
    [statement] = [statement for statement in statements("NotifierRole") if statement.get("Sid") == sid]
    assert statement["Resource"] == resource


def test_the_notifier_writes_its_ledger_and_nothing_else() -> None:
    for statement in statements("NotifierRole"):
        if {"dynamodb:PutItem", "dynamodb:UpdateItem"} & set(listed(statement["Action"])):
            keys = {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": ["status#*"]}}
            assert statement["Condition"] == keys


def test_the_notifier_reads_secrets_of_its_prefix_and_nobody_else_does() -> None:
    found = {
        role: [
            one["Resource"] for one in statements(role) if one["Action"] == "secretsmanager:GetSecretValue"
        ]
        for role in of_type("AWS::IAM::Role")
    }
    account = "arn:${AWS::Partition}:secretsmanager:${AWS::Region}:${AWS::AccountId}"
    assert found.pop("NotifierRole") == [{"Fn::Sub": f"{account}:secret:{FEEDBACK_SECRETS}*"}]
    assert FEEDBACK_SECRETS not in json.dumps(found)


def test_the_notifier_is_given_every_event_one_at_a_time() -> None:
    rule = properties("NotifierRule")
    assert rule["EventBusName"] == {"Ref": "EventBus"}
    assert rule["EventPattern"] == {"source": [events.SOURCE], "detail-type": [events.DETAIL_TYPE]}
    [target] = rule["Targets"]
    assert target["Arn"] == {"Fn::GetAtt": ["NotifierQueue", "Arn"]}
    assert target["DeadLetterConfig"] == {"Arn": {"Fn::GetAtt": ["NotifierDeadLetters", "Arn"]}}
    mapping = properties("NotifierFunction")["Events"]["Change"]["Properties"]
    assert mapping["Queue"] == {"Fn::GetAtt": ["NotifierQueue", "Arn"]}
    assert mapping["BatchSize"] == 1
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]


def test_only_the_rule_sends_to_the_notifier() -> None:
    policy = properties("NotifierQueuePolicy")
    assert policy["Queues"] == [{"Ref": "NotifierQueue"}, {"Ref": "NotifierDeadLetters"}]
    [statement] = policy["PolicyDocument"]["Statement"]
    assert statement["Action"] == "sqs:SendMessage"
    assert statement["Principal"] == {"Service": "events.amazonaws.com"}
    assert statement["Condition"] == {"ArnEquals": {"aws:SourceArn": {"Fn::GetAtt": ["NotifierRule", "Arn"]}}}


def test_a_gitlab_that_is_out_for_a_day_loses_nothing() -> None:
    queue = properties("NotifierQueue")
    redrive = queue["RedrivePolicy"]
    assert redrive["deadLetterTargetArn"] == {"Fn::GetAtt": ["NotifierDeadLetters", "Arn"]}
    pauses = (consumer.backoff(times) for times in range(1, redrive["maxReceiveCount"]))
    assert 86_400 <= sum(pauses) < 2 * 86_400
    timeout = properties("NotifierFunction")["Timeout"]
    assert timeout > ledger.LEASE_SECONDS + 30
    assert queue["VisibilityTimeout"] == 6 * timeout
    for name in ("NotifierQueue", "NotifierDeadLetters"):
        assert properties(name)["SqsManagedSseEnabled"] is True
        assert properties(name)["MessageRetentionPeriod"] == 14 * 86_400


def test_the_layer_keeps_every_service_that_is_called() -> None:
    makefile = (ROOT / "layers" / "dependencies" / "Makefile").read_text()
    [kept] = re.findall(r"^SERVICES := (.*)$", makefile, re.MULTILINE)
    handlers = "".join(path.read_text() for path in (ROOT / "functions").glob("*/app.py"))
    called = set(re.findall(r"clients\.client\(\"(\w+)\"\)", handlers))
    assert called
    assert called <= set(kept.split())


def test_versions_of_the_gate_stay_and_only_those_who_ask_it_carry_it() -> None:
    assert properties("GateLayer")["RetentionPolicy"] == "Retain"
    carriers = {name for name in FUNCTIONS if {"Ref": "GateLayer"} in properties(f"{name}Function")["Layers"]}
    assert carriers == {"Gateway", "Watcher", "Notifier"}


def test_the_rollout_logs_errors_without_data() -> None:
    logging = properties("Rollout")["Logging"]
    assert logging["Level"] == "ERROR"
    assert logging["IncludeExecutionData"] is False
    assert properties("Rollout")["Type"] == "STANDARD"


def test_the_rollout_is_a_loop_of_few_states_that_all_lead_somewhere() -> None:
    states = MACHINE["States"]
    assert MACHINE["QueryLanguage"] == "JSONata"
    assert len(states) <= 10
    following = {MACHINE["StartAt"]}
    for state in states.values():
        following |= {state[key] for key in ("Next", "Default") if key in state}
        following |= {way["Next"] for way in (*state.get("Choices", []), *state.get("Catch", []))}
    assert following == set(states)
    assert {state["Type"] for state in states.values() if "Next" not in state} == {
        "Choice",
        "Succeed",
        "Fail",
    }


def test_the_rollout_knows_every_answer_of_the_deployer() -> None:
    conditions = " ".join(choice["Condition"] for choice in MACHINE["States"]["Next"]["Choices"])
    assert set(re.findall(r"'(\w+)'", conditions)) == {"run", "wait", "end"}


def test_state_between_turns_is_the_id_and_what_comes_next() -> None:
    run = MACHINE["States"]["Run"]
    assert run["Arguments"]["Payload"] == {"id": "{% $states.input.id %}"}
    assert set(run["Output"]) == {"id", "next", "seconds", "revision"}
    wait = MACHINE["States"]["Wait"]
    assert all(output == {"id": "{% $states.input.id %}"} for output in outputs(wait))


def outputs(state: Json) -> list[Json]:
    return [state["Output"], *(caught["Output"] for caught in state["Catch"])]


def test_the_rollout_retries_wherever_it_runs() -> None:
    retried = {error for retry in MACHINE["States"]["Run"]["Retry"] for error in retry["ErrorEquals"]}
    assert {
        "Lambda.ServiceException",
        "Lambda.TooManyRequestsException",
        "Lambda.Unknown",
        "Runtime.ExitError",
        "Runtime.HandlerError",
        "Sandbox.Timedout",
        "States.Timeout",
    } <= retried


def test_a_turn_fits_the_function_the_task_and_the_lease() -> None:
    function = properties("DeployerFunction")["Timeout"]
    task = MACHINE["States"]["Run"]["TimeoutSeconds"]
    assert worker.TURN_SECONDS * 2 < function < task < locks.PUBLISH_LEASE


def test_every_substitution_of_the_rollout_is_given() -> None:
    text = (ROOT / "functions" / "rollout.asl.yaml").read_text()
    assert set(re.findall(r"\$\{(\w+)\}", text)) == set(properties("Rollout")["DefinitionSubstitutions"])


ALARM: Final = "AWS::CloudWatch::Alarm"


def test_what_goes_wrong_with_sluicegate_itself_alarms() -> None:
    watched = {(properties(name)["Namespace"], properties(name)["MetricName"]) for name in of_type(ALARM)}
    assert watched >= {
        ("AWS/ApiGateway", "5XXError"),
        ("AWS/Lambda", "Errors"),
        ("AWS/Lambda", "IteratorAge"),
        ("AWS/Lambda", "Throttles"),
        ("AWS/SQS", "ApproximateAgeOfOldestMessage"),
        ("AWS/SQS", "ApproximateNumberOfMessagesVisible"),
        ("AWS/States", "ExecutionsFailed"),
        ("AWS/States", "ExecutionsTimedOut"),
        ("Sluicegate", "OutcomeUnknown"),
        ("Sluicegate", "Stuck"),
    }


@pytest.mark.parametrize("name", of_type(ALARM))
def test_an_alarm_says_what_it_means_and_whom_it_tells(name: str) -> None:
    alarm = properties(name)
    notified = [{"Fn::If": ["AlarmsNotify", {"Ref": "AlarmTopicArn"}, {"Ref": "AWS::NoValue"}]}]
    assert alarm["AlarmActions"] == notified
    assert alarm["AlarmDescription"].endswith(".")
    assert alarm["TreatMissingData"] == ("breaching" if name == "JanitorSilentAlarm" else "notBreaching")


def test_alarms_on_own_metrics_have_the_dimension_that_powertools_gives_them() -> None:
    service = TEMPLATE["Globals"]["Function"]["Environment"]["Variables"]["POWERTOOLS_SERVICE_NAME"]
    for name in of_type(ALARM):
        if properties(name)["Namespace"] == "Sluicegate":
            assert properties(name)["Dimensions"] == [{"Name": "service", "Value": service}]


def test_every_parameter_has_a_default_and_says_what_it_is() -> None:
    for name, parameter in TEMPLATE["Parameters"].items():
        assert parameter["Description"], name
        assert "Default" in parameter, name
    grouped = TEMPLATE["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    assert {name for group in grouped for name in group["Parameters"]} == set(TEMPLATE["Parameters"])


def test_the_outputs_say_where_everything_is() -> None:
    assert set(TEMPLATE["Outputs"]) == {
        *(
            "ApiId",
            "ArtifactBucket",
            "DeadLettersUrl",
            "DeployerRoleArn",
            "Endpoint",
            "EventBusArn",
            "EventBusName",
            "NotifierDeadLettersUrl",
            "StateMachineArn",
            "Table",
            "TargetRoleArn",
        )
    }
    assert TEMPLATE["Outputs"]["Endpoint"]["Value"]["Fn::Sub"].endswith("/v1")


def test_the_dependencies_are_locked_with_hashes() -> None:
    lock = (ROOT / "layers" / "dependencies" / "requirements.txt").read_text()
    for requirement in re.split(r"\n(?=\S)", re.sub(r"^\s*#.*\n", "", lock, flags=re.MULTILINE)):
        assert re.match(r"[a-z0-9-]+==[0-9.a-z]+ ", requirement), requirement
        assert "--hash=sha256:" in requirement, requirement
    version = re.search(r"^pyjwt==([0-9.]+)", lock, re.MULTILINE)
    assert version
    assert tuple(map(int, version[1].split("."))) >= (2, 15, 1)
