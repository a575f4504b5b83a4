"""The roles of the stack, and their credentials as Lambda gives them to a function."""

from typing import Final
from uuid import uuid4

from stand.api import Stand, package

_PROBE: Final = """
import os

def handler(event, context):
    names = "ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN"
    return {name: os.environ["AWS_" + name] for name in names}
"""


def role_named(stand: Stand, logical_id: str) -> str:
    """The name that a role of the template has."""
    stacks = stand.client("cloudformation")
    resources = stacks.describe_stack_resources(StackName="sluicegate")["StackResources"]
    [name] = [one["PhysicalResourceId"] for one in resources if one["LogicalResourceId"] == logical_id]
    return str(name)


def credentials_of(stand: Stand, role: str) -> dict[str, str]:
    """A session of the role of this name, for `Stand.client`: a function runs under it, and tells."""
    probe = f"probe-{uuid4().hex[:8]}"
    stand.client("lambda").create_function(
        FunctionName=probe,
        Runtime="python3.13",
        Handler="index.handler",
        Role=f"arn:aws:iam::{stand.account_id}:role/{role}",
        Code={"ZipFile": package(_PROBE)},
    )
    try:
        answer = stand.invoke(probe)
    finally:
        stand.delete_function(probe)
    return {
        "access_key": answer["ACCESS_KEY_ID"],
        "secret_key": answer["SECRET_ACCESS_KEY"],
        "token": answer["SESSION_TOKEN"],
    }
