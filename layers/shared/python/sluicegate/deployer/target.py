"""Access to a target: its role, assumed for one deployment and one function at a time.

CloudTrail shows the session's name, tags and source identity, and so which job of which project it was for.
"""

import json
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, overload

import boto3
from botocore.config import Config as ClientConfig
from botocore.exceptions import ClientError

from sluicegate.aws import clients, permissions
from sluicegate.aws.cloudwatch import CloudWatch
from sluicegate.aws.errors import error_code
from sluicegate.aws.lambda_ import FunctionApi
from sluicegate.deployment.model import Deployment, Requester
from sluicegate.deployment.plan import Watch
from sluicegate.rollout.analysis import AlarmState
from sluicegate.settings import DeployerSettings

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_sts import STSClient
    from mypy_boto3_sts.type_defs import AssumeRoleRequestTypeDef, CredentialsTypeDef, TagTypeDef

SESSION_SECONDS: Final = 900
"""Seconds that a session lasts: the shortest that STS grants."""

RENEW_BEFORE: Final = 120
"""Seconds before its end from which a session is not used again."""

MAX_TAG: Final = 64
"""Characters of a session tag's value. All tags together then stay below 455 bytes.

Tags and policy share a packed format with a limit of its own. Outside China it is 4,096 bytes since 15
September 2026 (IAM user guide, "Passing session tags"). In China it is smaller: nine tags of 252 characters
took 498 percent of it (aws-actions/configure-aws-credentials#1898, 21 July 2026).
"""


@dataclass(frozen=True)
class TargetAccess:
    """What one deployment may reach in its target: its function, the hook, and CloudWatch for a watch."""

    function: FunctionApi
    hook: FunctionApi | None
    cloudwatch: CloudWatch | None

    def alarm_states(self, watch: Watch | None) -> tuple[tuple[str, AlarmState], ...]:
        """Return the state of each alarm of the watch."""
        return self.cloudwatch.alarm_states(watch.alarms) if watch and self.cloudwatch else ()


class Targets:
    """Sessions in targets, one per deployment, kept until shortly before they end."""

    def __init__(
        self, settings: DeployerSettings, sts: "STSClient", clock: Callable[[], float] = time.time
    ) -> None:
        self._settings = settings
        self._sts = sts
        self._clock = clock
        # One for all sessions: each loads the services' models again, which takes 10 MB and 0.2 s.
        self._session = boto3.session.Session()
        self._cache: dict[str, tuple[float, TargetAccess]] = {}

    def access(self, deployment: Deployment) -> TargetAccess:
        """Return access to the deployment's function, and to nothing else that its plan does not need.

        Raises botocore's errors if the role cannot be assumed.
        """
        now = self._clock()
        self._cache = {key: cached for key, cached in self._cache.items() if cached[0] > now}
        if deployment.id not in self._cache:
            expires_at = now + SESSION_SECONDS - RENEW_BEFORE
            self._cache[deployment.id] = (expires_at, self._assume_role(deployment))
        return self._cache[deployment.id][1]

    def forget(self, deployment: Deployment) -> None:
        """Assume the role again for the deployment's next action."""
        self._cache.pop(deployment.id, None)

    def _assume_role(self, deployment: Deployment) -> TargetAccess:
        target, plan = deployment.plan.target, deployment.plan
        partition = self._session.get_partition_for_region(target.region)
        credentials = request_session(self._sts, self._settings, deployment, partition)

        def single_attempt_client(timeout: int) -> "LambdaClient":
            config = clients.CONFIG.merge(clients.single_attempt(timeout))
            return self._client("lambda", target.region, credentials, config)

        lambda_ = self._client("lambda", target.region, credentials)
        hook = plan.smoke.hook if plan.smoke else None
        return TargetAccess(
            function=FunctionApi(lambda_, deployment.function, single_attempt_client),
            hook=FunctionApi(lambda_, hook, single_attempt_client) if hook else None,
            cloudwatch=(
                CloudWatch(self._client("cloudwatch", target.region, credentials)) if plan.watch else None
            ),
        )

    @overload
    def _client(
        self,
        service: Literal["lambda"],
        region: str,
        credentials: "CredentialsTypeDef",
        config: ClientConfig = clients.CONFIG,
    ) -> "LambdaClient": ...
    @overload
    def _client(
        self,
        service: Literal["cloudwatch"],
        region: str,
        credentials: "CredentialsTypeDef",
        config: ClientConfig = clients.CONFIG,
    ) -> "CloudWatchClient": ...
    def _client(
        self,
        service: Literal["lambda", "cloudwatch"],
        region: str,
        credentials: "CredentialsTypeDef",
        config: ClientConfig = clients.CONFIG,
    ) -> Any:
        return self._session.client(
            service,
            region_name=region,
            aws_access_key_id=credentials["AccessKeyId"],
            aws_secret_access_key=credentials["SecretAccessKey"],
            aws_session_token=credentials["SessionToken"],
            config=config,
        )


