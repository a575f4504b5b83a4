"""Load a gate file for a command that reads it, as `sluicegate check` does."""

from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from sluicegate.gate import rollout_settings
from sluicegate.gate.policy import Gate
from sluicegate.gate.rollout_settings import Rollout
from sluicegate_cli.exit_codes import ExitCode
from sluicegate_cli.options import gate_option, own_stack_option
from sluicegate_cli.screen import Screen
from sluicegate_gatefile.compile import Report, check


def gate_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--gate`, `--allow-loopback` and `--stack`, as `file`, `allow_loopback` and `stack_name`."""
    for option in (
        own_stack_option,
        click.option(
            "--allow-loopback", is_flag=True, help="Allow http issuers on this machine, as on the stand."
        ),
        gate_option(
            "file",
            type=click.Path(dir_okay=False, path_type=Path),
            default="sluicegate.yaml",
            show_default=True,
            help="The gate file.",
        ),
    ):
        function = option(function)
    return function


def load(screen: Screen, file: Path, *, allow_loopback: bool, stack_name: str) -> Gate:
    """Return the compiled gate file.

    Where it has errors, print them, with `--json` as `sluicegate check` does, and end with exit code 2.
    """
    if not file.exists():
        raise click.UsageError(f"there is no gate file {file}: run this where it is, or name it")
    report = check(file, allow_loopback=allow_loopback, stack_name=stack_name)
    if report.gate is not None:
        return report.gate
    screen.document(document(file, report))
    for found in report.diagnostics:
        if found.severity == "error":
            click.echo(f"{found} [{found.code}]", err=True)
    raise click.exceptions.Exit(ExitCode.USAGE)


def document(file: Path, report: Report) -> dict[str, Any]:
    """Return what `check --json` prints; `rules` and `rollouts` are empty where the file has an error."""
    return {
        "file": str(file),
        "ok": report.ok,
        "digest": report.gate.digest if report.gate else None,
        "diagnostics": [asdict(found) for found in report.diagnostics],
        "tests": [asdict(result) for result in report.test_results],
        "rules": [
            {
                "name": rule.name,
                "claims": {claim: [p.text for p in patterns] for claim, patterns in rule.claims},
                "actions": sorted(rule.actions),
                "functions": [pattern.text for pattern in rule.functions],
                "stages": list(rule.stages),
            }
            for rule in (report.gate.rules if report.gate else ())
        ],
        "rollouts": [
            {"stage": stage, "functions": pattern, **rollout_settings.document(rollout)}
            for stage, pattern, rollout in (rollouts(report.gate) if report.gate else ())
        ],
    }


def rollouts(gate: Gate) -> Iterator[tuple[str, str | None, Rollout]]:
    """Yield stage, pattern and rollout: a stage's own, without pattern, and those that override it."""
    for stage in gate.stages.values():
        yield stage.name, None, stage.rollout
        for entry in gate.functions:
            if stage.name in entry.rollout:
                yield stage.name, entry.pattern.text, entry.rollout[stage.name]
