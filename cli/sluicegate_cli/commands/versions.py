"""`sluicegate versions`: list a function's versions: which are pruned, and why the others stay."""

from typing import TYPE_CHECKING, Final

import click

from sluicegate.documents import describe
from sluicegate.documents.pruning import why_kept
from sluicegate_cli.exit_codes import ExitCode
from sluicegate_cli.layout import Column
from sluicegate_cli.options import api_command
from sluicegate_cli.screen import Screen

if TYPE_CHECKING:
    from sluicegate_cli.api import ApiClient

_COLUMNS: Final = (Column("version"), Column("pruned"), Column("why it stays", least=20, wrap=True))


@click.command("versions")
@click.argument("function", metavar="FUNCTION")
@api_command
def command(api: "ApiClient", screen: Screen, function: str) -> ExitCode:
    """List the versions of FUNCTION that are old enough to be pruned, and why the others stay.

    It shows the pruner's last look, which `prune` in the gate file switches on; with `dry_run: true` nothing
    is deleted.

    \b
      sluicegate versions orders-api
      sluicegate versions orders-api --json
    """
    document = api.get("functions", function)
    reports = document.get("pruning") or []
    screen.document({"function": function, "pruning": reports})
    if screen.as_json:
        return ExitCode.OK
    if not reports:
        screen.line(f"no version of {function} is pruned, or the pruner has not looked at it yet")
    for report in reports:
        would = "would be" if report["dry_run"] else "is"
        number = sum(not one["keep"] for one in report["versions"])
        where, seen = describe.target(report["target"]), screen.moment(report["at"], api.now())
        screen.line(f"{where}: {number} of {len(report['versions'])} {would} pruned, as seen {seen}")
        screen.table(
            _COLUMNS,
            [(one["version"], "" if one["keep"] else would, why_kept(one)) for one in report["versions"]],
        )
        if report["left_out"]:
            screen.line(f"{report['left_out']} older versions are not listed")
    return ExitCode.OK
