"""Issuers: their urls, audiences, key sets and feedback."""

import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

from sluicegate_gatefile.checks.context import CheckContext
from sluicegate_gatefile.schema.file import IssuerSection
from sluicegate_gatefile.yaml_source import Path

LOOPBACK = ("127.0.0.1", "::1", "localhost")

KeyReader = Callable[[str], str]
"""Takes the name of a file beside the gate file; gives its JWK set, or raises ValueError."""


def issuers(context: CheckContext, read_keys: KeyReader, *, allow_loopback: bool) -> Iterator[dict[str, Any]]:
    """Check the issuers; yields gate.json's entries."""
    urls: dict[str, str] = {}
    for name, issuer in context.file.issuers.items():
        at: Path = ("issuers", name)
        _check_url(context, (*at, "url"), issuer.url, allow_loopback=allow_loopback)
        if odd := _never_issued(issuer.url):
            context.warning("issuer", (*at, "url"), odd)
        if issuer.url in urls:
            what = f"`{urls[issuer.url]}` has the same url; each issuer has one entry"
            context.error("issuer", (*at, "url"), what)
        urls[issuer.url] = name
        if issuer.gitlab_url is not None:
            _check_url(context, (*at, "gitlab_url"), issuer.gitlab_url, allow_loopback=allow_loopback)
        yield {
            "name": name,
            "url": issuer.url,
            "gitlab_url": issuer.gitlab_url,
            "audience": issuer.audience,
            "sts_audience": issuer.sts_audience,
            "max_age": issuer.max_age,
            "jwks": _keys(context, (*at, "jwks"), issuer.jwks, read_keys),
            "groups": issuer.groups,
            "sign_in": _sign_in(context, at, issuer),
            "feedback": _feedback(context, at, issuer),
        }
    known = {*urls, *(issuer.gitlab_url for issuer in context.file.issuers.values())}
    for name, issuer in context.file.issuers.items():
        if issuer.audience.rstrip("/") in known:
            what = "is a GitLab's own URL, which many jobs use for other services; choose a value of your own"
            context.warning("audience", ("issuers", name, "audience"), f"the audience {what}")
    audiences = {issuer.audience for issuer in context.file.issuers.values()}
    for name, issuer in context.file.issuers.items():
        if issuer.sts_audience in audiences:
            what = (
                "a token for Sluicegate would also open the AWS role, so that one leaked token were both"
                " credentials; give `sts_audience` a value of its own"
            )
            context.error("audience", ("issuers", name, "sts_audience"), what)

    applications = {issuer.sign_in.client_id for issuer in context.file.issuers.values() if issuer.sign_in}
    for name, issuer in context.file.issuers.items():
        for key in ("audience", "sts_audience"):
            if getattr(issuer, key) in applications:
                what = (
                    "is the id of the application that signs people in: a job's token could be taken for a"
                    " person's; give jobs an audience of their own"
                )
                context.error("audience", ("issuers", name, key), f"`{key}` {what}")


def _sign_in(context: CheckContext, at: Path, issuer: IssuerSection) -> dict[str, Any] | None:
    if issuer.sign_in is None:
        if issuer.groups is not None:
            what = "nobody signs in there: add `sign_in`, or remove it"
            context.warning("sign_in", (*at, "groups"), f"`groups` is about signed-in people, and {what}")
        return None
    if issuer.jwks != "discovery":
        what = "`jwks` is a file, as for a GitLab that AWS cannot reach: then nobody can sign in there either"
        context.error("sign_in", (*at, "sign_in"), what)
    return issuer.sign_in.given()


def _check_url(context: CheckContext, at: Path, url: str, *, allow_loopback: bool) -> None:
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        _ = parts.port  # raises ValueError where it is no port
    except ValueError:
        host = ""
    if not host or not url.isascii() or "\\" in url:
        context.error("issuer", at, f"`{url}` is not the URL of a GitLab instance")
    elif parts.scheme == "http" and not (allow_loopback and host in LOOPBACK):
        what = "an issuer's URL must be https; http is only for this machine's address, on the stand"
        context.error("issuer", at, what)


def _never_issued(url: str) -> str | None:
    """Say why no GitLab calls itself that; None if one may.

    GitLab leaves out the scheme's own port, and calls itself by its relative URL root, if it has one.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.netloc.partition(":")[0], parts.port
    except ValueError:
        return None
    if host and host != host.lower():
        return "write the host as in the tokens' `iss`, most likely in lower case"
    if host and (parts.scheme, port) in (("https", 443), ("http", 80)):
        return f"tokens leave out the port {port}: remove it"
    if host in ("gitlab.com", "www.gitlab.com") and url != "https://gitlab.com":
        return "the issuer of gitlab.com is `https://gitlab.com`"
    if found := re.search(r"/(?:api|oauth|\.well-known|-)(?:/|$)", parts.path):
        return f"this is an address within a GitLab; its own URL ends before `{found[0]}`"
    return None


def _keys(context: CheckContext, at: Path, jwks: str, read_keys: KeyReader) -> str | None:
    if jwks == "discovery":
        return None
    try:
        return read_keys(jwks)
    except ValueError as error:
        context.error("jwks", at, f"`{jwks}`: {error}; `discovery` fetches keys from the issuer")
        return None


def _feedback(context: CheckContext, at: Path, issuer: IssuerSection) -> dict[str, Any] | None:
    feedback = issuer.feedback
    if feedback is None:
        return None
    if not (feedback.commit_status or feedback.deployment or feedback.merge_request_note):
        what = "all are false, so nothing is sent: leave `feedback` out"
        context.error("feedback", (*at, "feedback"), what)
    if issuer.jwks != "discovery":
        what = "`jwks` is a file, as for a GitLab that AWS cannot reach: then no feedback reaches it either"
        context.warning("feedback", (*at, "feedback"), what)
    return {
        "commit_status": feedback.commit_status,
        "deployment": feedback.deployment,
        "merge_request_note": feedback.merge_request_note,
        "secret": feedback.secret,
    }
