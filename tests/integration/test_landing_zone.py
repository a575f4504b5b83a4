"""The stack in a landing zone: a key, a network, a domain name, access logs, tags and a boundary of its own.

The stand's stack gets all of it in one update, releases a function, and is then as it was. The emulator takes
these changes of bucket, functions and roles without effect: `test_template_landing_zone.py` reads them.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import pytest

from stand import Stand, callers, package, stack
from stand.wide import Wide

pytestmark = pytest.mark.extended

DOMAIN: Final = "deploy.example.com"
BUCKET: Final = "landing-zone-access-logs"
OFF: Final = {
    "AccessLogBucket": "",
    "CertificateArn": "",
    "DomainName": "",
    "KmsKeyArn": "",
    "PermissionsBoundary": "",
    "ReserveConcurrency": "false",
    "SecurityGroupIds": "",
    "SubnetIds": "",
    "Tracing": "false",
}
"""The template's defaults. CloudFormation keeps what is not given."""

EVERYTHING: Final = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}],
}


@dataclass(frozen=True)
class Zone:
    """What a landing zone gives to a stack."""

    key: str
    resources: dict[str, str]
    """Physical ids of the stack's resources, by logical id."""


@pytest.fixture(scope="module")
def zone(wide: Wide) -> Iterator[Zone]:
    stand = wide.stand
    key = stand.client("kms").create_key(Description="of the landing zone")["KeyMetadata"]["Arn"]
    ec2 = stand.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnets = [
        ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.0.{number}.0/24")["Subnet"]["SubnetId"]
        for number in range(2)
    ]
    group = ec2.create_security_group(GroupName="zone", Description="zone", VpcId=vpc)["GroupId"]
    stand.client("s3").create_bucket(
        Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": stand.region}
    )
    boundary = stand.client("iam").create_policy(PolicyName="zone", PolicyDocument=json.dumps(EVERYTHING))
    certificate = stand.client("acm").request_certificate(DomainName=DOMAIN)["CertificateArn"]
    on = {
        "AccessLogBucket": BUCKET,
        "CertificateArn": certificate,
        "DomainName": DOMAIN,
        "KmsKeyArn": key,
        "PermissionsBoundary": boundary["Policy"]["Arn"],
        "ReserveConcurrency": "true",
        "SecurityGroupIds": group,
        "SubnetIds": ",".join(subnets),
        "Tracing": "true",
    }
    assert on.keys() == OFF.keys()
    try:
        callers.redeploy(stand, on, {"team": "delivery"})
        described = stand.client("cloudformation").describe_stack_resources(StackName=stack.NAME)
        yield Zone(
            key,
            {each["LogicalResourceId"]: each["PhysicalResourceId"] for each in described["StackResources"]},
        )
    finally:
        callers.redeploy(stand, OFF)


def test_a_function_is_released_there(stand: Stand, function: str, zone: Zone) -> None:  # noqa: ARG001
    token = stand.token()
    data = package("def handler(event, context):\n    return {'release': 'zone'}\n")
    sha256 = stand.upload(function, data, token=token)
    body = {"action": "deploy", "function": function, "stage": "dev", "artifact": {"sha256": sha256}}
    accepted = stand.http("POST", "/deployments", body, token=token)
    assert accepted.status_code == 202, accepted.text
    done = stand.wait(accepted.json()["id"], token=token)
    assert done["status"] == "succeeded", done
    assert stand.invoke(function, alias="dev") == {"release": "zone"}


def test_the_key_encrypts_what_is_stored(stand: Stand, zone: Zone) -> None:
    for name in ("NotifierQueue", "NotifierDeadLetters", "DeadLetters"):
        attributes = stand.client("sqs").get_queue_attributes(
            QueueUrl=zone.resources[name], AttributeNames=["All"]
        )["Attributes"]
        assert attributes["KmsMasterKeyId"] == zone.key
    table = stand.client("dynamodb").describe_table(TableName=zone.resources["Table"])["Table"]
    assert table["SSEDescription"]["KMSMasterKeyArn"] == zone.key


def test_the_endpoint_is_at_the_domain_name(stand: Stand, zone: Zone) -> None:
    [described] = stand.client("cloudformation").describe_stacks(StackName=stack.NAME)["Stacks"]
    outputs = {output["OutputKey"]: output["OutputValue"] for output in described["Outputs"]}
    assert outputs["Endpoint"] == f"https://{DOMAIN}/v1"
    [mapping] = stand.client("apigateway").get_base_path_mappings(domainName=DOMAIN)["items"]
    assert (mapping["basePath"], mapping["restApiId"]) == ("v1", zone.resources["Api"])
