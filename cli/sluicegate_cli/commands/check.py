"""`sluicegate check`: a gate file's errors and warnings with their places, its tests, and who may do what."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import click
from rich.cells import cell_len
from rich.text import Text

from sluicegate.deployment.durations import duration
from sluicegate.gate.policy import Gate
from sluicegate.gate.rollout_settings import Rollout
from sluicegate.text import clean
from sluicegate_cli.exit_codes import ExitCode
from sluicegate_cli.layout import Column, dropped
from sluicegate_cli.options import own_stack_option
from sluicegate_cli.planning.parameters import PercentParam, RequestsParam
from sluicegate_cli.review import settings
from sluicegate_cli.review.difference import Difference
from sluicegate_cli.review.gate_files import document, load, rollouts
from sluicegate_cli.screen import Screen, stacked
from sluicegate_gatefile.compile import Report, check
from sluicegate_gatefile.diagnostics import Diagnostic

_ALIKE: Final = 3
"""Warnings of one kind that are shown in full."""

_OUTLOOKS: Final = 5
"""Different watches for which rollouts are simulated: each takes a moment."""

_OUTLOOK_RUNS: Final = 60
"""Rollouts that are simulated for each number."""


@click.command("check")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path), default="sluicegate.yaml")
@click.option(
    "--explain",
    is_flag=True,
    help="Show what each rule grants in each stage, and how a deployment proceeds there.",
)
@click.option(
    "--requests",
    type=RequestsParam(),
    default="200/min",
    show_default=True,
    help="With --explain: the requests for which it says what each watch would see.",
)
@click.option(
    "--errors",
    type=PercentParam(),
    default="0.5%",
    show_default=True,
    help="With --explain: the error rate of the old version for that.",
)
@click.option(
    "--diff",
    "old",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="OLD",
    help="Say in sentences who gains and who loses what, compared with gate file OLD.",
)
@click.option("--allow-loopback", is_flag=True, help="Allow http issuers on this machine, as on the stand.")
@own_stack_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document to stdout.")
@click.pass_context
def command(
    ctx: click.Context,
    file: Path,
    explain: bool,
    requests: float,
    errors: float,
    old: Path | None,
    allow_loopback: bool,
    stack_name: str,
    as_json: bool,
) -> None:
    """Check gate file FILE (sluicegate.yaml by default) and run its tests.

    Exit codes: 0 if it can be built, even with warnings, 2 if it has an error or one of its tests fails.

    \b
      sluicegate check
      sluicegate check gates/sluicegate.yaml --explain
      git show main:sluicegate.yaml > old.yaml && sluicegate check --diff old.yaml
      sluicegate check --json | jq '.diagnostics[] | select(.severity == "error")'
    """
    screen = Screen(as_json=as_json)
    if not file.exists():
        raise click.UsageError(
            f"there is no gate file {file}: run this where it is, name it (`sluicegate check PATH`), or write"
            " one: docs/start/deploy.md begins with a gate file to copy"
        )
    report = check(file, allow_loopback=allow_loopback, stack_name=stack_name)
    compared = None
    if old is not None:
        before = load(screen, old, allow_loopback=allow_loopback, stack_name=stack_name)
        compared = Difference.of(before, report.gate) if report.gate else None
    screen.document(document(file, report) | ({"diff": compared and compared.document} if old else {}))
    if not as_json:
        _show(screen, file, report)
        if compared:
            _show_difference(screen, old, compared)
        if explain and report.gate:
            _explain(screen, report.gate)
            _explain_watches(screen, report.gate, requests, errors)
    ctx.exit(ExitCode.OK if report.ok else ExitCode.USAGE)


def _show(screen: Screen, file: Path, report: Report) -> None:
    """Each finding as compilers write it, so that editors find its place; then the tests, then the sum."""
    alike: dict[str, list[Diagnostic]] = {}
    for found in report.diagnostics:
        same = alike.setdefault(found.code, [])
        same.append(found)
        if found.severity == "error" or len(same) <= _ALIKE:
            screen.line(f"{found} [{found.code}]", "red" if found.severity == "error" else "yellow")
    for code, all_of_it in alike.items():
        if more := [one for one in all_of_it[_ALIKE:] if one.severity == "warning"]:
            lines = ", ".join(str(one.line) for one in more)
            screen.line(
                f"{file}: {_count(len(more), 'more warning')} [{code}] in "
                f"{'line' if len(more) == 1 else 'lines'} {lines}; --json has all",
                "yellow",
            )
    for result in report.test_results:
        if not result.passed:
            place = f"{file}:{result.line}:{result.column}"
            screen.line(f"{place}: error: test failed: {result.name}: {result.message} [test]", "red")
    failed = sum(not result.passed for result in report.test_results)
    errors = sum(found.severity == "error" for found in report.diagnostics)
    warnings = len(report.diagnostics) - errors
    errors += failed  # each is shown as one
    counts = [_count(errors, "error"), _count(warnings, "warning")]
    ran = len(report.test_results)
    counts.append(f"{ran - failed} of {_count(ran, 'test')} passed" if ran else "no tests run")
    if report.gate:
        screen.line(f"{file}: digest {report.gate.digest}", "dim")
    screen.line(f"{file}: {', '.join(counts)}", "bold green" if report.ok else "bold red")


_EFFECTS: Final = {
    "more": ("+", "yellow"),
    "less": ("-", "green"),
    "both": ("~", "yellow"),
    "neither": ("=", ""),
}
"""How a change is marked: in yellow what a reviewer should think about."""


def _show_difference(screen: Screen, old: Path | None, found: Difference) -> None:
    """Show each change as a sentence, and the word for a reviewer last."""
    screen.line("")
    if not found.changes:
        screen.line(f"compared with {old}: nothing changes")
    else:
        screen.line(f"compared with {old}: {_count(len(found.changes), 'change')}", "bold")
    for change in found.changes:
        mark, style = _EFFECTS[change.effect]
        screen.text(Text(f"  {mark}  {clean(change.text, 100_000)}", style=style))
    screen.line(found.verdict, "bold")


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


_NARROW: Final = 12
"""Cells down to which a column of --explain is wrapped."""

# By name, when a column is left out: the highest first, 0 never.
_ABOUT_RULES: Final = (("rule", 0), ("for", 1), ("functions", 2))
_ABOUT_ROLLOUTS: Final = (
    *(("stage", 0), ("functions", 0), ("strategy", 0), ("smoke", 3)),
    *(("watch", 0), ("approval", 1), ("requires", 2), ("order", 4)),
)


def _explain(screen: Screen, gate: Gate) -> None:
    """Rules by stages. What a row grants holds for functions that `functions` of the file has, too."""
    screen.line("")
    _explain_rules(screen, gate)
    rows = [
        (stage, pattern or "by default", *_rollout(rollout)) for stage, pattern, rollout in rollouts(gate)
    ]
    screen.line("")
    screen.table(_wrapping(_ABOUT_ROLLOUTS, rows), rows)
    deployable = ", ".join(entry.pattern.text for entry in gate.functions)
    screen.line("")
    screen.line(f"deployable functions: {deployable}")
    for entry in gate.deny:
        values = "; ".join(f"{claim}: {', '.join(values)}" for claim, values in entry.claims)
        screen.line(f"denied before any rule: {values}")


def _explain_rules(screen: Screen, gate: Gate) -> None:
    """A column for each stage; where these have no room, a row for each rule and stage."""
    about: list[tuple[str | Text, ...]] = [
        (
            rule.name,
            stacked(f"{claim}: {' | '.join(p.text for p in wanted)}" for claim, wanted in rule.claims),
            stacked(pattern.text for pattern in rule.functions),
        )
        for rule in gate.rules
    ]
    wide: list[tuple[str | Text, ...]] = [
        (*cells, *(stacked(sorted(rule.actions) if stage in rule.stages else ()) for stage in gate.stages))
        for rule, cells in zip(gate.rules, about, strict=True)
    ]
    columns = _wrapping([*_ABOUT_RULES, *((stage, 3) for stage in gate.stages)], wide)
    if not dropped(columns, wide, screen.width):
        screen.table(columns, wide)
        return
    long: list[tuple[str | Text, ...]] = [
        (*(("", "", "") if number else cells), stage, ", ".join(sorted(rule.actions)))
        for rule, cells in zip(gate.rules, about, strict=True)
        for number, stage in enumerate(stage for stage in gate.stages if stage in rule.stages)
    ]
    screen.table(_wrapping([*_ABOUT_RULES, ("stage", 0), ("actions", 0)], long), long)


def _wrapping(columns: Sequence[tuple[str, int]], rows: Sequence[Sequence[str | Text]]) -> list[Column]:
    """Columns by name, with when each is left out; none is narrower than its longest word."""
    words = [{word for row in rows for word in str(row[i]).split()} for i in range(len(columns))]
    return [
        Column(name, drop=drop, least=max([_NARROW, *map(cell_len, found)]), wrap=True)
        for (name, drop), found in zip(columns, words, strict=True)
    ]


def _explain_watches(screen: Screen, gate: Gate, requests: float, errors: float) -> None:
    """What each watch means, and what it would see of such traffic: a few simulated rollouts for each."""
    from sluicegate_cli.planning.explain import compares_errors, meaning, number, outlook
    from sluicegate_cli.planning.forecast import Question, forecast

    outlooks: dict[Question, str] = {}
    rate = f"{100 * errors:g}%"
    for stage, pattern, rollout in rollouts(gate):
        if rollout.watch is None:
            continue
        screen.line("")
        screen.line(f"watch of {stage}{f', {pattern}' if pattern else ''}", "bold")
        for sentence in meaning(rollout.steps, rollout.watch):
            screen.line(f"  {sentence}")
        if not compares_errors(rollout.steps, rollout.watch):
            continue
        question = Question(rollout.steps, rollout.watch, requests, errors)
        if question not in outlooks and len(outlooks) < _OUTLOOKS:
            outlooks[question] = outlook(forecast(question, _OUTLOOK_RUNS, search=False))
        if question in outlooks:
            screen.line(f"  with {number(requests)} requests a minute, {rate} of them failing, for example:")
            screen.line(f"    {outlooks[question]}")
        name = pattern if pattern and "*" not in pattern else "FUNCTION"
        plain = number(requests).replace(",", "")
        screen.line(f"    sluicegate watch-plan {name} {stage} --requests {plain}/min --errors {rate}")


def _rollout(rollout: Rollout) -> tuple[str | Text, ...]:
    """A row's cells, from the strategy on."""
    return (
        settings.strategy(rollout.steps),
        settings.smoke(rollout.smoke) if rollout.smoke else "",
        stacked(settings.watch(rollout.watch)) if rollout.watch else "",
        f"within {duration(rollout.approval)}" if rollout.approval else "",
        rollout.requires or "",
        "pipeline" if rollout.ordered else "",
    )
