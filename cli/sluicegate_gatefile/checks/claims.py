"""Values that no token of GitLab's has: a rule that asks for one never matches, and says nothing about it.

Sources: https://docs.gitlab.com/ci/secrets/id_token_authentication/ for the claims, and for their values in
gitlabhq/gitlabhq, read on 2026-11-26: lib/gitlab/ci/jwt.rb and jwt_v2.rb,
app/models/concerns/enums/ci/pipeline.rb, lib/json_web_token/user_project_token_claims.rb,
lib/gitlab/access.rb, app/models/environment.rb.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from sluicegate.gate import patterns
from sluicegate.gate.webhooks import EVENTS
from sluicegate_gatefile.checks.context import CheckContext
from sluicegate_gatefile.diagnostics import did_you_mean, listed
from sluicegate_gatefile.schema.base import ID
from sluicegate_gatefile.yaml_source import Path

Claims = Mapping[str, Sequence[str]]

# What the commits of a merge request can start; its author may be anybody who can fork.
FORK_SOURCES: Final = ("merge_request_event", "external_pull_request_event", "parent_pipeline")

_FLAG: Final = ("true", "false")
_SOURCES: Final = (
    "push",
    "web",
    "schedule",
    "api",
    "trigger",
    "pipeline",
    "external",
    "chat",
    "webide",
    *FORK_SOURCES,
    "ondemand_dast_scan",
    "ondemand_dast_validation",
    "security_orchestration_policy",
    "container_registry_push",
    "duo_workflow",
    "pipeline_execution_policy_schedule",
)

CLOSED: Final[Mapping[str, tuple[str, ...]]] = {
    "ref_type": ("branch", "tag"),
    "ref_protected": _FLAG,
    "environment_protected": _FLAG,
    "pipeline_source": _SOURCES,
    "job_source": (*_SOURCES, "scan_execution_policy", "pipeline_execution_policy"),
    "runner_environment": ("gitlab-hosted", "self-hosted"),
    "project_visibility": ("private", "internal", "public"),
    "deployment_tier": ("production", "staging", "testing", "development", "other"),
    "environment_action": ("start", "prepare", "stop", "verify", "access"),
    "user_access_level": (
        "owner",
        "maintainer",
        "developer",
        "security manager",
        "reporter",
        "planner",
        "guest",
        "minimal access",
    ),
    "event": EVENTS,
}
"""All the values of a claim, by its name."""

_IDS: Final = (
    "project_id",
    "namespace_id",
    "user_id",
    "pipeline_id",
    "job_id",
    "job_project_id",
    "job_namespace_id",
    "runner_id",
)
_COMMITS: Final = ("sha", "ci_config_sha")

_FORMS: Final[Mapping[str, tuple[tuple[str, ...], str]]] = {
    "ref_path": (
        ("refs/heads/**", "refs/tags/**", "refs/merge-requests/**"),
        "a full ref, such as `refs/heads/main` or `refs/tags/v*`",
    ),
    "project_path": (("*/**",), "a project's path begins with its group or user: `acme/orders`"),
    "job_project_path": (("*/**",), "a project's path begins with its group or user: `acme/orders`"),
    "user_email": (("**@**",), "an address, such as `ada@example.com`"),
    "ci_config_ref_uri": (
        ("**//**@**",),
        "such as `gitlab.example.com/acme/orders//.gitlab-ci.yml@refs/heads/main`",
    ),
    "sub": (("**project_path:**",), "such as `project_path:acme/orders:ref_type:branch:ref:main`"),
}
"""Patterns of which each value matches one, and what to say of them. `sub` can be composed of other claims
too."""

_COMPLETE: Final = 6
"""Longer lists of a claim's values than this grow with GitLab."""

_FULL_REF: Final = re.compile(r"refs/(?:heads|tags|merge-requests)/")
# https://git-scm.com/docs/git-check-ref-format; a `*` of ours stands for something.
_NO_REF: Final = re.compile(r"[\x00-\x20\x7f~^:?\[\\]|\.\.|@\{|//|^/|/$|\.$|\.lock$")
_URL: Final = re.compile(r"^(?:/|@|[a-z]+://)|/$|\.git$")


def check_claims(context: CheckContext, at: Path, claims: Claims) -> None:
    """Report claims that are easily wrong, and values that cannot be."""
    _check_refs(context, at, claims)
    if "environment" in claims and "environment_protected" not in claims:
        what = "any developer can write this keyword in a job; require environment_protected too"
        context.warning("environment", (*at, "environment"), what)
    if "environment" not in claims and "true" in claims.get("environment_protected", ()):
        what = "every protected environment of the project matches; name the `environment` too"
        context.warning("environment", (*at, "environment_protected"), what)
    if "project_path" in claims and "project_id" not in claims:
        what = "a path can be freed and taken by somebody else; give project_id too"
        context.warning("project_path", (*at, "project_path"), what)
    for source in FORK_SOURCES:
        if any(patterns.compile(text).matches(source) for text in claims.get("pipeline_source", ())):
            what = f"`{source}` pipelines run the code of merge requests, including those from forks"
            context.warning("pipeline_source", (*at, "pipeline_source"), what)
            break
    for claim, values in claims.items():
        for value in values:
            if wrong := complaint(claim, value):
                severe = claim in CLOSED or claim in _IDS or claim in _COMMITS
                report = context.error if severe and "*" not in value else context.warning
                report("value", (*at, claim), wrong)
    _check_together(context, at, claims)


