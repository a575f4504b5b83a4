"""Sessions in a target: the request that STS gets, and the policy that limits what is granted.

CloudTrail shows a session's name, tags and source identity, and so which job of which project it was for.
"""

import json
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, Literal

from botocore.exceptions import ClientError

from sluicegate.aws import permissions
from sluicegate.aws.errors import error_code
from sluicegate.aws.role_sessions import SESSION_SECONDS
from sluicegate.aws.s3 import object_key
from sluicegate.deployment.model import Deployment, Requester
from sluicegate.deployment.plan import Plan
from sluicegate.deployment.target_names import bucket_name
from sluicegate.settings import DeployerSettings

if TYPE_CHECKING:
    from mypy_boto3_sts import STSClient
    from mypy_boto3_sts.type_defs import AssumeRoleRequestTypeDef, CredentialsTypeDef, TagTypeDef

MAX_TAG: Final = 64
"""Characters of a session tag's value. All tags together then stay below 455 bytes.

Tags and policy share a packed format with a limit of its own. Outside China it is 4,096 bytes since 15
September 2026 (IAM user guide, "Passing session tags"). In China it is smaller: nine tags of 252 characters
took 498 percent of it (aws-actions/configure-aws-credentials#1898, 21 July 2026).
"""

Purpose = Literal["deploy", "copy"]
"""What a session is for: all that a deployment does in its target, or to write its artifact there."""


def request_session(
    sts: "STSClient",
    settings: DeployerSettings,
    deployment: Deployment,
    partition: str,
    purpose: Purpose = "deploy",
) -> "CredentialsTypeDef":
    """Assume the target's role for one deployment. Raises botocore's errors.

    Where tags and policy together are too large for STS, it is asked once more with the deployment's id as
    the only tag: that leads to the rest. The policy is what limits the session, so it stays whole.
    """
    plan = deployment.plan
    if purpose == "copy":
        policy = copy_policy(deployment, partition)
    else:
        policy = session_policy(deployment, partition, settings.bucket, settings.kms_key)
    request: AssumeRoleRequestTypeDef = {
        "RoleArn": f"arn:{partition}:iam::{plan.target.account}:role/{plan.role or settings.target_role}",
        "RoleSessionName": deployment.id,
        "ExternalId": settings.external_id if plan.role is None else plan.external_id or "",
        "DurationSeconds": SESSION_SECONDS,
        "SourceIdentity": source_identity(deployment.requested_by),
        "Policy": policy,
        "Tags": session_tags(deployment),
    }
    try:
        return sts.assume_role(**request)["Credentials"]
    except ClientError as error:
        if error_code(error) not in ("PackedPolicyTooLarge", "PackedPolicyTooLargeException"):
            raise
    request["Tags"] = request["Tags"][:1]
    return sts.assume_role(**request)["Credentials"]


def session_policy(deployment: Deployment, partition: str, bucket: str, kms_key: str | None = None) -> str:
    """Return the session's upper limit: this function, its artifacts, and what the plan needs.

    `bucket` and `kms_key` are the stack's own. Where the key encrypts the artifacts, the session may decrypt
    with it; the role's own policy says that only S3 may, on its behalf. A target of the gate file has a
    bucket of its own, and maybe a key.

    UpdateFunctionCode reads the S3 object with the caller's permissions (Lambda developer guide).
    """
    plan, target = deployment.plan, deployment.plan.target
    functions = f"arn:{partition}:lambda:{target.region}:{target.account}:function"
    function = f"{functions}:{deployment.function}"
    if plan.role is not None:
        bucket = bucket_name(target.account, target.region, plan.role)
    objects = f"arn:{partition}:s3:::{bucket}/{deployment.function}/*"
    allowed: list[tuple[Sequence[str], str | list[str]]] = [
        (permissions.ACTIONS, [function, f"{function}:*"]),
        (["s3:GetObject", "s3:GetObjectVersion"], objects),
    ]
    if plan.role is not None:
        # Without it S3 does not say that an object is missing (API reference, HeadObject).
        allowed.append((["s3:ListBucket"], f"arn:{partition}:s3:::{bucket}"))
    elif kms_key:
        allowed.append((["kms:Decrypt"], kms_key))
    if invoked := _invoked(plan, functions, function):
        allowed.append(([permissions.INVOKE], invoked))
    if plan.watch:
        more = [permissions.EVENT_SOURCES] if plan.watch.by_event_source else []
        allowed.append(([*permissions.WATCHING, *more], "*"))
    statements: list[dict[str, Any]] = [
        {"Effect": "Allow", "Action": list(actions), "Resource": resources} for actions, resources in allowed
    ]
    # The role itself is given no key: a key's policy may let it use the key, and this lets the session do so.
    encrypted = {"kms:EncryptionContext:aws:lambda:FunctionArn": [function, f"{function}:*"]}
    statements.append(
        {
            "Effect": "Allow",
            "Action": list(permissions.KEYS),
            "Resource": f"arn:{partition}:kms:{target.region}:*:key/*",
            "Condition": {"StringLike": encrypted},
        }
    )
    if plan.role is not None:
        statements.append(_bucket_key(deployment, partition, ["kms:Decrypt"]))
    return _document(statements)


