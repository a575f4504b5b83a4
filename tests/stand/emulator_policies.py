"""Policies of templates and of buckets. Loaded by `launch_emulator`.

Differences, each one thing that AWS does and MiniStack 1.5.33 does not:

- CloudFormation gives a bus the policy that its template has (`Policy` of AWS::Events::EventBus).
- A policy can ask of a PutObject that it has `If-None-Match` (`s3:if-none-match`).
- A policy can ask of a Sign which algorithm and type of message it has (`kms:SigningAlgorithm`,
  `kms:MessageType`).
- A policy can ask of a call of DynamoDB which items it is about (`dynamodb:LeadingKeys`, the partition keys);
  in a transaction, of each item by itself, and of a query the key that it asks for. A scan has none.

Sources, read on 26 November 2026: CloudFormation reference, AWS::Events::EventBus; S3 user guide, "Enforce
conditional writes on Amazon S3 buckets"; KMS developer guide, "AWS KMS condition keys"; KMS API reference,
Sign (`MessageType` is RAW by default); DynamoDB developer guide, "Using IAM policy conditions for
fine-grained access control" and "Using IAM with DynamoDB transactions".
"""

import json
import re
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, Final

Pinned = Callable[..., Callable[..., Any]]


def install(pinned: Pinned) -> None:
    """Install all. `pinned` finds a function and stops where it has changed."""
    keep_policies_of_buses(pinned)
    know_conditional_writes(pinned)
    know_signatures(pinned)
    know_items(pinned)


def keep_policies_of_buses(pinned: Pinned) -> None:
    """Keep the policy that a template gives a bus."""
    events: Any = import_module("ministack.services.eventbridge")
    provisioners: Any = import_module("ministack.services.cloudformation.provisioners")
    create = pinned(provisioners, "_eb_event_bus_create", "logical_id", "props", "stack_name")
    update = pinned(
        provisioners, "_eb_event_bus_update", "physical_id", "old_props", "new_props", "stack_name"
    )

    def keep(name: str, properties: dict[str, Any]) -> None:
        policy = properties.get("Policy")
        if policy:
            events._event_bus_policies[name] = json.loads(policy) if isinstance(policy, str) else policy
        else:
            events._event_bus_policies.pop(name, None)

    def created(logical_id: str, props: dict[str, Any], stack_name: str) -> Any:
        made = create(logical_id, props, stack_name)
        keep(made[0], props)
        return made

    def updated(
        physical_id: str, old_props: dict[str, Any], new_props: dict[str, Any], stack_name: str
    ) -> Any:
        made = update(physical_id, old_props, new_props, stack_name)
        keep(made[0], new_props)
        return made

    provisioners._RESOURCE_HANDLERS["AWS::Events::EventBus"].update(create=created, update=updated)


def know_conditional_writes(pinned: Pinned) -> None:
    """Give policies the header `If-None-Match` of a PutObject."""
    actions: Any = import_module("ministack.core.iam_actions")
    context = pinned(actions, "_s3_object_context", "iam_action", "query_params", "path", "headers")

    def known(iam_action: str, query_params: Any, path: str, headers: Any) -> dict[str, Any]:
        found: dict[str, Any] = context(iam_action, query_params, path, headers)
        if iam_action == "s3:PutObject" and headers.get("if-none-match"):
            found["s3:if-none-match"] = headers["if-none-match"]
        return found

    actions._s3_object_context = known


