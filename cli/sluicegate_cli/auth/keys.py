"""The idempotency key of a request that must have one: a signed one, and a signed-in person's."""

import hashlib
import json
import re
import secrets
from collections.abc import Mapping
from typing import Any, Final

import click

_KEY: Final = re.compile(r"[A-Za-z0-9_-]{16,64}")
_JOB: Final = ("CI_SERVER_URL", "CI_PROJECT_ID", "CI_JOB_ID")


def checked_key(key: str) -> str:
    """Return a key that somebody chose. Raises BadParameter for one that a body cannot have."""
    if not _KEY.fullmatch(key):
        raise click.BadParameter(
            "with --auth iam, or signed in, a key has 16 to 64 letters, digits, `_` and `-`",
            param_hint="--idempotency-key",
        )
    return key


def generated_key(environment: Mapping[str, str], path: tuple[str, ...], body: Mapping[str, Any]) -> str:
    """Return the key of a request whose caller gave none: 43 characters of `[A-Za-z0-9_-]`.

    In a job it follows from the job and the request, so that running the command again in the same job finds
    its deployment; a retried job is a new job. A person who runs a command twice wants it twice: random.
    """
    job = [environment.get(name, "") for name in _JOB]
    if not all(job):
        return secrets.token_urlsafe(32)
    request = json.dumps([*job, *path, body], sort_keys=True, separators=(",", ":"))
    return f"job-{hashlib.sha256(request.encode()).hexdigest()[:39]}"
