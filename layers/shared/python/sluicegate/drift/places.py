"""Entering the accounts and regions where functions are, to look and for nothing else.

The role is the one by which the deployer enters, but the session is another: the trust policy lets the look's
own role in only with the source identity `sluicegate-drift`, and the role denies such a session all but these
calls (security.md#roles).
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sluicegate.aws import clients, permissions
from sluicegate.aws.call_meter import CallMeter
from sluicegate.aws.lambda_ import FunctionApi
from sluicegate.aws.lambda_triggers import TriggerApi
from sluicegate.aws.role_sessions import SESSION_SECONDS, RoleClients, SessionCache
from sluicegate.deployment.plan import Target
from sluicegate.gate.model import TargetReference
from sluicegate.settings import DriftSettings

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_sts import STSClient

_RENEW_BEFORE: Final = 240
_READ_TIMEOUT: Final = 5


@dataclass(frozen=True)
class LookApi:
    """The functions of one account and region, for reading."""

    client: "LambdaClient"

    def triggers(self, next_page: Callable[[], None]) -> TriggerApi:
        return TriggerApi(self.client, next_page)

    def function(self, name: str) -> FunctionApi:
        """Return one function. Nothing here invokes it."""
        return FunctionApi(self.client, name, lambda _: self.client, CallMeter())


class Places:
    """Sessions, each for one account, region, role and external id.

    `sts` returns STS's client for a region, or with None for the stack's own.
    """

    def __init__(
        self,
        settings: DriftSettings,
        sts: "Callable[[str | None], STSClient]",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._sts = sts
        self._clock = clock
        self._clients = RoleClients()
        self._entered: SessionCache[tuple[Target, str, str], LookApi] = SessionCache(_RENEW_BEFORE)

    def target(self, reference: TargetReference) -> Target:
        """Return the account and region of a stage's target."""
        own = self._settings.own
        return Target(reference.account or own.account, reference.region or own.region)

    def enter(self, reference: TargetReference) -> LookApi:
        """Assume the target's role. Raises botocore's errors."""
        target = self.target(reference)
        role = reference.role or self._settings.target_role
        external_id = self._settings.external_id if reference.role is None else reference.external_id or ""
        region = None if reference.role is None else target.region
        return self._entered.get(
            (target, role, external_id),
            self._clock(),
            lambda: self._enter(target, role, external_id, region),
        )

    def _enter(self, target: Target, role: str, external_id: str, region: str | None) -> LookApi:
        partition = self._clients.partition_of(target.region)
        credentials = self._sts(region).assume_role(
            RoleArn=f"arn:{partition}:iam::{target.account}:role/{role}",
            RoleSessionName=permissions.DRIFT_IDENTITY,
            SourceIdentity=permissions.DRIFT_IDENTITY,
            ExternalId=external_id,
            DurationSeconds=SESSION_SECONDS,
            Policy=session_policy(target, partition),
        )["Credentials"]
        # One attempt each: what is tried again is paced, too.
        config = clients.CONFIG.merge(clients.single_attempt(_READ_TIMEOUT))
        return LookApi(self._clients.client("lambda", target.region, credentials, config))


def session_policy(target: Target, partition: str) -> str:
    """Return the session's upper limit: the calls of a look. The role says for which functions."""
    functions = f"arn:{partition}:lambda:{target.region}:{target.account}:function:*"
    statements: list[dict[str, Any]] = [
        {"Effect": "Allow", "Action": list(permissions.LOOKING), "Resource": functions},
        {"Effect": "Allow", "Action": [permissions.EVENT_SOURCES], "Resource": "*"},
    ]
    return json.dumps({"Version": "2012-10-17", "Statement": statements}, separators=(",", ":"))
