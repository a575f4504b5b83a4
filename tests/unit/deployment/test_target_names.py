"""Names in a target."""

import re

import pytest

from sluicegate.deployment.target_names import alarms_role_name, alarms_rule_name, bucket_name


@pytest.mark.parametrize("region", ["eu-central-1", "ap-southeast-99", "us-isob-east-1"])
@pytest.mark.parametrize("role", ["sluicegate-target-eu-central-1", "/platform/Deploy_Role+1", "R" * 64])
def test_a_bucket_has_a_name_that_s3_takes(region: str, role: str) -> None:
    """3 to 63 of lower-case letters, digits, dots and hyphens (S3 user guide, "Bucket naming rules")."""
    assert re.fullmatch(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]", bucket_name("222222222222", region, role))


def test_no_two_targets_share_a_bucket() -> None:
    """Names are global in S3, and two stacks may have targets in one account and region."""
    names = {
        bucket_name(account, region, role)
        for account in ("111111111111", "222222222222")
        for region in ("eu-central-1", "eu-west-1")
        for role in ("one-target", "another-target")
    }
    assert len(names) == 8


def test_a_name_stays_as_it_is() -> None:
    """A stack's buckets outlive its releases."""
    name = bucket_name("222222222222", "eu-central-1", "sluicegate-target-eu-central-1")
    assert name == "sluicegate-222222222222-eu-central-1-48df97c8"


@pytest.mark.parametrize(
    ("role", "alarms"),
    [
        ("sluicegate-target-eu-central-1", "sluicegate-target-eu-central-1-alarms"),
        ("Deploy_Role+1", "Deploy_Role+1-alarms"),
        ("R" * 57, "R" * 57 + "-alarms"),
        ("R" * 58, "R" * 48 + "-d04c7e72-alarms"),
    ],
)
def test_the_role_for_alarms_is_named_after_the_targets_role(role: str, alarms: str) -> None:
    assert alarms_role_name(role) == alarms
    assert re.fullmatch(r"[\w+=,.@-]{1,64}", alarms)  # IAM API reference, CreateRole
    assert re.fullmatch(r"[.\-_A-Za-z0-9]{1,64}", alarms_rule_name(role))  # EventBridge's, PutRule


def test_long_roles_have_different_roles_for_alarms() -> None:
    assert alarms_role_name("R" * 63 + "a") != alarms_role_name("R" * 63 + "b")
