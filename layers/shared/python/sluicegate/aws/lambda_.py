"""The Lambda API of a target: the calls that deployments need, and the fields of the responses they need.

Long because every call of a deployment is here.

`GetFunction`, `UpdateFunctionCode` and `PublishVersion` return environment variables and code URLs. Only the
fields named here leave this module (guarantees.md#7-no-secret-in-any-output).
"""

import base64
import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar, cast

from botocore.exceptions import BotoCoreError, ClientError, ReadTimeoutError

from sluicegate.aws.errors import ErrorKind, classify, error_code, error_message
from sluicegate.aws.lambda_settings import read_settings
from sluicegate.deployment.model import AliasState
from sluicegate.text import clean

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_lambda.type_defs import (
        ListEventSourceMappingsRequestTypeDef,
        UpdateFunctionCodeRequestTypeDef,
    )

    from sluicegate.aws.call_meter import CallMeter

_Parameters = ParamSpec("_Parameters")
_Response = TypeVar("_Response")


class LambdaError(Exception):
    """Lambda responded with an error: `code` is Lambda's, `message` is cleaned.

    `repeated` if the client had sent the call before, without an answer: that may have taken effect.
    """

    def __init__(self, code: str, message: str, *, repeated: bool = False) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.repeated = repeated


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


class LambdaThrottled(LambdaUnavailable):
    """Too many calls: this one had no effect."""


class InvocationTimeout(LambdaError):
    """An invoked function did not respond in time. It may still be running."""


class LambdaRejected(LambdaError):
    """Lambda rejects the call, and would reject it again."""


_ERRORS: Final[Mapping[ErrorKind, type[LambdaError]]] = {
    ErrorKind.PERMANENT: LambdaRejected,
    ErrorKind.DENIED: LambdaAccessDenied,
    ErrorKind.NOT_FOUND: LambdaNotFound,
    ErrorKind.CONFLICT: LambdaConflict,
    ErrorKind.THROTTLED: LambdaThrottled,
    ErrorKind.UNAVAILABLE: LambdaUnavailable,
}
_STALE: Final = frozenset({"PreconditionFailedException", "PreconditionFailed"})

_STUCK: Final = re.compile(r"following state: '?(?:Failed|Deactivated|Deleting)\b")
"""A conflict with a state that no waiting ends.

"The operation cannot be performed at this time. The function is currently in the following state: 'Failed'"
is what UpdateAlias answers for a version whose snapshot failed (hashicorp/terraform-provider-aws#49904,
2026-09).
"""

MAX_EVENT_SOURCES: Final = 20
"""Event source mappings of an alias that a watch reads: each takes queries of its own."""

_MOST_PAGES: Final = 10

_LONGEST_ID: Final = 2_048
"""Characters of a version's number, a revision or a key's ARN; Lambda's have far fewer."""


@dataclass(frozen=True)
class FunctionVersion:
    """A version, or `$LATEST`, at one moment. `code_sha256` is in hex.

    `state_reason` and `last_update_reason` are Lambda's code and sentence, cleaned. `source_kms_key` is the
    customer's key that encrypts the code, if there is one; `code_error` is Lambda's code if it could not look
    at the code. `config_sha256` is Lambda's own hash of the configuration, where it answers one.
    """

    version: str
    revision: str
    code_sha256: str
    state: str
    state_reason: str
    last_update_status: str
    last_update_reason: str
    settings: Mapping[str, Any]
    architectures: tuple[str, ...] = ()
    source_kms_key: str | None = None
    code_error: str = ""
    config_sha256: str = ""

    def configuration_digest(self, salt: str) -> str:
        """Return a salted digest of Lambda's own hash of the configuration, or "" where it answers none."""
        salted = f"{salt}{self.config_sha256}".encode()
        return hashlib.sha256(salted).hexdigest() if self.config_sha256 else ""

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
class EventSource:
    """An event source mapping, and whether it sends counts of its events to CloudWatch."""

    uuid: str
    counts: bool


@dataclass(frozen=True)
class InvocationResult:
    """The first bytes of a function's response, and Lambda's `FunctionError` if it failed."""

    payload: bytes
    error: str | None


