"""Choose how a command proves who calls: by `--auth`, the environment, and what each way needs."""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from sluicegate.text import clean
from sluicegate_cli.auth.authorization import Authorization, BearerToken
from sluicegate_cli.auth.region import region_of_url, signing_region

if TYPE_CHECKING:
    from sluicegate_cli.auth.stored import StoredSession

WITH_TOKEN: Final = "token"  # noqa: S105 (a name)
WITH_IAM: Final = "iam"
WITH_BOTH: Final = "iam+token"
WAYS: Final = (WITH_TOKEN, WITH_IAM, WITH_BOTH)

ID_TOKEN: Final = "SLUICEGATE_ID_TOKEN"  # noqa: S105 (a name)
OLD_ID_TOKEN: Final = "SLUICEGATE_TOKEN"  # noqa: S105 (a name)
STS_TOKEN: Final = "SLUICEGATE_STS_TOKEN"  # noqa: S105 (a name)

_ROLE: Final = re.compile(r"arn:aws[a-z-]*:iam::[0-9]{12}:role/[\w+=,.@/-]{1,576}")


@dataclass(frozen=True)
class AuthOptions:
    """The values of the shared options about the caller."""

    way: str
    token_file: Path | None
    region: str | None
    role_arn: str | None


def authorization(url: str, options: AuthOptions, read_token: Callable[[Path], str]) -> Authorization:
    """Return how requests to the URL are authorized. Raises UsageError for what is missing."""
    if options.way == WITH_TOKEN:
        if not options.token_file and not given_id_token() and (session := stored_session(url)):
            return BearerToken(session.token, needs_key=True)
        return BearerToken(id_token(options.token_file, read_token))
    if options.way == WITH_IAM and options.token_file:
        raise click.UsageError("--token-file is for --auth token and iam+token")
    token = id_token(options.token_file, read_token) if options.way == WITH_BOTH else ""
    return _signed(url, options, token)


def id_token(file: Path | None, read_token: Callable[[Path], str]) -> str:
    """Read the ID token from a file or the environment, never from an argument, which process lists show."""
    token = read_token(file) if file else given_id_token()
    if not token:
        raise click.UsageError(
            f"no ID token. Request one in the job (id_tokens: {{{ID_TOKEN}: {{aud: ...}}}}), "
            "or name a file with --token-file. A person signs in: sluicegate login."
        )
    return _checked(token, "ID token")


def stored_session(url: str) -> "StoredSession | None":
    """Return this person's session for the API at the URL. A job never uses one that a runner may have."""
    from sluicegate_cli.auth import stored

    return None if os.environ.get("CI_JOB_ID") else stored.load(url)


def given_id_token() -> str:
    """Return the environment's ID token; empty if there is none."""
    return (os.environ.get(ID_TOKEN) or os.environ.get(OLD_ID_TOKEN, "")).strip()


def _signed(url: str, options: AuthOptions, token: str) -> Authorization:
    if options.role_arn and not _ROLE.fullmatch(options.role_arn):
        shown = clean(options.role_arn, 100)
        raise click.BadParameter(f"{shown!r} is not the ARN of a role", param_hint="--role-arn")
    sts_token = os.environ.get(STS_TOKEN, "").strip()
    if options.role_arn and not sts_token:
        raise click.UsageError(
            "--role-arn needs a token for STS. Request one in the job"
            f" (id_tokens: {{{STS_TOKEN}: {{aud: ...}}}}). A person uses a profile instead (AWS_PROFILE)."
        )
    # The runner's own credentials must not take the place of the job's: refuse instead of guessing.
    if sts_token and not options.role_arn:
        raise click.UsageError(
            f"{STS_TOKEN} is set, but not the role that it is for: add --role-arn, or set SLUICEGATE_ROLE_ARN"
        )
    try:
        from sluicegate_cli.auth.credentials import ChainCredentials, WebIdentityCredentials, chain_region
        from sluicegate_cli.auth.signed import SignedRequests
    except ImportError:
        raise click.UsageError(
            "--auth iam needs boto3: pip install boto3, or this package's extra `aws`"
        ) from None
    # The chain is not asked without need: it may read files, and a profile may be wrong.
    known = region_of_url(url) or options.region
    region = signing_region(url, options.region, None if known else chain_region())
    source: Any = (
        WebIdentityCredentials(options.role_arn, _checked(sts_token, STS_TOKEN), region)
        if options.role_arn
        else ChainCredentials()
    )
    return SignedRequests(source, region, token)


def _checked(token: str, name: str) -> str:
    if "$" in token:
        raise click.UsageError(
            f"the value given as the {name} has a variable's name in it, which no shell has expanded: is that"
            " variable set in this job?"
        )
    # Rejected here, without showing it: no header can carry it, and an HTTP library's error would show it.
    if not (token.isascii() and token.isprintable()) or " " in token:
        raise click.UsageError(
            f"the value given as the {name} is not one: it contains spaces or special characters"
        )
    return token
