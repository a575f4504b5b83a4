"""`sluicegate completion`: print a shell's completion script."""

import click
from click.shell_completion import get_completion_class

from sluicegate_cli.exit_codes import ExitCode


@click.command("completion")
@click.argument("shell", type=click.Choice(("bash", "zsh", "fish")))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print the script that completes commands and options in SHELL. It makes no request.

    \b
      bash: eval "$(sluicegate completion bash)"      in ~/.bashrc (bash 4.4 or later)
      zsh:  eval "$(sluicegate completion zsh)"       in ~/.zshrc, after compinit
      fish: sluicegate completion fish > ~/.config/fish/completions/sluicegate.fish
    """
    root = ctx.find_root().command
    found = get_completion_class(shell)
    assert found is not None  # noqa: S101 (the choices are click's own shells)
    click.echo(found(root, {}, "sluicegate", "_SLUICEGATE_COMPLETE").source())
    ctx.exit(ExitCode.OK)
