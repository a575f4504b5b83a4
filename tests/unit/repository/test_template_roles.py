"""Roles in template.yaml: who may do what, on what, and nothing else."""

import json
from typing import Final

import pytest

from sluicegate.aws import permissions
from sluicegate.oidc.identity import FEEDBACK_SECRETS
from sluicegate_gatefile import prune_policy, stack_policies, target_policy
from sluicegate_gatefile.compile import OWN_FUNCTIONS
from support.template import (
    FUNCTIONS,
    LOOKING_ONLY,
    RUN_AS,
    actions,
    listed,
    of_type,
    policies,
    properties,
    statements,
    suffix,
)

LOG: Final = {"logs:CreateLogStream", "logs:PutLogEvents"}
TRACE: Final = {"xray:PutTelemetryRecords", "xray:PutTraceSegments"}
SAMPLE: Final = {"xray:GetSamplingRules", "xray:GetSamplingTargets"}
FIND: Final = {"dynamodb:ListStreams"}
MEASURE: Final = {"lambda:GetAccountSettings"}
USES: Final = set(permissions.PRUNE_LOOKING_EVERYWHERE)
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
            | {"dynamodb:BatchGetItem", "dynamodb:Query", "s3:GetObject", "s3:ListBucket", "s3:PutObject"}
            | {"states:StartExecution"}
            | {"secretsmanager:GetSecretValue"},
        ),
        (
            "GatewayIamRole",
            LOG | TRACE | RECORD | WAKE
            | {"dynamodb:BatchGetItem", "dynamodb:Query", "s3:GetObject", "s3:ListBucket", "s3:PutObject"}
            | {"states:StartExecution"},
        ),
        ("WatcherRole", LOG | TRACE | {"dynamodb:GetItem", "dynamodb:UpdateItem"}),
        ("WatcherIamRole", LOG | TRACE | {"dynamodb:GetItem", "dynamodb:UpdateItem"}),
        (
            "DeployerRole",
            LOG | TRACE | RECORD | WAKE
            | {"dynamodb:BatchGetItem", "dynamodb:Query"}
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
        (
            "MessengerRole",
            LOG | TRACE
            | {"dynamodb:GetItem", "dynamodb:UpdateItem", "secretsmanager:GetSecretValue"}
            | {"sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:GetQueueAttributes"}
            | {"sqs:ReceiveMessage", "sqs:SendMessage"},
        ),
        (
            "BoardRole",
            LOG | TRACE | RECORD
            | {"dynamodb:BatchGetItem", "dynamodb:Query", "secretsmanager:GetSecretValue"},
        ),
        (
            "SealerRole",
            LOG | TRACE
            | {"dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Query", "dynamodb:UpdateItem"}
            | {"s3:GetObject", "s3:ListBucket", "s3:PutObject"},
        ),
        (
            "DriftRole",
            LOG | TRACE
            | {"dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Query", "dynamodb:UpdateItem"}
            | {"sts:AssumeRole", "sts:SetSourceIdentity"},
        ),
        (
            "PrunerRole",
            LOG | TRACE
            | {"dynamodb:DeleteItem", "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Query"}
            | {"dynamodb:UpdateItem", "lambda:GetAccountSettings"}
            | {"sts:AssumeRole", "sts:SetSourceIdentity"},
        ),
        ("PruneRole", {"cloudwatch:GetMetricData", "lambda:ListEventSourceMappings"}),
        ("TargetRole", {"s3:GetObject", "s3:GetObjectVersion"}),
    ],
)  # fmt: skip
def test_a_role_may_do_this_and_nothing_else(role: str, allowed: set[str]) -> None:
    """Apart from what a landing zone's parameters add, which `test_template_landing_zone.py` holds."""
    assert {each for each in actions(role) if not each.startswith(("kms:", "ec2:"))} == allowed


def test_each_kind_of_secret_has_one_reader() -> None:
    found = [
        (role, statement["Resource"]["Fn::Sub"].rpartition(":")[2])
        for role in of_type("AWS::IAM::Role")
        for statement in statements(role)
        if any(action.startswith("secretsmanager:") for action in listed(statement["Action"]))
    ]
    assert found == [
        ("GatewayRole", "sluicegate/webhooks/*"),
        ("NotifierRole", "sluicegate/gitlab/*"),
        ("BoardRole", "sluicegate/sign-in/*"),
        ("MessengerRole", "sluicegate/notify/*"),
    ]


