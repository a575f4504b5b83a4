"""template.yaml as CloudFormation gets it: expanded by the real SAM translator, and resolved for one stack.

What the build includes is made from the repository's own gate file. A reference to a resource is resolved to
a name that is as long as AWS makes it, so that sizes are those of the longest stack.
"""

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from unittest import mock

import yaml
from samtranslator.translator.transform import transform  # type: ignore[import-untyped]

from sluicegate_gatefile import compile as gatefile
from sluicegate_gatefile import prune_policy, stack_policies, target_policy, target_template
from support.template import ROOT, TEMPLATE, Json

LONGEST_STACK: Final = "s" * 51
"""The longest stack name: with `-dependencies`, a layer's name has 64 characters."""

ARNS: Final = {
    ("AWS::DynamoDB::Table", "Arn"): "arn:{partition}:dynamodb:{at}:table/{name}",
    ("AWS::DynamoDB::Table", "StreamArn"): (
        "arn:{partition}:dynamodb:{at}:table/{name}/stream/2026-11-26T00:00:00.000"
    ),
    ("AWS::Events::EventBus", "Arn"): "arn:{partition}:events:{at}:event-bus/{name}",
    ("AWS::Events::Rule", "Arn"): "arn:{partition}:events:{at}:rule/{bus}/{name}",
    ("AWS::IAM::Role", "Arn"): "arn:{partition}:iam::{account}:role/{name}",
    ("AWS::KMS::Key", "Arn"): "arn:{partition}:kms:{at}:key/{name}",
    ("AWS::Lambda::Function", "Arn"): "arn:{partition}:lambda:{at}:function:{name}",
    ("AWS::Logs::LogGroup", "Arn"): "arn:{partition}:logs:{at}:log-group:{name}:*",
    ("AWS::S3::Bucket", "Arn"): "arn:{partition}:s3:::{name}",
    ("AWS::SQS::Queue", "Arn"): "arn:{partition}:sqs:{at}:{name}",
    ("AWS::StepFunctions::StateMachine", "Arn"): "arn:{partition}:states:{at}:stateMachine:{name}",
    ("AWS::WAFv2::WebACL", "Arn"): "arn:{partition}:wafv2:{at}:regional/webacl/{name}/{name}",
}
"""What `Fn::GetAtt` returns (CloudFormation template reference, "Return values", November 2026)."""

ABSENT: Final = object()
"""`AWS::NoValue`: the property is left out."""


def expanded(parameters: Mapping[str, Any] | None = None, *, stack: str = LONGEST_STACK) -> Json:
    """The expanded template's resources and outputs, without what conditions leave out.

    Raises AssertionError for a reference to nothing.
    """
    values = {name: parameter["Default"] for name, parameter in TEMPLATE["Parameters"].items()}
    values |= parameters or {}
    template = json.loads(json.dumps(TEMPLATE))
    for resource in template["Resources"].values():
        # Packaged, as `sam deploy` does.
        for key in {"CodeUri", "ContentUri"} & resource.get("Properties", {}).keys():
            resource["Properties"][key] = "s3://bucket/key"
    with mock.patch.dict(os.environ, {"AWS_DEFAULT_REGION": "ap-southeast-1"}):
        found: Json = transform(template, dict(values), _NoManagedPolicies())
    return resolve(found, values, stack=stack)


def resolve(
    template: Json,
    parameters: Mapping[str, Any],
    *,
    stack: str = LONGEST_STACK,
    account: str = "1" * 12,
    region: str = "ap-southeast-99",
    partition: str = "aws-us-gov",
) -> Json:
    """A template's resources and outputs in one place, without what conditions leave out.

    Raises AssertionError for a reference to nothing.
    """
    return _Resolver(template, parameters, stack, account, region, partition).resolved()


class _NoManagedPolicies:
    """No role here names a managed policy of AWS."""

    def load(self) -> dict[str, str]:
        return {}


