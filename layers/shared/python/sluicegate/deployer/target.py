"""Access to a target: its role, assumed for one deployment and one function at a time."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from botocore.config import Config as ClientConfig
from botocore.exceptions import BotoCoreError, HTTPClientError

from sluicegate.aws import clients
from sluicegate.aws.call_meter import CallMeter
from sluicegate.aws.cloudwatch import CloudWatch
from sluicegate.aws.errors import ErrorKind, classify, error_code
from sluicegate.aws.lambda_ import FunctionApi
from sluicegate.aws.role_sessions import RoleClients, SessionCache
from sluicegate.aws.s3 import Artifacts
from sluicegate.deployer.sessions import Purpose, request_session
from sluicegate.deployment.model import Deployment
from sluicegate.deployment.observations import AlarmReading
from sluicegate.deployment.plan import Plan, Target, Watch
from sluicegate.deployment.target_names import bucket_name
from sluicegate.settings import DeployerSettings

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_sts import STSClient
    from mypy_boto3_sts.type_defs import CredentialsTypeDef

RENEW_BEFORE: Final = 120
"""Seconds before its end from which a session is not used again."""


class StsUnreachable(HTTPClientError):
    """STS in the region of a gate file's target did not answer; `code` is the name of botocore's error."""

    def __init__(self, error: BotoCoreError) -> None:
        super().__init__(error=error)
        self.code = error_code(error)


@dataclass(frozen=True)
class TargetAccess:
    """What one deployment may reach in its target: its function, the hook, and CloudWatch for a watch.

    `bucket` is the target's own, which the session may read; None where Lambda reads the stack's. `judge` is
    the watch's function that judges.
    """

    function: FunctionApi
    hook: FunctionApi | None
    cloudwatch: CloudWatch | None
    bucket: Artifacts | None = None
    judge: FunctionApi | None = None

    def alarm_states(self, watch: Watch | None) -> tuple[AlarmReading, ...]:
        """Return the state of each alarm of the watch."""
        return self.cloudwatch.alarm_readings(watch.alarms) if watch and self.cloudwatch else ()


_SessionKey = tuple[str, Target, str | None, str | None]
"""A deployment, and its target with role and external id: no two of either share a session."""


class Targets:
    """Sessions in targets, each for one deployment and purpose, kept until shortly before they end.

    `sts` returns STS's client for a region, or with None for the stack's own. `meter` counts their calls.
    """

    def __init__(
        self,
        settings: DeployerSettings,
        sts: "Callable[[str | None], STSClient]",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._sts = sts
        self._clock = clock
        self._clients = RoleClients()
        self.meter = CallMeter()
        # One cache for each purpose: what may write an object may do nothing else.
        self._entered: SessionCache[_SessionKey, TargetAccess] = SessionCache(RENEW_BEFORE)
        self._writing: SessionCache[_SessionKey, Artifacts] = SessionCache(RENEW_BEFORE)

    def access(self, deployment: Deployment) -> TargetAccess:
        """Return access to the deployment's function, and to nothing else that its plan does not need.

        Raises botocore's errors if the role cannot be assumed.
        """
        return self._entered.get(_key(deployment), self._clock(), lambda: self._enter(deployment))

    def writer(self, deployment: Deployment) -> Artifacts:
        """Return the target's bucket for writing: the deployment's artifact, and nothing else.

        Raises botocore's errors if the role cannot be assumed, and ValueError for the stack's own target.
        """
        return self._writing.get(_key(deployment), self._clock(), lambda: self._enter_to_write(deployment))

    def forget(self, deployment: Deployment) -> None:
        """Assume the role again for the deployment's next action."""
        self._entered.forget(_key(deployment))
        self._writing.forget(_key(deployment))

    def _enter(self, deployment: Deployment) -> TargetAccess:
        target, plan = deployment.plan.target, deployment.plan
        credentials = self._assume_role(deployment, "deploy")

        def single_attempt_client(timeout: int) -> "LambdaClient":
            config = clients.CONFIG.merge(clients.single_attempt(timeout))
            return self._clients.client("lambda", target.region, credentials, config)

        # botocore's own retries would take calls that nobody counts, and hide that calls are throttled.
        config = clients.CONFIG.merge(clients.single_attempt(clients.READ_TIMEOUT))
        lambda_ = self._clients.client("lambda", target.region, credentials, config)
        hook = plan.smoke.hook if plan.smoke else None
        judge = plan.watch.judge.function if plan.watch and plan.watch.judge else None
        return TargetAccess(
            function=FunctionApi(lambda_, deployment.function, single_attempt_client, self.meter),
            hook=FunctionApi(lambda_, hook, single_attempt_client, self.meter) if hook else None,
            judge=FunctionApi(lambda_, judge, single_attempt_client, self.meter) if judge else None,
            cloudwatch=(
                CloudWatch(self._clients.client("cloudwatch", target.region, credentials))
                if plan.watch
                else None
            ),
            bucket=self._bucket(plan, credentials, clients.CONFIG) if plan.role else None,
        )

    def _enter_to_write(self, deployment: Deployment) -> Artifacts:
        if deployment.plan.role is None:
            raise ValueError("nothing is copied within the stack's own account and region")
        credentials = self._assume_role(deployment, "copy")
        return self._bucket(deployment.plan, credentials, clients.CONFIG.merge(clients.TRANSFER_CONFIG))

    def _bucket(self, plan: Plan, credentials: "CredentialsTypeDef", config: ClientConfig) -> Artifacts:
        target = plan.target
        client = self._clients.client("s3", target.region, credentials, config.merge(clients.S3_CONFIG))
        return Artifacts(client, bucket_name(target.account, target.region, plan.role or ""), target.account)

    def _assume_role(self, deployment: Deployment, purpose: Purpose) -> "CredentialsTypeDef":
        plan = deployment.plan
        partition = self._clients.partition_of(plan.target.region)
        if plan.role is None:
            return request_session(self._sts(None), self._settings, deployment, partition, purpose)
        try:
            sts = self._sts(plan.target.region)
            return request_session(sts, self._settings, deployment, partition, purpose)
        except BotoCoreError as error:
            if classify(error) is ErrorKind.UNAVAILABLE:
                raise StsUnreachable(error) from None
            raise


def _key(deployment: Deployment) -> _SessionKey:
    plan = deployment.plan
    return deployment.id, plan.target, plan.role, plan.external_id
