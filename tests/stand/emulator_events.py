"""Events that cross accounts and regions. Loaded by `launch_emulator`.

Differences, each one thing that AWS does and MiniStack 1.5.33 does not:

- A rule's target may be an event bus of another account or region. The target's role must be allowed to put
  events there, and a bus of another account must allow it too. The event keeps its own account and region.
- CloudFormation makes `AWS::Events::EventBusPolicy`.
- `aws:PrincipalArn` of a role's session is the role's ARN.

Sources, read on 26 November 2026: EventBridge user guide, "Sending and receiving events between AWS accounts"
and "between AWS Regions", "Permissions for event buses"; CloudFormation reference,
AWS::Events::EventBusPolicy; IAM user guide, "AWS global condition context keys", aws:PrincipalArn.
"""

import json
import logging
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from importlib import import_module
from typing import Any

Pinned = Callable[..., Callable[..., Any]]

_TARGET: ContextVar[Mapping[str, Any]] = ContextVar("the target that is invoked")

logger = logging.getLogger("stand.events")


def install(pinned: Pinned) -> None:
    """Install all of them. `pinned` finds a function and stops where it has changed."""
    name_roles_as_principals(pinned)
    send_to_other_buses(pinned)
    provide_bus_policies()


def name_roles_as_principals(pinned: Pinned) -> None:
    evaluator: Any = import_module("ministack.core.iam_evaluator")
    resolve = pinned(evaluator, "_resolve_condition_key", "key", "ctx")

    def resolve_condition_key(key: str, ctx: Any) -> Any:
        if key.lower() == "aws:principalarn" and ":assumed-role/" in ctx.principal_arn:
            return role_arn_of(ctx.principal_arn)
        return resolve(key, ctx)

    evaluator._resolve_condition_key = resolve_condition_key


def role_arn_of(session: str) -> str:
    """The ARN of the role of a session's ARN, with the role's path."""
    iam: Any = import_module("ministack.services.iam")
    account, name = session.split(":")[4], session.split("/")[1]
    role = iam._roles.get_scoped(account, None, name) or {}
    return str(role.get("Arn", f"arn:aws:iam::{account}:role/{name}"))


def send_to_other_buses(pinned: Pinned) -> None:
    events: Any = import_module("ministack.services.eventbridge")
    responses: Any = import_module("ministack.core.responses")
    invoke = pinned(events, "_invoke_target", "target", "event", "rule", "view")
    names = ("spec", "event", "rule", "event_path", "target_input_payload")
    dispatch = pinned(events, "_dispatch_to_event_bus", *names)

    def invoke_target(target: Any, event: Any, rule: Any, view: Any = None) -> None:
        before = _TARGET.set(target)
        try:
            invoke(target, event, rule, view)
        finally:
            _TARGET.reset(before)

    def dispatch_to_event_bus(
        spec: Any, event: Any, rule: Any, event_path: Any, target_input_payload: Any = None
    ) -> None:
        if (spec.account_id, spec.region) == (responses.get_account_id(), responses.get_region()):
            dispatch(spec, event, rule, event_path, target_input_payload)
            return
        if why := refusal(str(spec), _TARGET.get().get("RoleArn"), event):
            logger.warning("not delivered to %s: %s", spec, why)
            return
        passed = {**event, "EventBusName": spec.resource.split("/", 1)[1]}
        if target_input_payload is not None:
            passed["Detail"] = target_input_payload
        with responses.request_scope(spec.account_id, spec.region):
            events._dispatch_event(passed)

    events._invoke_target, events._dispatch_to_event_bus = invoke_target, dispatch_to_event_bus


def refusal(bus: str, role_arn: str | None, event: Any) -> str | None:
    """Why a rule's role may not put an event on another account's or region's bus; None if it may."""
    events: Any = import_module("ministack.services.eventbridge")
    evaluator: Any = import_module("ministack.core.iam_evaluator")
    responses: Any = import_module("ministack.core.responses")
    if not role_arn:
        return "the target has no role"
    account, name = role_arn.split(":")[4], role_arn.rpartition("/")[2]
    session = f"arn:aws:sts::{account}:assumed-role/{name}/events"
    owner, region, resource = bus.split(":")[4], bus.split(":")[3], bus.split(":", 5)[5]
    context = evaluator.EvalContext(session, "AssumedRole", account, "events:PutEvents", bus, region)
    context.service_context = {
        "events:source": [event["Source"]],
        "events:detail-type": [event["DetailType"]],
    }
    if evaluator.evaluate(context, evaluator._gather_role_policies(name, account)).decision != "Allow":
        return f"{role_arn} has no permission for events:PutEvents"
    if owner == account:
        return None
    with responses.request_scope(owner, region):
        policy = events._event_bus_policies.get(resource.split("/", 1)[1])
    if policy and evaluator.evaluate_resource_policy(policy, context).decision == "Allow":
        return None
    return f"the policy of the bus does not allow {role_arn}"


def provide_bus_policies() -> None:
    """Let CloudFormation make, change and delete a statement of a bus's policy."""
    events: Any = import_module("ministack.services.eventbridge")
    responses: Any = import_module("ministack.core.responses")
    formation: Any = import_module("ministack.services.cloudformation.provisioners")

    def write(props: Mapping[str, Any], keep: bool = True) -> None:
        bus, sid = props.get("EventBusName") or "default", props["StatementId"]
        policy = events._event_bus_policies.get(bus) or {"Version": "2012-10-17", "Statement": []}
        others = [one for one in policy["Statement"] if one.get("Sid") != sid]
        own = [{**statement_of(props, bus), "Sid": sid}] if keep else []
        if others or own:
            events._event_bus_policies[bus] = {**policy, "Statement": [*others, *own]}
        else:
            events._event_bus_policies.pop(bus, None)

    def statement_of(props: Mapping[str, Any], bus: str) -> dict[str, Any]:
        if props.get("Statement"):
            given = props["Statement"]
            return dict(json.loads(given) if isinstance(given, str) else given)
        arn = f"arn:aws:events:{responses.get_region()}:{responses.get_account_id()}:event-bus/{bus}"
        principal = props["Principal"]
        condition = props.get("Condition")
        return {
            "Effect": "Allow",
            "Principal": principal if principal == "*" else {"AWS": principal},
            "Action": props.get("Action", "events:PutEvents"),
            "Resource": arn,
            **(
                {"Condition": {condition["Type"]: {condition["Key"]: condition["Value"]}}}
                if condition
                else {}
            ),
        }

    def create(_logical_id: str, props: Mapping[str, Any], _stack_name: str) -> tuple[str, dict[str, str]]:
        write(props)
        return f"{props.get('EventBusName') or 'default'}|{props['StatementId']}", {}

    def update(
        physical_id: str, old: Mapping[str, Any], new: Mapping[str, Any], _stack_name: str
    ) -> tuple[str, dict[str, str]]:
        write(old, keep=False)
        write(new)
        return physical_id, {}

    def delete(_physical_id: str, props: Mapping[str, Any]) -> None:
        write(props, keep=False)

    handlers = {"create": create, "update": update, "delete": delete}
    formation._RESOURCE_HANDLERS.setdefault("AWS::Events::EventBusPolicy", handlers)