def test_rollbacks_have_the_deployer_again_with_concurrency_of_their_own() -> None:
    """guarantees.md#13-a-burst-waits-its-turn"""
    own = ("FunctionName", "Description", "ReservedConcurrentExecutions")
    deployer, rollback = (
        {key: value for key, value in properties(f"{name}Function").items() if key not in own}
        for name in ("Deployer", "Rollback")
    )
    assert rollback == deployer


def test_the_rollout_may_invoke_the_deployer_and_deliver_its_log() -> None:
    others = {action for action in actions("RolloutRole") if not action.startswith("logs:")}
    assert others == {"lambda:InvokeFunction"} | TRACE | SAMPLE
    [run] = [statement for statement in statements("RolloutRole") if statement.get("Sid") == "Run"]
    invoked = [{"Fn::GetAtt": [f"{name}Function", "Arn"]} for name in ("Deployer", "Rollback")]
    assert run["Resource"] == invoked


def test_no_statement_is_wide() -> None:
    for role in of_type("AWS::IAM::Role"):
        for statement in statements(role):
            denies = statement["Effect"] == "Deny"
            assert not {"NotAction", "NotPrincipal"} & set(statement)
            assert denies or "NotResource" not in statement
            assert not any("*" in action for action in listed(statement["Action"])), role


def test_only_what_knows_no_resources_is_allowed_on_all() -> None:
    """A task token is the permission: Step Functions knows no resource of `SendTaskSuccess`."""
    for role in of_type("AWS::IAM::Role"):
        for statement in statements(role):
            if statement.get("Resource") == "*":
                allowed = set(listed(statement["Action"]))
                known = allowed in (TRACE, WAKE, FIND, MEASURE, USES) or all(
                    each.startswith("ec2:") for each in allowed
                )
                assert role in {"RolloutRole", "ApiGatewayLogWriter"} or known, role


def test_every_role_is_written_out_and_can_be_bounded() -> None:
    for role in of_type("AWS::IAM::Role"):
        assert "ManagedPolicyArns" not in properties(role)
        assert properties(role)["PermissionsBoundary"]["Fn::If"][0] == "Bounded"
    assert not of_type("AWS::IAM::Policy")


def test_each_function_has_a_role_and_a_log_of_its_own() -> None:
    for function_name, name in RUN_AS.items():
        function = properties(f"{function_name}Function")
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


def test_what_the_gate_files_targets_need_is_generated() -> None:
    """The roles that the deployer enters besides, and whose alarms the bus takes."""
    [targets] = [
        policy for policy in properties("DeployerRole")["Policies"] if policy.get("PolicyName") == "targets"
    ]
    for document, name in (
        (targets["PolicyDocument"], stack_policies.ROLES),
        (properties("EventBus")["Policy"], stack_policies.EVENTS),
    ):
        location = {"Location": f"build/{name}"}
        assert document == {"Fn::Transform": {"Name": "AWS::Include", "Parameters": location}}


def test_alarms_of_targets_wake_rollouts_too() -> None:
    own, targets = (
        properties("WakerFunction")["Events"][name]["Properties"]
        for name in ("AlarmFires", "AlarmOfTargetFires")
    )
    assert targets == {**own, "EventBusName": {"Ref": "EventBus"}}


def test_only_the_deployer_enters_the_target_role_and_with_the_external_id() -> None:
    *trust, _ = properties("TargetRole")["AssumeRolePolicyDocument"]["Statement"]
    deployer_role = {"AWS": {"Fn::GetAtt": ["DeployerRole", "Arn"]}}
    assert all(statement["Principal"] == deployer_role for statement in trust)
    [enter] = [statement for statement in trust if "sts:AssumeRole" in listed(statement["Action"])]
    external_id = properties("DeployerFunction")["Environment"]["Variables"]["SLUICEGATE_EXTERNAL_ID"]
    assert enter["Condition"] == {
        "StringEquals": {"sts:ExternalId": external_id},
        "Null": {"sts:SourceIdentity": "false"},  # nobody enters for nobody
    }


