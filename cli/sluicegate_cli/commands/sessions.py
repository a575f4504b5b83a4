"""`sluicegate sessions end`: end the sessions of a person, on the board and on command lines."""

from typing import TYPE_CHECKING

import click

from sluicegate_cli.exit_codes import ExitCode
from sluicegate_cli.groups import SuggestingGroup
from sluicegate_cli.options import PatternParam, api_command
from sluicegate_cli.screen import Screen

if TYPE_CHECKING:
    from sluicegate_cli.api import ApiClient

_USER = PatternParam("user", r"[1-9][0-9]{0,18}", "a user's id in GitLab, such as 7")


@click.group("sessions", cls=SuggestingGroup)
def command() -> None:
    """End the sessions of people who signed in."""


@command.command("end")
@click.argument("user", type=_USER)
@click.option(
    "--issuer",
    metavar="NAME",
    help="The GitLab, by its name in the gate file. Default: your own, or the only one.",
)
@api_command
def end(api: "ApiClient", screen: Screen, user: str, issuer: str | None) -> ExitCode:
    """End all sessions of USER, a user's id in GitLab, at once.

    Your own need no rule, another person's one that grants end-sessions. The person may sign in again: to
    keep them out, add them to `deny` in the gate file. Exit codes: 0 also if there was no session.

    \b
      sluicegate sessions end 7
      sluicegate sessions end 7 --issuer corp --auth iam
    """
    document = api.delete("sessions", user, **({"issuer": issuer} if issuer else {}))
    screen.document(document)
    number = int(document["ended"])
    screen.line(f"{number} session{'' if number == 1 else 's'} of user {user} ended")
    return ExitCode.OK
