"""Answers that AWS gives and MiniStack 1.5.33 does not. `launch_emulator` loads it in the emulator.

`tests/contract` holds each of them, with its source, against every witness:

- Lambda publishes only the code and the revision that were named, and nothing while an update runs;
  publishing and the end of an update move $LATEST's revision.
- An alias that is looked for or deleted, and provisioned concurrency of no alias, in Lambda's words.
- The same start of an execution again, while it runs, is that execution; its name has a small alphabet.
- A queue's policy covers that queue alone.
- STS takes session names and tags of its documented alphabets only.
"""

import json
import re
import threading
import time
from collections.abc import Callable, Mapping
from contextvars import copy_context
from importlib import import_module
from typing import Any
from unicodedata import category

Pinned = Callable[..., Callable[..., Any]]

_STALE = (
    "The Revision Id provided does not match the latest Revision Id. "
    "Call the GetFunction/GetAlias API to retrieve the latest Revision Id"
)


_EXECUTION_NAME = re.compile(r"""[^\s<>{}\[\]?*"#%\\^|~`$&,;:/\x00-\x1f\x7f-\x9f]{1,80}""")


def install(pinned: Pinned) -> None:
    """Install all of them. `pinned` finds a function and stops where it has changed."""
    fence_publications(pinned)
    move_the_revision_with_the_end_of_an_update(pinned)
    name_what_is_not_there(pinned)
    start_executions_once(pinned)
    keep_policies_to_one_queue(pinned)
    validate_sessions(pinned)


def fence_publications(pinned: Pinned) -> None:
    """PublishVersion and UpdateFunctionCode: CodeSha256, RevisionId, and no update in progress.

    An update without SourceKMSKeyArn falls back to AWS's key (UpdateFunctionCode, read on 26 November 2026).
    """
    lambda_: Any = import_module("ministack.services.lambda_svc")
    publish = pinned(lambda_, "_publish_version", "name", "data")
    update = pinned(lambda_, "_update_code", "name", "data")

    def in_progress(name: str) -> Any:
        function = lambda_._functions.get(name)
        if function and function["config"].get("LastUpdateStatus") == "InProgress":
            message = (
                "The operation cannot be performed at this time. "
                f"An update is in progress for resource: {lambda_._func_arn(name)}"
            )
            return lambda_.error_response_json("ResourceConflictException", message, 409)
        return None

    def publish_version(name: str, data: Mapping[str, Any]) -> Any:
        function = lambda_._functions.get(name)
        if function is None:
            return publish(name, data)
        if refusal := in_progress(name):
            return refusal
        current, wanted = function["config"], data.get("CodeSha256")
        if data.get("RevisionId") and data["RevisionId"] != current["RevisionId"]:
            return lambda_.error_response_json("PreconditionFailedException", _STALE, 412)
        if wanted and wanted != current["CodeSha256"]:
            message = (
                f"CodeSHA256 ({wanted}) is different from current CodeSHA256 in $LATEST "
                f"({current['CodeSha256']}). Please try again with the CodeSHA256 in $LATEST."
            )
            return lambda_.error_response_json("InvalidParameterValueException", message, 400)
        known = set(function["versions"])
        answer = publish(name, data)
        for number in set(function["versions"]) - known:
            current["RevisionId"] = lambda_.new_uuid()
            function["versions"][number]["function_revision"] = current["RevisionId"]
        return answer

    def update_code(name: str, data: Mapping[str, Any]) -> Any:
        # CloudFormation's own calls name no revision; on AWS it waits instead.
        refusal = "RevisionId" in data and in_progress(name)
        return refusal or update(name, {"SourceKMSKeyArn": None, **data})

    lambda_._publish_version, lambda_._update_code = publish_version, update_code


def move_the_revision_with_the_end_of_an_update(pinned: Pinned) -> None:
    """Give $LATEST another revision when its update has ended."""
    lambda_: Any = import_module("ministack.services.lambda_svc")
    schedule = pinned(lambda_, "_schedule_state_transition", "func_name", "delay")

    def schedule_state_transition(func_name: str, delay: float) -> None:
        function = lambda_._functions.get(func_name)
        started = function and function["config"].get("RevisionId")
        schedule(func_name, delay)

        def move() -> None:
            deadline = time.monotonic() + delay + 10
            while time.monotonic() < deadline:
                current = (lambda_._functions.get(func_name) or {}).get("config", {})
                if current.get("RevisionId") != started:
                    return
                if current.get("LastUpdateStatus") == "Successful":
                    current["RevisionId"] = lambda_.new_uuid()
                    return
                time.sleep(0.002)

        threading.Thread(target=copy_context().run, args=(move,), daemon=True).start()

    lambda_._schedule_state_transition = schedule_state_transition


