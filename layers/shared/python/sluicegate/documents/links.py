"""Addresses in GitLab of what a deployment is from: its job, its commit and its pipeline."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlsplit


def links(by: Mapping[str, Any] | None) -> dict[str, str]:
    """Return the addresses by name; without those whose parts are unknown.

    GitLab's address is the token's issuer, unless the record names another one.
    """
    project = _project(by)
    if not by or project is None:
        return {}
    parts = {"job": ("jobs", "job_id"), "commit": ("commit", "sha"), "pipeline": ("pipelines", "pipeline_id")}
    return {
        name: f"{project}/{kind}/{quote(str(by[member]), safe='')}"
        for name, (kind, member) in parts.items()
        if by.get(member)
    }


def new_pipeline(by: Mapping[str, Any] | None, variable: str, value: str) -> str | None:
    """Return the address of the project's form for a new pipeline, with the variable filled in.

    None if the project's address is unknown. Source: gitlab-org/gitlab#24146, read on 2026-11-26.
    """
    project = _project(by)
    return project and f"{project}/pipelines/new?{quote(f'var[{variable}]', safe='')}={quote(value, safe='')}"


def _project(by: Mapping[str, Any] | None) -> str | None:
    base, path = (str((by or {}).get(name) or "") for name in ("issuer", "project_path"))
    base = str((by or {}).get("gitlab") or base)
    printable = base.isascii() and base.isprintable()
    if not path or not printable or urlsplit(base).scheme not in ("https", "http"):
        return None
    return f"{base.rstrip('/')}/{quote(path)}/-"


def with_links(deployment: Mapping[str, Any]) -> dict[str, Any]:
    """Return the document with these addresses among its `links`."""
    found = links(deployment.get("requested_by"))
    return {**deployment, "links": {**(deployment.get("links") or {}), **found}}
