"""`sluicegate mcp`: a Model Context Protocol server for coding assistants, on standard input and output."""

import click

from sluicegate_cli.auth.choosing import AuthOptions
from sluicegate_cli.exit_codes import ExitCode
from sluicegate_cli.options import auth_options, client, outcome, url_option
from sluicegate_cli.screen import Screen


@click.command("mcp")
@url_option
@auth_options
def command(url: str | None, auth: AuthOptions) -> None:
    """Serve tools to a coding assistant by the Model Context Protocol, on standard input and output.

    The tools show what serves where, list and follow deployments, explain refusals by rehearsing a request,
    and propose deployments, promotions and rollbacks. They have the credential that this command is given,
    and no right besides: the gate file decides, and every request says that an agent makes it. Needs the
    extra `mcp`.

    \b
      pip install 'sluicegate[mcp]'
      claude mcp add sluicegate -- sluicegate mcp --auth iam --url "$SLUICEGATE_URL"
    """
    try:
        from sluicegate_cli.assistant.server import make_server
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("mcp", "mcp_types"):
            raise
        raise click.UsageError(
            "this needs the MCP SDK, which is not installed: pip install 'sluicegate[mcp]'"
        ) from None
    screen = Screen(as_json=False)

    def call() -> ExitCode:
        with client(url, auth, screen) as api:
            screen.note("sluicegate: waiting for a client on standard input; end it with Ctrl-C")
            make_server(api).run("stdio")
        return ExitCode.OK

    click.get_current_context().exit(outcome(screen, call))
