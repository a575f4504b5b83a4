"""`sluicegate check`: a gate file's errors and warnings with their places, its tests, and who may do what."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from sluicegate.gate import Gate
from sluicegate.gatefile import Report, check

from sluicegate_cli.exits import Exit
from sluicegate_cli.show import Screen, stacked


@click.command("check")
@click.argument(
    "file", type=click.Path(exists=True, dir_okay=False, path_type=Path), default="sluicegate.yaml"
)
@click.option("--explain", is_flag=True, help="Show a table of what each rule grants in each stage.")
@click.option("--allow-loopback", is_flag=True, help="Let issuers be http on this machine, as on the stand.")
@click.option(
    "--stack-name",
    default="sluicegate",
    show_default=True,
    help="Sluicegate's own stack, whose functions no pattern may match.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
@click.pass_context
def command(
    ctx: click.Context, file: Path, explain: bool, allow_loopback: bool, stack_name: str, as_json: bool
) -> None:
    """Check gate file FILE (sluicegate.yaml by default) and run its tests.

    Exits 0 when it may be built, warnings or not, and 2 when it has an error or one of its tests fails.

    \b
      sluicegate check
      sluicegate check gates/sluicegate.yaml --explain
      sluicegate check --json | jq '.diagnostics[] | select(.severity == "error")'
    """
    screen = Screen(as_json=as_json)
    report = check(file, allow_loopback=allow_loopback, stack_name=stack_name)
    screen.document(_document(file, report))
    if not as_json:
        _show(screen, file, report)
        if explain and report.gate:
            _explain(screen, report.gate)
    ctx.exit(Exit.OK if report.ok else Exit.USAGE)


def _show(screen: Screen, file: Path, report: Report) -> None:
    """Each finding as compilers write it, so that editors find its place; then the tests, then the sum."""
    for found in report.diagnostics:
        screen.line(f"{found} [{found.code}]", "red" if found.severity == "error" else "yellow")
    for result in report.test_results:
        if not result.passed:
            place = f"{file}:{result.line}:{result.column}"
            screen.line(f"{place}: error: test failed: {result.name}: {result.message} [test]", "red")
    failed = sum(not result.passed for result in report.test_results)
    errors = sum(found.severity == "error" for found in report.diagnostics)
    warnings = len(report.diagnostics) - errors
    counts = [_count(errors, "error"), _count(warnings, "warning")]
    ran = len(report.test_results)
    counts.append(f"{ran - failed} of {_count(ran, 'test')} passed" if ran else "no tests run")
    screen.line(f"{file}: {', '.join(counts)}", "bold green" if report.ok else "bold red")


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _explain(screen: Screen, gate: Gate) -> None:
    """Rules by stages. What a row grants holds for functions that `functions` of the file has, too."""
    screen.line("")
    screen.table(
        ("rule", "for", "functions", *gate.stages),
        [
            (
                rule.name,
                stacked(f"{claim}: {' | '.join(p.text for p in wanted)}" for claim, wanted in rule.claims),
                stacked(pattern.text for pattern in rule.functions),
                *(stacked(sorted(rule.actions) if stage in rule.stages else ()) for stage in gate.stages),
            )
            for rule in gate.rules
        ],
    )
    deployable = ", ".join(entry.pattern.text for entry in gate.functions)
    screen.line("")
    screen.line(f"deployable functions: {deployable}")
    for entry in gate.deny:
        values = "; ".join(f"{claim}: {', '.join(values)}" for claim, values in entry.claims)
        screen.line(f"denied before any rule: {values}")


def _document(file: Path, report: Report) -> dict[str, Any]:
    """What `--json` prints; `rules` is empty where the file has an error."""
    return {
        "file": str(file),
        "ok": report.ok,
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
    }
