"""The way into a target: its role, assumed for one deployment and one function at a time.

CloudTrail shows the session's name, tags and source identity, and so which job of which project it was.
"""

import json
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import boto3
from botocore.config import Config as Settings

from sluicegate.aws import clients, permissions
from sluicegate.aws.cloudwatch import CloudWatch
from sluicegate.aws.lambda_ import FunctionApi
from sluicegate.deployment.model import Deployment, Requester
from sluicegate.settings import DeployerSettings

SESSION: Final = 900
"""Seconds: the shortest session that STS grants."""


@dataclass(frozen=True)
class Access:
    """What one deployment reaches in its target: its function, and what its plan asks and watches there."""

    function: FunctionApi
    hook: FunctionApi | None
    cloudwatch: CloudWatch | None


class Targets:
    """Sessions in targets, kept until they run out."""

    def __init__(self, config: DeployerSettings, sts: Any, clock: Callable[[], float] = time.time) -> None:
        self._config = config
        self._sts = sts
        self._clock = clock
        # One for all of them: each reads the services' models anew, which takes 10 MB and 0.2 s.
        self._session = boto3.session.Session()
        self._kept: dict[str, tuple[float, Access]] = {}

    def enter(self, deployment: Deployment) -> Access:
        """The deployment's function, and nothing else, by a session that says on whose behalf.

        Raises botocore's errors where the role cannot be assumed.
        """
        now = self._clock()
        self._kept = {key: kept for key, kept in self._kept.items() if kept[0] > now}
        if deployment.id not in self._kept:
            self._kept[deployment.id] = (now + SESSION - 120, self._assume(deployment))
        return self._kept[deployment.id][1]

    def _assume(self, deployment: Deployment) -> Access:
        target, plan = deployment.plan.target, deployment.plan
        partition = self._session.get_partition_for_region(target.region)
        answer = self._sts.assume_role(
            RoleArn=f"arn:{partition}:iam::{target.account}:role/{self._config.target_role}",
            RoleSessionName=deployment.id,
            ExternalId=self._config.external_id,
            DurationSeconds=SESSION,
            SourceIdentity=source_identity(deployment.requested_by),
            Tags=session_tags(deployment),
            Policy=session_policy(deployment, partition, self._config.bucket),
        )
        credentials = answer["Credentials"]

        def client(service: Literal["lambda", "cloudwatch"], config: Settings = clients.CONFIG) -> Any:
            return self._session.client(
                service,
                region_name=target.region,
                aws_access_key_id=credentials["AccessKeyId"],
                aws_secret_access_key=credentials["SecretAccessKey"],
                aws_session_token=credentials["SessionToken"],
                config=config,
            )

        def patient(timeout: int) -> Any:
            return client("lambda", clients.CONFIG.merge(clients.once(timeout)))

        lambda_ = client("lambda")
        hook = plan.smoke.hook if plan.smoke else None
        return Access(
            function=FunctionApi(lambda_, deployment.function, patient),
            hook=FunctionApi(lambda_, hook, patient) if hook else None,
            cloudwatch=CloudWatch(client("cloudwatch")) if plan.watch else None,
        )


def session_policy(deployment: Deployment, partition: str, bucket: str) -> str:
    """What the session may do at most: this function, reading this function's artifacts, what the plan needs.

    UpdateFunctionCode reads the object with the caller's permissions (Lambda developer guide).
    """
    target, smoke = deployment.plan.target, deployment.plan.smoke
    functions = f"arn:{partition}:lambda:{target.region}:{target.account}:function"
    function = f"{functions}:{deployment.function}"
    objects = f"arn:{partition}:s3:::{bucket}/{deployment.function}/*"
    allowed: list[tuple[Sequence[str], Any]] = [
        (permissions.ACTIONS, [function, f"{function}:*"]),
        (["s3:GetObject", "s3:GetObjectVersion"], objects),
    ]
    if smoke:
        allowed.append(([permissions.INVOKE], f"{functions}:{smoke.hook}" if smoke.hook else f"{function}:*"))
    if deployment.plan.watch:
        allowed.append((permissions.WATCHING, "*"))
    statements = [
        {"Effect": "Allow", "Action": list(actions), "Resource": resources} for actions, resources in allowed
    ]
    return json.dumps({"Version": "2012-10-17", "Statement": statements}, separators=(",", ":"))


def source_identity(by: Requester) -> str:
    """`project-4213-job-302`, `project-4213-webhook-orders-tags`: 2 to 64 of `[\\w+=,.@-]` (AssumeRole)."""
    asks = f"webhook-{by.webhook}" if by.job_id is None and by.webhook else f"job-{by.job_id}"
    return re.sub(r"[^\w+=,.@-]", "-", f"project-{by.project_id}-{asks}", flags=re.ASCII)[:64]


def session_tags(deployment: Deployment) -> list[dict[str, str]]:
    """Who asked, for CloudTrail. Tag values take letters, digits and `_.:/=+-@` (IAM tagging rules)."""
    by = deployment.requested_by
    tags = {
        "Deployment": deployment.id,
        "Issuer": by.issuer,
        "Project": by.project_id,
        "Pipeline": by.pipeline_id,
        "Job": by.job_id,
        "Ref": by.ref,
        "Commit": by.sha,
        "User": by.user_id,
        "Webhook": by.webhook,
    }
    return [
        {"Key": key, "Value": re.sub(r"[^\w .:/=+@-]", "_", value, flags=re.ASCII)[:256]}
        for key, value in tags.items()
        if value
    ]
