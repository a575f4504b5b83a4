"""What a pattern for `sub` lets in, of the jobs of a GitLab.

The default is `project_path:GROUP/PROJECT:ref_type:TYPE:ref:NAME`; a project's maintainers may leave parts
out, but not the first (GitLab documentation, "OpenID Connect (OIDC) Authentication Using ID Tokens", and
gitlab-org/gitlab!160562). `ref_type` is `branch` or `tag` and nothing else: a pipeline of a merge request has
`branch`. In IAM, `*` and `?` also stand for `/` and `:`. Read on 26 November 2026.
"""

import re
from dataclasses import dataclass
from typing import Final

from sluicegate_cli.doctor.findings import CheckVerdict

_PATH: Final = "project_path:"
_SHARED: Final = ("gitlab.com",)
_REF: Final = re.compile(r":ref_type:(?P<type>[^:]*):ref:(?P<ref>.*)", re.DOTALL)


@dataclass(frozen=True)
class Reach:
    """Which jobs a pattern lets in, in words, and whether that is too many."""

    verdict: CheckVerdict
    who: str
    never: bool = False
    """Whether no job of GitLab ever has such a `sub`."""


def reach(pattern: str, host: str, *, wildcards: bool) -> Reach:
    """Return which jobs of the GitLab at `host` a value for `sub` lets in.

    `wildcards`: whether the operator reads `*` and `?` as such, as StringLike does.
    """
    if not wildcards and re.search(r"[*?]", pattern):
        return _never(f"`{pattern}` is compared letter by letter: only StringLike reads * and ? as wildcards")
    head = re.split(r"[*?]", pattern, maxsplit=1)[0] if wildcards else pattern
    if head == pattern and not pattern.startswith((_PATH, "project_id:")):
        return _never(f"no job of GitLab has `{pattern}` as its sub, which begins with project_path:")
    if not head.startswith(_PATH):
        if not _PATH.startswith(head) and not head.startswith("project_id:"):
            return _never(f"no job of GitLab has a sub like `{pattern}`, which begins with project_path:")
        if head.startswith("project_id:") and head == pattern:
            return Reach(CheckVerdict.OK, f"jobs of {pattern}")
        return _everybody(f"`{pattern}` lets in every project", host)
    path, colon, _ = head[len(_PATH) :].partition(":")
    if not colon and head != pattern:
        return _of_open_path(pattern, path, host)
    return _of_ref(pattern, path)


def _everybody(who: str, host: str) -> Reach:
    if host in _SHARED:
        return Reach(CheckVerdict.WRONG, f"{who} on {host}, that is, everybody who has an account there")
    return Reach(CheckVerdict.WRONG, f"{who} on {host}: each of its users can make one")


def _of_open_path(pattern: str, path: str, host: str) -> Reach:
    """Describe a pattern whose wildcard is in the project's path, after `path`."""
    if "/" not in path:
        if not path:
            return _everybody(f"`{pattern}` lets in every project", host)
        example = f"{path}-evil"
        return _everybody(
            f"`{pattern}` lets in every group whose name begins with {path} (such as {example})", host
        )
    group = path.rpartition("/")[0]
    ref = _ref_words(pattern)
    if path.endswith("/"):
        who = f"`{pattern}` lets in every project under {group}, of subgroups too{ref}"
    else:
        who = (
            f"`{pattern}` lets in every project whose path begins with {path}{ref}: a person who may make"
            f" projects in {group} can make one"
        )
    return Reach(CheckVerdict.WARNING, who)


def _of_ref(pattern: str, path: str) -> Reach:
    """Describe a pattern for one project."""
    tail = pattern[len(_PATH) + len(path) :]
    if not path or "/" not in path:
        return _never(f"`{pattern}` names no project: a path has a group and a project")
    if not tail:
        who = f"every branch and tag of {path}, if its maintainers took the ref out of its sub; else no job"
        return Reach(CheckVerdict.WARNING, who)
    found = _REF.fullmatch(tail)
    if found is None:
        if re.search(r"[*?]", tail):
            return Reach(CheckVerdict.WARNING, f"`{pattern}` lets in every branch and tag of {path}")
        return Reach(
            CheckVerdict.WARNING, f"jobs of {path} whose sub is not made of the default parts: `{pattern}`"
        )
    kind, ref = found["type"], found["ref"]
    if not re.search(r"[*?]", kind) and kind not in ("branch", "tag"):
        return _never(
            f"`ref_type:{kind}` never occurs: it is branch or tag, in a merge request's pipeline too"
        )
    if re.search(r"[*?]", kind):
        what = f"branches and tags named {ref}" if not re.fullmatch(r"\*+", ref) else "every branch and tag"
        seen = f"{what} of {path}: a person who may push tags chooses their names"
        return Reach(CheckVerdict.WARNING, seen)
    if re.fullmatch(r"[*?]+", ref):
        return Reach(CheckVerdict.WARNING, f"every {kind} of {path}, protected or not")
    several = f"{kind}es" if kind == "branch" else f"{kind}s"
    if re.search(r"[*?]", ref):
        return Reach(
            CheckVerdict.OK, f"{several} {ref} of {path}; protect them in GitLab, as sub does not say it"
        )
    return Reach(CheckVerdict.OK, f"{kind} {ref} of {path}")


def _ref_words(pattern: str) -> str:
    """Describe the end of a pattern: ` on branch main`, or nothing if any ref matches."""
    found = re.search(r":ref_type:(branch|tag):ref:([^*?]+)$", pattern)
    if found:
        return f", on {found[1]} {found[2]}"
    found = re.search(r":ref:([^*?]+)$", pattern)
    return f", on a branch or tag {found[1]}" if found else ", on any branch or tag"


def _never(why: str) -> Reach:
    return Reach(CheckVerdict.WRONG, why, never=True)
