"""What a company's landing zone demands is there as parameters: off by default, and least rights when on."""

import re
from typing import Any, Final

import pytest

from support.template import (
    FUNCTIONS,
    RESOURCES,
    ROOT,
    RUN_AS,
    TEMPLATE,
    Json,
    actions,
    listed,
    of_type,
    properties,
)

NOTHING: Final = {"Ref": "AWS::NoValue"}
KEY: Final = {"Fn::If": ["Keyed", {"Ref": "KmsKeyArn"}, NOTHING]}
OFF: Final = {
    "AccessLogBucket": "",
    "AllowedCidrs": "",
    "CallerAccounts": "",
    "CallerOrganisation": "",
    "CallerVpcEndpoints": "",
    "CertificateArn": "",
    "DomainName": "",
    "KmsKeyArn": "",
    "PermissionsBoundary": "",
    "RequestsPerAddress": "0",
    "SecurityGroupIds": "",
    "SubnetIds": "",
    "WebAclArn": "",
}


@pytest.mark.parametrize(("parameter", "default"), OFF.items())
def test_it_is_off_by_default(parameter: str, default: object) -> None:
    assert TEMPLATE["Parameters"][parameter]["Default"] == default


def policy(role: str, name: str) -> list[Json]:
    """The statements of a role's policy that a condition adds; none if there is no such policy."""
    found = [each["Fn::If"] for each in properties(role)["Policies"] if "Fn::If" in each]
    named = [(condition, then) for condition, then, _ in found if then["PolicyName"] == name]
    return [statement for _, then in named for statement in then["PolicyDocument"]["Statement"]]


def test_a_key_of_yours_encrypts_everything_that_is_stored() -> None:
    for name in of_type("AWS::Logs::LogGroup"):
        assert properties(name)["KmsKeyId"] == KEY, name
    for name in of_type("AWS::SQS::Queue"):
        assert properties(name)["KmsMasterKeyId"] == KEY, name
        # SQS takes one of the two kinds.
        assert properties(name)["SqsManagedSseEnabled"] == {"Fn::If": ["Keyed", NOTHING, True]}
    assert properties("EventBus")["KmsKeyIdentifier"] == KEY
    assert TEMPLATE["Globals"]["Function"]["KmsKeyArn"] == KEY
    assert properties("Table")["SSESpecification"]["Fn::If"][1] == {
        "SSEEnabled": True,
        "SSEType": "KMS",
        "KMSMasterKeyId": {"Ref": "KmsKeyArn"},
    }
    [rule] = properties("ArtifactBucket")["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert rule["Fn::If"][1] == {
        "ServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": {"Ref": "KmsKeyArn"}},
        "BucketKeyEnabled": True,
    }


@pytest.mark.parametrize(
    ("role", "allowed"),
    [
        ("GatewayRole", {("kms:Decrypt", "dynamodb"), ("kms:Decrypt", "s3"), ("kms:GenerateDataKey", "s3")}),
        (
            "GatewayIamRole",
            {("kms:Decrypt", "dynamodb"), ("kms:Decrypt", "s3"), ("kms:GenerateDataKey", "s3")},
        ),
        ("SealerRole", {("kms:Decrypt", "dynamodb"), ("kms:Decrypt", "s3"), ("kms:GenerateDataKey", "s3")}),
        ("DriftRole", {("kms:Decrypt", "dynamodb")}),
        ("PrunerRole", {("kms:Decrypt", "dynamodb")}),
        ("WatcherRole", {("kms:Decrypt", "dynamodb")}),
        ("WatcherIamRole", {("kms:Decrypt", "dynamodb")}),
        ("DeployerRole", {("kms:Decrypt", "dynamodb"), ("kms:Decrypt", "s3")}),
        ("JanitorRole", {("kms:Decrypt", "dynamodb")}),
        ("WakerRole", {("kms:Decrypt", "dynamodb")}),
        (
            "RelayRole",
            {("kms:Decrypt", "dynamodb"), ("kms:Decrypt", "sqs"), ("kms:GenerateDataKey", "sqs")},
        ),
        (
            "NotifierRole",
            {("kms:Decrypt", "dynamodb"), ("kms:Decrypt", "sqs"), ("kms:GenerateDataKey", "sqs")},
        ),
        (
            "MessengerRole",
            {("kms:Decrypt", "dynamodb"), ("kms:Decrypt", "sqs"), ("kms:GenerateDataKey", "sqs")},
        ),
        ("TargetRole", {("kms:Decrypt", "s3")}),
        ("RolloutRole", set()),
        ("ApiGatewayLogWriter", set()),
    ],
)
def test_a_role_uses_the_key_through_the_services_that_it_calls(
    role: str, allowed: set[tuple[str, str]]
) -> None:
    found = set()
    for statement in policy(role, "key"):
        assert statement["Resource"] == {"Ref": "KmsKeyArn"}
        assert set(statement["Condition"]) == {"StringEquals"}
        for service in statement["Condition"]["StringEquals"]["kms:ViaService"]:
            name, _, rest = service["Fn::Sub"].partition(".")
            assert rest == "${AWS::Region}.${AWS::URLSuffix}"
            found |= {(action, name) for action in listed(statement["Action"])}
    assert found == allowed