class FunctionApi:
    """One function of one target.

    `client` is a Lambda client whose session is limited to that function. `single_attempt_client` makes a
    client that waits for so many seconds and never retries, for invocations. `meter` counts calls to the
    control plane.
    """

    def __init__(
        self,
        client: "LambdaClient",
        name: str,
        single_attempt_client: "Callable[[int], LambdaClient]",
        meter: "CallMeter",
    ) -> None:
        self._client = client
        self._name = name
        self._single_attempt_client = single_attempt_client
        self._meter = meter

    def version(self, version: str = "$LATEST") -> FunctionVersion:
        """GetFunction. It has a quota of its own, 100 a second; the other calls share 15 a second."""
        response = lambda_call(self._client.get_function, FunctionName=self._name, Qualifier=version)
        return _version(response.get("Configuration"), response.get("Code"))

    def update_code(
        self, bucket: str, key: str, object_version: str | None, latest: FunctionVersion
    ) -> FunctionVersion:
        """UpdateFunctionCode from that version of the S3 object, if `$LATEST` still is `latest`.

        The key and the architecture of `latest`, as GetFunction answered it, are sent again: without a key
        Lambda falls back to AWS's. The code is copied (`S3ObjectStorageMode`), because the bucket's lifecycle
        deletes artifacts.
        """
        request: UpdateFunctionCodeRequestTypeDef = {
            "FunctionName": self._name,
            "S3Bucket": bucket,
            "S3Key": key,
            "RevisionId": latest.revision,
        }
        if object_version:
            request["S3ObjectVersion"] = object_version
        if latest.source_kms_key:
            request["SourceKMSKeyArn"] = latest.source_kms_key
        if latest.architectures:
            request["Architectures"] = cast(Any, list(latest.architectures))
        return _version(self._meter.call(self._client.update_function_code, **request))

    def publish(self, code_sha256: str, revision: str, description: str) -> FunctionVersion:
        """PublishVersion, if `$LATEST` still has this code and revision; otherwise StaleLambdaRevision."""
        try:
            response = self._meter.call(
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
            return read_alias(self._meter.call(self._client.get_alias, FunctionName=self._name, Name=name))
        except LambdaNotFound as error:
            # "Cannot find alias arn: ..." for an alias (localstack's recorded answers of 25 November 2025).
            # Other words may mean either, and the function is asked for.
            if not error.message.startswith("Cannot find alias"):
                self.version()
            return None

    def create_alias(self, name: str, version: str, description: str) -> Alias:
        """CreateAlias. Raises LambdaConflict if it exists."""
        response = self._meter.call(
            self._client.create_alias,
            FunctionName=self._name,
            Name=name,
            FunctionVersion=version,
            Description=description,
        )
        return read_alias(response)

    def update_alias(self, name: str, state: AliasState, revision: str) -> Alias:
        """UpdateAlias to exactly that version and those weights, if it still has `revision`."""
        response = self._meter.call(
            self._client.update_alias,
            FunctionName=self._name,
            Name=name,
            FunctionVersion=state.version,
            RoutingConfig={"AdditionalVersionWeights": dict(state.weights)},
            RevisionId=revision,
        )
        return read_alias(response)

    def delete_alias(self, name: str) -> None:
        """DeleteAlias. Lambda accepts the name of an alias that does not exist."""
        self._meter.call(self._client.delete_alias, FunctionName=self._name, Name=name)

    def event_sources(self, alias: str) -> tuple[EventSource, ...] | None:
        """ListEventSourceMappings: those that invoke the alias, or None if there are too many to read.

        A mapping's FunctionArn has the qualifier that it was created with. Whether the list of an alias has
        only its own is not documented, so each is looked at.
        """
        request: ListEventSourceMappingsRequestTypeDef = {"FunctionName": f"{self._name}:{alias}"}
        found: list[EventSource] = []
        for _ in range(_MOST_PAGES):
            answer = self._meter.call(self._client.list_event_source_mappings, **request)
            for mapping in answer.get("EventSourceMappings", ()):
                if _text(mapping, "FunctionArn").endswith(f":function:{self._name}:{alias}"):
                    groups = (mapping.get("MetricsConfig") or {}).get("Metrics") or ()
                    found.append(EventSource(_identifier(mapping, "UUID"), "EventCount" in groups))
            if len(found) > MAX_EVENT_SOURCES:
                return None
            if not answer.get("NextMarker"):
                return tuple(found)
            request["Marker"] = answer["NextMarker"]
        return None

    def has_provisioned_concurrency(self, alias: str) -> bool:
        """GetProvisionedConcurrencyConfig. An alias with provisioned concurrency takes no weights."""
        try:
            self._meter.call(
                self._client.get_provisioned_concurrency_config, FunctionName=self._name, Qualifier=alias
            )
        except LambdaNotFound:
            return False
        return True

    def can_be_invoked(self) -> bool:
        """Invoke with DryRun, which runs nothing: False if there is no such function.

        "Validate parameter values and verify that the user or role has permission to invoke the function"
        (Lambda API reference, Invoke, read on 2026-11-26). Raises LambdaAccessDenied if it has not.
        """
        try:
            lambda_call(self._client.invoke, FunctionName=self._name, InvocationType="DryRun")
        except LambdaNotFound:
            return False
        except LambdaConflict:  # it is being updated, or is inactive: it is there
            return True
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


def lambda_call(
    call: Callable[_Parameters, _Response], *args: _Parameters.args, **request: _Parameters.kwargs
) -> _Response:
    try:
        return call(*args, **request)
    except (ClientError, BotoCoreError) as error:
        raise _lambda_error(error) from None


def _lambda_error(error: ClientError | BotoCoreError) -> LambdaError:
    code, message = error_code(error), error_message(error)
    metadata = error.response.get("ResponseMetadata", {}) if isinstance(error, ClientError) else {}
    repeated = metadata.get("RetryAttempts", 0) > 0
    if code in _STALE:
        return StaleLambdaRevision(code, message, repeated=repeated)
    if code == "ResourceConflictException" and _STUCK.search(message):
        return LambdaRejected(code, message, repeated=repeated)
    return _ERRORS[classify(error)](code, message, repeated=repeated)


def _version(configuration: object, code: object = None) -> FunctionVersion:
    """Take the named fields. An answer without version, revision or code hash is LambdaUnavailable."""
    configuration = configuration if isinstance(configuration, Mapping) else {}
    code = code if isinstance(code, Mapping) else {}
    architectures = configuration.get("Architectures")
    error = code.get("Error")
    return FunctionVersion(
        version=_identifier(configuration, "Version"),
        revision=_identifier(configuration, "RevisionId"),
        code_sha256=hex_digest(_identifier(configuration, "CodeSha256")),
        state=_text(configuration, "State") or "Active",
        state_reason=_reason(configuration, "StateReason"),
        # It is absent at first where SnapStart is on (hashicorp/terraform-provider-aws#43395).
        last_update_status=_text(configuration, "LastUpdateStatus") or "Successful",
        last_update_reason=_reason(configuration, "LastUpdateStatusReason"),
        settings=read_settings(configuration, code),
        architectures=tuple(map(str, architectures)) if isinstance(architectures, list) else (),
        source_kms_key=_identifier(code, "SourceKMSKeyArn") if code.get("SourceKMSKeyArn") else None,
        code_error=_text(error, "ErrorCode") if isinstance(error, Mapping) else "",
        config_sha256=_text(configuration, "ConfigSha256"),
    )


def _identifier(answer: Mapping[str, Any], name: str) -> str:
    """Return what is sent back to Lambda, as it is."""
    value = answer.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= _LONGEST_ID:
        raise LambdaUnavailable("UnreadableAnswer", f"Lambda answered without a {name}")
    return value


def _text(answer: Mapping[str, Any], name: str) -> str:
    value = answer.get(name)
    return clean(value) if isinstance(value, str) else ""


def _reason(answer: Mapping[str, Any], name: str) -> str:
    """`FunctionError: The initialization failed`: the code and the sentence, where there are any."""
    return ": ".join(filter(None, (_text(answer, f"{name}Code"), _text(answer, name))))


def read_alias(response: Mapping[str, Any]) -> Alias:
    weights = (response.get("RoutingConfig") or {}).get("AdditionalVersionWeights") or {}
    state = AliasState(_identifier(response, "FunctionVersion"), dict(weights))
    return Alias(state, _identifier(response, "RevisionId"))


def hex_digest(code_sha256: str) -> str:
    """Return the hash in hex. An image's digest is in hex already, and equals no zip's."""
    try:
        return base64.b64decode(code_sha256, validate=True).hex()
    except ValueError:
        return code_sha256


def _base64(code_sha256: str) -> str:
    return base64.b64encode(bytes.fromhex(code_sha256)).decode()
