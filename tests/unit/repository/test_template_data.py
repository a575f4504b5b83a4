"""Table, bucket and logs in template.yaml."""

import re
from typing import Final

import pytest

from support.template import RESOURCES, ROOT, RUN_AS, TEMPLATE, Json, listed, of_type, properties


def test_every_log_group_forgets_in_time() -> None:
    logs = of_type("AWS::Logs::LogGroup")
    assert {*(f"{name}Log" for name in RUN_AS.values()), "ApiLog", "RolloutLog"} == set(logs)
    assert all(properties(log)["RetentionInDays"] == {"Ref": "LogDays"} for log in logs)


KEPT: Final = {
    "ApiGatewayAccount": "Retain",
    "ApiGatewayLogWriter": "Retain",
    "ArtifactBucket": "RetainExceptOnCreate",
    "ArtifactBucketPolicy": "RetainExceptOnCreate",
    "EvidenceBucket": "RetainExceptOnCreate",
    "EvidenceBucketPolicy": "RetainExceptOnCreate",
    "EvidenceKey": "RetainExceptOnCreate",
    "Table": "Retain",
}
"""What outlives the stack, and whether a failed first creation takes it along.

CloudFormation could not delete the protected table, and would stop in ROLLBACK_FAILED; the region's setting
would name a role that is gone.
"""


def test_what_is_kept_outlives_the_stack() -> None:
    policies = {name: resource.get("DeletionPolicy", "Delete") for name, resource in RESOURCES.items()}
    assert {name: policy for name, policy in policies.items() if policy != "Delete"} == KEPT
    assert all(RESOURCES[name]["UpdateReplacePolicy"] == "Retain" for name in KEPT)


def test_what_its_service_protects_is_not_deleted_by_a_failed_creation() -> None:
    for name, resource in RESOURCES.items():
        if "DeletionProtectionEnabled" in resource["Properties"]:
            assert resource["DeletionPolicy"] == "Retain", name


def test_the_table_can_be_recovered_and_not_deleted() -> None:
    table = properties("Table")
    assert table["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    assert table["DeletionProtectionEnabled"] == {"Ref": "DeletionProtection"}
    assert TEMPLATE["Parameters"]["DeletionProtection"]["Default"] == "true"
    assert all(each["SSEEnabled"] is True for each in table["SSESpecification"]["Fn::If"][1:])
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
        "unfinished": ["unfinished", "due"],
        "watching": ["watching", "id"],
        "unsealed": ["unsealed", "at"],
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
            {
                "StringNotLike": {
                    "aws:userid": [
                        {"Fn::Sub": "${GatewayRole.RoleId}:*"},
                        {"Fn::Sub": "${GatewayIamRole.RoleId}:*"},
                    ]
                }
            },
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


def test_the_pages_script_removes_the_policy_before_what_it_protects() -> None:
    """The bucket's policy is kept with it, and denies everybody to delete an object."""
    page = (ROOT / "docs" / "start" / "deploy.md").read_text()
    [script] = re.findall(r"<<'PYTHON'\n(.*?)^PYTHON$", page, re.DOTALL | re.MULTILINE)
    compile(script, "deploy.md", "exec")
    steps = [
        "DeletionProtectionEnabled=False",
        "delete_table",
        "s3.Policy().delete()",
        "object_versions.delete()",
    ]
    places = [script.index(step) for step in [*steps, "s3.delete()"]]
    assert places == sorted(places)
    for name in ("Table", "ArtifactBucket"):
        assert name in TEMPLATE["Outputs"]


def test_nobody_deletes_or_replaces_evidence() -> None:
    bucket = properties("EvidenceBucket")
    assert bucket["ObjectLockEnabled"] is True
    retention = bucket["ObjectLockConfiguration"]["Rule"]["DefaultRetention"]
    assert retention == {"Mode": {"Ref": "EvidenceMode"}, "Days": {"Ref": "EvidenceDays"}}
    assert TEMPLATE["Parameters"]["EvidenceMode"]["Default"] == "GOVERNANCE"
    assert TEMPLATE["Parameters"]["EvidenceDays"]["Default"] == 400
    assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
    denied = {
        one["Sid"]: (one["Effect"], one["Principal"], one.get("Condition"))
        for one in properties("EvidenceBucketPolicy")["PolicyDocument"]["Statement"]
    }
    assert denied == {
        "OnlyOverTls": ("Deny", "*", {"Bool": {"aws:SecureTransport": "false"}}),
        "OnlyTheSealerWrites": (
            "Deny",
            "*",
            {"StringNotLike": {"aws:userid": {"Fn::Sub": "${SealerRole.RoleId}:*"}}},
        ),
        "NothingIsReplaced": ("Deny", "*", {"Null": {"s3:if-none-match": "true"}}),
        "NothingIsDeleted": ("Deny", "*", None),
    }


def test_only_the_sealer_signs() -> None:
    """Nothing but the statement that names its role lets anybody sign, and no other role has the right."""
    key = properties("EvidenceKey")
    assert (key["KeySpec"], key["KeyUsage"]) == ("ECC_NIST_EDWARDS25519", "SIGN_VERIFY")
    signing = [
        one
        for one in key["KeyPolicy"]["Statement"]
        if {"kms:*", "*", "kms:Sign", "kms:CreateGrant"} & set(listed(one["Action"]))
    ]
    assert [one["Sid"] for one in signing] == ["OnlyTheSealerSigns"]
    [statement] = signing
    role = "arn:${AWS::Partition}:iam::${AWS::AccountId}:role/${AWS::StackName}-sealer"
    assert statement["Condition"] == {
        "ArnEquals": {"aws:PrincipalArn": {"Fn::Sub": role}},
        "StringEquals": {"kms:MessageType": "RAW", "kms:SigningAlgorithm": "ED25519_SHA_512"},
    }
    assert properties("SealerRole")["RoleName"] == {"Fn::Sub": "${AWS::StackName}-sealer"}
    signers = [role for role in of_type("AWS::IAM::Role") if "kms:Sign" in str(properties(role))]
    assert signers == ["SealerRole"]
