"""`sluicegate target`: the CloudFormation template of a target, or the gate file's targets."""

from pathlib import Path
from typing import Any, Final

import click

from sluicegate.gate.policy import Gate
from sluicegate_cli.layout import Column
from sluicegate_cli.review.gate_files import gate_options, load
from sluicegate_cli.screen import Screen
from sluicegate_gatefile import target_template
from sluicegate_gatefile.compile import own_function_names
from sluicegate_gatefile.diagnostics import did_you_mean


@click.command("target")
@click.argument("name", required=False)
@gate_options
@click.option("--json", "as_json", is_flag=True, help="Without NAME: print one JSON document to stdout.")
def command(name: str | None, file: Path, allow_loopback: bool, stack_name: str, as_json: bool) -> None:
    """Print the CloudFormation template of target NAME, to deploy in its account and region.

    Without NAME, list the gate file's targets. The build writes the same templates to build/targets/. Exit
    codes: 0, or 2 if the gate file has an error.

    \b
      sluicegate target
      sluicegate target prod-eu > prod-eu.yaml
    """
    if name is not None and as_json:
        raise click.UsageError(
            "--json is for the list of targets, and a template is YAML: leave out --json, or the name"
        )
    screen = Screen(as_json=as_json)
    gate = load(screen, file, allow_loopback=allow_loopback, stack_name=stack_name)
    stacks = target_template.stacks(gate, own_functions=own_function_names(stack_name))
    if name is None:
        _list(screen, file, gate, stacks)
    elif name not in stacks:
        hint = did_you_mean(name, tuple(stacks)) or ": `sluicegate target` lists them"
        raise click.UsageError(f"{file} has no target {name!r}{hint}")
    else:
        click.echo(target_template.template(stacks[name], list(stacks.values())), nl=False)


_DROP: Final = {"role": 2, "digest": 1}
"""Which column is left out first on a narrow terminal: the highest."""


def _list(screen: Screen, file: Path, gate: Gate, stacks: dict[str, target_template.TargetStack]) -> None:
    rows: list[dict[str, Any]] = [
        {
            "name": stack.name,
            "account": stack.account,
            "region": stack.region,
            "role": stack.role,
            "external_id": stack.external_id,
            "bucket": stack.values["Bucket"],
            "digest": stack.digest,
            "stages": [stage.name for stage in gate.stages.values() if stage.target.name == stack.name],
        }
        for stack in stacks.values()
    ]
    screen.document({"file": str(file), "targets": rows})
    if screen.as_json:
        return
    if not rows:
        screen.line(
            f"{file} has no targets: its functions are in the account and region of Sluicegate's stack"
        )
        return
    shown = ("name", "account", "region", "role", "digest")
    screen.table(
        [*(Column(name, drop=_DROP.get(name, 0)) for name in shown), Column("stages", least=12, wrap=True)],
        [(*(str(row[name]) for name in shown), ", ".join(row["stages"])) for row in rows],
    )
