"""Say after `make deploy` which targets are missing, or older than the gate file.

Run as `python -m sluicegate_cli.deployed_targets` with sam's own arguments. It never fails: the stack is
deployed by then. What is in another account shows to credentials of that account only.
"""

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import click

from sluicegate_cli.doctor import aws_calls, target_checks
from sluicegate_cli.doctor.aws_calls import AwsCalls, CouldNotCheck
from sluicegate_cli.doctor.findings import CheckVerdict, Finding
from sluicegate_cli.doctor.stack import read_stack
from sluicegate_gatefile.compile import check, own_function_names
from sluicegate_gatefile.target_template import TargetStack, stacks


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a line for each target of the gate file; returns 0."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for option in ("--region", "--profile", "--stack-name"):
        parser.add_argument(option)
    given, _ = parser.parse_known_args(arguments)
    name = given.stack_name or "sluicegate"
    gate = check(Path(os.environ.get("SLUICEGATE_GATE_FILE") or "sluicegate.yaml"), stack_name=name).gate
    if gate is None or not gate.targets:
        return 0
    if given.profile:
        os.environ["AWS_PROFILE"] = given.profile
    region = given.region or os.environ.get("AWS_DEFAULT_REGION")
    targets = stacks(gate, own_functions=own_function_names(name))
    for line in lines(lambda: aws_calls.connect(region, what="this"), name, targets):
        print(line)
    return 0


def lines(connect: Callable[[], AwsCalls], name: str, targets: Mapping[str, TargetStack]) -> list[str]:
    """Return what to print: a line for each target, and what to do about it."""
    try:
        aws = connect()
        stack = read_stack(aws, name)
        if isinstance(stack, Finding):
            raise CouldNotCheck(stack.seen)
        deployer = stack.outputs.get("DeployerRoleArn", "")
        findings = list(target_checks.of_targets(aws, stack.account, deployer, targets))
    except (CouldNotCheck, click.UsageError) as error:
        return [f"targets: {error}"]
    marks = {CheckVerdict.OK: "ok", CheckVerdict.UNKNOWN: "not known"}
    printed = []
    for finding in findings:
        printed.append(f"{finding.check}: {marks.get(finding.verdict, 'no')}: {finding.seen}")
        if finding.change:
            printed.append(f"    {finding.change}")
    return printed


if __name__ == "__main__":
    sys.exit(main())
