"""Check what `make deploy` needs before it builds: a region, credentials, and a stack name that fits.

Run as `python -m sluicegate_cli.deploying` with sam's own arguments. Prints where it is going to deploy, or
what is missing and how to give it, with exit code 2.
"""

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

MAX_STACK_NAME: Final = 51
"""Characters: with `-dependencies`, a layer's name has 64 (Lambda API reference, PublishLayerVersion)."""

STACK_NAME: Final = "sluicegate"
"""Unless the arguments say another one."""

_REGION: Final = "export AWS_REGION=eu-central-1, or name a profile that has one: export AWS_PROFILE=NAME"
_CREDENTIALS: Final = "export AWS_PROFILE=NAME; after `aws sso login` if that profile signs in with SSO"


class Unready(Exception):
    """A precondition that is not met; the message says which, and what to do."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Check the preconditions, and print where the stack would be deployed."""
    try:
        print(check(sys.argv[1:] if arguments is None else arguments, os.environ, boto3.session.Session))
    except Unready as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def options(arguments: Sequence[str]) -> argparse.Namespace:
    """Return `region`, `profile` and `stack_name` of sam's arguments. Raises argparse.ArgumentError."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    for option in ("--region", "--profile"):
        parser.add_argument(option)
    parser.add_argument("--stack-name", default=STACK_NAME)
    return parser.parse_known_args(arguments)[0]


def open_session(
    given: argparse.Namespace, environ: Mapping[str, str], make_session: Callable[..., Any]
) -> Any:
    """Return a session of boto3 with the region and profile that sam uses. Raises BotoCoreError."""
    region = given.region or environ.get("AWS_DEFAULT_REGION") or environ.get("AWS_REGION")
    return make_session(profile_name=given.profile, region_name=region)


def check(arguments: Sequence[str], environ: Mapping[str, str], make_session: Callable[..., Any]) -> str:
    """Return where sam would deploy with these arguments. Raises Unready."""
    try:
        given = options(arguments)
    except argparse.ArgumentError as error:
        raise Unready(f"ARGS: {error}") from None
    stack = given.stack_name
    if len(stack) > MAX_STACK_NAME:
        raise Unready(
            f"the stack name {stack} has {len(stack)} characters, and the longest name that is made of it "
            f"leaves room for {MAX_STACK_NAME}"
        )
    if stack != environ.get("SLUICEGATE_STACK_NAME", STACK_NAME):
        raise Unready(
            f"the stack {stack} needs its name at the build too: export SLUICEGATE_STACK_NAME={stack}"
        )
    try:
        session = open_session(given, environ, make_session)
        if not session.region_name:
            raise Unready(f"no AWS region: {_REGION}")
        if session.get_credentials() is None:
            raise Unready(f"no AWS credentials: {_CREDENTIALS}")
        patience = Config(connect_timeout=5, read_timeout=10, retries={"total_max_attempts": 2})
        who = session.client("sts", config=patience).get_caller_identity()
    except ClientError as error:
        raise Unready(
            f"AWS refuses these credentials: {error.response['Error'].get('Message')}\n  {_CREDENTIALS}"
        ) from None
    except BotoCoreError as error:
        raise Unready(f"cannot reach AWS as configured: {error}") from None
    return f"deploying {stack} to account {who['Account']} in {session.region_name}, as {who['Arn']}"


if __name__ == "__main__":
    sys.exit(main())
