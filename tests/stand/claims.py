"""The claims of a job's ID token as GitLab writes them.

Source: GitLab's documentation, "OpenID Connect (OIDC) Authentication Using ID Tokens", and
`Gitlab::Ci::JwtV2`. Ids and booleans are strings, except `runner_id`.
"""

import secrets
import time
import uuid
from collections.abc import Mapping
from typing import Any, Final

LIFETIME: Final = 3600
"""Seconds: a job's default timeout."""

NBF_BEFORE_IAT: Final = 5
"""Seconds that `nbf` lies before `iat`."""

_JOB: Final[Mapping[str, Any]] = {
    "namespace_id": "72",
    "namespace_path": "acme",
    "project_id": "4213",
    "project_path": "acme/orders",
    "user_id": "7",
    "user_login": "ada",
    "user_email": "ada@example.com",
    "user_access_level": "maintainer",
    "pipeline_id": "574",
    "pipeline_source": "push",
    "ref": "v1.0.0",
    "ref_type": "tag",
    "ref_protected": "true",
    "runner_id": 1,
    "runner_environment": "self-hosted",
    "sha": "714a629c0b401fdce83e847fc9589983fc6f46bc",
    "project_visibility": "private",
}
"""A protected tag's job in a project of its own group."""


def job_claims(
    issuer: str, audience: str | list[str], given: Mapping[str, Any], *, now: int | None = None
) -> dict[str, Any]:
    """A job's claims, with `given` in the place of the usual ones. A claim given as None is left out.

    What follows from other claims (`ref_path`, `sub`, `iat` and so on) does so, unless it is given as well.
    Each token is another job's, as `job_id` and `jti` say, unless they are given.
    """
    claims: dict[str, Any] = {**_JOB, **given}
    ref, ref_type = claims.get("ref"), claims.get("ref_type")
    ref_path = f"refs/{'tags' if ref_type == 'tag' else 'heads'}/{ref}"
    host = issuer.split("://", 1)[-1]
    issued = given.get("iat", int(time.time()) if now is None else now)
    at = issued if isinstance(issued, int) else int(time.time())
    derived: dict[str, Any] = {
        "job_id": str(10_000_000 + secrets.randbelow(90_000_000)),
        "ref_path": ref_path,
        "ci_config_ref_uri": f"{host}/{claims.get('project_path')}//.gitlab-ci.yml@{ref_path}",
        "ci_config_sha": claims.get("sha"),
        "jti": str(uuid.uuid4()),
        "iss": issuer,
        "iat": issued,
        "nbf": at - NBF_BEFORE_IAT,
        "exp": at + LIFETIME,
        "sub": f"project_path:{claims.get('project_path')}:ref_type:{ref_type}:ref:{ref}",
        "aud": audience,
    }
    if claims.get("environment") is not None:
        derived |= {
            "environment_protected": "true",
            "deployment_tier": "production",
            "environment_action": "start",
        }
    return {name: value for name, value in {**derived, **claims}.items() if value is not None}


def retried(claims: Mapping[str, Any], user_id: str | None = None) -> dict[str, Any]:
    """What the claims of a retried job are made from: a new job, of the user who retried it.

    All else is cloned, `protected` too: `clone_accessors` in GitLab's app/models/ci/build.rb, read on
    2026-11-26.
    """
    cloned = {
        name: value for name, value in claims.items() if name not in ("jti", "iat", "nbf", "exp", "job_id")
    }
    return cloned | {
        "job_id": str(10_000_000 + secrets.randbelow(90_000_000)),
        **({"user_id": user_id} if user_id else {}),
    }
