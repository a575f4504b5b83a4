"""The Lambda API of a target: the calls that deployments need, and the fields of the responses they need.

`GetFunction`, `UpdateFunctionCode` and `PublishVersion` return environment variables and code URLs. Only the
fields named here leave this module (guarantees.md#7-no-secret-in-any-output).
"""

import base64
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar

from botocore.exceptions import BotoCoreError, ClientError, ReadTimeoutError

from sluicegate.aws.errors import ErrorKind, classify, error_code, error_message
from sluicegate.deployment.model import AliasState

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_lambda.type_defs import UpdateFunctionCodeRequestTypeDef

_Parameters = ParamSpec("_Parameters")
_Response = TypeVar("_Response")

SETTINGS: Final = {
    "architectures": "Architectures",
    "dead_letter": "DeadLetterConfig",
    "environment": "Environment",
    "ephemeral_storage": "EphemeralStorage",
    "file_systems": "FileSystemConfigs",
    "handler": "Handler",
    "image_config": "ImageConfigResponse",
    "kms_key": "KMSKeyArn",
    "layers": "Layers",
    "logging": "LoggingConfig",
    "memory_size": "MemorySize",
    "role": "Role",
    "runtime": "Runtime",
    "snap_start": "SnapStart",
    "timeout": "Timeout",
    "tracing": "TracingConfig",
    "vpc": "VpcConfig",
}
"""The settings that a version freezes: the record's name for each, and Lambda's."""


