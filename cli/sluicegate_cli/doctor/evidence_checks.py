"""Check a stack's evidence: that a head was signed lately, that the key can sign, and the bucket's lock."""

import time
from collections.abc import Iterator
from datetime import datetime
from typing import Final

from sluicegate.settings import FIRST_LOG
from sluicegate_cli.doctor.aws_calls import AwsCalls
from sluicegate_cli.doctor.findings import CheckVerdict, Finding, format_age
from sluicegate_cli.doctor.stack import DeployedStack

HEADS: Final = "the evidence is signed every hour"
KEYS: Final = "the evidence's key can sign"
LOCK: Final = "the evidence is locked"

_SPEC: Final = "ECC_NIST_EDWARDS25519"
_LATE: Final = 2 * 3_600
"""Seconds after which a head is late: one is signed in the first minutes of each hour."""

_AUDIT: Final = "docs/guides/audit.md"
_UPDATE: Final = "Update the stack: `make deploy`."


def heads(aws: AwsCalls, stack: DeployedStack) -> Iterator[Finding]:
    """Look for the newest signed head in the bucket, of the log that the stack writes now."""
    bucket = stack.outputs.get("EvidenceBucket")
    if not bucket:
        yield Finding(HEADS, CheckVerdict.WARNING, f"{stack.name} keeps no evidence", _UPDATE)
        return
    log = stack.parameters.get("EvidenceLog") or FIRST_LOG
    prefix = f"{'' if log == FIRST_LOG else f'log-{log}/'}heads/"
    found = aws.pages("s3", "ListObjectsV2", "Contents", most=200, Bucket=bucket, Prefix=prefix)
    newest = max(found, key=lambda one: (one["LastModified"], one["Key"]), default=None)
    if newest is None:
        seen = f"{bucket} has no signed head of log {log} yet"
        change = (
            f"Wait five minutes after the first `make deploy`. After that, see the sealer's log and {_AUDIT}."
        )
        yield Finding(HEADS, CheckVerdict.WARNING, seen, change)
        return
    moment: datetime = newest["LastModified"]
    age = time.time() - moment.timestamp()
    seen = f"the last head was signed {format_age(age)} ago"
    if age > _LATE:
        change = f"See the sealer's log and its alarms. It stops where the evidence is forked: {_AUDIT}."
        yield Finding(HEADS, CheckVerdict.WRONG, seen, change)
    else:
        yield Finding(HEADS, CheckVerdict.OK, seen)


def keys(aws: AwsCalls, stack: DeployedStack) -> Iterator[Finding]:
    """Check each key with which heads are signed: that it is enabled, and of the right kind."""
    arns = [stack.outputs.get("EvidenceKeyArn"), stack.parameters.get("EvidencePreviousKeyArn")]
    for arn in filter(None, arns):
        answer = aws.find("kms", "DescribeKey", KeyId=arn)
        name = arn.rpartition("/")[2]
        key = answer["KeyMetadata"] if answer else {}
        state, spec = key.get("KeyState", "missing"), key.get("KeySpec", "")
        if state == "PendingDeletion":
            change = f"Keep it: `aws kms cancel-key-deletion --key-id {arn}`, then `enable-key`."
        elif state == "Disabled":
            change = f"Enable it: `aws kms enable-key --key-id {arn}`."
        else:
            change = f"No head can be signed with it: see {_AUDIT}, Change the key."
        if state != "Enabled":
            yield Finding(KEYS, CheckVerdict.WRONG, f"the key {name} is {state}", change)
        elif (spec, key.get("KeyUsage")) != (_SPEC, "SIGN_VERIFY"):
            seen = f"the key {name} is {spec} for {key.get('KeyUsage')}, and not {_SPEC} for SIGN_VERIFY"
            yield Finding(KEYS, CheckVerdict.WRONG, seen, f"Give one of that kind: see {_AUDIT}.")
        else:
            yield Finding(KEYS, CheckVerdict.OK, f"the key {name} is enabled, {spec}")


def lock(aws: AwsCalls, stack: DeployedStack) -> Iterator[Finding]:
    """Compare the bucket's default retention with the stack's parameters."""
    bucket = stack.outputs.get("EvidenceBucket")
    if not bucket:
        return
    wanted = stack.parameters.get("EvidenceMode", "GOVERNANCE"), stack.parameters.get("EvidenceDays", "400")
    answer = aws.find("s3", "GetObjectLockConfiguration", Bucket=bucket) or {}
    rule = answer.get("ObjectLockConfiguration", {}).get("Rule", {}).get("DefaultRetention", {})
    mode, days = rule.get("Mode"), rule.get("Days") or 365 * rule.get("Years", 0)
    change = (
        f"CloudTrail says who changed it (PutObjectLockConfiguration). {_UPDATE[:-1]}, after drift detection."
    )
    if not rule:
        seen = f"{bucket} has no Object Lock, or no default retention: its objects can be deleted"
        yield Finding(LOCK, CheckVerdict.WRONG, seen, change)
    elif (mode, str(days)) != wanted:
        seen = f"{bucket} keeps objects for {days} days, {mode}; the stack says {wanted[1]} days, {wanted[0]}"
        yield Finding(LOCK, CheckVerdict.WRONG, seen, change)
    else:
        yield Finding(LOCK, CheckVerdict.OK, f"{bucket} keeps each object for {days} days, {mode}")