def complaint(claim: str, value: str) -> str | None:
    """Say why no token has this value of a claim, or none that the pattern matches; None if one may."""
    if len(value) > patterns.MAX_LENGTH:  # no pattern has
        return None
    if claim in CLOSED:
        return _unknown(claim, value, CLOSED[claim])
    if claim in _IDS:
        return _no_id(value)
    if claim in _COMMITS:
        return _no_commit(value)
    if claim in _FORMS:
        forms, what = _FORMS[claim]
        pattern = patterns.compile(value)
        if not any(patterns.overlap(pattern, patterns.compile(form)) for form in forms):
            return f"no token's {claim} matches `{value}`: {what}"
    if claim in ("project_path", "namespace_path", "job_project_path", "job_namespace_path", "groups_direct"):
        return (
            f"no path matches `{value}`: write it as `acme/orders`, without the host"
            if _URL.search(value)
            else None
        )
    if claim == "user_login" and value.startswith("@"):
        return "a user's name has no `@` in front of it"
    return None


def _unknown(claim: str, value: str, known: Sequence[str]) -> str | None:
    pattern = patterns.compile(value)
    if any(pattern.matches(one) for one in known):
        return None
    if claim in ("ref_protected", "environment_protected"):
        return f'{claim} is "true" or "false", never `{value}`'
    near = did_you_mean(value, known)
    what = f"GitLab has no {claim} `{value}`{near or f'; it is one of {listed(known)}'}"
    if len(known) <= _COMPLETE or "*" in value:
        return what
    newer = "one that is newer than this list, write a pattern that matches it"
    return f"{what}{'' if near else ';'} {'For' if near else 'for'} {newer}"


def _no_id(value: str) -> str | None:
    if "*" not in value:
        return None if re.fullmatch(ID, value) else f'`{value}` is not an id, which is digits such as "4213"'
    if not re.fullmatch(r"[0-9*]*", value):
        return f"no id matches `{value}`: an id is digits"
    if value.strip("*"):
        return f"`{value}` matches the ids of strangers too: ids are given one after the other"
    return None


def _no_commit(value: str) -> str | None:
    if "*" in value:
        return (
            None
            if re.fullmatch(r"[0-9a-f*]*", value)
            else f"no commit matches `{value}`: its SHA is lower-case hex"
        )
    if re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", value):
        return None
    return f"`{value}` is not a commit's whole SHA, which is 40 or 64 digits of lower-case hex"


def _check_refs(context: CheckContext, at: Path, claims: Claims) -> None:
    refs, types = claims.get("ref", ()), claims.get("ref_type", ())
    if refs and not {"ref_type", "ref_path"} & claims.keys():
        what = "a branch and a tag can have the same name: add `ref_type`, or use `ref_path` instead"
        context.error("ref_type", (*at, "ref"), what)
    both = [
        name for name in CLOSED["ref_type"] if any(patterns.compile(text).matches(name) for text in types)
    ]
    for ref in refs:
        if _FULL_REF.match(ref):
            bare = _FULL_REF.sub("", ref)
            what = (
                f"GitLab's `ref` is the bare name: write `{bare}`, or use `ref_path`. No token matches this"
            )
            context.warning("ref", (*at, "ref"), what)
        elif _NO_REF.search(ref):
            context.warning("ref", (*at, "ref"), f"no branch or tag can be called `{ref}`")
        elif len(both) == 2 and "*" not in ref and "ref_path" not in claims:
            what = (
                f"a branch and a tag named `{ref}` match alike, and others may push tags: give one `ref_type`"
            )
            context.warning("ref_type", (*at, "ref"), what)


def _check_together(context: CheckContext, at: Path, claims: Claims) -> None:
    """Report claims that no token has together."""
    types, paths = claims.get("ref_type", ()), claims.get("ref_path", ())
    for name, prefix in (("branch", "refs/tags/"), ("tag", "refs/heads/")):
        if list(types) == [name] and paths and all(path.startswith(prefix) for path in paths):
            context.warning(
                "ref", (*at, "ref_path"), f"no {name} has a path under `{prefix}`: this never matches"
            )
    sources = claims.get("pipeline_source", ())
    if list(types) == ["tag"] and sources and all(source in FORK_SOURCES[:2] for source in sources):
        what = "pipelines of merge requests are of branches, and the rule wants a tag: this never matches"
        context.warning("pipeline_source", (*at, "pipeline_source"), what)
    if list(claims.get("event", ())) == ["tag_push"]:
        if types and "tag" not in types and not any("*" in text for text in types):
            context.warning("ref_type", (*at, "ref_type"), "a `tag_push` is of a tag: this never matches")
        if sources and not any(patterns.compile(text).matches("push") for text in sources):
            what = "the source of a `tag_push` is `push`: this never matches"
            context.warning("pipeline_source", (*at, "pipeline_source"), what)
