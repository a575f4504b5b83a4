"""The target's Lambda API, as far as deployments need it, and nothing else that it answers.

`GetFunction`, `UpdateFunctionCode` and `PublishVersion` answer with environment variables and code URLs.
Only the fields named here leave this module (guarantees.md#7-no-secret-in-any-output).
"""

import base64
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError, ReadTimeoutError

from sluicegate.aws import clients
from sluicegate.deployment.model import AliasState

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
"""The settings that a version freezes, by the names the record uses, and Lambda's names for them."""


class LambdaError(Exception):
    """Lambda answered with an error; `code` is its own, `message` is cleaned."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


class NotFound(LambdaError):
    """No such function, version or alias."""


class Stale(LambdaError):
    """The revision read before is not the present one: somebody changed it in between."""


class InProgress(LambdaError):
    """An update is under way, or the resource exists already."""


class Denied(LambdaError):
    """The target's role may not do this."""


class Unanswered(LambdaError):
    """Throttled, failing or timed out; the call may have taken effect."""


class TooSlow(LambdaError):
    """An invoked function did not answer in time; it may still run."""


class Refused(LambdaError):
    """Lambda will never do this, however often it is asked."""


_KINDS: Final[Mapping[str, type[LambdaError]]] = {
    "ResourceNotFoundException": NotFound,
    "PreconditionFailedException": Stale,
    "ResourceConflictException": InProgress,
    "ResourceNotReadyException": InProgress,
    "SnapStartNotReadyException": InProgress,
    "ProvisionedConcurrencyConfigNotFoundException": NotFound,
    "AccessDeniedException": Denied,
    "AccessDenied": Denied,
}


@dataclass(frozen=True)
class Snapshot:
    """A function or a version at one moment. `code_sha256` is hex, `update` is LastUpdateStatus."""

    version: str
    revision: str
    code_sha256: str
    state: str
    state_reason: str
    update: str
    update_reason: str
    settings: Mapping[str, Any]

    def fingerprint(self, salt: str) -> dict[str, str]:
        """Each setting's salted digest: enough to name what changed, too little to tell any value.

        All environment variables are one setting, so that a short value cannot be guessed by itself.
        """
        return {
            name: hashlib.sha256(
                json.dumps([salt, name, value], sort_keys=True, default=str).encode()
            ).hexdigest()
            for name, value in self.settings.items()
        }

    def __repr__(self) -> str:
        """Without the settings, which hold environment variables: a traceback must not print them."""
        return f"Snapshot({self.version}, {self.code_sha256[:12]}, {self.state}, {self.update})"


@dataclass(frozen=True)
class Alias:
    """What an alias serves, at the revision at which it was read."""

    state: AliasState
    revision: str


@dataclass(frozen=True)
class Answered:
    """What an invoked function answered: the first bytes of it, and Lambda's `FunctionError` if it failed."""

    payload: bytes
    error: str | None


