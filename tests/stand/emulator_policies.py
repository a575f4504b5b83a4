"""Policies of templates and of buckets. Loaded by `launch_emulator`.

Differences, each one thing that AWS does and MiniStack 1.5.33 does not:

- CloudFormation gives a bus the policy that its template has (`Policy` of AWS::Events::EventBus).
- A policy can ask of a PutObject that it has `If-None-Match` (`s3:if-none-match`).
- A policy can ask of a Sign which algorithm and type of message it has (`kms:SigningAlgorithm`,
  `kms:MessageType`).

Sources, read on 26 November 2026: CloudFormation reference, AWS::Events::EventBus; S3 user guide, "Enforce
conditional writes on Amazon S3 buckets"; KMS developer guide, "AWS KMS condition keys"; KMS API reference,
Sign (`MessageType` is RAW by default).
"""

import json
from collections.abc import Callable
from importlib import import_module
from typing import Any

Pinned = Callable[..., Callable[..., Any]]


def install(pinned: Pinned) -> None:
    """Install all. `pinned` finds a function and stops where it has changed."""
    keep_policies_of_buses(pinned)
    know_conditional_writes(pinned)
    know_signatures(pinned)


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
