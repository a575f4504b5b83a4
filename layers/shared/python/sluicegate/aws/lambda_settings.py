"""The settings of a function that a published version freezes, and whether two versions have the same ones.

A setting's value never leaves the deployer: only names of settings do
(guarantees.md#7-no-secret-in-any-output).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

COMPARED: Final = {
    "architectures": "Architectures",
    "capacity_provider": "CapacityProviderConfig",
    "dead_letter": "DeadLetterConfig",
    "durable": "DurableConfig",
    "environment": "Environment",
    "ephemeral_storage": "EphemeralStorage",
    "file_systems": "FileSystemConfigs",
    "handler": "Handler",
    "image_config": "ImageConfigResponse",
    "kms_key": "KMSKeyArn",
    "layers": "Layers",
    "logging": "LoggingConfig",
    "memory_size": "MemorySize",
    "package_type": "PackageType",
    "role": "Role",
    "runtime": "Runtime",
    "snap_start": "SnapStart",
    "tenancy": "TenancyConfig",
    "timeout": "Timeout",
    "tracing": "TracingConfig",
    "vpc": "VpcConfig",
}
"""The settings that a version freezes: our name for each, and its member of FunctionConfiguration."""

NOT_COMPARED: Final = {
    "CodeSha256": "the code: compared with the accepted digest, never between versions",
    "CodeSize": "follows from the code",
    "ConfigSha256": "compared as noted when the version was published: it may cover the description",
    "Description": "PublishVersion gives each version the description `sluicegate DEPLOYMENT-ID`",
    "FunctionArn": "names the version",
    "FunctionName": "names the function",
    "LastModified": "a time",
    "LastUpdateStatus": "the state of an update",
    "LastUpdateStatusReason": "the state of an update",
    "LastUpdateStatusReasonCode": "the state of an update",
    "MasterArn": "names the version that Lambda@Edge replicated",
    "RevisionId": "Lambda's own, another for each version",
    "RuntimeVersionConfig": "not frozen: Lambda moves it, for each version at a time of its own, and "
    "PutRuntimeManagementConfig sets it for a published version",
    "SigningJobArn": "belongs to the code",
    "SigningProfileVersionArn": "belongs to the code",
    "State": "the state of the version",
    "StateReason": "the state of the version",
    "StateReasonCode": "the state of the version",
    "Version": "names the version",
}
"""The other members of FunctionConfiguration, and why a difference there is no change of settings.

A test holds both lists against botocore's model: a member that neither names fails it.
"""

SOURCE_KEY: Final = "source_kms_key"
"""The key that encrypts the code (`SourceKMSKeyArn`). GetFunction has it next to the configuration."""

DERIVED: Final = {
    "Environment": {"Error"},
    "ImageConfigResponse": {"Error"},
    "Layers": {"CodeSize", "SigningJobArn", "SigningProfileVersionArn"},
    "SnapStart": {"OptimizationStatus"},
    "VpcConfig": {"VpcId"},
}
"""Members of settings that Lambda adds itself, or that follow from the others."""

_OFF: Final[tuple[Any, ...]] = (None, "", [], {}, {"ApplyOn": "None"})
"""What Lambda answers for a setting that is off, if it answers at all."""

_UNORDERED: Final = frozenset({"SubnetIds", "SecurityGroupIds"})


@dataclass(frozen=True)
class _Unreadable:
    """A setting that Lambda could not read for this caller: an environment whose key the role may not use.

    Lambda's message carries a request id, and so differs each time.
    """


UNREADABLE: Final = _Unreadable()


@dataclass(frozen=True)
class SettingsDifference:
    """Names of settings: those that differ, and those that cannot be compared."""

    changed: tuple[str, ...] = ()
    unreadable: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Whether the settings may differ."""
        return bool(self.changed or self.unreadable)


def read_settings(configuration: Mapping[str, Any], code: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a version, from the `Configuration` and `Code` of GetFunction's response."""
    settings = {name: _setting(member, configuration.get(member)) for name, member in COMPARED.items()}
    return {**settings, SOURCE_KEY: code.get("SourceKMSKeyArn") or None}


def difference(one: Mapping[str, Any], other: Mapping[str, Any]) -> SettingsDifference:
    """Compare the settings of two versions of one function, both as GetFunction answers now."""
    unreadable = {name for name in one if UNREADABLE in (one[name], other.get(name))}
    changed = (name for name in one if name not in unreadable and one[name] != other.get(name))
    return SettingsDifference(tuple(sorted(changed)), tuple(sorted(unreadable)))


def _setting(member: str, value: Any) -> Any:
    """Return a setting without what Lambda derives, so that equal settings are equal values."""
    if isinstance(value, Mapping) and value.get("Error"):
        return UNREADABLE
    dropped = DERIVED.get(member, set())
    if isinstance(value, Mapping):
        value = _without(value, dropped)
    elif isinstance(value, list):
        value = [_without(item, dropped) if isinstance(item, Mapping) else item for item in value]
    return None if _is_off(value) else value


def _without(value: Mapping[str, Any], dropped: Iterable[str]) -> dict[str, Any]:
    """Leave out members that are derived or off. Order has a meaning for layers, none for subnets."""
    kept = {key: item for key, item in value.items() if key not in dropped and not _is_off(item)}
    return {key: _sorted(item) if key in _UNORDERED else item for key, item in kept.items()}


def _is_off(value: Any) -> bool:
    return value is False or value in _OFF


def _sorted(value: Any) -> Any:
    return sorted(value, key=str) if isinstance(value, list) else value
