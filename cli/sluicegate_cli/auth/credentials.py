"""AWS credentials of the caller: from the standard chain, or by AssumeRoleWithWebIdentity from a job's token.

This module imports botocore. No message of an exception here contains a key, a token or a link to sign in.
"""

import logging
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import click
from botocore import UNSIGNED, exceptions
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.session import Session

from sluicegate_cli.auth.sts import SESSION_SECONDS, session_name, sts_error
from sluicegate_cli.auth.tokens import describe_token
from sluicegate_cli.errors import ApiError
from sluicegate_cli.exit_codes import ExitCode

_SPARE: Final = 60.0  # seconds that credentials must still be valid for

# botocore logs a failed refresh with its traceback, and Python prints warnings that nothing handles.
logging.getLogger("botocore").addHandler(logging.NullHandler())
logging.getLogger("botocore").propagate = False


@dataclass(frozen=True)
class AwsCredentials:
    """Credentials at one moment. `expires_at` in epoch seconds; None if it is unknown or there is none."""

    access_key: str
    secret_key: str = field(repr=False)
    session_token: str | None = field(repr=False)
    expires_at: float | None


class CredentialSource(Protocol):
    """Where credentials come from. `method` names it, as botocore does: `env`, `sso`, …"""

    @property
    def method(self) -> str: ...

    def current(self, lasting: float) -> AwsCredentials:
        """Return credentials that last for so many seconds if the source can. Raises ApiError."""

    def renew(self) -> bool:
        """Return whether there are others than the last ones now. Raises ApiError."""


class ChainCredentials:
    """The standard chain: environment, profiles, SSO, web identity, containers, instances.

    Raises UsageError if it finds none.
    """

    def __init__(self, make_session: Callable[[], Session] = Session) -> None:
        self._make_session = make_session
        self._found = self._find()

    @property
    def method(self) -> str:
        return str(getattr(self._found, "method", "") or "unknown")

    def current(self, lasting: float) -> AwsCredentials:  # noqa: ARG002 (botocore renews 10 min early)
        try:
            frozen = self._found.get_frozen_credentials()
        except (BotoCoreError, ClientError, RuntimeError) as error:
            raise credential_error(error) from None
        expiry = getattr(self._found, "_expiry_time", None)  # botocore has no public name for it
        expires_at = expiry.timestamp() if expiry is not None else None
        if not (frozen.access_key and frozen.secret_key):
            raise click.UsageError(_NONE)
        if expires_at is not None and expires_at <= time.time():
            raise ApiError(ExitCode.REFUSED, expired("they ran out before the request was sent"))
        return AwsCredentials(frozen.access_key, frozen.secret_key, frozen.token, expires_at)

    def renew(self) -> bool:
        """Walk the chain again: a profile or a cached sign-in may have newer ones."""
        before = self._found.get_frozen_credentials().access_key
        self._found = self._find()
        return bool(self.current(0).access_key != before)

    def _find(self) -> Any:
        try:
            found = self._make_session().get_credentials()
        except (BotoCoreError, ClientError) as error:
            raise credential_error(error) from None
        if found is None:
            raise click.UsageError(_NONE)
        return found


