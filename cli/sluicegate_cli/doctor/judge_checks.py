"""Check the functions of the gate file that judge: that they exist, and that the target role may invoke them.

Without either, each look at a rollout is unclear, and by default an unclear bake passes: nobody judges.
"""

from collections.abc import Iterator
from typing import Final

from sluicegate.gate.policy import Gate
from sluicegate_cli.doctor.aws_calls import AwsCalls
from sluicegate_cli.doctor.findings import CheckVerdict, Finding
from sluicegate_cli.doctor.gate_checks import judges_of, some
from sluicegate_cli.doctor.invoke_policies import may_invoke
from sluicegate_cli.doctor.role_checks import permissions
from sluicegate_cli.doctor.stack import DeployedStack

JUDGES: Final = "the functions that judge can be invoked"


def judges(aws: AwsCalls, stack: DeployedStack, gate: Gate) -> Iterator[Finding]:
    """Check each `judge` in the stack's own account and region. Raises CouldNotCheck and NoAccess."""
    names = judges_of(gate)
    if not names:
        return
    missing = [
        name for name in names if aws.find("lambda", "GetFunctionConfiguration", FunctionName=name) is None
    ]
    if missing:
        seen = f"{some(missing)} not in {aws.region}: what it would judge stays unclear"
        change = "Create the function, or correct its name in `watch.judge`."
        yield Finding(JUDGES, CheckVerdict.WRONG, seen, change)
    role = stack.outputs.get("TargetRoleArn", "").rpartition("/")[2]
    documents = permissions(aws, role)
    start = f"arn:{stack.id.split(':')[1]}:lambda:{aws.region}:{stack.account}:function:"
    refused = [name for name in names if not may_invoke(documents, f"{start}{name}")]
    if refused:
        seen = f"{role} may not invoke {', '.join(refused)}: what it would judge stays unclear"
        change = "Run `make deploy` with this gate file: the role's policies are made from it."
        yield Finding(JUDGES, CheckVerdict.WRONG, seen, change)
    if not missing and not refused:
        yield Finding(JUDGES, CheckVerdict.OK, f"{role} may invoke {', '.join(names)}")