def name_what_is_not_there(pinned: Pinned) -> None:
    """Say in Lambda's words which alias is not there, and delete one as often as asked."""
    lambda_: Any = import_module("ministack.services.lambda_svc")
    get = pinned(lambda_, "_get_alias", "func_name", "alias_name")
    delete = pinned(lambda_, "_delete_alias", "func_name", "alias_name")
    provisioned = pinned(lambda_, "_get_provisioned_concurrency", "func_name", "qualifier")

    def has_alias(name: str, alias: str) -> bool:
        return alias in (lambda_._functions.get(name) or {}).get("aliases", {})

    def missing(name: str, alias: str) -> Any:
        message = f"Cannot find alias arn: {lambda_._func_arn(name)}:{alias}"
        return lambda_.error_response_json("ResourceNotFoundException", message, 404)

    def get_alias(func_name: str, alias_name: str) -> Any:
        return (
            get(func_name, alias_name) if has_alias(func_name, alias_name) else missing(func_name, alias_name)
        )

    def delete_alias(func_name: str, alias_name: str) -> Any:
        if func_name in lambda_._functions and not has_alias(func_name, alias_name):
            return 204, {}, b""
        return delete(func_name, alias_name)

    def get_provisioned_concurrency(func_name: str, qualifier: str) -> Any:
        named = not re.fullmatch(r"[0-9]+|\$LATEST", qualifier or "$LATEST")
        if named and not has_alias(func_name, qualifier):
            return missing(func_name, qualifier)
        return provisioned(func_name, qualifier)

    lambda_._get_alias, lambda_._delete_alias = get_alias, delete_alias
    lambda_._get_provisioned_concurrency = get_provisioned_concurrency


def start_executions_once(pinned: Pinned) -> None:
    """Answer StartExecution of a running execution with the same input by that execution."""
    states: Any = import_module("ministack.services.stepfunctions")
    start = pinned(states, "_start_execution", "data")

    def start_execution(data: Mapping[str, Any]) -> Any:
        machine, name = data.get("stateMachineArn", ""), data.get("name")
        if name is not None and not _EXECUTION_NAME.fullmatch(name):
            return states.error_response_json("InvalidName", f"Invalid Name: '{name}'", 400)
        arn = f"{machine.replace(':stateMachine:', ':execution:')}:{name}"
        known = states._executions.get(arn) if name else None
        if known and known["status"] == "RUNNING" and known["input"] == data.get("input", "{}"):
            return states.json_response({"executionArn": arn, "startDate": known["startDate"]})
        return start(data)

    states._start_execution = start_execution
    replace_in_tables(states, start, start_execution)


def keep_policies_to_one_queue(pinned: Pinned) -> None:
    """Refuse a queue's policy that names more than one queue."""
    sqs: Any = import_module("ministack.services.sqs")
    set_attributes = pinned(sqs, "_act_set_queue_attributes", "data", "qurl")

    def act_set_queue_attributes(data: Mapping[str, Any], qurl: str) -> Any:
        policy = (data.get("Attributes") or {}).get("Policy")
        if policy and names_several_queues(policy):
            raise sqs._Err("InvalidAttributeValue", "Invalid value for the parameter Policy.", 400)
        return set_attributes(data, qurl)

    sqs._act_set_queue_attributes = act_set_queue_attributes
    replace_in_tables(sqs, set_attributes, act_set_queue_attributes)


def replace_in_tables(module: Any, old: Callable[..., Any], new: Callable[..., Any]) -> None:
    """Replace a function in the module's tables of actions too: requests find it there."""
    for table in vars(module).values():
        if isinstance(table, dict):
            for action, handler in table.items():
                if handler is old:
                    table[action] = new


def names_several_queues(policy: str) -> bool:
    try:
        statements = json.loads(policy)["Statement"]
    except (ValueError, KeyError, TypeError):
        return False
    each = statements if isinstance(statements, list) else [statements]
    resources = [one.get("Resource", ()) for one in each if isinstance(one, dict)]
    return len({arn for one in resources for arn in ([one] if isinstance(one, str) else one)}) > 1


def validate_sessions(pinned: Pinned) -> None:
    """Refuse session names and tags that STS refuses (AssumeRole, RoleSessionName and Tags)."""
    sts: Any = import_module("ministack.services.sts")
    assumed = pinned(sts, "_assumed_role_arn", "role_arn", "session_name")
    tags = pinned(sts, "_session_tags", "params", "check")

    def invalid(value: str, member: str, pattern: str) -> Any:
        message = (
            f"1 validation error detected: Value '{value}' at '{member}' failed to satisfy constraint: "
            f"Member must satisfy regular expression pattern: {pattern}"
        )
        return sts._error(400, "ValidationError", message, ns="sts")

    def assumed_role_arn(role_arn: str, session_name: str) -> Any:
        if not re.fullmatch(r"[\w+=,.@-]{2,64}", session_name or "", re.ASCII):
            return None, invalid(session_name, "roleSessionName", r"[\w+=,.@-]*")
        return assumed(role_arn, session_name)

    def session_tags(params: Any, check: bool = False) -> Any:
        found, error = tags(params, check=check)
        for tag in found or ():
            if not takes(tag["Value"]):
                wrong = invalid(tag["Value"], "tags.1.member.value", r"[\p{L}\p{Z}\p{N}_.:/=+\-@]*")
                return found, error or wrong
        return found, error

    sts._assumed_role_arn, sts._session_tags = assumed_role_arn, session_tags


def takes(value: str) -> bool:
    r"""Return whether STS takes a tag's value: at most 256 of `[\p{L}\p{Z}\p{N}_.:/=+\-@]`."""
    return len(value) <= 256 and all(category(one)[0] in "LZN" or one in "_.:/=+-@" for one in value)