class FunctionApi:
    """One function of one target.

    `client` is a Lambda client with a session for that function only; `patient` makes one that waits so many
    seconds for an answer and asks once, for what must not run twice.
    """

    def __init__(self, client: Any, name: str, patient: Callable[[int], Any]) -> None:
        self._client = client
        self._name = name
        self._patient = patient

    def snapshot(self, version: str = "$LATEST") -> Snapshot:
        """GetFunction: its quota is its own (100 a second), the other calls share 15 a second."""
        answer = self._call("get_function", Qualifier=version)
        return _snapshot(answer["Configuration"])

    def update_code(self, bucket: str, key: str, object_version: str | None, revision: str) -> Snapshot:
        """UpdateFunctionCode from that very version of the object, if `revision` is still the present one."""
        source = {"S3Bucket": bucket, "S3Key": key}
        if object_version:
            source["S3ObjectVersion"] = object_version
        return _snapshot(self._call("update_function_code", RevisionId=revision, **source))

    def publish(self, code_sha256: str, revision: str, description: str) -> Snapshot:
        """PublishVersion, if code and revision are still as they were read; Stale where they are not."""
        try:
            answer = self._call(
                "publish_version",
                CodeSha256=_base64(code_sha256),
                RevisionId=revision,
                Description=description,
            )
        except Refused as error:
            # "CodeSHA256 (...) is different from current CodeSHA256 in $LATEST (...)"
            if error.code == "InvalidParameterValueException" and "codesha256" in error.message.lower():
                raise Stale(error.code, error.message) from None
            raise
        return _snapshot(answer)

    def alias(self, name: str) -> Alias | None:
        """GetAlias; None where there is none. A missing function is NotFound all the same."""
        try:
            return _alias(self._call("get_alias", Name=name))
        except NotFound as error:
            # "Cannot find alias arn: ..." for one, "Function not found: ..." for the other.
            if "alias" in error.message.lower():
                return None
            raise

    def create_alias(self, name: str, version: str, description: str) -> Alias:
        """CreateAlias; InProgress where it exists."""
        return _alias(self._call("create_alias", Name=name, FunctionVersion=version, Description=description))

    def update_alias(self, name: str, state: AliasState, revision: str) -> Alias:
        """UpdateAlias to exactly that version and those weights, if `revision` is still the present one."""
        return _alias(
            self._call(
                "update_alias",
                Name=name,
                FunctionVersion=state.version,
                RoutingConfig={"AdditionalVersionWeights": dict(state.weights)},
                RevisionId=revision,
            )
        )

    def delete_alias(self, name: str) -> None:
        """DeleteAlias; Lambda does not mind one that is gone."""
        self._call("delete_alias", Name=name)

    def has_provisioned_concurrency(self, alias: str) -> bool:
        """GetProvisionedConcurrencyConfig: an alias that has it takes no weights."""
        try:
            self._call("get_provisioned_concurrency_config", Qualifier=alias)
        except NotFound:
            return False
        return True

    def invoke(self, version: str | None, payload: bytes, *, timeout: int, limit: int) -> Answered:
        """Invoke once, and take `limit` bytes of the answer; TooSlow without one in `timeout` seconds.

        By `name:version`, which is what IAM sees. The log's tail is not asked for: it could hold anything.
        """
        name = f"{self._name}:{version}" if version else self._name
        try:
            answer = self._patient(timeout).invoke(FunctionName=name, Payload=payload)
            data = answer["Payload"].read(limit)
        except ReadTimeoutError as error:
            raise TooSlow(type(error).__name__, f"no answer within {timeout} s") from None
        except (ClientError, BotoCoreError) as error:
            raise _kind_of(error) from None
        return Answered(data, answer.get("FunctionError"))

    def _call(self, method: str, **arguments: Any) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = getattr(self._client, method)(FunctionName=self._name, **arguments)
        except (ClientError, BotoCoreError) as error:
            raise _kind_of(error) from None
        return answer


def _kind_of(error: ClientError | BotoCoreError) -> LambdaError:
    code, message = clients.error_code(error), clients.error_message(error)
    if clients.is_retryable(error):
        return Unanswered(code, message)
    return _KINDS.get(code, Refused)(code, message)


def _snapshot(configuration: Mapping[str, Any]) -> Snapshot:
    return Snapshot(
        version=configuration["Version"],
        revision=configuration["RevisionId"],
        code_sha256=_hex(configuration["CodeSha256"]),
        state=configuration.get("State", "Active"),
        state_reason=configuration.get("StateReasonCode", ""),
        update=configuration.get("LastUpdateStatus", "Successful"),
        update_reason=configuration.get("LastUpdateStatusReasonCode", ""),
        settings={name: _setting(configuration.get(key)) for name, key in SETTINGS.items()},
    )


def _setting(value: Any) -> Any:
    """Without what Lambda adds or changes by itself: sizes and signatures of layers, SnapStart's status."""
    match value:
        case {"ApplyOn": apply_on}:
            return apply_on
        case [{"Arn": _}, *_]:
            return [layer.get("Arn") for layer in value]
        case _:
            return value or None


def _alias(answer: Mapping[str, Any]) -> Alias:
    weights = (answer.get("RoutingConfig") or {}).get("AdditionalVersionWeights") or {}
    return Alias(AliasState(answer["FunctionVersion"], dict(weights)), answer["RevisionId"])


def _hex(code_sha256: str) -> str:
    return base64.b64decode(code_sha256).hex()


def _base64(code_sha256: str) -> str:
    return base64.b64encode(bytes.fromhex(code_sha256)).decode()