def test_only_functions_in_a_vpc_have_network_interfaces() -> None:
    assert TEMPLATE["Globals"]["Function"]["VpcConfig"] == {
        "Fn::If": [
            "InVpc",
            {"SubnetIds": {"Ref": "SubnetIds"}, "SecurityGroupIds": {"Ref": "SecurityGroupIds"}},
            NOTHING,
        ]
    }
    roles = {role for role in of_type("AWS::IAM::Role") if policy(role, "network")}
    assert roles == {f"{name}Role" for name in RUN_AS.values()}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_lambda_makes_the_interfaces_and_the_code_may_not(name: str) -> None:
    allow, deny = policy(f"{RUN_AS[name]}Role", "network")
    assert (allow["Effect"], deny["Effect"]) == ("Allow", "Deny")
    assert allow["Action"] == deny["Action"]
    assert all(action.startswith("ec2:") for action in allow["Action"])
    prefix = "arn:${AWS::Partition}:lambda:${AWS::Region}:${AWS::AccountId}:function:${AWS::StackName}-*"
    assert deny["Condition"] == {"ArnLike": {"lambda:SourceFunctionArn": {"Fn::Sub": prefix}}}


def test_with_a_domain_name_the_api_answers_there_only() -> None:
    assert properties("Api")["DisableExecuteApiEndpoint"] == {"Fn::If": ["Named", True, False]}
    assert properties("Domain")["SecurityPolicy"] == "TLS_1_2"
    assert properties("Domain")["EndpointConfiguration"] == {"Types": ["REGIONAL"]}
    # Pages, component and command line expect an endpoint that ends in /v1.
    assert properties("DomainPath")["BasePath"] == properties("Api")["StageName"] == "v1"
    assert {RESOURCES[name]["Condition"] for name in ("Domain", "DomainPath")} == {"Named"}


def test_what_closes_the_api_takes_effect_at_once() -> None:
    """A policy and a closed address count from the API's next deployment: each of the stack's makes one."""
    assert properties("Api")["AlwaysDeploy"] is properties("PrivateApi")["AlwaysDeploy"] is True


def test_a_web_acl_counts_by_address_and_keeps_no_sample() -> None:
    acl = properties("AddressLimit")
    assert acl["Scope"] == "REGIONAL"
    [rule] = acl["Rules"]
    assert rule["Statement"]["RateBasedStatement"]["Limit"] == {"Ref": "RequestsPerAddress"}
    # Samples show the headers of requests (guarantees.md#7-no-secret-in-any-output).
    for each in (acl, rule):
        assert each["VisibilityConfig"]["SampledRequestsEnabled"] is False
    assert RESOURCES["AddressLimit"]["Condition"] == RESOURCES["AddressLimitOfApi"]["Condition"]
    assert RESOURCES["WebAclOfApi"]["Condition"] == "WebAclGiven"


def test_the_artifact_bucket_can_log_its_accesses() -> None:
    condition, logging, otherwise = properties("ArtifactBucket")["LoggingConfiguration"]["Fn::If"]
    assert (condition, otherwise) == ("AccessLogged", NOTHING)
    assert logging["DestinationBucketName"] == {"Ref": "AccessLogBucket"}


def test_no_condition_is_without_use() -> None:
    def used(value: Any) -> set[str]:
        if isinstance(value, dict):
            here = {value["Condition"]} if isinstance(value.get("Condition"), str) else set()
            here |= {value["Fn::If"][0]} if "Fn::If" in value else set()
            return here.union(*map(used, value.values()))
        return set().union(*map(used, value)) if isinstance(value, list) else set()

    assert used({key: TEMPLATE[key] for key in ("Globals", "Outputs", "Resources")}) == set(
        TEMPLATE["Conditions"]
    )