class WebIdentityCredentials:
    """Sessions of a role for a job's token, each as short as STS allows.

    `client` makes the STS client. The token is sent to STS alone.
    """

    method = "assume-role-with-web-identity"

    def __init__(
        self,
        role_arn: str,
        token: str,
        region: str,
        *,
        environment: Mapping[str, str] = os.environ,
        client: Callable[[], Any] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._role_arn = role_arn
        self._token = token
        self._name = session_name(environment)
        self._client = client or (lambda: _sts_client(region))
        self._clock = clock
        self._held: AwsCredentials | None = None

    def current(self, lasting: float) -> AwsCredentials:
        if self._held is None or self._left(self._held) < max(_SPARE, min(lasting, SESSION_SECONDS / 2)):
            self._held = self._assume()
        return self._held

    def renew(self) -> bool:
        self._held = self._assume()
        return True

    def _left(self, held: AwsCredentials) -> float:
        return (held.expires_at or 0) - self._clock()

    def _assume(self) -> AwsCredentials:
        try:
            answer = self._client().assume_role_with_web_identity(
                RoleArn=self._role_arn,
                RoleSessionName=self._name,
                WebIdentityToken=self._token,
                DurationSeconds=SESSION_SECONDS,
            )
        except ClientError as error:
            failure = error.response.get("Error", {})
            raise sts_error(
                str(failure.get("Code", "")),
                str(failure.get("Message", "")),
                role_arn=self._role_arn,
                token=describe_token(self._token),
            ) from None
        except BotoCoreError as error:
            raise credential_error(error, server="STS") from None
        made = answer["Credentials"]
        return AwsCredentials(
            made["AccessKeyId"],
            made["SecretAccessKey"],
            made["SessionToken"],
            made["Expiration"].timestamp(),
        )


def chain_region() -> str | None:
    """Return the region of the environment or the profile. Raises UsageError for a profile that is wrong."""
    try:
        region = os.environ.get("AWS_REGION") or Session().get_config_variable("region")
    except (BotoCoreError, ValueError) as error:
        raise _misconfigured(error) from None
    return str(region) if region else None


_NONE: Final = (
    "no AWS credentials. Set AWS_PROFILE (after `aws sso login`, if it signs in with SSO), or in a job"
    " request SLUICEGATE_STS_TOKEN (id_tokens: {SLUICEGATE_STS_TOKEN: {aud: ...}}) and set --role-arn."
)


def credential_error(error: Exception, *, server: str = "") -> ApiError | click.UsageError:
    """Return what to raise for an error of the chain. Its text is used only where it can hold no secret."""
    if isinstance(error, (exceptions.ProfileNotFound, exceptions.ConfigParseError)):
        return _misconfigured(error)
    if isinstance(error, exceptions.PartialCredentialsError):
        return click.UsageError(
            "the AWS credentials are incomplete: a variable of AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and"
            " AWS_SESSION_TOKEN, or a line of the profile, is missing"
        )
    if isinstance(error, RuntimeError):  # botocore: "the refreshed credentials are still expired"
        return ApiError(ExitCode.REFUSED, expired("the chain has no newer ones"))
    if isinstance(error, exceptions.NoCredentialsError):
        return click.UsageError(_NONE)
    if isinstance(
        error,
        (
            exceptions.SSOError,
            exceptions.NoAuthTokenError,
            exceptions.TokenRetrievalError,
            exceptions.LoginError,
        ),
    ) or _code(error) in ("UnauthorizedException", "InvalidGrantException", "ExpiredTokenException"):
        detail = "the sign-in of this profile at IAM Identity Center has expired, or was never made"
        document = {"code": "sign_in_expired", "title": "Not signed in to AWS", "detail": detail}
        return ApiError(ExitCode.REFUSED, document)
    if isinstance(error, (exceptions.HTTPClientError, exceptions.ConnectionError)):
        place = server or "the source of the AWS credentials"
        detail = f"{place} could not be reached: {type(error).__name__}"
        code = "sts_unavailable" if server else "credentials_unavailable"
        document = {"code": code, "title": "No answer", "detail": detail}
        return ApiError(ExitCode.UNAVAILABLE, document)
    why = _code(error) or type(error).__name__
    detail = f"the AWS credentials could not be obtained: {why}"
    document = {"code": "credentials_unavailable", "title": "No AWS credentials", "detail": detail}
    return ApiError(ExitCode.REFUSED, document)


def expired(how: str) -> dict[str, Any]:
    """Return the document of credentials that have expired."""
    return {
        "code": "expired_session",
        "title": "AWS credentials expired",
        "detail": f"the AWS credentials have expired: {how}",
    }


def _code(error: Exception) -> str:
    if isinstance(error, ClientError):
        return str(error.response.get("Error", {}).get("Code", ""))[:64]
    return ""


def _misconfigured(error: Exception) -> click.UsageError:
    if isinstance(error, exceptions.ProfileNotFound):
        return click.UsageError("AWS_PROFILE names no profile that exists: see `aws configure list-profiles`")
    if isinstance(error, exceptions.ConfigParseError):
        return click.UsageError("the AWS configuration file (~/.aws/config, AWS_CONFIG_FILE) cannot be read")
    return click.UsageError(f"the AWS configuration cannot be used: {type(error).__name__}")


def _sts_client(region: str) -> Any:
    """Return a client of STS in the region. It signs nothing, so it looks for no credentials."""
    session = Session()
    # The global endpoint's sessions are larger, and are not valid in regions that are off by default.
    session.set_config_variable("sts_regional_endpoints", "regional")
    try:
        config = Config(
            signature_version=UNSIGNED,
            connect_timeout=5,
            read_timeout=10,
            retries={"mode": "standard", "total_max_attempts": 4},
        )
        return session.create_client("sts", region_name=region, config=config)
    except (BotoCoreError, ValueError) as error:
        raise _misconfigured(error) from None
