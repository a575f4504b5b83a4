"""`sluicegate watch-plan`: what a stage's watch would see of a rollout, before there is one."""

from pathlib import Path
from typing import Any

import click

from sluicegate.deployment.durations import duration
from sluicegate.deployment.plan import Metric, TrafficStep, Watch
from sluicegate.gate.policy import Gate
from sluicegate_cli.durations import format_duration
from sluicegate_cli.layout import Column
from sluicegate_cli.planning.explain import compares_errors, meaning, number, share
from sluicegate_cli.planning.forecast import ENOUGH, Caught, Forecast, Question, forecast
from sluicegate_cli.planning.parameters import PercentParam, RequestsParam
from sluicegate_cli.planning.traffic import TrafficKind
from sluicegate_cli.review.gate_files import gate_options, load
from sluicegate_cli.screen import Screen
from sluicegate_gatefile.diagnostics import did_you_mean, listed


@click.command("watch-plan")
@click.argument("function")
@click.argument("stage")
@click.option("--requests", type=RequestsParam(), required=True, help="The alias' requests, such as 200/min.")
@click.option(
    "--errors", type=PercentParam(), required=True, help="The old version's error rate, such as 0.5%."
)
@click.option(
    "--traffic",
    "kind",
    type=click.Choice([kind.value for kind in TrafficKind]),
    default=TrafficKind.INDEPENDENT.value,
    show_default=True,
    help="How errors come about: each by itself, in outages of both versions, in bursts of one.",
)
@click.option(
    "--runs",
    type=click.IntRange(20, 1_000_000),
    default=200,
    show_default=True,
    help="Rollouts to simulate for each number. More take longer, and leave less to chance.",
)
@gate_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document to stdout.")
def command(
    function: str,
    stage: str,
    requests: float,
    errors: float,
    file: Path,
    kind: str,
    runs: int,
    allow_loopback: bool,
    stack_name: str,
    as_json: bool,
) -> None:
    """Say what the watch of FUNCTION in STAGE would see of a rollout with this traffic.

    It runs the deployer's own analysis on simulated rollouts, and needs no API. The same question has the
    same answer. Exit codes: 0, or 2 if the gate file has an error, or compares nothing there.

    \b
      sluicegate watch-plan orders-api prod --requests 200/min --errors 0.5%
      sluicegate watch-plan orders-api prod --requests 200/min --errors 0.5% --traffic bursts --json
    """
    screen = Screen(as_json=as_json)
    gate = load(screen, file, allow_loopback=allow_loopback, stack_name=stack_name)
    steps, watch = _compared(gate, file, function, stage)
    found = forecast(Question(steps, watch, requests, errors, TrafficKind(kind)), runs)
    screen.document(
        {"function": function, "stage": stage, "requests": requests, "errors": errors, "traffic": kind}
        | document(found)
    )
    if not as_json:
        screen.line(
            f"{function} in {stage}: {number(requests)} requests a minute, {share(errors)} of them fail"
            f" ({kind}); {runs} simulated rollouts for each line"
        )
        for sentence in meaning(steps, watch):
            screen.line(f"  {sentence}")
        show(screen, found)


def _compared(gate: Gate, file: Path, function: str, stage: str) -> tuple[tuple[TrafficStep, ...], Watch]:
    """Return steps and watch of the function in the stage. Raises UsageError if nothing is compared there."""
    if stage not in gate.stages:
        hint = did_you_mean(stage, tuple(gate.stages)) or f": it has {listed(gate.stages)}"
        raise click.UsageError(f"{file} has no stage {stage!r}{hint}")
    placement = gate.place(function, stage)
    if placement is None:
        raise click.UsageError(
            f"{file} does not deploy a function {function!r}: `functions` has"
            f" {listed([entry.pattern.text for entry in gate.functions])}"
        )
    where = f"{function} in {stage}"
    if placement.watch is None:
        raise click.UsageError(f"nothing is watched while {where} is deployed: `watch` is missing there")
    if not any(limit.metric is Metric.ERRORS for limit in placement.watch.limits):
        raise click.UsageError(
            f"errors of {where} are compared with nothing: `watch.errors` is missing, for example"
            " `errors: {max_ratio: 2}`"
        )
    if not compares_errors(placement.steps, placement.watch):
        raise click.UsageError(
            f"there is no comparison: no step of {where} leaves the old version a share of the traffic while"
            " it bakes. Use a canary, for example `strategy: {type: canary, percent: 10, bake: 30m}`"
        )
    return placement.steps, placement.watch


def document(found: Forecast) -> dict[str, Any]:
    """Return a forecast as `--json` prints it. Probabilities are from 0 to 1."""
    return {
        "runs": found.runs,
        "rolled_back_if_equal": found.equal.share.value,
        "caught": {str(ratio): caught.share.value for ratio, caught in found.caught.items()},
        "steps": [
            {"percent": step.percent, "bake": step.bake, "requests": step.new, "old_requests": step.old}
            for step in found.steps
        ],
        "intervals": {
            "rolled_back_if_equal": _limits(found.equal),
            "caught": {str(ratio): _limits(caught) for ratio, caught in found.caught.items()},
        },
        "median_seconds": {str(ratio): caught.after for ratio, caught in found.caught.items()},
        "enough": {
            "probability": ENOUGH,
            "bakes": {
                str(ratio): None if steps is None else [step.bake for step in steps]
                for ratio, steps in found.enough.items()
            },
        },
    }


def _limits(caught: Caught) -> list[float]:
    return [round(caught.share.low, 5), round(caught.share.high, 5)]


def show(screen: Screen, found: Forecast) -> None:
    """Print a forecast as two tables: what each step gets, and how often which version goes back."""
    screen.line("")
    screen.table(
        ["step", "bake", "requests", "of the old version"],
        [
            (
                f"{step.percent}%",
                duration(step.bake) if step.bake else "",
                f"{step.new:,}" if step.bake else "",
                f"{step.old:,}" if step.bake else "",
            )
            for step in found.steps
        ],
    )
    screen.line("")
    enough = f"bake for {ENOUGH:.0%}"
    screen.table(
        ["a version that", "goes back", "interval", "after", Column(enough, drop=1, least=12, wrap=True)],
        [
            ("is as good", *_caught(found.equal), ""),
            *(
                (f"fails {ratio} times as often", *_caught(caught), _bakes(found, ratio))
                for ratio, caught in found.caught.items()
            ),
        ],
    )


def _caught(caught: Caught) -> tuple[str, str, str]:
    after = "" if caught.after is None else format_duration(caught.after)
    found = caught.share
    return share(found.value), f"{share(found.low)} to {share(found.high)}", after


def _bakes(found: Forecast, ratio: int) -> str:
    """Return the bakes that would be enough; of several steps with equal bakes, the bake once."""
    steps = found.enough[ratio]
    if steps is None:
        return "none"
    bakes = [step.bake for step in steps if step.bake]
    if len(set(bakes)) == 1:
        return format_duration(bakes[0]) + (" each" if len(bakes) > 1 else "")
    return ", ".join(map(format_duration, bakes))
