"""Load a gate file for a command that reads it, as `sluicegate check` does."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from sluicegate.gate.policy import Gate
from sluicegate_cli.exit_codes import ExitCode
from sluicegate_gatefile.compile import check


def gate_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--gate`, `--allow-loopback` and `--stack-name`: the arguments `file`, and as they are called."""
    for option in (
        click.option(
            "--stack-name",
            default="sluicegate",
            show_default=True,
            help="The name of Sluicegate's own stack, whose functions no pattern may match.",
        ),
        click.option(
            "--allow-loopback", is_flag=True, help="Allow http issuers on this machine, as on the stand."
        ),
        click.option(
            "--gate",
            "file",
            type=click.Path(dir_okay=False, path_type=Path),
            default="sluicegate.yaml",
            show_default=True,
            help="The gate file.",
        ),
    ):
        function = option(function)
    return function


def load(file: Path, *, allow_loopback: bool, stack_name: str) -> Gate:
    """Return the compiled gate file. Ends with exit code 2, and its errors, where it has any."""
    if not file.exists():
        raise click.UsageError(f"there is no gate file {file}: run this where it is, or name it")
    report = check(file, allow_loopback=allow_loopback, stack_name=stack_name)
    if report.gate is not None:
        return report.gate
    for found in report.diagnostics:
        if found.severity == "error":
            click.echo(found, err=True)
    raise click.exceptions.Exit(ExitCode.USAGE)
