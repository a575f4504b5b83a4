"""`sluicegate mcp`: a Model Context Protocol server for coding assistants, on standard input and output."""

from typing import TYPE_CHECKING

import click

from sluicegate_cli.exit_codes import ExitCode
from sluicegate_cli.options import api_command
from sluicegate_cli.screen import Screen

if TYPE_CHECKING:
    from sluicegate_cli.api import ApiClient


@click.command("mcp")
@api_command
def command(api: "ApiClient", screen: Screen) -> ExitCode:
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
    screen.note("sluicegate: waiting for a client on standard input; end it with Ctrl-C")
    make_server(api).run("stdio")
    return ExitCode.OK
