"""The record as DynamoDB keeps it: items of plain values, and back to the words of a deployment."""

from collections.abc import Mapping
from dataclasses import asdict, fields
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer

from sluicegate.deployment.model import (
    AliasOutcome,
    AliasState,
    Approval,
    Deployment,
    Entry,
    Reason,
    Requester,
    Status,
)
from sluicegate.deployment.plan import Limit, Metric, NoData, Plan, Smoke, Target, TrafficStep, Watch

Item = dict[str, Any]


def project_key(issuer: str, project_id: str | None) -> str:
    """The index key of a project: always with its issuer."""
    return f"{project_id}@{issuer}"


def record(deployment: Deployment) -> Item:
    """The deployment's item. Only one that is not final is in the index `open`."""
    item = asdict(deployment)
    by = deployment.requested_by
    item |= {
        "pk": f"deployment#{deployment.id}",
        "sk": "record",
        "project": project_key(by.issuer, by.project_id),
        "all": "deployments",
    }
    if not deployment.status.final:
        item["open"] = "open"
    return item


def deployment_of(item: Item) -> Deployment:
    """The deployment in an item; what an earlier version did not write yet is as it was then: absent."""
    values = {key: value for key, value in item.items() if key in _FIELDS}
    values |= {
        "status": Status(values["status"]),
        "plan": _plan(values["plan"]),
        "requested_by": Requester(**values["requested_by"]),
        "timeline": tuple(
            Entry(e["seq"], e["at"], Status(e["status"]), e["message"]) for e in values["timeline"]
        ),
        "original": _alias_state(values.get("original")),
        "current": _alias_state(values.get("current")),
        "outcome": values["outcome"] and AliasOutcome(values["outcome"]),
        "approval": _approval(values.get("approval")),
        "abort": _reason(values.get("abort")),
        "reason": _reason(values.get("reason")),
    }
    return Deployment(**values)


_FIELDS: Final = frozenset(field.name for field in fields(Deployment))


def _plan(value: Mapping[str, Any]) -> Plan:
    smoke, watch = value.get("smoke"), value.get("watch")
    return Plan(
        **{
            **value,
            "target": Target(**value["target"]),
            "steps": tuple(TrafficStep(**step) for step in value["steps"]),
            "smoke": smoke and Smoke(**smoke),
            "watch": watch
            and Watch(
                tuple(watch["alarms"]),
                tuple(Limit(**{**limit, "metric": Metric(limit["metric"])}) for limit in watch["limits"]),
                NoData(watch["no_data"]),
            ),
        }
    )


def _approval(value: Mapping[str, Any] | None) -> Approval | None:
    return Approval(**{**value, "by": Requester(**value["by"])}) if value else None


def _reason(value: Mapping[str, Any] | None) -> Reason | None:
    return Reason(**value) if value else None


def _alias_state(value: Mapping[str, Any] | None) -> AliasState | None:
    return AliasState(value["version"], dict(value["weights"])) if value else None


def _plain(value: Any) -> Any:
    """To what boto3's serializer takes: decimals for floats, lists for tuples, plain strings for enums."""
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


def _python(value: Any) -> Any:
    match value:
        case Decimal():
            return int(value) if value == value.to_integral_value() else float(value)
        case dict():
            return {key: _python(item) for key, item in value.items()}
        case list():
            return [_python(item) for item in value]
        case _:
            return value


_serializer: Final = TypeSerializer()
_deserializer: Final = TypeDeserializer()


def marshal(item: Mapping[str, Any]) -> Item:
    """To DynamoDB's types."""
    return {key: _serializer.serialize(_plain(value)) for key, value in item.items()}


def unmarshal(item: Mapping[str, Any]) -> Item:
    """From DynamoDB's types."""
    return {key: _python(_deserializer.deserialize(value)) for key, value in item.items()}