def test_who_looks_for_drift_enters_the_target_role_with_one_source_identity_and_only_looks() -> None:
    *_, looks = properties("TargetRole")["AssumeRolePolicyDocument"]["Statement"]
    external_id = properties("DriftFunction")["Environment"]["Variables"]["SLUICEGATE_EXTERNAL_ID"]
    assert looks == {
        "Sid": "DriftOfThisStack",
        "Effect": "Allow",
        "Principal": {"AWS": {"Fn::GetAtt": ["DriftRole", "Arn"]}},
        "Action": ["sts:AssumeRole", "sts:SetSourceIdentity"],
        "Condition": {
            "StringEquals": {
                "sts:ExternalId": external_id,
                "sts:SourceIdentity": permissions.DRIFT_IDENTITY,
            }
        },
    }
    every = [one for policy in policies("TargetRole") for one in policy["PolicyDocument"]["Statement"]]
    assert LOOKING_ONLY in every


def test_the_pruner_alone_enters_the_role_that_deletes_versions() -> None:
    external_id = properties("PrunerFunction")["Environment"]["Variables"]["SLUICEGATE_EXTERNAL_ID"]
    assert properties("PruneRole")["AssumeRolePolicyDocument"]["Statement"] == [
        {
            "Sid": "PrunerOfThisStack",
            "Effect": "Allow",
            "Principal": {"AWS": {"Fn::GetAtt": ["PrunerRole", "Arn"]}},
            "Action": ["sts:AssumeRole", "sts:SetSourceIdentity"],
            "Condition": {
                "StringEquals": {
                    "sts:ExternalId": external_id,
                    "sts:SourceIdentity": permissions.PRUNE_IDENTITY,
                }
            },
        }
    ]
    included = [one["PolicyDocument"].get("Fn::Transform") for one in properties("PruneRole")["Policies"]]
    location = {"Location": f"build/{prune_policy.FILE}"}
    assert [one for one in included if one] == [{"Name": "AWS::Include", "Parameters": location}]


def test_no_role_deletes_a_function() -> None:
    """DeleteFunction without a version, or with `$LATEST`, deletes the function."""
    deleting = [
        (role, statement)
        for role in of_type("AWS::IAM::Role")
        for statement in statements(role)
        if "lambda:DeleteFunction" in listed(statement["Action"])
    ]
    assert {role for role, _ in deleting} == {"PruneRole"}
    denied = {one["Sid"]: one for _, one in deleting}
    assert {one["Effect"] for one in denied.values()} == {"Deny"}
    function = "arn:${AWS::Partition}:lambda:${AWS::Region}:${AWS::AccountId}:function:"
    assert denied["NeverAFunction"]["NotResource"] == {"Fn::Sub": f"{function}*:*"}
    assert denied["NeverLatest"]["Resource"] == {"Fn::Sub": f"{function}*:$LATEST"}
    assert denied["NeverSluicegateItself"]["Resource"] == {"Fn::Sub": f"{function}${{AWS::StackName}}-*"}


def test_the_target_role_deploys_what_the_gate_file_names() -> None:
    included = [
        policy["PolicyDocument"]["Fn::Transform"]
        for policy in properties("TargetRole")["Policies"]
        if "Fn::Transform" in policy.get("PolicyDocument", {})
    ]
    assert included == [{"Name": "AWS::Include", "Parameters": {"Location": "build/target-policy.json"}}]


def test_the_policies_that_the_gate_file_needs_beyond_one_are_the_target_roles() -> None:
    for number, name in enumerate(of_type("AWS::IAM::ManagedPolicy"), 2):
        location = {"Location": f"build/target-policy-{number}.json"}
        assert properties(name)["PolicyDocument"] == {
            "Fn::Transform": {"Name": "AWS::Include", "Parameters": location}
        }
        assert properties(name)["Roles"] == [{"Ref": "TargetRole"}]
    assert len(of_type("AWS::IAM::ManagedPolicy")) == target_policy.MANAGED


