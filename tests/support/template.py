"""template.yaml as a test reads it: CloudFormation's short forms become its long ones."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import yaml

from sluicegate.aws import permissions

ROOT: Final = Path(__file__).resolve().parents[2]
FUNCTIONS: Final = (
    *("Gateway", "Watcher", "GatewayIam", "WatcherIam"),
    *("Deployer", "Rollback", "Janitor", "Relay", "Waker", "Notifier", "Messenger", "Board", "Sealer"),
    *("Drift", "Pruner"),
)
"""Names of our functions in the template, each followed by `Function`."""

RUN_AS: Final = {**{name: name for name in FUNCTIONS}, "Rollback": "Deployer"}
"""Whose role and log each has: it is the deployer again, with concurrency of its own."""

Json = dict[str, Any]


def suffix(name: str) -> str:
    """What a function's name has after the stack's: `gateway-iam` of `GatewayIam`."""
    return re.sub(r"(?<!^)(?=[A-Z])", "-", name).lower()


class _Loader(yaml.SafeLoader):
    """CloudFormation's short forms become its long ones."""


def _long_form(loader: yaml.SafeLoader, tag: str, node: yaml.Node) -> Json:
    name = tag if tag in {"Ref", "Condition"} else f"Fn::{tag}"
    if isinstance(node, yaml.ScalarNode):
        value: Any = loader.construct_scalar(node)
        return {name: value.split(".", 1) if tag == "GetAtt" else value}
    if isinstance(node, yaml.SequenceNode):
        return {name: loader.construct_sequence(node, deep=True)}
    raise AssertionError(f"{node.start_mark}: no short form")


_Loader.add_multi_constructor("!", _long_form)


def load(text: str) -> Json:
    """A template, as CloudFormation reads it."""
    found: Json = yaml.load(text, _Loader)  # noqa: S506, a SafeLoader
    return found


def read(file: Path) -> Json:
    """Read another template in the same way."""
    return load(file.read_text())


TEMPLATE: Final[Json] = read(ROOT / "template.yaml")
RESOURCES: Final[Json] = TEMPLATE["Resources"]
ALARM: Final = "AWS::CloudWatch::Alarm"
MACHINE: Final[Json] = yaml.safe_load((ROOT / "functions" / "rollout.asl.yaml").read_text())


def properties(name: str) -> Json:
    found: Json = RESOURCES[name]["Properties"]
    return found


def of_type(kind: str) -> list[str]:
    return [name for name, resource in RESOURCES.items() if resource["Type"] == kind]


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def policies(role: str) -> Iterator[Json]:
    """Written policies, those under a condition included; not the one that the gate file makes."""
    for policy in properties(role).get("Policies", []):
        policy = policy["Fn::If"][1] if "Fn::If" in policy else policy
        if "Fn::Transform" not in policy["PolicyDocument"]:
            yield policy


LOOKING_ONLY: Final[Json] = {
    "Sid": "LookingOnly",
    "Effect": "Deny",
    "NotAction": sorted({*permissions.LOOKING, permissions.EVENT_SOURCES}),
    "Resource": "*",
    "Condition": {"StringEquals": {"aws:SourceIdentity": permissions.DRIFT_IDENTITY}},
}
"""The one statement of a role that says what is not: a session that looks for drift does nothing else."""


def statements(role: str) -> Iterator[Json]:
    """All statements of a role, without `LOOKING_ONLY`."""
    for policy in policies(role):
        for statement in policy["PolicyDocument"]["Statement"]:
            if statement != LOOKING_ONLY:
                yield statement


def actions(role: str, effect: str = "Allow") -> set[str]:
    found = (statement for statement in statements(role) if statement["Effect"] == effect)
    return {action for statement in found for action in listed(statement["Action"])}