def know_signatures(pinned: Pinned) -> None:
    """Give policies what a Sign asks for."""
    actions: Any = import_module("ministack.core.iam_actions")
    context = pinned(actions, "request_tag_context", "service", "iam_action", "body", "params")

    def known(service: str, iam_action: str, body: bytes, params: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = context(service, iam_action, body, params)
        if iam_action == "kms:Sign":
            asked = json.loads(body)
            found["kms:SigningAlgorithm"] = asked.get("SigningAlgorithm", "")
            found["kms:MessageType"] = asked.get("MessageType", "RAW")
        return found

    actions.request_tag_context = known


_KEYS = "dynamodb:LeadingKeys"


class TableOfItem(str):
    """The ARN of a table, and the partition keys of the item that a transaction is about there."""

    keys: list[str]


def know_items(pinned: Pinned) -> None:
    """Give policies the partition keys of the items that a call of DynamoDB names."""
    actions: Any = import_module("ministack.core.iam_actions")
    evaluator: Any = import_module("ministack.core.iam_evaluator")
    tables: Any = import_module("ministack.services.dynamodb")._tables
    context = pinned(actions, "dynamodb_service_context", "body")
    checks = pinned(actions, "dynamodb_transaction_checks", "iam_action", "body", "region", "account_id")
    enforce = pinned(
        evaluator,
        "enforce",
        "access_key_id",
        "iam_action",
        "service",
        "region",
        "resource_arn",
        "service_context",
    )

    def partition_key(table: str) -> str:
        return str((tables.get(table.rpartition("/")[2]) or {}).get("pk_name", ""))

    def known(body: bytes) -> dict[str, Any]:
        found: dict[str, Any] = context(body)
        keys = leading_keys(parsed(body), partition_key)
        return {**found, _KEYS: keys} if keys else found

    def checked(iam_action: str, body: bytes, region: str, account_id: str) -> list[tuple[str, str]]:
        found: list[tuple[str, str]] = checks(iam_action, body, region, account_id)
        if not found:
            return found
        named = [
            (action, detail)
            for item in parsed(body)["TransactItems"]
            for member, action in actions._DYNAMODB_TRANSACT_ITEM_ACTIONS.items()
            if isinstance(detail := item.get(member), dict) and detail.get("TableName")
        ]
        result: list[tuple[str, str]] = []
        for (action, arn), (same, detail) in zip(found, named, strict=True):
            if action != same:
                raise SystemExit("the emulator checks transactions in another order; this must follow")
            table = TableOfItem(arn)
            table.keys = leading_keys(detail, partition_key)
            result.append((action, table))
        return result

    def enforced(
        access_key_id: str,
        iam_action: str,
        service: str,
        region: str,
        resource_arn: str = "*",
        service_context: dict[str, Any] | None = None,
    ) -> Any:
        if isinstance(resource_arn, TableOfItem):
            service_context = {**(service_context or {}), _KEYS: resource_arn.keys}
        return enforce(access_key_id, iam_action, service, region, resource_arn, service_context)

    actions.dynamodb_service_context = known
    actions.dynamodb_transaction_checks = checked
    evaluator.enforce = enforced


def parsed(body: bytes) -> dict[str, Any]:
    """The request, or an empty one where it is none: the service itself refuses it."""
    try:
        found = json.loads(body or b"{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def leading_keys(request: Mapping[str, Any], partition_key: Callable[[str], str]) -> list[str]:
    """The partition keys of the items that a request names by their whole key, or puts."""
    found = _of_table(request, partition_key(str(request.get("TableName", ""))))
    batches = request.get("RequestItems")
    for table, batch in (batches if isinstance(batches, dict) else {}).items():
        name = partition_key(str(table))
        if isinstance(batch, dict):
            found += [each for key in batch.get("Keys", ()) for each in _of_table({"Key": key}, name)]
        for write in batch if isinstance(batch, list) else ():
            found += [each for one in write.values() for each in _of_table(one, name)]
    return found


_KEY: Final = re.compile(r"\s*(?P<name>[#\w]+)\s*=\s*(?P<value>:\w+)")


def _of_query(request: Any) -> list[str]:
    """Return the partition key of a query; ours put it first."""
    found = _KEY.match(str(request.get("KeyConditionExpression", "")))
    value = (request.get("ExpressionAttributeValues") or {}).get(found["value"]) if found else None
    return [str(one) for one in value.values()] if isinstance(value, dict) else []


def _of_table(request: Any, partition_key: str) -> list[str]:
    found = _of_query(request) if isinstance(request, dict) else []
    for member in ("Key", "Item"):
        item = request.get(member) if isinstance(request, dict) else None
        value = item.get(partition_key) if isinstance(item, dict) else None
        if isinstance(value, dict):
            found += [str(one) for one in value.values()]
    return found
