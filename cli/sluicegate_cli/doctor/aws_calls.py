"""AWS calls with the operator's credentials, for `doctor`: bounded, and with errors that say what to do.

A call that the credentials do not allow is no failure of the check: it raises CouldNotCheck, which names the
permission (`lambda:GetAccountSettings`). Credentials that cannot be used at all raise NoAccess, once.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import click

from sluicegate.text import clean
from sluicegate_cli.doctor.findings import CheckVerdict, Finding
from sluicegate_cli.exit_codes import ExitCode

_DENIED: Final = frozenset(
    {
        "AccessDenied",
        "AccessDeniedException",
        "AuthorizationError",
        "AuthorizationErrorException",
        "UnauthorizedOperation",
    }
)
_EXPIRED: Final = frozenset(
    {"ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"}
)
_INVALID: Final = frozenset(
    {
        "InvalidClientTokenId",
        "UnrecognizedClientException",
        "SignatureDoesNotMatch",
        "InvalidSignatureException",
        "IncompleteSignature",
        "AuthFailure",
        "InvalidAccessKeyId",
    }
)
_MISSING: Final = frozenset(
    {
        "404",  # of a HEAD request, which has no body with a code
        "AWS.SimpleQueueService.NonExistentQueue",
        "NoSuchEntity",
        "ObjectLockConfigurationNotFoundError",
        "NotFoundException",
        "ProvisionedConcurrencyConfigNotFoundException",
        "QueueDoesNotExist",
        "ResourceNotFoundException",
    }
)
_BUSY: Final = ("Throttl", "TooManyRequests", "RequestLimitExceeded", "SlowDown", "Unavailable", "Timeout")
"""Parts of the codes of AWS that ask for patience."""

# The permission of a call, where it is not `service:Operation` (AWS's Service Authorization Reference).
_PREFIXES: Final = {"stepfunctions": "states"}
_PERMISSIONS: Final = {
    ("apigateway", "GetAccount"): "apigateway:GET (on /account)",
    ("lambda", "Invoke"): "lambda:InvokeFunction",
    ("s3", "GetObjectLockConfiguration"): "s3:GetBucketObjectLockConfiguration",
    ("s3", "HeadBucket"): "s3:ListBucket",
    ("s3", "ListObjectVersions"): "s3:ListBucketVersions",
    ("s3", "ListObjectsV2"): "s3:ListBucket",
    ("lambda", "GetLayerVersionByArn"): "lambda:GetLayerVersion",
}

RENEW: Final = "Sign in again (`aws sso login`, or new session credentials), then run this again."
CHOOSE: Final = (
    "Set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, to credentials of the account."
)


class CouldNotCheck(Exception):
    """One thing could not be looked at. The message says why; `change` is what would help.

    `exit` is the exit code of a command that needs it (docs/reference/cli.md#exit-codes).
    """

    def __init__(self, seen: str, change: str = "", exit_code: ExitCode = ExitCode.UNACCEPTABLE) -> None:
        super().__init__(seen)
        self.seen = seen
        self.change = change
        self.exit = exit_code


class NoAccess(CouldNotCheck):
    """The credentials cannot be used, so no call will work."""


class AwsCalls:
    """Calls AWS in one region, through `client`, which makes a boto3 client by the name of its service."""

    def __init__(self, client: Callable[[str], Any], region: str) -> None:
        self._client = client
        self._clients: dict[str, Any] = {}
        self.region = region

    def client(self, service: str) -> Any:
        """Return the client of a service: made at first use, then kept."""
        if service not in self._clients:
            self._clients[service] = self._client(service)
        return self._clients[service]

    def call(self, service: str, operation: str, **arguments: Any) -> Mapping[str, Any]:
        """Return the response. Raises CouldNotCheck, and NoAccess for credentials that are unusable."""
        answer = self.find(service, operation, **arguments)
        if answer is None:
            raise CouldNotCheck(f"{permission_of(service, operation)}: AWS does not know it")
        return answer

    def find(self, service: str, operation: str, **arguments: Any) -> Mapping[str, Any] | None:
        """Return the response, or None if the resource does not exist. Raises CouldNotCheck and NoAccess."""
        from botocore import xform_name
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            answer: Mapping[str, Any] = getattr(self.client(service), xform_name(operation))(**arguments)
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            if code in _MISSING or code.rpartition("#")[2] in _MISSING:
                return None
            raise _of_answer(service, operation, error) from None
        except BotoCoreError as error:
            raise without_answer(service, operation, error) from None
        return answer

    def pages(
        self, service: str, operation: str, key: str, most: int = 50, **arguments: Any
    ) -> Iterator[Any]:
        """Yield the items of at most `most` pages. Raises CouldNotCheck and NoAccess."""
        from botocore import xform_name
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            paginator = self.client(service).get_paginator(xform_name(operation))
            for number, page in enumerate(paginator.paginate(**arguments), 1):
                yield from page.get(key) or ()
                if number == most:
                    return
        except ClientError as error:
            raise _of_answer(service, operation, error) from None
        except BotoCoreError as error:
            raise without_answer(service, operation, error) from None


def connect(region: str | None, *, what: str) -> AwsCalls:
    """Return calls with the caller's own credentials. Raises UsageError without boto3 or a region.

    `what` names the option that needs them, for the messages.
    """
    try:
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError
    except ImportError:
        raise click.UsageError(
            f"{what} needs boto3: pip install boto3, or this package's extra `aws`"
        ) from None
    patience = Config(
        connect_timeout=5, read_timeout=20, retries={"mode": "standard", "total_max_attempts": 3}
    )
    try:
        # boto3 itself reads AWS_DEFAULT_REGION and the profile, and not AWS_REGION, as other SDKs do.
        session = boto3.session.Session(region_name=region or os.environ.get("AWS_REGION") or None)
    except (BotoCoreError, ValueError) as error:
        raise click.UsageError(f"cannot use AWS: {clean(str(error))}") from None
    if not session.region_name:
        raise click.UsageError("no AWS region: add --region, set AWS_REGION, or use a profile that has one")

    def client(service: str) -> Any:
        try:
            return session.client(service, config=patience)  # type: ignore[call-overload]
        except (BotoCoreError, ValueError) as error:
            raise click.UsageError(f"cannot use AWS: {clean(str(error))}") from None

    return AwsCalls(client, session.region_name)


def permission_of(service: str, operation: str) -> str:
    """Return the IAM action that a call needs."""
    return _PERMISSIONS.get((service, operation), f"{_PREFIXES.get(service, service)}:{operation}")


def looked(check: str, look: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """Yield the findings of a check, and an unknown one if it cannot be made. Raises NoAccess."""
    try:
        yield from look()
    except NoAccess:
        raise
    except CouldNotCheck as error:
        yield Finding(check, CheckVerdict.UNKNOWN, error.seen, error.change)


def _of_answer(service: str, operation: str, error: Any) -> CouldNotCheck:
    code = str(error.response.get("Error", {}).get("Code", "")).rpartition("#")[2]
    message = clean(str(error.response.get("Error", {}).get("Message", "")), 200)
    if code in _EXPIRED:
        return NoAccess("the AWS credentials have expired", RENEW, ExitCode.REFUSED)
    if code in _INVALID:
        return NoAccess(f"AWS does not accept the credentials: {code}", CHOOSE, ExitCode.REFUSED)
    if code in _DENIED:
        permission = permission_of(service, operation)
        return CouldNotCheck(f"could not check: needs {permission}", exit_code=ExitCode.REFUSED)
    seen = f"could not check: {permission_of(service, operation)} answered {code}: {message}"
    return CouldNotCheck(seen, exit_code=_exit_of(code, error))


def _exit_of(code: str, error: Any) -> ExitCode:
    """Return the exit code for an error response: most services throttle with a 400."""
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 400)
    if status == 429 or status >= 500 or any(word in code for word in _BUSY):
        return ExitCode.UNAVAILABLE
    return ExitCode.REFUSED if status in (401, 403) else ExitCode.UNACCEPTABLE


def without_answer(service: str, operation: str, error: Exception) -> CouldNotCheck:
    """Return what to raise for an error of botocore's own: there was no answer to read."""
    from botocore import exceptions

    if isinstance(error, (exceptions.NoCredentialsError, exceptions.PartialCredentialsError)):
        return NoAccess("there are no AWS credentials", CHOOSE, ExitCode.USAGE)
    if isinstance(error, exceptions.CredentialRetrievalError):
        seen = f"the AWS credentials are unavailable: {clean(str(error), 200)}"
        return NoAccess(seen, CHOOSE, ExitCode.REFUSED)
    if isinstance(
        error,
        (
            exceptions.LoginError,
            exceptions.NoAuthTokenError,
            exceptions.SSOError,
            exceptions.TokenRetrievalError,
        ),
    ):
        return NoAccess("the AWS sign-in has expired", RENEW, ExitCode.REFUSED)
    return CouldNotCheck(
        f"could not check: {permission_of(service, operation)} got no answer: {clean(str(error), 200)}",
        "Check the network, HTTPS_PROXY and the region.",
        ExitCode.UNAVAILABLE,
    )