def request_session(
    sts: "STSClient", settings: DeployerSettings, deployment: Deployment, partition: str
) -> "CredentialsTypeDef":
    """Assume the target's role for one deployment. Raises botocore's errors.

    Where tags and policy together are too large for STS, it is asked once more with the deployment's id as
    the only tag: that leads to the rest. The policy is what limits the session, so it stays whole.
    """
    request: AssumeRoleRequestTypeDef = {
        "RoleArn": f"arn:{partition}:iam::{deployment.plan.target.account}:role/{settings.target_role}",
        "RoleSessionName": deployment.id,
        "ExternalId": settings.external_id,
        "DurationSeconds": SESSION_SECONDS,
        "SourceIdentity": source_identity(deployment.requested_by),
        "Policy": session_policy(deployment, partition, settings.bucket, settings.kms_key),
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

    Where `kms_key` encrypts the artifacts, the session may decrypt with it; the role's own policy says that
    only S3 may, on its behalf.

    UpdateFunctionCode reads the S3 object with the caller's permissions (Lambda developer guide).
    """
    target, smoke = deployment.plan.target, deployment.plan.smoke
    functions = f"arn:{partition}:lambda:{target.region}:{target.account}:function"
    function = f"{functions}:{deployment.function}"
    objects = f"arn:{partition}:s3:::{bucket}/{deployment.function}/*"
    allowed: list[tuple[Sequence[str], str | list[str]]] = [
        (permissions.ACTIONS, [function, f"{function}:*"]),
        (["s3:GetObject", "s3:GetObjectVersion"], objects),
    ]
    if kms_key:
        allowed.append((["kms:Decrypt"], kms_key))
    if smoke:
        allowed.append(([permissions.INVOKE], f"{functions}:{smoke.hook}" if smoke.hook else f"{function}:*"))
    if deployment.plan.watch:
        allowed.append((permissions.WATCHING, "*"))
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
    return json.dumps({"Version": "2012-10-17", "Statement": statements}, separators=(",", ":"))


def source_identity(requester: Requester) -> str:
    """`project-4213-job-302`, `project-4213-webhook-orders-tags`: 2 to 64 of `[\\w+=,.@-]` (AssumeRole)."""
    by_webhook = requester.job_id is None and requester.webhook
    origin = f"webhook-{requester.webhook}" if by_webhook else f"job-{requester.job_id}"
    return re.sub(r"[^\w+=,.@-]", "-", f"project-{requester.project_id}-{origin}", flags=re.ASCII)[:64]


def session_tags(deployment: Deployment) -> "list[TagTypeDef]":
    """Say in CloudTrail who asked, the deployment's id first. No value that a job chooses can stop it.

    Values take letters, digits, spaces and `_.:/=+-@`, and do not begin with `aws:` (IAM user guide, "Rules
    for tagging", read on 2026-11-26).
    """
    requester = deployment.requested_by
    tags = {
        "Deployment": deployment.id,
        "Issuer": requester.issuer,
        "Project": requester.project_id,
        "Pipeline": requester.pipeline_id,
        "Job": requester.job_id,
        "Ref": requester.ref,
        "Commit": requester.sha,
        "User": requester.user_id,
        "Webhook": requester.webhook,
    }
    return [{"Key": key, "Value": _tag_value(value)} for key, value in tags.items() if value]


def _tag_value(text: str) -> str:
    cut = text if len(text) <= MAX_TAG else f"{text[: MAX_TAG - 3]}..."
    value = re.sub(r"[^A-Za-z0-9 _.:/=+@-]", "_", cut)
    return f"_{value[1:]}" if value.lower().startswith("aws:") else value
