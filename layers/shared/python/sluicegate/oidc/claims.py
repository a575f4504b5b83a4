"""Every claim that GitLab puts into an ID token, sorted by what is done with it.

Sources: https://docs.gitlab.com/ci/secrets/id_token_authentication/
and GitLab's lib/gitlab/ci/jwt.rb and jwt_v2.rb.
A claim that is not listed here is newer than this list, or not GitLab's.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

Check = Callable[[object], bool]


def _text(value: object) -> bool:
    return isinstance(value, str) and value != ""


def _digits(value: object) -> bool:
    # isdecimal alone is also true for the digits of other scripts, which look like ours and compare unequal.
    return isinstance(value, str) and value.isascii() and value.isdecimal()


# Required, and checked in every token. GitLab's sign-in tokens have the same issuer and keys, and an audience
# that an application's owner chooses: what they lack is a job.
REQUIRED: Mapping[str, Check] = MappingProxyType(
    {
        "jti": _text,
        "sub": _text,
        "ref": _text,
        "ref_type": _text,
        "pipeline_source": _text,
        "project_id": _digits,
        "pipeline_id": _digits,
        "job_id": _digits,
    }
)

# Optional lists of strings of which one element is enough for a rule. Any other list never matches.
LISTS = frozenset({"groups_direct"})

# Known, and left to rules.
LEFT_TO_RULES = frozenset(
    {
        "ci_config_ref_uri",
        "ci_config_sha",
        "deployment_tier",
        "environment",
        "environment_action",
        "environment_protected",
        "job_config",
        "job_namespace_id",
        "job_namespace_path",
        "job_project_id",
        "job_project_path",
        "job_source",
        "namespace_id",
        "namespace_path",
        "project_path",
        "project_visibility",
        "ref_path",
        "ref_protected",
        "runner_environment",
        "runner_id",
        "sha",
        "user_access_level",
        "user_email",
        "user_id",
        "user_login",
    }
)

# Known, and never usable in a rule: what describes the token rather than the job, and what is no string.
NEVER_USABLE = frozenset({"iss", "aud", "exp", "iat", "nbf", "jti", "target_audience", "user_identities"})

# What a rule may name without a doubt about its spelling.
READABLE = (frozenset(REQUIRED) | LISTS | LEFT_TO_RULES) - NEVER_USABLE
