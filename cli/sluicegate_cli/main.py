"""The entry point. Only the module of the called command is imported."""

import sys
from importlib import import_module
from typing import Final

import click

import sluicegate
from sluicegate_cli import streams
from sluicegate_cli.groups import SuggestingGroup

_GROUPS: Final = {
    "Deploy": {
        "deploy": "Deploy an artifact to a stage, and follow it to its end.",
        "promote": "Deploy to a stage what another stage serves.",
        "rollback": "Return a stage to what it served before.",
        "abort": "Stop a running deployment and restore the alias.",
    },
    "Approve": {
        "approve": "Approve a deployment that awaits approval.",
        "reject": "Reject a deployment that awaits approval.",
        "hold": "Block new deployments to a stage, or lift the block.",
    },
    "Sign in": {
        "login": "Sign in with GitLab, through the board, as a person.",
        "logout": "End the session of this machine.",
        "sessions": "End the sessions of a person, everywhere.",
    },
    "Inspect": {
        "status": "Show a deployment, or what functions serve in each stage.",
        "versions": "List the versions of a function that are pruned.",
        "history": "List deployments, newest first.",
        "watch": "Follow a deployment to its end.",
        "whoami": "Show the identity that the API sees, and what the rules allow.",
        "report": "Write a deployment as one HTML page, for a review.",
        "audit": "Export and verify the evidence, or compare with CloudTrail.",
    },
    "Check": {
        "check": "Check a gate file and run its tests.",
        "access": "Show who can bring code to a stage, and with whose approval.",
        "replay": "Decide recorded requests again by another gate file.",
        "watch-plan": "Simulate what a stage's watch would see of a rollout.",
        "target": "Print the CloudFormation template of a target, or list them.",
        "doctor": "Find out why a job or a stack does not work, and how to fix it.",
        "mcp": "Serve tools to a coding assistant (Model Context Protocol).",
        "completion": "Print the completion script of a shell.",
    },
}
_COMMANDS: Final = [name for commands in _GROUPS.values() for name in commands]

_SYNONYMS: Final = {
    **dict.fromkeys(("cancel", "stop", "kill"), "abort"),
    **dict.fromkeys(("undo", "revert", "back", "rollback-to"), "rollback"),
    **dict.fromkeys(("list", "log", "ls", "deployments"), "history"),
    **dict.fromkeys(("get", "show", "ps", "info", "functions"), "status"),
    **dict.fromkeys(("follow", "tail", "wait"), "watch"),
    **dict.fromkeys(("validate", "lint", "test"), "check"),
    **dict.fromkeys(("freeze", "lock", "pause", "unhold", "resume"), "hold"),
    **dict.fromkeys(("accept", "confirm"), "approve"),
    **dict.fromkeys(("deny", "decline", "refuse"), "reject"),
    **dict.fromkeys(("release", "publish", "upload", "ship"), "deploy"),
    **dict.fromkeys(("auth", "id", "token"), "whoami"),
    **dict.fromkeys(("signin", "sign-in"), "login"),
    **dict.fromkeys(("signout", "sign-out"), "logout"),
    "session": "sessions",
    **dict.fromkeys(("debug", "diagnose", "diag"), "doctor"),
    **dict.fromkeys(("trail", "cloudtrail", "evidence"), "audit"),
    **dict.fromkeys(("plan", "simulate", "forecast", "power"), "watch-plan"),
    **dict.fromkeys(("prune", "cleanup", "version"), "versions"),
    **dict.fromkeys(("targets", "template"), "target"),
    **dict.fromkeys(("who", "permissions", "rights", "grants"), "access"),
}
"""Words that other tools use for a command."""


class _LazyGroup(SuggestingGroup):
    """A group that knows its commands by name: `--help` and one command never import the others."""

    synonyms = _SYNONYMS

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 (click's signature)
        return _COMMANDS

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:  # noqa: ARG002
        if name not in _COMMANDS:
            return None
        command = import_module(f"sluicegate_cli.commands.{name.replace('-', '_')}").command
        assert isinstance(command, click.Command)  # noqa: S101 (each command's module has one)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        width = max(map(len, _COMMANDS))
        for title, commands in _GROUPS.items():
            with formatter.section(title):
                formatter.write_dl([(name.ljust(width), text) for name, text in commands.items()])


@click.group(
    cls=_LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 success, 1 the deployment ended otherwise, 2 usage or gate file error, "
    "3 unauthorized, 4 request rejected, 5 API unavailable after retries, 6 still running.",
)
@click.version_option(sluicegate.__version__, prog_name="sluicegate")
def cli() -> None:
    """Deploy AWS Lambda functions from GitLab pipelines, with no AWS key in GitLab.

    The API's URL comes from SLUICEGATE_URL or --url, the job's ID token from SLUICEGATE_ID_TOKEN or
    --token-file. A person signs in with `sluicegate login` instead. With --auth iam, AWS credentials prove
    who calls.

    \b
      deploy:
        id_tokens: {SLUICEGATE_ID_TOKEN: {aud: https://deploy.example.com}}
        script: sluicegate deploy orders-api prod --zip orders-api.zip
    """


def _suggest(error: click.NoSuchOption) -> None:
    """Keep the nearest option only. A group has few: what is far from them is one of its commands'."""
    from difflib import get_close_matches

    of_group = error.ctx is not None and isinstance(error.ctx.command, click.Group)
    cutoff = 0.75 if of_group else 0
    error.possibilities = get_close_matches(error.option_name, error.possibilities or (), n=1, cutoff=cutoff)
    if of_group and error.ctx and not error.possibilities:
        error.message += (
            f". Options come after the command: {error.ctx.command_path} COMMAND {error.option_name}"
        )


def main() -> None:
    """Run the command line; never return."""
    streams.prepare()
    with streams.ending():
        try:
            # click's own ending exits with 1 for a broken pipe and for Ctrl-C, which is an outcome here.
            code = cli.main(prog_name="sluicegate", standalone_mode=False)
        except click.ClickException as error:
            if isinstance(error, click.NoSuchOption):
                _suggest(error)
            error.show()
            sys.exit(error.exit_code)
        except click.Abort:
            sys.exit(streams.INTERRUPTED)
        sys.exit(code or 0)


if __name__ == "__main__":
    main()
