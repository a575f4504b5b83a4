"""Items of plain values, to and from DynamoDB's types and the dataclasses that they hold.

Readers ignore attributes that they do not know and take the default of those that are missing: during an
update, instances of the earlier version read what the later one wrote, and the other way round.
"""

import re
import zlib
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final, TypeVar, cast

import msgspec
from boto3.dynamodb.types import TypeDeserializer, TypeSerializer

from sluicegate.deployment.durations import seconds, timestamp
from sluicegate.deployment.model import Deployment
from sluicegate.deployment.observations import Observation
from sluicegate.store import keys

Item = dict[str, Any]

T = TypeVar("T")

STUCK_AFTER: Final = 45
"""Seconds without a change after which the janitor looks at an unfinished deployment."""

MAX_UNPACKED: Final = 4_194_304
"""Bytes of observations that are read: twenty times what a record can have."""


_MAX_INT: Final = 10**38
"""DynamoDB keeps 38 digits of a number."""

_WHOLE: Final = re.compile(r"-?[0-9]{1,38}")


def record(deployment: Deployment) -> Item:
    """Return the deployment's item, with the keys of the indexes that it is in (`store.keys`)."""
    item: Item = msgspec.to_builtins(replace(deployment, observations=()))
    item["observations"] = _packed(deployment.observations)
    item |= {
        **keys.record(deployment.id),
        "project": keys.owner_key(deployment.requested_by.owner),
        "kind": keys.ALL_DEPLOYMENTS,
    }
    if not deployment.status.final:
        item["unfinished"] = keys.UNFINISHED
        item["due"] = timestamp(seconds(deployment.updated_at) + STUCK_AFTER)
    if deployment.alarms:
        item["watching"] = keys.watching(deployment.plan.target)
        item["alarms"] = deployment.alarms
    return item


def deployment_of(item: Mapping[str, Any]) -> Deployment:
    """Return the deployment in an item."""
    packed = item.get("observations")
    return replace(read({**item, "observations": ()}, Deployment), observations=_unpacked(packed))


def shown_deployment(item: Mapping[str, Any]) -> Deployment:
    """Return the deployment in an item with the newest observation alone, for views: they show no other.

    A page has many items, and an item may have hundreds of observations. Never write it back.
    """
    packed = item.get("observations")
    return replace(read({**item, "observations": ()}, Deployment), observations=_newest(packed))


def _packed(observations: tuple[Observation, ...]) -> str | None:
    """Return the observations in few characters: a long rollout has more of them than an item could hold."""
    return b64encode(zlib.compress(msgspec.msgpack.encode(observations))).decode() if observations else None


def _unpacked(packed: Any) -> tuple[Observation, ...]:
    """Return the observations in an attribute; none where it is missing."""
    return msgspec.msgpack.decode(_bytes(packed), type=tuple[Observation, ...]) if packed else ()


def _newest(packed: Any) -> tuple[Observation, ...]:
    """Return the newest observation in an attribute, and none where it is missing; the others stay bytes."""
    kept = msgspec.msgpack.decode(_bytes(packed), type=list[msgspec.Raw]) if packed else []
    return tuple(msgspec.msgpack.decode(one, type=Observation) for one in kept[-1:])


def _bytes(packed: Any) -> bytes:
    return zlib.decompressobj().decompress(b64decode(packed), MAX_UNPACKED)


def read(item: Mapping[str, Any], kind: type[T]) -> T:
    """Return the value in an item. Raises msgspec.ValidationError where a required attribute is missing."""
    return msgspec.convert(item, kind)


def _plain(value: Any) -> Any:
    """Convert to what boto3's serializer takes: decimals for floats, lists for tuples, strings for enums."""
    match value:
        case float():
            return Decimal(str(value))
        case StrEnum():
            return value.value
        case Mapping():
            return {key: _plain(item) for key, item in value.items()}
        case list() | tuple():
            return [_plain(item) for item in value]
        case _:
            return value


_serializer: Final = TypeSerializer()
_deserializer: Final = TypeDeserializer()

# Almost all values are of a few types. boto3, which asks each of them a dozen questions, takes the others.


def _typed(value: Any) -> Item:
    """Return a value as DynamoDB's."""
    kind = type(value)
    if kind is str:
        return {"S": value}
    if kind is int and abs(value) < _MAX_INT:
        return {"N": str(value)}
    if value is None:
        return {"NULL": True}
    if kind is bool:
        return {"BOOL": value}
    if kind is dict:
        return {"M": {key: _typed(item) for key, item in value.items()}}
    if kind is list or kind is tuple:
        return {"L": [_typed(item) for item in value]}
    typed: Any = _serializer.serialize(_plain(value))
    return cast(Item, typed)


def _untyped(typed: Any) -> Any:
    """Return the value of one of DynamoDB's."""
    [(kind, value)] = typed.items()
    match kind:
        case "S" | "BOOL":
            return value
        case "N" if _WHOLE.fullmatch(value):
            return int(value)
        case "M":
            return {key: _untyped(item) for key, item in value.items()}
        case "L":
            return [_untyped(item) for item in value]
        case "NULL":
            return None
    found: Any = _deserializer.deserialize(typed)
    if isinstance(found, Decimal):
        return int(found) if found == found.to_integral_value() else float(found)
    return found


def marshal(item: Mapping[str, Any]) -> Item:
    """Convert an item to DynamoDB's types."""
    return {key: _typed(value) for key, value in item.items()}


def unmarshal(item: Mapping[str, Any]) -> Item:
    """Convert an item from DynamoDB's types."""
    return {key: _untyped(value) for key, value in item.items()}