class LambdaError(Exception):
    """Lambda responded with an error: `code` is Lambda's, `message` is cleaned."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


class LambdaNotFound(LambdaError):
    """The function, version or alias does not exist."""


class StaleLambdaRevision(LambdaError):
    """The resource was changed after its revision was read."""


class LambdaConflict(LambdaError):
    """An update is in progress, or the resource already exists."""


class LambdaAccessDenied(LambdaError):
    """The target role is not allowed to make this call."""


class LambdaUnavailable(LambdaError):
    """Throttled, failing or timed out. The call may have taken effect."""


class InvocationTimeout(LambdaError):
    """An invoked function did not respond in time. It may still be running."""


class LambdaRejected(LambdaError):
    """Lambda rejects the call, and would reject it again."""


_ERRORS: Final[Mapping[ErrorKind, type[LambdaError]]] = {
    ErrorKind.PERMANENT: LambdaRejected,
    ErrorKind.DENIED: LambdaAccessDenied,
    ErrorKind.NOT_FOUND: LambdaNotFound,
    ErrorKind.CONFLICT: LambdaConflict,
    ErrorKind.THROTTLED: LambdaUnavailable,
    ErrorKind.UNAVAILABLE: LambdaUnavailable,
}
_STALE: Final = frozenset({"PreconditionFailedException", "PreconditionFailed"})


@dataclass(frozen=True)
class FunctionVersion:
    """A version, or `$LATEST`, at one moment. `code_sha256` is in hex."""

    version: str
    revision: str
    code_sha256: str
    state: str
    state_reason: str
    last_update_status: str
    last_update_reason: str
    settings: Mapping[str, Any]

    def settings_digests(self, salt: str) -> dict[str, str]:
        """Return a salted digest of each setting: enough to name what changed, too little to reveal a value.

        All environment variables are one setting, so that a short value cannot be guessed on its own.
        """
        return {
            name: hashlib.sha256(
                json.dumps([salt, name, value], sort_keys=True, default=str).encode()
            ).hexdigest()
            for name, value in self.settings.items()
        }

    def __repr__(self) -> str:
        """Leave the settings out: they hold environment variables, and a traceback must not show them."""
        return (
            f"FunctionVersion({self.version}, {self.code_sha256[:12]}, {self.state}, "
            f"{self.last_update_status})"
        )


@dataclass(frozen=True)
class Alias:
    """What an alias serves, and its revision when it was read."""

    state: AliasState
    revision: str


@dataclass(frozen=True)
class InvocationResult:
    """The first bytes of a function's response, and Lambda's `FunctionError` if it failed."""

    payload: bytes
    error: str | None


class FunctionApi:
    """One function of one target.

    `client` is a Lambda client whose session is limited to that function. `single_attempt_client` makes a
    client that waits for so many seconds and never retries, for invocations.
    """

    def __init__(
        self, client: "LambdaClient", name: str, single_attempt_client: "Callable[[int], LambdaClient]"
    ) -> None:
        self._client = client
        self._name = name
        self._single_attempt_client = single_attempt_client

    def version(self, version: str = "$LATEST") -> FunctionVersion:
        """GetFunction. It has a quota of its own, 100 a second; the other calls share 15 a second."""
        response = _call(self._client.get_function, FunctionName=self._name, Qualifier=version)
        return _version(response["Configuration"])

    def update_code(
        self, bucket: str, key: str, object_version: str | None, revision: str
    ) -> FunctionVersion:
        """UpdateFunctionCode from that version of the S3 object, if `$LATEST` still has `revision`."""
        request: UpdateFunctionCodeRequestTypeDef = {
            "FunctionName": self._name,
            "S3Bucket": bucket,
            "S3Key": key,
            "RevisionId": revision,
        }
        if object_version:
            request["S3ObjectVersion"] = object_version
        return _version(_call(self._client.update_function_code, **request))

    def publish(self, code_sha256: str, revision: str, description: str) -> FunctionVersion:
        """PublishVersion, if `$LATEST` still has this code and revision; otherwise StaleLambdaRevision."""
        try:
            response = _call(
                self._client.publish_version,
                FunctionName=self._name,
                CodeSha256=_base64(code_sha256),
                RevisionId=revision,
                Description=description,
            )
        except LambdaRejected as error:
            # "CodeSHA256 (...) is different from current CodeSHA256 in $LATEST (...)"
            if error.code == "InvalidParameterValueException" and "codesha256" in error.message.lower():
                raise StaleLambdaRevision(error.code, error.message) from None
            raise
        return _version(response)

    def alias(self, name: str) -> Alias | None:
        """GetAlias: None if there is no such alias. Raises LambdaNotFound if there is no such function."""
        try:
            return _alias(_call(self._client.get_alias, FunctionName=self._name, Name=name))
        except LambdaNotFound as error:
            # "Cannot find alias arn: ..." for an alias (localstack's recorded answers of 25 November 2025).
            # Other words may mean either, and the function is asked for.
            if not error.message.startswith("Cannot find alias"):
                self.version()
            return None

    def create_alias(self, name: str, version: str, description: str) -> Alias:
        """CreateAlias. Raises LambdaConflict if it exists."""
        response = _call(
            self._client.create_alias,
            FunctionName=self._name,
            Name=name,
            FunctionVersion=version,
            Description=description,
        )
        return _alias(response)

    def update_alias(self, name: str, state: AliasState, revision: str) -> Alias:
        """UpdateAlias to exactly that version and those weights, if it still has `revision`."""
        response = _call(
            self._client.update_alias,
            FunctionName=self._name,
            Name=name,
            FunctionVersion=state.version,
            RoutingConfig={"AdditionalVersionWeights": dict(state.weights)},
            RevisionId=revision,
        )
        return _alias(response)

    def delete_alias(self, name: str) -> None:
        """DeleteAlias. Lambda accepts the name of an alias that does not exist."""
        _call(self._client.delete_alias, FunctionName=self._name, Name=name)

    def has_provisioned_concurrency(self, alias: str) -> bool:
        """GetProvisionedConcurrencyConfig. An alias with provisioned concurrency takes no weights."""
        try:
            _call(self._client.get_provisioned_concurrency_config, FunctionName=self._name, Qualifier=alias)
        except LambdaNotFound:
            return False
        return True

    def invoke(self, version: str | None, payload: bytes, *, timeout: int, limit: int) -> InvocationResult:
        """Invoke once, and read `limit` bytes of the response.

        Raises InvocationTimeout after `timeout` seconds without one. The name is `name:version`, which is
        what IAM sees. The tail of the log is not requested: it could hold anything.
        """
        name = f"{self._name}:{version}" if version else self._name
        try:
            response = self._single_attempt_client(timeout).invoke(FunctionName=name, Payload=payload)
            data = response["Payload"].read(limit)
        except ReadTimeoutError as error:
            raise InvocationTimeout(type(error).__name__, f"no answer within {timeout} s") from None
        except (ClientError, BotoCoreError) as error:
            raise _lambda_error(error) from None
        return InvocationResult(data, response.get("FunctionError"))


def _call(
    call: Callable[_Parameters, _Response], *args: _Parameters.args, **request: _Parameters.kwargs
) -> _Response:
    try:
        return call(*args, **request)
    except (ClientError, BotoCoreError) as error:
        raise _lambda_error(error) from None


def _lambda_error(error: ClientError | BotoCoreError) -> LambdaError:
    code, message = error_code(error), error_message(error)
    return (StaleLambdaRevision if code in _STALE else _ERRORS[classify(error)])(code, message)


def _version(configuration: Mapping[str, Any]) -> FunctionVersion:
    return FunctionVersion(
        version=configuration["Version"],
        revision=configuration["RevisionId"],
        code_sha256=_hex(configuration["CodeSha256"]),
        state=configuration.get("State", "Active"),
        state_reason=configuration.get("StateReasonCode", ""),
        last_update_status=configuration.get("LastUpdateStatus", "Successful"),
        last_update_reason=configuration.get("LastUpdateStatusReasonCode", ""),
        settings={name: _setting(configuration.get(key)) for name, key in SETTINGS.items()},
    )


def _setting(value: Any) -> Any:
    """Leave out what Lambda adds or changes itself: size and signature of layers, SnapStart's status."""
    match value:
        case {"ApplyOn": apply_on}:
            return apply_on
        case [{"Arn": _}, *_]:
            return [layer.get("Arn") for layer in value]
        case _:
            return value or None


def _alias(response: Mapping[str, Any]) -> Alias:
    weights = (response.get("RoutingConfig") or {}).get("AdditionalVersionWeights") or {}
    return Alias(AliasState(response["FunctionVersion"], dict(weights)), response["RevisionId"])


def _hex(code_sha256: str) -> str:
    return base64.b64decode(code_sha256).hex()


def _base64(code_sha256: str) -> str:
    return base64.b64encode(bytes.fromhex(code_sha256)).decode()
