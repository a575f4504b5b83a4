"""`sluicegate login`: sign in with GitLab, through the board, and keep the session on this machine."""

from dataclasses import asdict

import click

from sluicegate_cli.exit_codes import ExitCode
from sluicegate_cli.options import outcome, url_option
from sluicegate_cli.screen import Screen


@click.command("login")
@url_option
@click.option(
    "--browser/--no-browser",
    default=None,
    help="Sign in with a browser of this machine, or on any device by typing two codes. By default, what"
    " this machine seems to have.",
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document to stdout, and progress to stderr."
)
def command(url: str | None, browser: bool | None, as_json: bool) -> None:
    """Sign in with GitLab as a person, and keep the session for this API.

    The board asks you to sign in with GitLab, shows this terminal's code, and asks whether it is yours. The
    session lasts eight hours. It is kept in a file for you alone, and every other command uses it where no
    ID token is given. A job never does. Exit codes: 0 signed in, 3 not signed in.

    \b
      sluicegate login
      sluicegate login --no-browser
      sluicegate whoami
    """
    from sluicegate_cli.api import endpoint  # imports httpx2, which help does not need
    from sluicegate_cli.auth import signing_in, stored

    screen = Screen(as_json=as_json)

    def call() -> ExitCode:
        address = endpoint(url or "")
        here = signing_in.has_browser() if browser is None else browser
        terms = signing_in.terms_of(screen.note)
        sign_in = signing_in.with_browser if here else signing_in.with_typed_code
        session = sign_in(address, terms)
        file = stored.save(session)
        shown = {name: value for name, value in asdict(session).items() if name != "token"}
        screen.document({**shown, "file": str(file)})
        screen.line(f"signed in as {session.user_login} (user {session.user_id}) of {session.issuer}", "bold")
        screen.line(f"until {session.expires_at}, or `sluicegate logout`. The session is in {file}")
        return ExitCode.OK

    click.get_current_context().exit(outcome(screen, call))
