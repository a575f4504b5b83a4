"""Say after `make deploy` how to call the API.

Run as `python -m sluicegate_cli.deployed` with sam's own arguments. Whether it can read the stack's outputs
does not change the deployment's success: its exit code is 0 in any case.
"""

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from sluicegate_cli.deploying import open_session, options


def main(arguments: Sequence[str] | None = None) -> int:
    """Print how to call the API of the stack that the arguments name."""
    print(calls(sys.argv[1:] if arguments is None else arguments, os.environ, boto3.session.Session))
    return 0


def calls(arguments: Sequence[str], environ: Mapping[str, str], make_session: Callable[..., Any]) -> str:
    """Return how to call the API, or where to look where the stack's outputs cannot be read."""
    try:
        given = options(arguments)
        session = open_session(given, environ, make_session)
        patience = Config(connect_timeout=5, read_timeout=10, retries={"total_max_attempts": 2})
        formation = session.client("cloudformation", config=patience)
        [stack] = formation.describe_stacks(StackName=given.stack_name)["Stacks"]
    except (argparse.ArgumentError, BotoCoreError, ClientError):
        return "the stack's outputs could not be read: sam list stack-outputs shows how to call the API"
    outputs = {each["OutputKey"]: each["OutputValue"] for each in stack.get("Outputs", [])}
    if not outputs.keys() >= {"Endpoint", "IamApiArn", "IamEndpoint"}:
        return f"the stack {given.stack_name} is {stack['StackStatus']}, and has no address yet"
    region = session.region_name
    return f"""with an ID token:      SLUICEGATE_URL={outputs["Endpoint"]}
with IAM credentials:  SLUICEGATE_URL={outputs["IamEndpoint"].removesuffix("/iam")}
  calls go to {outputs["IamEndpoint"]}, signed (Signature Version 4) for service
  execute-api in {region}, by a role or user that may execute-api:Invoke on
    {outputs["IamApiArn"]}/GET/iam/whoami
    {outputs["IamApiArn"]}/POST/iam/deployments
  and so on: a method, /iam and a path for each call
check it: .venv/bin/sluicegate doctor --stack {given.stack_name}"""


if __name__ == "__main__":
    sys.exit(main())
