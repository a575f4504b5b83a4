"""Entering the stack's own account and region to look at versions.

The role is the pruner's alone. One session looks; each deletion has a session of its own, whose policy names
one version of one function (security.md#pruning).
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sluicegate.aws import clients, permissions
from sluicegate.aws.lambda_triggers import TriggerApi
from sluicegate.aws.lambda_versions import CodeStorage, NumberedVersion, VersionDeleter, VersionsApi
from sluicegate.aws.role_sessions import SESSION_SECONDS, RoleClients, SessionCache
from sluicegate.deployment.plan import Target
from sluicegate.settings import PrunerSettings

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_sts import STSClient

_RENEW_BEFORE: Final = 240
_READ_TIMEOUT: Final = 5


@dataclass(frozen=True)
class PruneLook:
    """The functions of one account and region, for reading."""

    client: "LambdaClient"
    cloudwatch: "CloudWatchClient"

    def versions(self, next_page: Callable[[], None]) -> VersionsApi:
        return VersionsApi(self.client, next_page)

    def triggers(self, next_page: Callable[[], None]) -> TriggerApi:
        return TriggerApi(self.client, next_page)


class PrunePlace:
    """Sessions in the stack's own account and region. `sts` is STS's client."""

    def __init__(
        self, settings: PrunerSettings, sts: "STSClient", clock: Callable[[], float] = time.time
    ) -> None:
        self._settings = settings
        self._sts = sts
        self._clock = clock
        self._clients = RoleClients()
        self._looking: SessionCache[Target, PruneLook] = SessionCache(_RENEW_BEFORE)

    @property
    def target(self) -> Target:
        return self._settings.own

    def storage(self) -> CodeStorage:
        """Return the account's code storage. Raises LambdaError."""
        return VersionsApi(clients.client("lambda")).code_storage()

    def look(self) -> PruneLook:
        """Return what may look, and change nothing. Raises botocore's errors."""
        return self._looking.get(self.target, self._clock(), self._enter)

    def deleter(self, function: str, number: NumberedVersion) -> VersionDeleter:
        """Return what may delete that version, and do nothing else. Raises botocore's errors."""
        partition = self._clients.partition_of(self.target.region)
        credentials = self._assume(deleting_policy(self.target, partition, function, number))
        config = clients.CONFIG.merge(clients.single_attempt(_READ_TIMEOUT))
        client = self._clients.client("lambda", self.target.region, credentials, config)
        return VersionDeleter(client, function, number)

    def _enter(self) -> PruneLook:
        partition = self._clients.partition_of(self.target.region)
        credentials = self._assume(looking_policy(self.target, partition))
        # One attempt each: what is tried again is paced, too.
        config = clients.CONFIG.merge(clients.single_attempt(_READ_TIMEOUT))
        region = self.target.region
        return PruneLook(
            self._clients.client("lambda", region, credentials, config),
            self._clients.client("cloudwatch", region, credentials),
        )

    def _assume(self, policy: str) -> Any:
        partition = self._clients.partition_of(self.target.region)
        return self._sts.assume_role(
            RoleArn=f"arn:{partition}:iam::{self.target.account}:role/{self._settings.target_role}",
            RoleSessionName=permissions.PRUNE_IDENTITY,
            SourceIdentity=permissions.PRUNE_IDENTITY,
            ExternalId=self._settings.external_id,
            DurationSeconds=SESSION_SECONDS,
            Policy=policy,
        )["Credentials"]


def looking_policy(target: Target, partition: str) -> str:
    """Return the upper limit of a session that looks. The role says at which functions."""
    functions = f"arn:{partition}:lambda:{target.region}:{target.account}:function:*"
    return _document(
        {"Effect": "Allow", "Action": list(permissions.PRUNE_LOOKING), "Resource": functions},
        {"Effect": "Allow", "Action": list(permissions.PRUNE_LOOKING_EVERYWHERE), "Resource": "*"},
    )


def deleting_policy(target: Target, partition: str, function: str, number: NumberedVersion) -> str:
    """Return the upper limit of a session that deletes one version."""
    arn = f"arn:{partition}:lambda:{target.region}:{target.account}:function:{function}:{number.text}"
    return _document({"Effect": "Allow", "Action": [permissions.PRUNE], "Resource": arn})


def _document(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statements}, separators=(",", ":"))
