"""STS as AWS answers it: the session of a target's role.

Recorded: localstack/localstack, `tests/aws/services/sts/test_sts.snapshot.json`, of 10 April and 21 July
2025. Documented: AWS STS API reference, AssumeRole, read on 26 November 2026.
"""

import json
from typing import Any

import pytest

from contract.witness import Emulator, Witness, refusal, unique

EXTERNAL = "arn:aws:cloudformation:eu-central-1:111111111111:stack/sluicegate/1"


@pytest.fixture(scope="module")
def target(witness: Witness) -> str:
    """A role as the template makes it: for callers with its external id."""
    if not isinstance(witness, Emulator):
        return str(witness.client("sts").add_role("arn:aws:iam::111111111111:role/target"))
    account = witness.client("sts").get_caller_identity()["Account"]
    trust = {
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:aws:iam::{account}:root"},
        "Action": ["sts:AssumeRole", "sts:SetSourceIdentity", "sts:TagSession"],
    }
    created = witness.client("iam").create_role(
        RoleName=unique(),
        AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]}),
    )
    arn: str = created["Role"]["Arn"]
    return arn


def request(target: str, **changed: Any) -> dict[str, Any]:
    usual = {"RoleArn": target, "RoleSessionName": "01JD0000000000000000000000", "DurationSeconds": 900}
    return {**usual, **changed}


def test_a_session_is_named_after_its_deployment(witness: Witness, target: str) -> None:
    tags = [{"Key": "Ref", "Value": "feature/orders_1.2+3=a@b:c"}]
    answer = witness.client("sts").assume_role(
        **request(target, ExternalId=EXTERNAL, SourceIdentity="project-4213-job-302", Tags=tags)
    )
    assert answer["AssumedRoleUser"]["Arn"].endswith("/01JD0000000000000000000000")
    assert answer["AssumedRoleUser"]["AssumedRoleId"].startswith("AROA")


@pytest.mark.parametrize("name", ["Session1:2", "x" * 65])
def test_a_session_name_is_2_to_64_of_a_small_alphabet(witness: Witness, target: str, name: str) -> None:
    """Recorded: test_sts_invalid_parameters, invalid-session-name."""
    answer = refusal(witness.client("sts").assume_role, **request(target, RoleSessionName=name))
    assert answer[:2] == ("ValidationError", 400)


def test_two_tags_of_one_key_are_refused_in_any_case(witness: Witness, target: str) -> None:
    """Recorded: test_assume_role_tag_validation, duplicate-tag-keys-different-casing."""
    tags = [{"Key": "Ref", "Value": "a"}, {"Key": "ref", "Value": "b"}]
    answer = refusal(witness.client("sts").assume_role, **request(target, Tags=tags))
    assert answer[:2] == ("InvalidParameterValue", 400)


@pytest.mark.parametrize("value", ["x" * 257, "a#b", "a\nb", "a,b"])
def test_a_tag_takes_256_characters_of_a_small_alphabet(witness: Witness, target: str, value: str) -> None:
    """Documented: Tag, `[\\p{L}\\p{Z}\\p{N}_.:/=+\\-@]*`, at most 256 characters."""
    tags = [{"Key": "Ref", "Value": value}]
    answer = refusal(witness.client("sts").assume_role, **request(target, Tags=tags))
    assert answer[:2] == ("ValidationError", 400)


def test_a_session_policy_that_is_not_json_is_refused(witness: Witness, target: str) -> None:
    """Documented: MalformedPolicyDocument."""
    answer = refusal(witness.client("sts").assume_role, **request(target, Policy="{"))
    assert answer[:2] == ("MalformedPolicyDocument", 400)


def test_a_role_that_does_not_exist_is_access_denied(witness: Witness, target: str) -> None:
    """Documented: IAM user guide, "Troubleshoot IAM roles"."""
    answer = refusal(witness.client("sts").assume_role, **request(f"{target}-none"))
    assert answer[:2] == ("AccessDenied", 403)
