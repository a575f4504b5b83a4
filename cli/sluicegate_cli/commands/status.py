"""`sluicegate status`: show one deployment, or what functions serve in each stage."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import click
from rich.text import Text

from sluicegate.deployment.durations import seconds
from sluicegate.deployment.ulid import is_id
from sluicegate.documents import describe, observed
from sluicegate.documents.links import links, with_links
from sluicegate.text import clean
from sluicegate_cli.durations import format_duration
from sluicegate_cli.exit_codes import ExitCode
from sluicegate_cli.layout import Column
from sluicegate_cli.observation_view import verdict_style
from sluicegate_cli.options import DeploymentParam, api_command
from sluicegate_cli.screen import Screen, status_style

if TYPE_CHECKING:
    from sluicegate_cli.api import ApiClient

_COLUMNS: Final = (
    Column("function", least=12),
    Column("stage"),
    Column("serves"),
    Column("built from", drop=1, least=12),
    Column("artifact", drop=4),
    Column("since", drop=3),
    Column("moved by", drop=2, least=6),
)
_FINDINGS: Final = (
    Column("limit"),
    Column("verdict"),
    Column("new version"),
    Column("old version", drop=3),
    Column("ratio", drop=1),
    Column("limit at", drop=2),
    Column("answer", least=12, wrap=True),
)


@click.command("status")
@click.argument("what", metavar="[ID | FUNCTION]", required=False, type=DeploymentParam(or_function=True))
@api_command
def command(api: "ApiClient", screen: Screen, what: str | None) -> ExitCode:
    """Show deployment ID, or what FUNCTION (default: every function that you may see) serves in each stage.

    Exits with code 0 for every status. A script that needs the outcome uses `sluicegate watch ID`.

    \b
      sluicegate status
      sluicegate status orders-api
      sluicegate status 01KAQ3ZV6N8T4R1F0C2H7M5XWE --json
    """
    if what and is_id(what):
        _deployment(screen, api.get("deployments", what), api.now())
    elif what:
        function = api.get("functions", what)
        screen.document(function)
        _stages(screen, [function], api.now())
    else:
        functions = list(api.items("functions"))
        screen.document({"items": functions})
        _stages(screen, functions, api.now())
    return ExitCode.OK


def _deployment(screen: Screen, deployment: Mapping[str, Any], now: float) -> None:
    screen.document(with_links(deployment))
    if screen.as_json:
        return
    screen.line(f"{deployment['status']}  {deployment['id']}", status_style(deployment["status"]))
    facts = _facts(screen, deployment, now)
    screen.table(
        (Column(""), Column("", least=20, wrap=True)),
        [(name, str(value)) for name, value in facts.items() if value],
    )
    _observation(screen, deployment.get("observation"), now)
    for entry in deployment["timeline"]:
        style = status_style(entry["status"])
        screen.text(
            Text.assemble(
                (f"{screen.moment(entry['at'], now):<9}  ", "dim"),
                (describe.entry_status(deployment, entry), style),
                f"  {clean(entry['message'], 1024)}",
            )
        )


def _observation(screen: Screen, look: Mapping[str, Any] | None, now: float) -> None:
    """Print what was observed last, the worst first."""
    if not look:
        return
    verdict = clean(str(look["verdict"]), 32)
    screen.text(
        Text.assemble(
            f"observed {screen.moment(look['at'], now)} at {look['percent']}%: ",
            (verdict, verdict_style(verdict)),
        )
    )
    for alarm in observed.ringing(look):
        screen.line(f"alarm {observed.alarm(alarm)}", "yellow")
    found = observed.findings(look)
    if found:
        screen.table(_FINDINGS, [_finding(one) for one in found])


def _finding(one: Mapping[str, Any]) -> tuple[str | Text, ...]:
    unit = observed.unit(one)
    return (
        str(one["limit"]),
        Text(observed.verdict(one), style=verdict_style(one["verdict"])),
        observed.share(one.get("new"), unit),
        observed.share(one.get("old"), unit),
        observed.ratio(one),
        observed.bound(one),
        "" if one.get("new") else observed.message(one),
    )


def _facts(screen: Screen, deployment: Mapping[str, Any], now: float) -> dict[str, Any]:
    """Return the fields to show, the most important first."""
    by = deployment["requested_by"]
    alias = deployment["alias"]
    reason = deployment["reason"]
    source = deployment.get("from")
    return {
        "action": deployment["action"] + (f" from {source}" if source else ""),
        "function": deployment["function"],
        "stage": f"{deployment['stage']} (alias {alias['name']})",
        "target": describe.target(deployment["target"]),
        "artifact": deployment["artifact"]["sha256"],
        "version": deployment["version"],
        "built from": _built(deployment),
        "skipped": "; ".join(one["message"] for one in deployment.get("unusable") or ()),
        "steps": describe.steps(deployment["steps"]),
        "step": _step(deployment),
        "since": None if deployment["final"] else _moment(screen, deployment.get("since"), now),
        "until": _until(screen, deployment, now),
        **describe.plan(deployment),
        "fix forward": describe.fix_forward(deployment.get("fix_forward")),
        "alias before": describe.serving(alias["original"]),
        "alias now": describe.serving(alias["current"]),
        "outcome": alias["outcome"],
        "reason": reason and f"{reason['message']} [{reason['code']}]",
        "release": deployment["release"],
        "description": deployment["description"],
        "rule": deployment["rule"],
        "asked by": describe.marked(by, describe.requester(by)),
        "from ref": by["ref"],
        "from commit": by["sha"],
        **links(by),
        "created": _moment(screen, deployment["created_at"], now),
        "finished": _moment(screen, deployment["finished_at"], now),
    }


def _moment(screen: Screen, timestamp: str | None, now: float) -> str:
    """Format a timestamp; on a terminal how long ago, too."""
    short = screen.moment(timestamp, now)
    return short if short in ("", timestamp) else f"{timestamp} ({short})"


def _built(deployment: Mapping[str, Any]) -> str | None:
    """Return who built the version, in full; None while there is no version."""
    built = deployment.get("built")
    if not built:
        return "unknown" if deployment["version"] else None
    job = f"job {built['job_id']} of " if built.get("job_id") else ""
    release = f"{built['release']}, " if built.get("release") else ""
    place = built.get("project_path") or built.get("project_id") or "?"
    return f"{release}{built.get('ref') or '?'} at {built.get('sha') or '?'}, {job}{place}"


def _step(deployment: Mapping[str, Any]) -> str | None:
    step = deployment.get("step")
    if step is None:
        return None
    share = f"{deployment['weight']}% of the traffic on version {deployment['version']}"
    return f"{step + 1} of {len(deployment['steps'])}; {share}"


def _until(screen: Screen, deployment: Mapping[str, Any], now: float) -> str | None:
    until = deployment.get("until")
    left = until and f"{format_duration(seconds(until) - now)} left"
    return until and (f"{left} ({until})" if screen.is_live else f"{until} ({left})")


def _stages(screen: Screen, functions: list[Mapping[str, Any]], now: float) -> None:
    if screen.as_json:
        return
    rows = [row for function in functions for row in _rows(screen, function, now)]
    if not rows:
        screen.line("nothing that you may see has been deployed")
        return
    screen.table(_COLUMNS, rows)
    for function in functions:
        for stage, serving in sorted(function["stages"].items()):
            for finding in (serving.get("drift") or {}).get("findings") or ():
                place = f"{function['function']} {stage}"
                screen.line(f"drift: {place}: {clean(str(finding['message']), 512)}", "yellow")


def _rows(screen: Screen, function: Mapping[str, Any], now: float) -> Iterator[tuple[str | Text, ...]]:
    for stage, serving in sorted(function["stages"].items()):
        by = serving.get("moved_by") or serving["by"] or {}
        built = serving.get("built")
        split = bool(serving["weights"])
        yield (
            function["function"],
            stage,
            Text(clean(describe.serving(serving)), style="yellow" if split else "green"),
            screen.linked(describe.built(built), links(built).get("commit")),
            serving["artifact"]["sha256"][:12],
            screen.moment(serving["since"], now),
            screen.linked(
                describe.name(by) or by.get("project_path") or "",
                links(by).get("job"),
            ),
        )
