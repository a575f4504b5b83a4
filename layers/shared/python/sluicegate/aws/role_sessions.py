"""Sessions of assumed roles: clients with their credentials, kept until shortly before the session ends."""

from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, TypeVar, overload

import boto3
from botocore.config import Config

from sluicegate.aws import clients

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sts.type_defs import CredentialsTypeDef

SESSION_SECONDS: Final = 900
"""Seconds that a session lasts: the shortest that STS grants."""

_Key = TypeVar("_Key", bound=Hashable)
_Made = TypeVar("_Made")


class SessionCache(Generic[_Key, _Made]):
    """What was made with a session, by what the session is for. `renew_before` its end it is made again."""

    def __init__(self, renew_before: int) -> None:
        self._lasting = SESSION_SECONDS - renew_before
        self._kept: dict[_Key, tuple[float, _Made]] = {}

    def get(self, key: _Key, now: float, enter: Callable[[], _Made]) -> _Made:
        """Return what was made for the key, or make it; what `enter` raises is not kept."""
        self._kept = {key: kept for key, kept in self._kept.items() if kept[0] > now}
        if key not in self._kept:
            self._kept[key] = (now + self._lasting, enter())
        return self._kept[key][1]

    def forget(self, key: _Key) -> None:
        """Make it again for the next call."""
        self._kept.pop(key, None)


class RoleClients:
    """Clients with the credentials of sessions."""

    def __init__(self) -> None:
        # One for all sessions: each loads the services' models again, which takes 10 MB and 0.2 s.
        self._session = boto3.session.Session()

    def partition_of(self, region: str) -> str:
        """Return the partition of a region, such as `aws-cn`."""
        return str(self._session.get_partition_for_region(region))

    @overload
    def client(
        self,
        service: Literal["lambda"],
        region: str,
        credentials: "CredentialsTypeDef",
        config: Config = clients.CONFIG,
    ) -> "LambdaClient": ...
    @overload
    def client(
        self,
        service: Literal["cloudwatch"],
        region: str,
        credentials: "CredentialsTypeDef",
        config: Config = clients.CONFIG,
    ) -> "CloudWatchClient": ...
    @overload
    def client(
        self,
        service: Literal["s3"],
        region: str,
        credentials: "CredentialsTypeDef",
        config: Config = clients.CONFIG,
    ) -> "S3Client": ...
    def client(
        self,
        service: Literal["lambda", "cloudwatch", "s3"],
        region: str,
        credentials: "CredentialsTypeDef",
        config: Config = clients.CONFIG,
    ) -> Any:
        """Return a client of a service in a region, which acts as the session."""
        return self._session.client(
            service,
            region_name=region,
            aws_access_key_id=credentials["AccessKeyId"],
            aws_secret_access_key=credentials["SecretAccessKey"],
            aws_session_token=credentials["SessionToken"],
            config=config,
        )
