"""`sluicegate whoami`: show the identity that the API sees, and what its rules allow."""

import time
from typing import TYPE_CHECKING

import click

from sluicegate.deployment.durations import seconds
from sluicegate_cli.exit_codes import ExitCode
from sluicegate_cli.layout import Column
from sluicegate_cli.options import api_command
from sluicegate_cli.screen import Screen

if TYPE_CHECKING:
    from sluicegate_cli.api import ApiClient


@click.command("whoami")
@api_command
def command(api: "ApiClient", screen: Screen) -> ExitCode:
    """Show the identity that the API sees, the claims that rules can match, and what the rules allow.

    Exit codes: 0 even if no rule matches, 3 if the token does not verify, with the failed check.

    \b
      sluicegate whoami
      sluicegate whoami --json | jq .claims
    """
    identity = api.get("whoami")
    screen.document(identity)
    if screen.as_json:
        return ExitCode.OK
    claims = identity["claims"]
    screen.line(
        f"{claims.get('project_path', '')} (project {identity['project_id']}) of {identity['issuer']}", "bold"
    )
    left = seconds(identity["expires_at"]) - time.time()
    screen.line(f"by {identity['via']}; the token is valid for {max(0, left) / 60:.0f} min")
    screen.line("")
    screen.table(
        ("claim", Column("value", least=20, wrap=True)),
        [
            (name, value if isinstance(value, str) else ", ".join(value))
            for name, value in sorted(claims.items())
        ],
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