def test_the_target_role_never_deploys_sluicegate_itself() -> None:
    [denied] = [statement for statement in statements("TargetRole") if statement["Effect"] == "Deny"]
    denied_names = [resource["Fn::Sub"].rsplit("function:", 1)[1] for resource in denied["Resource"]]
    for name in FUNCTIONS:
        own = f"${{AWS::StackName}}-{suffix(name)}"
        assert any(pattern.endswith("*") and own.startswith(pattern[:-1]) for pattern in denied_names), own
    # And no function that is not ours.
    assert set(denied_names) <= {f"${{AWS::StackName}}-{suffix(name)}*" for name in FUNCTIONS}
    assert {
        "lambda:InvokeFunction",
        "lambda:PublishVersion",
        "lambda:UpdateAlias",
        "lambda:UpdateFunctionCode",
    } <= set(denied["Action"])


def test_the_functions_are_called_what_the_gate_refuses_to_deploy() -> None:
    names = [properties(f"{name}Function")["FunctionName"]["Fn::Sub"] for name in FUNCTIONS]
    assert names == [f"${{AWS::StackName}}-{suffix(name)}" for name in FUNCTIONS]
    assert sorted(map(suffix, FUNCTIONS)) == sorted(OWN_FUNCTIONS)
    for name in ("Gateway", "Watcher", "GatewayIam", "WatcherIam", "Notifier", "Messenger", "Board"):
        own = properties(f"{name}Function")["Environment"]["Variables"]["SLUICEGATE_OWN_FUNCTIONS"]
        assert own["Fn::Sub"].split(",") == names


@pytest.mark.parametrize("name", ["Notifier", "Messenger"])
@pytest.mark.parametrize(
    ("sid", "resource"),
    [("Hear", "{}Queue"), ("SetAside", "{}DeadLetters"), ("Read", "Table"), ("Note", "Table")],
)
def test_a_reporter_hears_one_queue_and_reads_the_record(name: str, sid: str, resource: str) -> None:
    [statement] = [one for one in statements(f"{name}Role") if one.get("Sid") == sid]
    assert statement["Resource"] == {"Fn::GetAtt": [resource.format(name), "Arn"]}


@pytest.mark.parametrize(
    ("role", "keys"),
    [
        ("NotifierRole", ["status#*"]),
        ("MessengerRole", ["message#*"]),
        ("WatcherRole", ["poll#*"]),
        ("WatcherIamRole", ["poll#*"]),
        ("SealerRole", ["fact#*", "evidence"]),
        (
            "PrunerRole",
            ["versions#*", "lock#*", "condemned", "pruning", "prune-pass", "fact#pruned#*", "budget#*"],
        ),
    ],
)
def test_a_reader_writes_its_own_items_and_nothing_else(role: str, keys: list[str]) -> None:
    """The notifier its ledger, the watcher its places, the board sign-ins, the sealer facts."""
    for statement in statements(role):
        if (RECORD - {"dynamodb:GetItem"}) & set(listed(statement["Action"])):
            condition = {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": keys}}
            assert statement["Condition"] == condition


@pytest.mark.parametrize(
    ("role", "action", "keys"),
    [
        ("DeployerRole", "dynamodb:Query", ["budget#*"]),
        ("DriftRole", "dynamodb:UpdateItem", ["budget#*"]),
        ("DriftRole", "dynamodb:PutItem", ["drift", "drift-pass"]),
    ],
)
def test_a_role_does_this_with_these_items_alone(role: str, action: str, keys: list[str]) -> None:
    [statement] = [one for one in statements(role) if action in listed(one["Action"])]
    assert statement["Action"] == action
    assert statement["Resource"] == {"Fn::GetAtt": ["Table", "Arn"]}
    assert statement["Condition"] == {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": keys}}


def test_the_board_writes_sign_ins_with_their_lines_and_deletes_none_of_these() -> None:
    """What it does with them is tried against this policy in tests/unit/board/test_role.py."""
    tickets = ["login#*", "intent#*"]
    sessions = ["login#*", "session#*", "intent#*", "grant#*", "fact#sign-in#*", "fact#sign-ins#*"]
    found = {
        action: statement["Condition"]["ForAllValues:StringLike"]["dynamodb:LeadingKeys"]
        for statement in statements("BoardRole")
        for action in listed(statement["Action"])
        if action in RECORD - {"dynamodb:GetItem"}
    }
    assert found.pop("dynamodb:DeleteItem") == tickets
    assert set(map(tuple, found.values())) == {tuple(sessions)}


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
