"""`sluicegate whoami`: the identity that the API sees, and what each rule of theirs allows."""

import time

import click

from sluicegate.deployment.durations import seconds
from sluicegate_cli.api import ApiClient
from sluicegate_cli.exit_codes import ExitCode
from sluicegate_cli.options import connected
from sluicegate_cli.screen import Screen


@click.command("whoami")
@connected
def command(api: ApiClient, screen: Screen) -> ExitCode:
    """Show who the API takes this job for, the claims that rules read, and what the rules allow.

    Exits 0 also when no rule is this job's. A token that does not verify exits 3, with the check that failed.

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
        ("claim", "value"),
        [
            (name, value if isinstance(value, str) else ", ".join(value))
            for name, value in sorted(claims.items())
        ],
    )
    screen.line("")
    rules = identity["rules"]
    if not rules:
        screen.line("No rule matches these claims: nothing is allowed.", "yellow")
        return ExitCode.OK
    screen.table(
        ("rule", "actions", "functions", "stages"),
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