def _invoked(plan: Plan, functions: str, function: str) -> list[str]:
    """Return the ARNs of what is invoked: the function's versions or a hook, and the function that judges."""
    arns: dict[str, None] = {}
    if plan.smoke:
        arns[f"{functions}:{plan.smoke.hook}" if plan.smoke.hook else f"{function}:*"] = None
    if plan.watch and plan.watch.judge:
        arns[f"{functions}:{plan.watch.judge.function}"] = None
    return list(arns)


def copy_policy(deployment: Deployment, partition: str) -> str:
    """Return the upper limit of a session that writes one object: the artifact, into the target's bucket.

    S3 asks for Decrypt and GenerateDataKey where a key encrypts the bucket (S3 user guide, "Using server-side
    encryption with AWS KMS keys").
    """
    plan, target = deployment.plan, deployment.plan.target
    bucket = bucket_name(target.account, target.region, plan.role or "")
    key = object_key(deployment.function, deployment.sha256)
    write = {
        "Effect": "Allow",
        "Action": ["s3:PutObject"],
        "Resource": f"arn:{partition}:s3:::{bucket}/{key}",
    }
    return _document([write, _bucket_key(deployment, partition, list(permissions.KEYS))])


def _bucket_key(deployment: Deployment, partition: str, actions: list[str]) -> dict[str, Any]:
    """Let S3 use a key of the target's bucket for the session, if the role itself may."""
    region = deployment.plan.target.region
    return {
        "Effect": "Allow",
        "Action": actions,
        "Resource": f"arn:{partition}:kms:{region}:*:key/*",
        "Condition": {"StringLike": {"kms:ViaService": f"s3.{region}.*"}},
    }


def _document(statements: list[dict[str, Any]]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statements}, separators=(",", ":"))


def source_identity(requester: Requester) -> str:
    """`project-4213-job-302`, `project-4213-webhook-orders-tags`: 2 to 64 of `[\\w+=,.@-]` (AssumeRole).

    Of a request with IAM credentials alone `person-ada@example.com`, or `principal-AROACALLER11111111111-ci`;
    of a signed-in person `user-7-ada`.
    One with both credentials is its job's, and the session's tags have the principal.
    """
    if requester.via == "iam":
        person = requester.principal_type == "sso"
        who = "person" if person else f"principal-{requester.principal_id}"
        return _source_identity(f"{who}-{requester.session_name}" if requester.session_name else who)
    if requester.via == "session":
        return _source_identity(f"user-{requester.user_id}-{requester.user_login}")
    by_webhook = requester.job_id is None and requester.webhook
    origin = f"webhook-{requester.webhook}" if by_webhook else f"job-{requester.job_id}"
    return _source_identity(f"project-{requester.project_id}-{origin}")


def _source_identity(text: str) -> str:
    return re.sub(r"[^\w+=,.@-]", "-", text, flags=re.ASCII)[:64]


def session_tags(deployment: Deployment) -> "list[TagTypeDef]":
    """Say in CloudTrail who asked, the deployment's id first. No value that a job chooses can stop it.

    Values take letters, digits, spaces and `_.:/=+-@`, and do not begin with `aws:` (IAM user guide, "Rules
    for tagging", read on 2026-11-26).
    """
    requester, built = deployment.requested_by, deployment.built
    # A person has no project and no commit: what they promote or roll back to has.
    code = built.by if requester.via == "session" and built else requester
    tags = {
        "Deployment": deployment.id,
        "Issuer": requester.issuer,
        "Project": code.project_id,
        "Pipeline": requester.pipeline_id,
        "Job": requester.job_id,
        "Ref": code.ref,
        "Commit": code.sha,
        "User": requester.user_id,
        "Webhook": requester.webhook,
        "Account": requester.account,
        "Principal": requester.principal_id,
        "Role": requester.role,
        "Session": requester.session_name,
    }
    return [{"Key": key, "Value": _tag_value(value)} for key, value in tags.items() if value]


def _tag_value(text: str) -> str:
    cut = text if len(text) <= MAX_TAG else f"{text[: MAX_TAG - 3]}..."
    value = re.sub(r"[^A-Za-z0-9 _.:/=+@-]", "_", cut)
    return f"_{value[1:]}" if value.lower().startswith("aws:") else value