def test_no_role_has_the_rights_of_a_landing_zone_otherwise() -> None:
    for role in of_type("AWS::IAM::Role"):
        unconditional = [each for each in properties(role)["Policies"] if "Fn::If" not in each]
        if role == "SealerRole":  # it signs, with a key of the stack's own
            [unconditional] = [each["PolicyDocument"]["Statement"] for each in unconditional]
            unconditional = [each for each in unconditional if each.get("Sid") != "Sign"]
        assert not any("kms:" in str(each) or "ec2:" in str(each) for each in unconditional), role
        assert actions(role)


def test_the_page_for_new_accounts_names_every_parameter() -> None:
    page = (ROOT / "docs" / "start" / "deploy.md").read_text()
    named = {
        each
        for row in re.findall(r"^\| (`.+?`) \|", page, re.MULTILINE)
        for each in re.findall(r"`(\w+)`", row)
    }
    assert set(TEMPLATE["Parameters"]) <= named


def test_the_page_for_landing_zones_has_the_functions_and_the_defaults() -> None:
    page = re.sub(r"\s+", " ", (ROOT / "docs" / "guides" / "landing-zone.md").read_text())
    assert len(FUNCTIONS) == 15
    assert "all fifteen functions run there" in page
    assert "the five queues" in page
    assert len(of_type("AWS::SQS::Queue")) == 5
    assert set(OFF) <= set(re.findall(r"`(\w+)`", page))


def accepts(parameter: str, value: str) -> bool:
    """As CloudFormation decides: a pattern matches the whole value, and each value of a list.

    CloudFormation user guide, "Parameters syntax", AllowedPattern, November 2026.
    """
    given = TEMPLATE["Parameters"][parameter]
    values = [one.strip() for one in value.split(",")] if given["Type"] == "CommaDelimitedList" else [value]
    return all(re.fullmatch(given["AllowedPattern"], one) for one in values)


@pytest.mark.parametrize(
    ("parameter", "value", "accepted"),
    [
        *(("RequestsPerAddress", value, True) for value in ("0", "10", "99", "1000", "2000000000")),
        *(
            ("RequestsPerAddress", value, False)
            for value in ("1", "9", "-1", "010", "10.5", "2000000001", "")
        ),
        ("DomainName", "deploy.example.com", True),
        *(("DomainName", value, False) for value in ("https://a.example", "a", "-a.example", "a-.example")),
        *(("AllowedCidrs", value, True) for value in ("", "192.0.2.0/24, 198.51.100.7", "2001:db8::/32")),
        *(
            ("AllowedCidrs", value, False)
            for value in ("office", "192.0.2.0/33", "192.0.2/24", "192.0.2.0/24,x")
        ),
        *(("CallerAccounts", value, True) for value in ("", "111111111111", "111111111111, 222222222222")),
        *(("CallerAccounts", value, False) for value in ("*", "1", "1111111111111", "111111111111,x")),
        *(("CallerOrganisation", value, True) for value in ("", "o-a1b2c3d4e5")),
        *(("CallerOrganisation", value, False) for value in ("*", "r-a1b2", "o-a1b2c3d4e5,o-a1b2c3d4e6")),
        *(("CallerVpcEndpoints", value, True) for value in ("", "vpce-1,vpce-0a")),
        *(("CallerVpcEndpoints", value, False) for value in ("*", "vpc-1", "vpce-1,x")),
        *(("SubnetIds", value, True) for value in ("", "subnet-1,subnet-0a")),
        *(("SubnetIds", value, False) for value in ("sg-1", "subnet-1,x")),
        *(("SecurityGroupIds", value, True) for value in ("", "sg-1,sg-0a")),
        *(("SecurityGroupIds", value, False) for value in ("default", "subnet-1")),
    ],
)
def test_cloudformation_refuses_at_once_what_a_service_would_refuse_later(
    parameter: str, value: str, accepted: bool
) -> None:
    """AWS WAF wants a limit of at least 10 (AWS WAF developer guide, "Rate-based rule statement")."""
    assert accepts(parameter, value) is accepted
    assert TEMPLATE["Parameters"][parameter]["ConstraintDescription"]
    assert accepts(parameter, TEMPLATE["Parameters"][parameter]["Default"])


def test_a_domain_name_without_its_certificate_is_refused_at_once() -> None:
    rule = TEMPLATE["Rules"]["CertificateOfDomainName"]
    assert rule["RuleCondition"] == {"Fn::Not": [{"Fn::Equals": [{"Ref": "DomainName"}, ""]}]}
    [assertion] = rule["Assertions"]
    assert assertion["Assert"] == {"Fn::Not": [{"Fn::Equals": [{"Ref": "CertificateArn"}, ""]}]}
    assert "DomainName needs CertificateArn" in assertion["AssertDescription"]
