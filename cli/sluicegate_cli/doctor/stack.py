"""Sluicegate's stack as CloudFormation describes it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from sluicegate_cli.doctor.aws_calls import AwsCalls, CouldNotCheck
from sluicegate_cli.doctor.findings import CheckVerdict, Finding

STACK: Final = "the stack is deployed"

_READY: Final = frozenset(
    {"CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE", "IMPORT_COMPLETE"}
)
_ENDED: Final = ("CREATE_COMPLETE", "UPDATE_COMPLETE", "IMPORT_COMPLETE")


@dataclass(frozen=True)
class Resource:
    """A resource of the stack: its name in the template, its type and its name in AWS."""

    logical: str
    type: str
    physical: str
    status: str


@dataclass(frozen=True)
class DeployedStack:
    """The stack: `parameters` and `outputs` by name."""

    name: str
    id: str
    status: str
    parameters: Mapping[str, str]
    outputs: Mapping[str, str]
    resources: tuple[Resource, ...]

    @property
    def account(self) -> str:
        """Return the account's 12 digits, from the stack's ARN."""
        return self.id.split(":")[4]

    def of_type(self, kind: str) -> tuple[Resource, ...]:
        """Return the resources of a type, such as `AWS::SQS::Queue`."""
        return tuple(one for one in self.resources if one.type == kind)

    def resource(self, logical: str) -> Resource | None:
        """Return a resource by its name in the template."""
        return next((one for one in self.resources if one.logical == logical), None)


def read_stack(aws: AwsCalls, name: str) -> DeployedStack | Finding:
    """Read the stack, or say why it cannot be read. Raises NoAccess and CouldNotCheck."""
    try:
        described = aws.call("cloudformation", "DescribeStacks", StackName=name)["Stacks"][0]
    except CouldNotCheck as error:
        # CloudFormation says ValidationError: "Stack with id NAME does not exist".
        if "does not exist" in error.seen:
            change = "Run `make deploy` first, or correct --stack, --region or AWS_PROFILE."
            return Finding(STACK, CheckVerdict.WRONG, f"there is no stack {name} in {aws.region}", change)
        raise
    resources = tuple(
        Resource(
            one["LogicalResourceId"],
            one["ResourceType"],
            one.get("PhysicalResourceId", ""),
            one["ResourceStatus"],
        )
        for one in aws.pages("cloudformation", "ListStackResources", "StackResourceSummaries", StackName=name)
    )
    return DeployedStack(
        name,
        described["StackId"],
        described["StackStatus"],
        {one["ParameterKey"]: one.get("ParameterValue", "") for one in described.get("Parameters", ())},
        {one["OutputKey"]: one["OutputValue"] for one in described.get("Outputs", ())},
        resources,
    )


def of_stack(stack: DeployedStack, region: str) -> Iterator[Finding]:
    """Check the stack's own status, and that it is Sluicegate's."""
    missing = [name for name in ("Endpoint", "Table", "TargetRoleArn") if name not in stack.outputs]
    if missing and stack.status in _READY:
        change = "Name Sluicegate's own stack: `sluicegate`, unless you chose another name."
        seen = f"{stack.name} is not a stack of Sluicegate: it has no output {missing[0]}"
        yield Finding(STACK, CheckVerdict.WRONG, seen, change)
        return
    failed = [one for one in stack.resources if not one.status.startswith(_ENDED)]
    if stack.status in _READY and not failed:
        word = "; its last update was rolled back" if stack.status == "UPDATE_ROLLBACK_COMPLETE" else ""
        verdict = CheckVerdict.WARNING if word else CheckVerdict.OK
        change = "See the stack's events for why, mend it and run `make deploy`." if word else ""
        yield Finding(STACK, verdict, f"{stack.name} is in {region}: {stack.status}{word}", change)
        return
    if stack.status.endswith("_IN_PROGRESS"):
        change = "Wait until it is done, then run this again."
        yield Finding(STACK, CheckVerdict.WARNING, f"{stack.name} is {stack.status}", change)
        return
    names = ", ".join(f"{one.logical} ({one.status})" for one in failed[:5])
    change = f"See why: `aws cloudformation describe-stack-events --stack-name {stack.name}`."
    yield Finding(
        STACK, CheckVerdict.WRONG, f"{stack.name} is {stack.status}: {names or 'see its events'}", change
    )
