"""`sluicegate logout`: end this machine's session, and forget it."""

from typing import Any

import click

from sluicegate_cli.errors import ApiError
from sluicegate_cli.exit_codes import ExitCode
from sluicegate_cli.options import outcome, url_option
from sluicegate_cli.screen import Screen


@click.command("logout")
@url_option
@click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document to stdout, and progress to stderr."
)
def command(url: str | None, as_json: bool) -> None:
    """End the session that `sluicegate login` began on this machine, and delete it here.

    Your sessions elsewhere, on the board too, go on: `sluicegate sessions end` ends them all. Exit codes: 0
    even if there was no session, 5 if the API could not be reached: then the session is deleted here, and
    ends by itself.

    \b
      sluicegate logout
    """
    from sluicegate_cli.api import ApiClient, endpoint  # imports httpx2, which help does not need
    from sluicegate_cli.auth import stored
    from sluicegate_cli.auth.authorization import BearerToken

    screen = Screen(as_json=as_json)

    def call() -> ExitCode:
        address = endpoint(url or "")
        session = stored.load(address, to_end_it=True)
        if session is None:
            screen.document({"ended": 0})
            screen.line("There is no session on this machine.")
            return ExitCode.OK
        document: dict[str, Any] = {"ended": 0}
        try:
            with ApiClient(address, BearerToken(session.token), notice=screen.note) as api:
                document = dict(api.delete("session"))
        except ApiError as error:
            if error.exit != ExitCode.REFUSED:
                raise
        finally:
            stored.forget(address)
        screen.document(document)
        screen.line(f"signed out {session.user_login}. You are still signed in to GitLab, in your browser.")
        return ExitCode.OK

    click.get_current_context().exit(outcome(screen, call))