class _Resolver:
    def __init__(
        self,
        template: Json,
        parameters: Mapping[str, Any],
        stack: str,
        account: str,
        region: str,
        partition: str,
    ) -> None:
        self._template = template
        self._parameters = parameters
        self._pseudo = {
            "AWS::AccountId": account,
            "AWS::NoValue": ABSENT,
            "AWS::Partition": partition,
            "AWS::Region": region,
            "AWS::StackId": f"arn:{partition}:cloudformation:{region}:1:stack/{stack}/{'0' * 47}",
            "AWS::StackName": stack,
            "AWS::URLSuffix": "amazonaws.com",
        }
        self._stack = stack
        self._conditions = {name: self._holds(name) for name in template["Conditions"]}
        self._resources = {
            name: resource
            for name, resource in template["Resources"].items()
            if self._conditions.get(resource.get("Condition", ""), True)
        }

    def resolved(self) -> Json:
        outputs = {
            name: output
            for name, output in self._template["Outputs"].items()
            if self._conditions.get(output.get("Condition", ""), True)
        }
        return {"Resources": self._value(self._resources), "Outputs": self._value(outputs)}

    def _holds(self, name: str) -> bool:
        return bool(self._value(self._template["Conditions"][name]))

    def _value(self, value: Any) -> Any:
        if isinstance(value, list):
            return [each for each in map(self._value, value) if each is not ABSENT]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            [(function, argument)] = value.items()
            if function == "Condition" and isinstance(argument, str):
                return self._holds(argument)
            if function == "Ref" or function.startswith("Fn::"):
                return self._call(function, argument)
        found = {key: self._value(each) for key, each in value.items()}
        return {key: each for key, each in found.items() if each is not ABSENT}

    def _call(self, function: str, argument: Any) -> Any:
        match function:
            case "Ref":
                return self._reference(argument)
            case "Fn::GetAtt":
                name, _, attribute = ".".join(
                    argument if isinstance(argument, list) else [argument]
                ).partition(".")
                return self._attribute(name, attribute)
            case "Fn::Sub":
                text, more = argument if isinstance(argument, list) else (argument, {})
                return re.sub(r"\$\{([^}!]+)\}", lambda found: self._substitute(found[1], more), text)
            case "Fn::If":
                condition, then, otherwise = argument
                return self._value(then if self._conditions[condition] else otherwise)
            case "Fn::Join":
                separator, parts = argument
                return separator.join(self._value(parts))
            case "Fn::Select":
                index, parts = argument
                return self._value(parts)[index]
            case "Fn::Equals":
                one, other = map(self._value, argument)
                return str(one) == str(other)
            case "Fn::Not":
                return not self._value(argument[0])
            case "Fn::And":
                return all(map(self._value, argument))
            case "Fn::Or":
                return any(map(self._value, argument))
            case "Fn::Split":
                separator, value = map(self._value, argument)
                return value.split(separator)
            case "Fn::FindInMap":
                name, first, second = map(self._value, argument)
                found = self._template["Mappings"][name]
                assert second in found.get(first, {}), f"{name} has no value for {first} and {second}"
                return found[first][second]
            case "Fn::Transform":
                return self._value(_included(argument["Parameters"]["Location"]))
        raise AssertionError(f"{function} is not known")

    def _substitute(self, name: str, more: Mapping[str, Any]) -> str:
        if name in more:
            return str(self._value(more[name]))
        resource, _, attribute = name.partition(".")
        return str(self._attribute(resource, attribute) if attribute else self._reference(name))

    def _reference(self, name: str) -> Any:
        if name in self._pseudo:
            return self._pseudo[name]
        if name in self._parameters:
            kind = self._template["Parameters"][name]["Type"]
            value = self._parameters[name]
            return str(value).split(",") if kind == "CommaDelimitedList" else value
        assert name in self._resources, f"a reference to nothing: {name}"
        if self._resources[name]["Type"] == "AWS::StepFunctions::StateMachine":
            return self._attribute(name, "Arn")
        return self._physical(name)

    def _attribute(self, name: str, attribute: str) -> str:
        assert name in self._resources, f"a reference to nothing: {name}"
        kind = self._resources[name]["Type"]
        if attribute == "RoleId":
            return "A" * 21
        if attribute.endswith("Arn"):
            form = ARNS[kind, attribute]
            return form.format(
                partition=self._pseudo["AWS::Partition"],
                at=f"{self._pseudo['AWS::Region']}:{self._pseudo['AWS::AccountId']}",
                account=self._pseudo["AWS::AccountId"],
                name=self._physical(name),
                bus=self._stack,
            )
        return f"{self._physical(name)}.{attribute}"

    def _physical(self, name: str) -> str:
        """Its given name, or one as CloudFormation makes it: stack, logical id, and 12 characters."""
        given = self._resources[name].get("Properties", {})
        for key in (
            *("FunctionName", "QueueName", "RoleName", "LogGroupName", "StateMachineName", "LayerName"),
            "BucketName",
        ):
            if key in given:
                return str(self._value(given[key]))
        return f"{self._stack}-{name}-{'0' * 12}"


def _included(location: str) -> Any:
    """What the build puts there."""
    if location.startswith("build/"):
        report = gatefile.check(ROOT / "sluicegate.yaml")
        assert report.gate
        targets = target_template.stacks(report.gate, own_functions=()).values()
        if location == "build/target-roles.json":
            return stack_policies.roles(targets)
        if location == "build/target-events.json":
            return stack_policies.events(targets)
        if location == "build/prune-policy.json":
            return prune_policy.of(report.gate)
        number = re.search(r"target-policy(-(\d+))?\.json$", location)
        assert number, location
        return target_policy.of(report.gate)[int(number[2] or 1) - 1]
    return yaml.safe_load((ROOT / Path(location)).read_text())
