"""Gate files with targets, and their templates as CloudFormation resolves them in an account and region."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from sluicegate.gate.policy import Gate
from sluicegate_gatefile.compile import OWN_FUNCTIONS, check, own_function_names
from sluicegate_gatefile.target_template import TargetStack, stacks, template
from support.expanded import resolve
from support.template import Json, load

DEPLOYER: Final = "arn:aws:iam::111111111111:role/sluicegate-DeployerRole-1"
BUS: Final = "arn:aws:events:eu-central-1:111111111111:event-bus/sluicegate"
PARAMETERS: Final = {"DeployerRoleArn": DEPLOYER, "EventBusArn": BUS}
OWN: Final = tuple(f"sluicegate-{name}" for name in OWN_FUNCTIONS)

GATE: Final = Path(__file__).with_name("targets.yaml").read_text()


def gate_of(directory: Path, text: str = GATE) -> Gate:
    """The gate of a gate file. Raises AssertionError where it has errors."""
    file = directory / "sluicegate.yaml"
    file.write_text(text)
    report = check(file)
    assert report.gate, report.diagnostics
    return report.gate


def stacks_of(directory: Path, text: str = GATE) -> dict[str, TargetStack]:
    return stacks(gate_of(directory, text), own_functions=own_function_names("sluicegate"))


def resolved(
    stack: TargetStack, parameters: Mapping[str, Any] | None = None, *, text: str | None = None, **place: str
) -> Json:
    """The resources and outputs of a target's stack, by default in its own place."""
    found = load(text or template(stack))
    defaults = {name: each.get("Default") for name, each in found["Parameters"].items()}
    values = {**defaults, **PARAMETERS, **(parameters or {})}
    where = {"account": stack.account, "region": stack.region, "partition": "aws", **place}
    return resolve(found, values, stack="sluicegate-target", **where)


def role_documents(resources: Json, name: str) -> list[Json]:
    """The documents of all policies of a role, managed ones included."""
    own = [policy["PolicyDocument"] for policy in resources[name]["Properties"]["Policies"]]
    return own + [
        resource["Properties"]["PolicyDocument"]
        for resource in resources.values()
        if resource["Type"] == "AWS::IAM::ManagedPolicy"
    ]
