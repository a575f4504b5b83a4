"""The entry point. A verb's module is imported when that verb is called, and no other is."""

import sys
from importlib import import_module
from io import TextIOWrapper

import click

import sluicegate

_VERBS = {
    "abort": "End a deployment that is under way, and bring back what it moved.",
    "approve": "Let a deployment go on that awaits approval.",
    "check": "Check a gate file and run its tests.",
    "deploy": "Deploy an artifact to a stage and follow it to its end.",
    "doctor": "Say why it does not work, and what to change.",
    "history": "List deployments, newest first.",
    "hold": "Stop new deployments of a stage, or let them go on.",
    "promote": "Deploy to a stage what another stage serves.",
    "reject": "End a deployment that awaits approval.",
    "rollback": "Bring a stage back to what it served before.",
    "status": "Show a deployment, or what functions serve in each stage.",
    "watch": "Follow a deployment to its end.",
    "whoami": "Show who the API takes you for, and what the rules allow.",
}


class _Verbs(click.Group):
    """A group that knows its commands by name: `--help` and one verb never pay for the others' imports."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 (click's signature)
        return list(_VERBS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:  # noqa: ARG002
        if name not in _VERBS:
            return None
        command = import_module(f"sluicegate_cli.commands.{name}").command
        assert isinstance(command, click.Command)  # noqa: S101 (each verb's module has one)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl(list(_VERBS.items()))


@click.group(
    cls=_Verbs,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 done, 1 ended otherwise, 2 usage or gate file, 3 refused, 4 rejected, "
    "5 unavailable after retries, 6 still running.",
)
@click.version_option(sluicegate.__version__, prog_name="sluicegate")
def cli() -> None:
    """Deploy AWS Lambda functions from GitLab pipelines, with no AWS key in GitLab.

    The endpoint comes from SLUICEGATE_URL or --url, the job's ID token from SLUICEGATE_TOKEN or --token-file.

    \b
      deploy:
        id_tokens: {SLUICEGATE_TOKEN: {aud: https://deploy.example.com}}
        script: sluicegate deploy orders-api prod --zip orders-api.zip
    """


def main() -> None:
    """Runs the command line; never returns."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show a character must not end a deployment's report half way.
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")
    cli(prog_name="sluicegate")
