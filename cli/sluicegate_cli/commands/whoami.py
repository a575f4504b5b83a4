"""`sluicegate whoami`: show the identity that the API sees, and what its rules allow."""

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import click

from sluicegate.deployment.durations import seconds, timestamp
from sluicegate.documents import describe
from sluicegate_cli.doctor.findings import format_age
from sluicegate_cli.exit_codes import ExitCode
from sluicegate_cli.layout import Column
from sluicegate_cli.options import api_command
from sluicegate_cli.screen import Screen

if TYPE_CHECKING:
    from sluicegate_cli.api import ApiClient

_PRINCIPAL: Final = ("account", "principal_id", "principal_type", "role", "session_name", "org")
"""Claims of a signed caller, in the order in which they are shown."""


@click.command("whoami")
@api_command
def command(api: "ApiClient", screen: Screen) -> ExitCode:
    """Show the identity that the API sees, the claims that rules can match, and what the rules allow.

    It is the quickest check that authentication works. After `sluicegate login` it shows the person. With
    --auth iam it shows the AWS principal, and when the credentials expire, as far as this machine knows. Exit
    codes: 0 even if no rule matches, 3 if the token, session or signature does not verify, with the failed
    check.

    \b
      sluicegate whoami
      sluicegate whoami --auth iam
      sluicegate whoami --json | jq .claims
    """
    identity = _with_credentials(api, api.get("whoami"))
    screen.document(identity)
    if screen.as_json:
        return ExitCode.OK
    claims = identity["claims"]
    screen.line(_caller(identity), "bold")
    screen.line(_validity(identity))
    if identity.get("principal"):
        screen.line(f"signed as {identity['principal']}")
    screen.line("")
    shown = sorted(claims.items(), key=lambda item: (_rank(item[0]), item[0]))
    screen.table(
        ("claim", Column("value", least=20, wrap=True)),
        [(name, value if isinstance(value, str) else ", ".join(value)) for name, value in shown],
    )
    screen.line("")
    rules = identity["rules"]
    if not rules:
        screen.line("No rule matches these claims, so nothing is allowed.", "yellow")
        return ExitCode.OK
    screen.table(
        [Column(name, least=14, wrap=True) for name in ("rule", "actions", "functions", "stages")],
        [
            (
                rule["name"],
                ", ".join(rule["actions"]),
                ", ".join(rule["functions"]),
                ", ".join(rule["stages"]),
            )
            for rule in rules
        ],
    )
    return ExitCode.OK


def _with_credentials(api: "ApiClient", identity: Mapping[str, Any]) -> dict[str, Any]:
    """Return the identity with what only the client knows: where the credentials are from, and their end.

    The API cannot see when a session expires. `expires_at` is then the credentials', or the earlier of both.
    """
    document = dict(identity)
    if not api.auth.prefix:
        return document
    from sluicegate_cli.auth.signed import SignedRequests

    assert isinstance(api.auth, SignedRequests)  # noqa: S101 (the only one with a prefix)
    ends = api.auth.expires_at
    document["credentials"] = {
        "source": api.auth.source.method,
        "expires_at": None if ends is None else timestamp(ends),
    }
    token_ends = _seconds(identity.get("expires_at"))
    known = [moment for moment in (ends, token_ends) if moment]
    document["expires_at"] = timestamp(min(known)) if known else None
    return document


def _caller(identity: Mapping[str, Any]) -> str:
    """Describe the caller in one line: the project, the principal, or both."""
    claims = identity["claims"]
    if identity["via"] == "session":
        return f"{claims.get('user_login')} (user {claims.get('user_id')}) of {identity['issuer']}"
    parts = []
    if identity.get("issuer"):
        project = claims.get("project_path") or "?"
        parts.append(f"{project} (project {identity['project_id']}) of {identity['issuer']}")
    if claims.get("principal_id"):
        parts.append(describe.principal({**claims, "arn": identity.get("principal")}))
    return ", by ".join(parts) or "?"


def _validity(identity: Mapping[str, Any]) -> str:
    actor = f", as {describe.actor(identity['actor'])}" if identity.get("actor") else ""
    ends = _seconds(identity.get("expires_at"))
    credentials = identity.get("credentials")
    what = "session" if identity["via"] == "session" else "token"
    if credentials:
        what = "token and credentials" if identity.get("issuer") else "credentials"
    source = f" (from {credentials['source']})" if credentials else ""
    if ends is None:
        return f"by {identity['via']}{actor}; when the {what}{source} expire is not known here"
    left = ends - time.time()
    verb = "are" if credentials else "is"
    until = (
        f"valid for {format_age(max(0, left))}" if credentials else f"valid for {max(0, left) / 60:.0f} min"
    )
    return f"by {identity['via']}{actor}; the {what}{source} {verb} {until}"


def _rank(claim: str) -> int:
    return _PRINCIPAL.index(claim) if claim in _PRINCIPAL else len(_PRINCIPAL)


def _seconds(moment: object) -> float | None:
    """Return epoch seconds of a timestamp; None for none. Without a token, the API's is null or the epoch."""
    if not isinstance(moment, str):
        return None
    return seconds(moment) or None
