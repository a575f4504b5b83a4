"""Addresses in GitLab of what a deployment is from: its job, its commit and its pipeline."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlsplit


def links(by: Mapping[str, Any] | None) -> dict[str, str]:
    """Return the addresses by name; without those whose parts are unknown.

    GitLab's address is the token's issuer, unless the record names another one.
    """
    if not by:
        return {}
    base, path = str(by.get("gitlab") or by.get("issuer") or ""), str(by.get("project_path") or "")
    if urlsplit(base).scheme not in ("https", "http") or not path:
        return {}
    project = f"{base.rstrip('/')}/{quote(path)}/-"
    parts = {"job": ("jobs", "job_id"), "commit": ("commit", "sha"), "pipeline": ("pipelines", "pipeline_id")}
    return {
        name: f"{project}/{kind}/{quote(str(by[member]), safe='')}"
        for name, (kind, member) in parts.items()
        if by.get(member)
    }


def with_links(deployment: Mapping[str, Any]) -> dict[str, Any]:
    """Return the document with these addresses among its `links`."""
    found = links(deployment.get("requested_by"))
    return {**deployment, "links": {**(deployment.get("links") or {}), **found}}
