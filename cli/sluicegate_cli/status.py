"""`sluicegate status`: one deployment as it is now, or what functions serve in each stage."""

from collections.abc import Iterator, Mapping
from typing import Any

import click
from sluicegate.ids import is_id

from sluicegate_cli import show
from sluicegate_cli.api import Api
from sluicegate_cli.exits import Exit
from sluicegate_cli.options import connected
from sluicegate_cli.show import Screen


@click.command("status")
@click.argument("what", metavar="[ID | FUNCTION]", required=False)
@connected
def command(api: Api, screen: Screen, what: str | None) -> Exit:
    """Show deployment ID, what FUNCTION serves in each stage, or that of every function you may see.

    Exits 0 whatever the status is; `sluicegate watch ID` is what a script asks how a deployment ended.

    \b
      sluicegate status
      sluicegate status orders-api
      sluicegate status 01KAQ3ZV6N8T4R1F0C2H7M5XWE --json
    """
    if what and is_id(what):
        _deployment(screen, api.get("deployments", what))
    elif what:
        function = api.get("functions", what)
        screen.document(function)
        _stages(screen, [function])
    else:
        functions = list(api.items("functions"))
        screen.document({"items": functions})
        _stages(screen, functions)
    return Exit.OK


def _deployment(screen: Screen, deployment: Mapping[str, Any]) -> None:
    screen.document(deployment)
    if screen.as_json:
        return
    by = deployment["requested_by"]
    alias = deployment["alias"]
    reason = deployment["reason"]
    screen.line(f"{deployment['status']}  {deployment['id']}", show.style(deployment["status"]))
    facts = {
        "function": deployment["function"],
        "stage": f"{deployment['stage']} (alias {alias['name']})",
        "target": f"{deployment['target']['account']}, {deployment['target']['region']}",
        "artifact": deployment["artifact"]["sha256"],
        "version": deployment["version"],
        "alias found": _served(alias["found"]),
        "alias now": _served(alias["now"]),
        "outcome": alias["outcome"],
        "reason": reason and f"{reason['message']} [{reason['code']}]",
        "release": deployment["release"],
        "rule": deployment["rule"],
        "by": f"{by['user_login'] or '?'}, job {by['job_id']} of {by['project_path'] or by['project_id']}",
        "ref": by["ref"],
        "commit": by["sha"],
        "created": deployment["created_at"],
        "finished": deployment["finished_at"],
    }
    screen.table(("", ""), [(name, str(value)) for name, value in facts.items() if value])
    for entry in deployment["timeline"]:
        screen.line(f"{entry['at']}  {entry['status']:<12}  {entry['message']}")


def _served(state: Mapping[str, Any] | None) -> str:
    if not state:
        return ""
    others = (f"version {version}: {weight:.0%}" for version, weight in state["weights"].items())
    return ", ".join((f"version {state['version']}", *others))


def _stages(screen: Screen, functions: list[Mapping[str, Any]]) -> None:
    if screen.as_json:
        return
    rows = [row for function in functions for row in _rows(function)]
    if not rows:
        screen.line("nothing has been deployed that you may see")
        return
    screen.table(("function", "stage", "serves", "artifact", "ref", "since", "by"), rows)


def _rows(function: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    for stage, serving in sorted(function["stages"].items()):
        by = serving["by"] or {}
        yield (
            function["function"],
            stage,
            _served(serving) if serving["weights"] else f"version {serving['version']}",
            serving["artifact"]["sha256"][:12],
            serving["ref"] or "",
            serving["since"],
            by.get("user_login") or by.get("project_path") or "",
        )
